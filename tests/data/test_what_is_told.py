"""Files and classes: nothing is left out or merged in silence, count and first names are said, and
stand in the data set's notes for every result.
"""

import json
import os
import unicodedata
from pathlib import Path

import pytest
from fixtures.data import (
    load_folder,
    make_folder,
    make_ham,
    photograph,
    said,
)

from mobilekd.data import load, load_unlabelled, make_split, map_classes
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.labels import Label
from mobilekd.support.errors import UserError


def test_what_is_no_photograph_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path)
    photograph(tmp_path / "benign" / "a.jfif.jpg", 7)
    (tmp_path / "benign" / "a.jfif.jpg").rename(tmp_path / "benign" / "a.jfif")
    photograph(tmp_path / "benign" / "b.gif", 8)
    for name in ("c.dng", "d.mp4", "e", ".hidden"):
        (tmp_path / "benign" / name).write_bytes(b"raw")
    dataset = load_folder(tmp_path)
    assert {"benign/a", "benign/b"} <= set(dataset.ids)
    assert said(dataset, "3 files (c.dng, d.mp4, e) left out", capsys)
    (tmp_path / "benign" / "f.dng").write_bytes(b"raw")
    extra = load_unlabelled(tmp_path)
    assert said(extra, "4 files (c.dng, d.mp4, e, f.dng) left out", capsys)


def test_what_only_looks_like_a_photograph_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path)
    (tmp_path / "benign" / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "benign" / "pipe.png")
    (tmp_path / "IMG_9").write_bytes((tmp_path / "benign" / "IMG_0.png").read_bytes())
    (tmp_path / "empty").mkdir()
    dataset = load_folder(tmp_path)
    assert said(dataset, "2 files (folder.jpg, pipe.png) left out", capsys)
    assert any("1 file (IMG_9) left out" in note for note in dataset.notes)
    assert any("1 class (empty) without any photograph" in note for note in dataset.notes)


@pytest.mark.parametrize("link", ["vasc", "benign/IMG_9.dng", "benign/IMG_9.jpg"])
@pytest.mark.parametrize("itself", [False, True])
def test_a_link_to_nothing_is_refused_whatever_it_would_be(
    tmp_path: Path, link: str, itself: bool
) -> None:
    make_folder(tmp_path)
    (tmp_path / link).symlink_to(tmp_path / (link if itself else "moved-away"))
    with pytest.raises(UserError, match=rf"1 link \({Path(link).name}\) to no file"):
        load_folder(tmp_path)


def test_an_archive_s_own_documents_are_not_told(tmp_path: Path) -> None:
    root = make_ham(tmp_path)
    (root / "HAM10000_images_part_1" / "LICENSE.txt").write_text("CC")
    (root / "HAM10000_images_part_1" / "thumbs.db").write_text("")
    assert load(DataTable(kind="ham10000", root=str(root))).notes == ()


def test_names_are_kept_in_one_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = "naevus bénin", unicodedata.normalize("NFD", "naevus bénin")
    assert composed != decomposed
    make_folder(tmp_path / "one", (decomposed, "malin"))
    dataset = load_folder(tmp_path / "one")
    assert [label.key for label in dataset.classes] == ["malin", composed]
    assert dataset.ids[-1] == f"{composed}/IMG_3"
    other = load_folder(make_folder(tmp_path / "two", (composed, "malin")))
    assert (dataset.ids, dataset.hash) == (other.ids, other.hash)
    mapped, left_out = map_classes(
        dataset, {decomposed: "nv"}, (Label(key="nv", text=""), Label(key="malin", text=""))
    )
    assert left_out == {}
    assert mapped.counts() == {"nv": 4, "malin": 4}


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        ("Melanoma", "melanoma", "case"),
        ("é", unicodedata.normalize("NFD", "é"), "Unicode"),
        ("mel", "mel ", "blanks"),
        ("mel", "m\u200bel", "blanks"),
        ("basal cell", "basal\u00a0cell", "blanks"),
    ],
)
def test_classes_that_look_the_same_are_told(
    tmp_path: Path, first: str, second: str, how: str
) -> None:
    make_folder(tmp_path, (first, second, "nv"))
    with pytest.raises(UserError, match=f"2 sub-folders .* differ only in .*{how}|in {how}"):
        load_folder(tmp_path)


def test_ids_of_lists_are_in_the_same_form(tmp_path: Path) -> None:
    dataset = load_folder(make_folder(tmp_path / "photographs", ("bénin", "malin")))
    listed = [unicodedata.normalize("NFD", name) for name in dataset.ids]
    lists = {"train": listed[:3], "validation": listed[3:5], "test": listed[5:]}
    (tmp_path / "lists.json").write_text(json.dumps(lists))
    notes: list[str] = []
    split = make_split(dataset, SplitTable(by="lists", lists=str(tmp_path / "lists.json")), notes)
    assert (*split.train, *split.validation, *split.test) == dataset.ids
    assert "split: 1 class (malin) without a photograph in train" in notes


def test_a_class_has_one_place(tmp_path: Path) -> None:
    dataset = load_folder(make_folder(tmp_path, ("SCC", "nv")))
    labels = (Label(key="mel", text="melanoma"), Label(key="nv", text="nevus"))
    with pytest.raises(UserError, match=r"--map scc=mel: scc has another place already"):
        map_classes(dataset, {"SCC": "nv", "scc": "mel"}, labels)
