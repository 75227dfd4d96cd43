"""What a recipe says of its data: classes under other names, origins, listed duplicates,
photographs left out. Everything is counted and stands in the notes.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from fixtures.data import make_folder, make_ham, make_isic, photograph, write_csv
from fixtures.recipes import PLAIN
from PIL import Image

from mobilekd.data import Dataset, check_photographs, join_copies, load
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.recipe import shape
from mobilekd.formats.recipe_file import from_dict, load_recipe
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json


@pytest.fixture
def isic(tmp_path: Path) -> str:
    return str(make_isic(tmp_path / "isic"))


def of(root: str, **options: Any) -> Dataset:
    return load(DataTable(kind="isic", root=root, **options))


def note(dataset: Dataset, begin: str) -> str:
    return next(text for text in dataset.notes if text.startswith(begin))


def test_isic_s_classes_become_ham10000_s(isic: str, tmp_path: Path) -> None:
    plain, mapped = of(isic), of(isic, map={"AK": "akiec", "scc": "AKIEC"})
    ham = load(DataTable(kind="ham10000", root=str(make_ham(tmp_path / "ham"))))
    assert mapped.classes == ham.classes
    assert mapped.ids == plain.ids
    assert mapped.counts()["akiec"] == 6
    assert note(mapped, "data.map").startswith("data.map: 3 photographs (ISIC_0000021_downsampled")
    assert note(mapped, "data.map").endswith("of class scc count as akiec")
    assert mapped.hash != plain.hash
    assert of(isic, map={"scc": "bcc"}).hash != mapped.hash


def test_a_class_sent_to_nothing_is_left_out(isic: str) -> None:
    mapped = of(isic, map={"SCC": ""})
    assert len(mapped) == 21
    assert "scc" not in mapped.counts()
    assert note(mapped, "data.map").endswith("of class scc left out")


def test_folders_take_known_names_and_keep_their_own(tmp_path: Path) -> None:
    root = str(make_folder(tmp_path, ("Melanoma", "Naevus", "warts"), 2))
    table = DataTable(kind="folder", root=root, map={"melanoma": "mel", "naevus": "NV"})
    mapped = load(table)
    assert [label.key for label in mapped.classes] == ["mel", "nv", "warts"]
    assert mapped.classes[0].text == "melanoma"
    assert mapped.targets.tolist() == [0, 0, 1, 1, 2, 2]
    known = load(table.model_copy(update={"map": {**table.map, "warts": "bcc"}}))
    assert [label.key for label in known.classes] == ["bcc", "mel", "nv"], "the usual order"


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"wart": "akiec"}, "data.map: wart = 'akiec': the data has no class wart; it has akiec,"),
        ({"AK": "akiec", "akiec": "bcc"}, "akiec is sent to 'akiec' and to 'bcc'; keep one"),
        (dict.fromkeys(("AK", "BCC", "BKL", "DF", "MEL", "NV", "VASC", "SCC"), "x"), "at least"),
    ],
)
def test_a_map_that_cannot_be(isic: str, mapping: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        of(isic, map=mapping)


def test_the_origin_is_named_or_read_from_the_lesion(isic: str) -> None:
    assert set(of(isic).origins) == {""}
    assert set(of(isic, origin="Barcelona").origins) == {"Barcelona"}
    read = of(isic, origin="lesion_id")
    assert read.hash == of(isic).hash, "the data are the same"
    found = dict(zip(read.ids, read.origins, strict=True))
    assert found["ISIC_0000003_downsampled"] == "BCN"
    assert found["ISIC_0000001"] == "unknown", "an ISIC id is no lesion's"
    assert note(read, "data.origin").endswith("8 BCN, 16 unknown")
    part = read.subset([0, 1])
    assert part.origins == read.origins[:2]


def test_lesions_without_letters_have_no_origin(tmp_path: Path) -> None:
    root = str(make_folder(tmp_path))
    with pytest.raises(UserError, match="no lesion id of the folder data"):
        load(DataTable(kind="folder", root=root, origin="lesion_id"))


def test_listed_duplicates_are_one_lesion(isic: str, tmp_path: Path) -> None:
    first, second, third = "ISIC_0000001", "ISIC_0000002", "ISIC_0000003_downsampled"
    pairs = [(first, second), (f"{second}.jpg", third), (first, "ISIC_9999999")]
    write_csv(tmp_path / "pairs.csv", ("image_a", "image_b", "kind"), [(*p, "") for p in pairs])
    for listed in (pairs, str(tmp_path / "pairs.csv")):
        joined = of(isic, duplicates=listed)
        lesions = dict(zip(joined.ids, joined.lesions, strict=True))
        one = {lesions[name] for name in (first, second, third, "ISIC_0000000_downsampled")}
        assert one == {"BCN_0000000"}, "and with them what shared a lesion with one of them"
        assert joined.hash != of(isic).hash
        told = " ".join(joined.notes)
        assert "1 pair (ISIC_0000001 and ISIC_9999999) of photographs that are not here" in told
        assert "2 pairs (ISIC_0000001 and ISIC_0000002, " in told
        assert "1 pair (ISIC_0000002: mel and ISIC_0000003_downsampled: nv) with more" in told


def test_duplicates_of_other_data_are_refused(isic: str) -> None:
    with pytest.raises(UserError, match=r"none of its 1 pair .* names two photographs"):
        of(isic, duplicates=[("a", "b")])


def test_photographs_are_left_out_by_id(isic: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("ISIC_0000001\n\nISIC_0000002.jpg\n")
    write_csv(tmp_path / "ids.csv", ("image",), [("ISIC_0000001",), ("ISIC_0000002",)])
    kept = [
        of(isic, exclude=listed)
        for listed in (
            ["ISIC_0000001", "ISIC_0000002"],
            str(tmp_path / "ids.txt"),
            str(tmp_path / "ids.csv"),
        )
    ]
    for dataset in kept:
        assert len(dataset) == 22
        assert "2 photographs (ISIC_0000001, ISIC_0000002) left out" in dataset.notes[-1]
    assert len({dataset.hash for dataset in kept} | {of(isic).hash}) == 2


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (["ISIC_1"], r"data.exclude: 1 id \(ISIC_1\) not in the data"),
        ("nowhere.txt", "nowhere.txt: no such file; data.exclude names ids"),
    ],
)
def test_what_cannot_be_left_out(isic: str, listed: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        of(isic, exclude=listed)


def test_an_excluded_photograph_still_joins_its_copies(isic: str) -> None:
    pairs = [("ISIC_0000001", "ISIC_0000002"), ("ISIC_0000002", "ISIC_0000005")]
    dataset = of(isic, duplicates=pairs, exclude=["ISIC_0000002"])
    lesions = dict(zip(dataset.ids, dataset.lesions, strict=True))
    assert lesions["ISIC_0000001"] == lesions["ISIC_0000005"]


def test_copies_with_two_labels_name_the_remedy_and_it_helps(isic: str) -> None:
    folder = Path(isic) / "ISIC_2019_Training_Input"
    (folder / "ISIC_0000010.jpg").write_bytes((folder / "ISIC_0000001.jpg").read_bytes())
    with pytest.raises(UserError, match=r"data.exclude = \['ISIC_0000001', 'ISIC_0000010'\]"):
        join_copies(of(isic))
    assert len(join_copies(of(isic, exclude=["ISIC_0000001", "ISIC_0000010"]))) == 22


def test_recipes_from_before_keep_their_hash() -> None:
    """New keys are written only where they are set."""
    document = DataTable(kind="synthetic").model_dump(mode="json")
    assert set(document) == {
        *("kind", "root", "labels", "metadata", "unlabelled", "count", "size", "seed")
    }
    split = SplitTable().model_dump(mode="json")
    assert set(split) == {"by", "validation", "test", "seed", "lists"}
    assert sha256_json(document)[:12] == "f00bd12f4b18"
    mine = load_recipe(PLAIN, ['data.map={nv="mel"}', "split.folds=5", "split.fold=2"])
    assert from_dict(mine.to_dict(), "mine") == mine
    assert mine.to_dict()["data"]["map"] == {"nv": "mel"}
    assert shape(mine.data)["map"] == {"nv": "mel"}
    assert "exclude" not in shape(DataTable(kind="isic", exclude=("a",)))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.exclude=3", r"data.exclude: a file, or a list of ids \(given: 3\)"),
        ("data.exclude=[1, 2]", "data.exclude: a file, or a list of ids"),
        ('data.duplicates=[["a"]]', "data.duplicates: a CSV file, or a list of pairs of ids"),
        ("data.map.scc=3", "data.map.scc: .*valid string"),
        ("split.folds=1", "folds = 1 leaves nothing to train on"),
        ("split={folds = 5, fold = 5}", r"folds are numbered from 0 to folds - 1 \(folds = 5\)"),
        ('split={folds = 5, test_origin = "BCN"}', "both say who judges; keep one"),
        ('split={by = "photograph", test_origin = "BCN"}', "keeps lesions apart"),
        ('split={by = "lists", folds = 2}', "take out folds and test_origin"),
    ],
)
def test_keys_that_cannot_be(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load_recipe(PLAIN, [override])
    assert "\n" not in str(caught.value)


def test_isic2019_is_shipped_with_what_the_archive_needs() -> None:
    data = load_recipe("isic2019").data
    assert data.map == {"AK": "akiec", "SCC": "akiec"}
    assert data.origin == "lesion_id"
    assert len(data.exclude) == 4
    assert all(len(pair) == 2 for pair in data.duplicates)


def test_hashes_are_kept_and_only_for_the_very_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEKD_STORE", str(tmp_path / "store"))
    root = make_folder(tmp_path / "data", each=6)
    table = DataTable(kind="folder", root=str(root))
    first = check_photographs(load(table))
    decoded: list[int] = []
    photograph_of = Dataset.photograph

    def counted(self: Dataset, i: int) -> Image.Image:
        decoded.append(i)
        return photograph_of(self, i)

    monkeypatch.setattr(Dataset, "photograph", counted)
    assert check_photographs(load(table)) == first
    assert decoded == []
    changed = root / "benign" / "IMG_0.png"
    status = changed.stat()
    content = bytearray(changed.read_bytes())
    photograph(changed, 999)
    changed.write_bytes(changed.read_bytes()[: len(content)].ljust(len(content), b"\0"))
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = check_photographs(load(table))
    assert len(decoded) == 1, "same size and time, and yet another file"
    assert [name for name in again if again[name] != first[name]] == ["benign/IMG_0"]
    (kept,) = (tmp_path / "store" / "files").iterdir()
    whole = kept.read_bytes()
    for broken in (b"", b"{", whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        kept.write_bytes(broken)
        assert check_photographs(load(table)) == again


def test_a_store_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("MOBILEKD_STORE", str(tmp_path / "file" / "store"))
    root = make_folder(tmp_path / "data", each=6)
    for _ in range(2):
        assert len(check_photographs(load(DataTable(kind="folder", root=str(root))))) == 12
    said = capsys.readouterr().err
    assert said.count("cannot be written (Not a directory)") == 1
