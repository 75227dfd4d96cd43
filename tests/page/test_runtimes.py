"""Which runtime for this file: only what was measured in turn is set side by side, and only a shown
difference is an answer.
"""

import json
from pathlib import Path

from fixtures.manifest import manifest_of
from fixtures.report import EMULATED, PHONE, make_measurement

from mobilekd.figures.tables import Table
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.chip import Chip
from mobilekd.formats.gates import Delegation
from mobilekd.formats.measurement import Measurement
from mobilekd.formats.runs import open_run, references
from mobilekd.page import runtimes
from mobilekd.page.blocks import Points, Section, Text
from mobilekd.page.inputs import Inputs


def measured(
    folder: Path, backend: str, milliseconds: float, *, precision: str = "int8", **more: object
) -> Measurement:
    place = folder / backend
    place.mkdir(exist_ok=True)
    said = {"name": "tiny", "backend": backend, "precision": precision}
    files = {"model.pte": backend * 8}
    (place / "manifest.json").write_text(json.dumps({**said, "files": files}))
    return make_measurement(place, milliseconds, **more)  # type: ignore[arg-type]


def made(one: Measurement, weights: str = "a" * 64, **changes: object) -> Artifact:
    """The artifact of a measurement, of the student whose weights have that hash."""
    manifest = manifest_of(open_run(f"reference:{references()[0]}"))
    facts = {"backend": one.backend, "files": {"model.pte": one.artifact_sha256}, **changes}
    source = manifest.provenance.model_copy(update={"source_sha256": weights})
    return Artifact(Path(one.artifact), manifest.model_copy(update={**facts, "provenance": source}))


def shown(*members: Measurement, artifacts: tuple[Artifact, ...] = ()) -> Section | None:
    return runtimes.section(Inputs(measurements=members, artifacts=artifacts))


def reasons(section: Section | None) -> list[str]:
    assert section is not None
    (points,) = (block for block in section.blocks if isinstance(block, Points))
    return [words for _, words in points.items]


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


def test_one_name_of_two_students_is_not_one_student(tmp_path: Path) -> None:
    """By the weights that the artifacts tell; where they are not given, by the name alone."""
    ours, theirs = measured(tmp_path, "xnnpack", 4.0), measured(tmp_path, "onnx", 5.0, seed=1)
    third = measured(tmp_path, "litert", 6.0, seed=2)
    alike = (made(ours), made(theirs))
    assert "take ExecuTorch" in words(shown(ours, theirs, artifacts=alike))
    assert "take ExecuTorch" in words(shown(ours, theirs, artifacts=alike[:1]))
    other = made(theirs, "b" * 64)
    assert shown(ours, theirs, artifacts=(alike[0], other)) is None
    both = shown(ours, theirs, third, artifacts=(alike[0], other, made(third)))
    assert "take ExecuTorch (XNNPACK); LiteRT (XNNPACK) is slower" in words(both)


def test_the_neural_processor_stands_beside_the_cpu(tmp_path: Path) -> None:
    """One phone, one session: its file has no int8 of XNNPACK's kind, and a chip in its name."""
    cpu = measured(tmp_path, "xnnpack", 4.0, device=PHONE)
    npu = measured(tmp_path, "qnn", 1.0, seed=1, precision="w8a16", device=PHONE)
    npu = npu.model_copy(update={"artifact": f"{npu.artifact}-SM8650"})
    assert npu.student == cpu.student == "tiny"
    delegate = Delegation(
        delegated={"QnnBackend": 1},
        portable={},
        heavy_total=53,
        heavy_delegated=53,
        heavy_quantized=0,
        partitions=1,
    )
    chip = Chip(soc="SM8650", architecture="v75", qnn="2.51.0")
    artifacts = (
        made(cpu, outputs=("probabilities", "outside")),
        made(npu, precision="w8a16", chip=chip, delegation=delegate, outputs=("probabilities",)),
    )
    section = shown(cpu, npu, artifacts=artifacts)
    said = words(section)
    assert "take ExecuTorch (Hexagon) w8a16; ExecuTorch (XNNPACK) int8 is slower by" in said
    first, second = reasons(section)
    assert "gives probabilities, outside" in first
    assert "53 layers with weights, compiled for SM8650; 0 operators outside" in second
    assert "gives probabilities;" in second
    exact = measured(tmp_path, "xnnpack", 9.0, precision="fp32", device=PHONE)
    assert shown(exact, npu) is None
