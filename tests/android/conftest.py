"""Fixtures of the Android tests; each is made once per session."""

from pathlib import Path

import pytest
from android_fixtures import (
    GOLDEN,
    MODEL_SIZE,
    assets,
    junit,
    photographs,
    runtime_or_skip,
    tools_or_skip,
)

from mobilekd.android.runtime import Runtime
from mobilekd.android.toolchain import Toolchain


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    return tools_or_skip()


@pytest.fixture(scope="session")
def community(tools: Toolchain) -> Runtime:
    return runtime_or_skip(tools)


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of every kind."""
    return photographs(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="session")
def decoded(
    tools: Toolchain, community: Runtime, shots: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the app's decoder, crop and resize make of every photograph: NAME.u8, RGB, pixel by
    pixel.
    """
    work = tmp_path_factory.mktemp("decoded")
    properties = {
        "mobilekd.photographs": shots,
        "mobilekd.screenshots": work,
        "mobilekd.tensors": work,
        "mobilekd.size": f"{MODEL_SIZE[0]}x{MODEL_SIZE[1]}",
    }
    junit(
        tools,
        community,
        ["org.mobilekd.demo.screen.DecodeTest"],
        work=work,
        properties=properties,
        assets=assets(work / "assets"),
    )
    return work


@pytest.fixture(scope="session")
def artifact(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small artifact with an attention map."""
    # torch takes seconds, and most tests here do not need it
    from artifact_fixture import make_artifact

    return make_artifact(
        tmp_path_factory.mktemp("artifact") / "small-xnnpack-fp32",
        [shots / name for name in GOLDEN],
        MODEL_SIZE,
        cam=True,
    )


@pytest.fixture(scope="session")
def portable_artifact(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student for the portable kernels."""
    from artifact_fixture import make_artifact

    return make_artifact(
        tmp_path_factory.mktemp("artifact") / "small-portable-fp32",
        [shots / name for name in GOLDEN],
        MODEL_SIZE,
        cam=True,
        backend="portable",
    )


@pytest.fixture(scope="session")
def hexagon_artifact(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same student for one chip, with a delegate that no runtime here has."""
    from artifact_fixture import make_artifact

    return make_artifact(
        tmp_path_factory.mktemp("artifact") / "small-qnn-w8a16-SM8650",
        [shots / name for name in GOLDEN],
        MODEL_SIZE,
        cam=True,
        soc="SM8650",
    )


@pytest.fixture(scope="session")
def other_artifact(shots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model for the same app, which was fitted to a clinic."""
    from artifact_fixture import make_artifact

    return make_artifact(
        tmp_path_factory.mktemp("artifact") / "other-xnnpack-fp32",
        [shots / "grey.jpg", shots / "lesion.jpg"],
        (32, 32),
        cam=False,
        seed=1,
        fitted=True,
    )


@pytest.fixture(scope="session")
def reference() -> Path:
    """The shipped reference student in int8, exported as a user without photographs of their own
    exports it.
    """
    from fixtures.reference import ARTIFACT, exported_reference

    return exported_reference()[0] / ARTIFACT
