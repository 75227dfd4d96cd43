"""An adb server of our own, tiny artifacts, and pretend phones that are connected to it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fixtures.bench import tiny_artifact
from pretend_phone import Phone

from mobilekd.support.files import cache_folder


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server that knows no real phone's key; its port and home are this session's own."""
    for tool in ("adb", "proot", "qemu-aarch64", "aarch64-linux-gnu-g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine; mobilekd doctor --install")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILEKD_CACHE", str(cache_folder()))
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        patch.setenv("HOME", home)
        patch.setenv("TMPDIR", home)
        patch.delenv("ANDROID_SERIAL", raising=False)
        subprocess.run(["adb", "start-server"], check=True, capture_output=True, env=os.environ)
        yield
        subprocess.run(["adb", "kill-server"], capture_output=True)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true int8 artifact, in a folder whose name would break careless quoting."""
    return tiny_artifact(tmp_path_factory.mktemp("a") / 'it\'s a "tiny"; $HOME & one', "int8")


Connect = Callable[..., Phone]


@pytest.fixture
def connect(adb_server: None, tmp_path: Path) -> Iterator[Connect]:
    """Start a pretend phone and connect adb to it; all are stopped at the end."""
    phones: list[Phone] = []

    def start(
        props: dict[str, str] | None = None,
        *,
        faults: dict[str, object] | None = None,
        **options: object,
    ) -> Phone:
        phone = Phone(tmp_path / f"phone{len(phones)}", props, **options)
        for name, value in (faults or {}).items():
            setattr(phone.faults, name, value)
        phone.listen()
        phones.append(phone)
        subprocess.run(["adb", "connect", phone.serial], capture_output=True, timeout=20)
        return phone

    yield start
    for phone in phones:
        subprocess.run(["adb", "disconnect", phone.serial], capture_output=True, timeout=20)
        phone.stop()
