"""``evaluate`` and ``calibrate`` speak of their own options, not of a recipe's keys; ``--root``
moves the files of the data with their photographs.
"""

import shutil
from pathlib import Path

import pytest
from fixtures.data import photograph, write_csv
from fixtures.run import make_run

from mobilekd.commands.evaluate import evaluate, moved
from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.inference.other_data import check_named, in_option_words, load_named
from mobilekd.support.errors import UserError

HEADER = ("path", "diagnosis")
ROWS = [("a/1.png", "nevus"), ("a/2.png", "melanoma"), ("b/3.png", "nevus")]


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    for number, (name, _) in enumerate(ROWS):
        photograph(tmp_path / "clinic" / name, number)
    write_csv(tmp_path / "clinic" / "table.csv", HEADER, ROWS)
    return tmp_path / "clinic"


def refused(table: DataTable) -> str:
    """What the commands say of ``table``."""
    try:
        check_named(table)
        load_named(table)
    except UserError as error:
        return str(error)
    raise AssertionError(table)


def test_what_is_refused_names_options(clinic: Path) -> None:
    table = str(clinic / "table.csv")
    write_csv(clinic / "others.csv", ("what", "diagnosis"), ROWS)
    write_csv(clinic / "nevi.csv", HEADER, ROWS[::2])
    cases = {
        "--root: ham10000 needs the folder of the data set; give it with --root FOLDER": DataTable(
            kind="ham10000"
        ),
        "give the folder of the data set with --root FOLDER": DataTable(kind="isic", root=table),
        "--labels nowhere.csv: no such file or folder": DataTable(kind="csv", labels="nowhere.csv"),
        "give it with --labels TABLE.csv": DataTable(kind="csv"),
        "name it with --column image=NAME": DataTable(kind="csv", labels=f"{clinic}/others.csv"),
        "another column with --column label=NAME": DataTable(
            kind="csv", labels=f"{clinic}/nevi.csv"
        ),
        "--column label: no column 'Befund'": DataTable(
            kind="csv", labels=table, columns={"label": "Befund"}
        ),
        "--column: folder has no such table": DataTable(
            kind="folder", root=str(clinic), columns={"label": "x"}
        ),
        "--exclude names ids, or a file of them": DataTable(
            kind="csv", labels=table, exclude=f"{clinic}/nowhere.txt"
        ),
        "name the origin of all, for example --origin": DataTable(
            kind="csv", labels=table, origin="lesion_id"
        ),
    }
    for words, given in cases.items():
        refusal = refused(given)
        assert words in refusal
        assert "data." not in refusal
    torn = (
        "data: 1 picture with more than one label; remove the file with the wrong label, or leave"
        " its id out with data.exclude; leave out all (data.exclude = ['a', 'b'] for the first)"
    )
    assert in_option_words(torn).endswith(
        "; remove the file with the wrong label, or name a file with its id (--exclude FILE);"
        " leave out all ('a', 'b' for the first)"
    )


def test_what_is_noted_names_options(clinic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = DataTable(kind="csv", labels=str(clinic / "table.csv"))
    noted = load_named(table).notes
    said = capsys.readouterr().err
    assert "--column lesion_id=NAME names one" in said
    assert "data." not in said + "".join(noted)
    load(table)  # a recipe's reader has its keys
    assert "data.columns.lesion_id names one" in capsys.readouterr().err
    (clinic / "table.csv").unlink()
    load_named(DataTable(kind="folder", root=str(clinic)))
    assert "--metadata takes a CSV image,lesion_id" in capsys.readouterr().err


def test_a_runs_own_data_name_no_option_that_evaluate_lacks(clinic: Path, tmp_path: Path) -> None:
    """A row without a photograph: a recipe would set ``data.allow_missing``."""
    data = {"kind": "csv", "labels": str(clinic / "table.csv")}
    split = {"validation": 0.3, "test": 0.3, "by": "photograph"}
    rows = [(f"c/{n}.png", "nevus" if n % 2 else "melanoma") for n in range(12)]
    for number, (name, _) in enumerate(rows):
        photograph(clinic / name, number)
    write_csv(clinic / "table.csv", HEADER, rows)
    run = make_run(tmp_path / "runs", steps=1, data=data, split=split)
    (clinic / "c" / "11.png").unlink()
    with pytest.raises(
        UserError, match=r"1 row \(c/11.png\) without a photo.*; --root says"
    ) as told:
        evaluate(run.folder)
    assert "--set" not in str(told.value)


def test_a_table_moves_with_its_photographs(clinic: Path, tmp_path: Path) -> None:
    """Beside them, above them, or left where it was."""
    beside = DataTable(kind="csv", labels=str(clinic / "table.csv"))
    apart = beside.model_copy(
        update={"root": str(clinic / "photographs"), "exclude": str(clinic / "list.txt")}
    )
    ids, here, now = load(beside).ids, clinic / "photographs", tmp_path / "now"
    here.mkdir()
    for name in ("a", "b"):
        shutil.move(clinic / name, here / name)
    (clinic / "list.txt").write_text("a/1\n")
    assert load(apart).ids == ids[1:]
    # the photographs alone have moved
    shutil.copytree(here, tmp_path / "copy")
    assert moved(apart, tmp_path / "copy").labels == apart.labels
    # all of the folder has
    shutil.move(clinic, now)
    found = moved(apart, now / "photographs")
    assert (found.labels, found.exclude) == (str(now / "table.csv"), str(now / "list.txt"))
    assert load(found).ids == ids[1:]
    found = moved(beside, now)
    assert (found.root, found.labels) == (str(now), str(now / "table.csv"))
    assert len(load(found)) == 3
    # and so it is with several sources, each with its own table
    sources = tuple(
        beside.model_copy(update={"labels": f"/before/{name}/table.csv"}) for name in ("x", "y")
    )
    several = moved(DataTable(kind="several", sources=sources), now)
    assert [one.root for one in several.sources] == [str(now / "x"), str(now / "y")]
    assert [one.labels for one in several.sources] == [
        str(now / name / "table.csv") for name in ("x", "y")
    ]
