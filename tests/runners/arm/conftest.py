"""What every test here needs of the machine."""

import shutil

import pytest


@pytest.fixture(scope="session", autouse=True)
def tools():
    """The emulator and the compiler, or the tests are skipped."""
    for tool in ("qemu-aarch64", "aarch64-linux-gnu-g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine; mobilekd doctor --install")
