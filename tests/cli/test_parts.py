"""``mobilekd recipes losses``: what a recipe can name, with one line and its source."""

import json

import pytest

from mobilekd.cli import main
from mobilekd.cli.parts import WORDS, parts
from mobilekd.losses import LOSSES
from mobilekd.students import NAMES
from mobilekd.students.mobilenet import ADAPTATIONS


@pytest.mark.parametrize("word", WORDS)
def test_every_part_has_one_line_and_a_source(word, checkout):
    rows = parts(word)
    known = {"losses": LOSSES, "students": NAMES, "adaptations": ADAPTATIONS}[word]
    listed = {row["name"].removesuffix(":NUMBER"): row for row in rows}
    for name in known:
        assert 10 < len(listed[name]["what"]) < 250
        assert (checkout / listed[name]["source"]).is_file()
    assert all(":" in name for name in listed.keys() - set(known))


def test_a_student_is_called_by_its_own_name():
    listed = {row["name"]: row["what"] for row in parts("students")}
    for name, title in {
        "mobilenetv2": "MobileNetV2",
        "mobilenetv3_small": "MobileNetV3-Small",
        "mobilenetv3_large": "MobileNetV3-Large",
    }.items():
        assert listed[name].startswith(f"{title}, in timm's parts")


def test_the_command_line_lists_them(capsys):
    assert main(["recipes", "losses", "--json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)["losses"]} >= set(LOSSES)
    assert main(["recipes", "students"]) == 0
    assert "timm:NAME" in capsys.readouterr().out
