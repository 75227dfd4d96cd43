"""Every document is read by one reader: hostile files give one line and exit code 2, files written
before are still read.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilekd.formats.artifact import LayerCost, LayerSensitivity, TrainingHashes
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.document import Document, explain, parse_document, read_document
from mobilekd.formats.layer_errors import read_layer_errors
from mobilekd.formats.measurement import Measurement, Sustained, read_measurement
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe_file import from_dict
from mobilekd.formats.runs import RunInfo, open_run, references
from mobilekd.lowering.quantize import read_frozen
from mobilekd.lowering.record import read_record
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json
from mobilekd.support.strict_json import loads

CHECKOUT = Path(__file__).parents[2]
RESULTS = CHECKOUT / "benchmarks" / "results"


class Inner(Document):
    key: str = ""


class Sample(Document):
    schema_version: int = 1
    count: int
    share: float = 0.0
    many: tuple[int, ...] = ()
    inner: Inner | None = None
    table: dict[str, Inner] | None = None
    size: Preprocess | None = None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a readable sample"),
        (b"{", "not a readable sample"),
        (b'{"count": 1}\xff', "byte 12 is not UTF-8"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"count": ' + b"[" * 150 + b"]" * 150 + b"}", "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b'{"count": NaN}', "NaN is no JSON number"),
        (b'{"count": 1, "share": -Infinity}', "-Infinity is no JSON number"),
        (b'{"count": 1, "share": 1e999}', "1e999 is too large"),
        (b'{"count": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"count": 18446744073709551616}', "too large"),
        (b'{"inner": {"key": "\\ud800"}}', "half a character"),
        (b"[]", "the whole: input should be a table of keys"),
        (b"3", "the whole: input should be a table of keys (given: 3)"),
        (b"null", "the whole: input should be a table of keys (given: None)"),
        (b"{}", "count: missing"),
        (b'{"count": "many"}', "count: input should be a valid integer, unable to parse"),
        (b'{"count": 1.5}', "count: input should be a valid integer, got a number with a frac"),
        (b'{"count": null}', "count: input should be a valid integer (given: None)"),
        (b'{"count": 1, "many": [1, "x"]}', "many.1: input should be a valid integer"),
        (b'{"count": 1, "inner": []}', "inner: input should be a table of keys"),
        (b'{"count": 1, "inner": {"keyy": ""}}', "unknown key inner.keyy; did you mean key?"),
        (b'{"count": 1, "table": {"a": {"zzz": 1}}}', "unknown key table.a.zzz; known: key"),
        (b'{"count": 1, "counts": 2}', "unknown key counts; did you mean count?"),
        (b'{"count": 1, "size": {"width": 0}}', "size.width: input should be greater than"),
        (b'{"count": 1, "size": {"widht": 9}}', "unknown key size.widht; did you mean width?"),
        (b'{"count": "a", "share": "b"}', "(and 1 more)"),
    ],
)
def test_a_hostile_document_gives_one_line_that_names_file_and_key(
    content: bytes, said: str, tmp_path: Path
):
    path = tmp_path / "sample.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_document(path, Sample, "sample", "make it again")
    line = str(caught.value)
    assert line.startswith(f"{path}: not a ")
    assert said in line
    assert line.endswith("make it again")
    assert "\n" not in line
    assert len(line) < 300 + len(str(path))


def test_what_is_no_file_is_named(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for path, said in {
        tmp_path / "none.json": "no such sample; check the path",
        tmp_path / "folder": "not a readable sample (Is a directory)",
        tmp_path / "file" / "below": "not a readable sample (Not a directory)",
        Path("\0"): "not a readable sample (embedded null byte)",
    }.items():
        with pytest.raises(UserError) as caught:
            read_document(path, Sample, "sample")
        assert said in str(caught.value)


def test_what_is_sound_is_read(tmp_path: Path):
    path = tmp_path / "sample.json"
    path.write_bytes(b'\xef\xbb\xbf{"count": 18446744073709551615, "share": 1, "many": [1, 2]}')
    sample = read_document(path, Sample, "sample")
    assert sample == Sample(count=2**64 - 1, share=1.0, many=(1, 2))
    assert parse_document([{"key": "a"}], list[Inner], "here", "list") == [Inner(key="a")]
    assert parse_document({"a": {}}, dict[str, Inner], "here", "table") == {"a": Inner()}
    with pytest.raises(UserError, match=r"^here: not a valid list: 0\.key: .*string.*given: 3"):
        parse_document([{"key": 3}], list[Inner], "here", "list")


def test_a_newer_file_names_the_version_to_get(tmp_path: Path):
    shipped = open_run(f"reference:{references()[0]}").folder / "run.json"
    path = tmp_path / "run.json"
    path.write_text(json.dumps(read_json(shipped, "run") | {"schema_version": 2, "more": 1}))
    with pytest.raises(UserError, match=r"run of version 2, .* reads version 1; update mobilekd"):
        open_run(path.parent)


@pytest.mark.parametrize("version", [1 << 63, 1 << 70])
def test_a_version_that_no_machine_counts_to_is_the_users_mistake(tmp_path: Path, version: int):
    """Found by tests/faults/test_fuzz.py: pydantic gives no expected value for such a number."""
    shipped = open_run(f"reference:{references()[0]}").folder / "run.json"
    path = tmp_path / "run.json"
    path.write_text(json.dumps(read_json(shipped, "run") | {"schema_version": version}))
    with pytest.raises(UserError, match=r"run\.json: not a .*run"):
        open_run(path.parent)


def test_nothing_is_converted_in_silence():
    assert loads(b'["\\u00e9", 1e3, -9223372036854775808]') == ["é", 1000.0, -(2**63)]
    assert loads('"\\ud83d\\ude00"') == "😀"
    for name in ("NaN", "Infinity", "-Infinity", "[1, NaN]", "1e400", str(-(2**63) - 1)):
        with pytest.raises(ValueError, match=r"number|large"):
            loads(name)


@pytest.mark.parametrize("name", references())
def test_every_document_of_a_reference_is_read(name: str):
    run = open_run(f"reference:{name}")
    assert run.recipe.to_dict() == read_json(run.folder / "recipe.json", "recipe")
    assert isinstance(run.calibration, Calibration)
    assert run.info.teachers[0].validation["balanced_accuracy"].value
    assert {"xnnpack-fp32", "xnnpack-int8"} <= set(read_record(run.folder))
    assert read_frozen(run.folder)["int8"].ranges
    hashes = read_document(run.folder / "training_hashes.json", TrainingHashes, "list of hashes")
    assert hashes.salt == run.info.split_hash
    assert len(hashes.hashes) > 8_000


@pytest.mark.parametrize(
    "name", ["quantization-int8.safetensors", "quantization.json", "recorded_gates.json"]
)
def test_a_flipped_byte_in_what_a_reference_goes_by_is_found(name: str, tmp_path: Path):
    folder = tmp_path / "student"
    shutil.copytree(open_run(f"reference:{references()[0]}").folder, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: changed since it was written"):
        read_frozen(open_run(folder).folder)


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("recorded_gates.json", {"xnnpack-fp32": {"gates": []}}, read_record),
        ("recorded_gates.json", [], read_record),
        ("quantization.json", {"int8": {"ranges": {"a": [0.0, 0]}}}, read_frozen),
        ("quantization.json", {"int8": None}, read_frozen),
        ("training_hashes.json", {"salt": 3}, None),
        ("layers.json", [{"layer": "a", "macs": -1}], None),
        ("layers.json", {"layer": "a"}, None),
        ("sensitivity.json", [{"layer": "a", "sqnr_db": "loud"}], None),
        ("layer_errors.json", {"photographs": 0}, read_layer_errors),
        ("layer_errors.json", [], read_layer_errors),
    ],
)
def test_a_broken_document_beside_a_model_is_the_users_mistake(
    name: str, content: Any, read: Callable[[Path], object] | None, tmp_path: Path
):
    kinds: dict[str, Any] = {
        "training_hashes.json": TrainingHashes,
        "layers.json": list[LayerCost],
        "sensitivity.json": list[LayerSensitivity],
    }
    path = tmp_path / name
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not a valid"):
        read(tmp_path) if read else read_document(path, kinds[name], "table")


def _is_measurement(document: Any) -> bool:
    return isinstance(document, dict) and {"artifact_sha256", "golden", "device"} <= set(document)


def test_every_result_written_before_is_read_by_its_document():
    counted = dict.fromkeys(("measurement", "run", "recipe", "calibration"), 0)
    readers: dict[str, Callable[[Any, str], object]] = {
        "run": lambda value, where: parse_document(value, RunInfo, where, "run"),
        "recipe": from_dict,
        "calibration": lambda value, where: parse_document(
            value, Calibration, where, "calibration"
        ),
    }
    for path in sorted(RESULTS.rglob("*.json")):
        document = read_json(path, "result")
        if _is_measurement(document):
            assert isinstance(read_measurement(path), Measurement)
            counted["measurement"] += 1
        for part, read in readers.items():
            value = document.get(part) if isinstance(document, dict) else None
            if isinstance(value, dict):
                read(value, f"{path}, {part}")
                counted[part] += 1
    assert all(counted.values()), counted


def test_explain_names_a_rule_of_the_whole():
    class Pair(Document):
        low: int
        high: int

    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        Pair(low=1, high="x")  # type: ignore[arg-type]
    assert explain(caught.value.errors()[0], Pair).startswith("high: input should be a valid")


def test_single_inferences_of_older_files_are_summed_up():
    told = {"threads": 1, "offsets_ns": [0, 10], "samples_ns": [5, 6], "celsius": [[0, 30.5]]}
    load = parse_document(told, Sustained, "old.json", "measurement")
    assert (load.inferences, load.length_ns, load.celsius) == (2, 16, ((0, 30.5),))
    with pytest.raises(UserError, match=r"^old\.json: .*samples_ns\.1: .*greater than 0"):
        parse_document(told | {"samples_ns": [5, 0]}, Sustained, "old.json", "measurement")
