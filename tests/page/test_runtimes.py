"""Which runtime for this file: only what was measured in turn is set side by side, and only a shown
difference is an answer.
"""

import json
from pathlib import Path

from fixtures.report import EMULATED, make_measurement

from mobilekd.figures.tables import Table
from mobilekd.formats.measurement import Measurement
from mobilekd.page import runtimes
from mobilekd.page.blocks import Points, Section, Text
from mobilekd.page.inputs import Inputs


def measured(folder: Path, backend: str, milliseconds: float, **more: object) -> Measurement:
    place = folder / backend
    place.mkdir(exist_ok=True)
    said = {"name": "tiny", "backend": backend, "precision": "int8"}
    files = {"model.pte": backend * 8}
    (place / "manifest.json").write_text(json.dumps({**said, "files": files}))
    return make_measurement(place, milliseconds, **more)  # type: ignore[arg-type]


def shown(*members: Measurement) -> Section | None:
    return runtimes.section(Inputs(measurements=members))


def words(section: Section | None) -> str:
    assert section is not None
    return " ".join(block.words for block in section.blocks if isinstance(block, Text))


def test_the_faster_runtime_is_the_answer(tmp_path: Path) -> None:
    section = shown(measured(tmp_path, "xnnpack", 4.0), measured(tmp_path, "onnx", 5.0, seed=1))
    said = words(section)
    assert "1 thread: take ExecuTorch (XNNPACK); ONNX Runtime is slower by 2" in said
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert [row[0].text for row in table.rows] == ["ExecuTorch (XNNPACK)", "ONNX Runtime"]
    assert len(table.header) == 5
    (reasons,) = (block for block in section.blocks if isinstance(block, Points))
    assert "times as fast as one" in reasons.items[0][1]
    assert "pack its weights" in reasons.items[1][1]


def test_the_rival_is_named_where_it_is_faster(tmp_path: Path) -> None:
    said = words(shown(measured(tmp_path, "xnnpack", 5.0), measured(tmp_path, "onnx", 4.0, seed=1)))
    assert "take ONNX Runtime; ExecuTorch (XNNPACK) is slower by 2" in said


def test_no_difference_is_no_answer(tmp_path: Path) -> None:
    said = words(shown(measured(tmp_path, "xnnpack", 4.0), measured(tmp_path, "onnx", 4.0, seed=1)))
    assert "no difference shown between" in said
    assert "slower" not in said


def test_other_sessions_emulation_and_doubt_bear_no_answer(tmp_path: Path) -> None:
    ours = measured(tmp_path, "xnnpack", 4.0)
    for other in (
        measured(tmp_path, "onnx", 5.0, session="s2"),
        measured(tmp_path, "onnx", 5.0, device=EMULATED),
        measured(tmp_path, "onnx", 5.0, passed=False),
        measured(tmp_path, "onnx", 5.0, valid=False),
    ):
        assert shown(ours, other) is None
    assert shown(ours) is None
