"""Stages and gates have ids: what files hold, what code compares. Titles are for people only."""

import json
import re
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mobilekd.formats.gates import Gate, Stage
from mobilekd.formats.parity_names import GateId, GateName, Part, StageId, StageName, Titled

PROCESSORS = st.sampled_from(["", "cortex-a72", "a64fx", "neoverse-v1"])


@given(st.sampled_from(StageId), st.sampled_from(Part), PROCESSORS)
def test_a_stage_comes_back_from_its_file(stage, part, processor):
    name = StageName(stage, part, processor)
    assert StageName.read(str(name)) == name
    row = Stage(stage=name, against=StageId.EAGER, verified=True)
    assert Stage.model_validate(json.loads(row.model_dump_json())) == row


@given(st.sampled_from(GateId), PROCESSORS)
def test_a_gate_comes_back_from_its_file(gate, processor):
    name = GateName(gate, (processor or "a64fx") if gate is GateId.GOLDEN_SET else "")
    assert GateName.read(str(name)) == name
    made = Gate(name=name, value=1, limit=2, relation="<=", passed=True)
    assert Gate.model_validate(json.loads(made.model_dump_json())) == made


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("saved file", StageName(StageId.SAVED_FILE)),
        ("saved file, decisions", StageName(StageId.SAVED_FILE, Part.DECISIONS)),
        ("eager fp32, activation map", StageName(StageId.EAGER, Part.MAP)),
        ("saved file on Arm (a64fx)", StageName(StageId.ARM, processor="a64fx")),
        (
            "saved file on Arm (a64fx), activation map",
            StageName(StageId.ARM, Part.MAP, "a64fx"),
        ),
        ("saved file on Arm with SME", StageName(StageId.ARM_SME)),
        ("student, normalised outside", StageName(StageId.STUDENT)),
    ],
)
def test_what_was_written_before_is_still_read(written, name):
    assert StageName.read(written) == name
    assert str(name) == written


@pytest.mark.parametrize("text", ["", "saved", "saved file,", "saved file (", "golden set on x", 1])
def test_an_unknown_stage_is_refused(text):
    with pytest.raises(ValidationError, match="no stage is called"):
        Stage(stage=text, against="eager fp32", verified=True)


@pytest.mark.parametrize("text", ["", "agreement with fp32", "golden set on", "golden set on ", 1])
def test_an_unknown_gate_is_refused(text):
    with pytest.raises(ValidationError, match="no gate is called"):
        Gate(name=text, value=1, limit=1, relation="<=", passed=True)


@pytest.mark.parametrize("kind", Titled.__subclasses__())
def test_ids_and_titles_are_unique_and_parts_of_neither(kind):
    for words in ([one.id for one in kind], [one.title for one in kind]):
        assert len(set(words)) == len(kind)
        assert not any(re.search(r"[(),]", word.replace("student, normal", "")) for word in words)


def test_a_title_is_shown_and_the_id_is_written(monkeypatch):
    numbers = count()
    for kind in Titled.__subclasses__():
        for member in kind:
            monkeypatch.setattr(member, "title", f"title {next(numbers)}")
    name = StageName(StageId.ARM, Part.MAP, "a64fx")
    assert name.title == f"{StageId.ARM.title} (a64fx), {Part.MAP.title}"
    assert str(name) == "saved file on Arm (a64fx), activation map"
    assert GateName(GateId.GOLDEN_SET, "a64fx").title == f"{GateId.GOLDEN_SET.title} a64fx"
