"""``docs/reliability.md`` says what ``benchmarks/results/reliability.json`` holds, and nothing in
it went wrong.
"""

import json
from pathlib import Path

import pytest
from fault_commands import SCENARIOS
from fault_ledger import PAGE, RESULT, Ledger, Tally, with_table
from test_flipped_bytes import PLACES


@pytest.fixture
def document(checkout: Path) -> dict:
    return json.loads((checkout / RESULT).read_text(encoding="utf-8"))


def test_the_page_has_the_table_of_the_result(checkout: Path, document: dict):
    page = (checkout / PAGE).read_text(encoding="utf-8")
    assert page == with_table(page, document)


def test_every_row_adds_up_and_is_of_a_known_command_place_or_parser(document: dict):
    for row in document["rows"]:
        assert row["tried"] == row["refused"] + row["harmless"] + row["wrong"]
        if row["fault"] in ("kill", "full disk"):
            assert row["where"] in SCENARIOS
        if row["fault"] == "flipped byte":
            assert row["where"] in PLACES


def test_a_row_takes_the_place_of_its_earlier_one(tmp_path: Path, checkout: Path):
    ledger = Ledger(tmp_path / "table.json", checkout)
    ledger.keep("kill", "teach", Tally(harmless=3, wrong=["left behind"]), 1.0, 0)
    ledger.keep("fuzz", "recipe", Tally(refused=7), 1.0, 0)
    ledger.keep("kill", "teach", Tally(harmless=4), 1.0, 0)
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [(row["where"], row["tried"], row["wrong"]) for row in rows] == [
        ("teach", 4, 0),
        ("recipe", 7, 0),
    ]
