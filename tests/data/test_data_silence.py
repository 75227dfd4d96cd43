"""Nothing is left out, joined or guessed in silence: count and first names are said, and stand in
the data set's notes for every result.
"""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from fixtures.data import (
    HAM_HEADER,
    ham_rows,
    isic_rows,
    make_folder,
    make_ham,
    make_isic,
    photograph,
    write_csv,
)
from fixtures.run import prepared
from PIL import Image

from mobilekd.data import Dataset, join_copies, load, load_unlabelled, make_split, map_classes
from mobilekd.formats.data_tables import DataTable, SplitTable
from mobilekd.formats.labels import Label
from mobilekd.formats.recipe import Recipe
from mobilekd.support.errors import UserError


def load_folder(root: Path, **options: str) -> Dataset:
    return load(DataTable(kind="folder", root=str(root), **options))


def said(dataset: Dataset, text: str, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether it stands on the terminal and in the notes."""
    return text in capsys.readouterr().err and any(text in note for note in dataset.notes)


# Metadata


@pytest.mark.parametrize(
    "written",
    [
        "benign/{}",
        "benign/{}.png",
        "{}.png",
        "{}",
        "benign\\{}.png",
        "./photographs/benign/{}.PNG",
        "BENIGN/{}",
        "C:\\data\\benign\\{}.png",
    ],
)
def test_a_table_may_spell_photographs_as_people_do(tmp_path: Path, written: str) -> None:
    make_folder(tmp_path / "photographs")
    for n in range(4):  # other names than the other class's, so that a base name is enough
        path = tmp_path / "photographs" / "malignant" / f"IMG_{n}.png"
        path.rename(path.with_name(f"DSC-{n}.png"))
    rows = [[written.format(f"IMG_{n}"), f"L{n // 2}"] for n in range(4)]
    rows += [[written.format("DSC_0").replace("benign", "malignant"), "L9"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions[:4] == ("L0", "L0", "L1", "L1")
    if "/" not in written and "\\" not in written:
        assert dataset.lesions[4] == "L9", "a hyphen and an underscore are one separator"


@pytest.mark.parametrize(
    ("header", "comma"),
    [
        ("Image,Lesion_ID", ","),
        ("isic_id,lesion", ","),
        ("filename;lesion_id", ";"),
        ("IMAGE_NAME\tlesionid", "\t"),
    ],
)
def test_a_table_may_call_its_columns_as_people_do(tmp_path: Path, header: str, comma: str) -> None:
    make_folder(tmp_path / "photographs")
    lines = [header, *(f"benign/IMG_{n}{comma}L{n // 2}" for n in range(4))]
    (tmp_path / "lesions.csv").write_text("\n".join(lines) + "\n")
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions[:4] == ("L0", "L0", "L1", "L1")


def test_rows_that_contradict_each_other_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "photographs")
    rows = [
        ["benign/IMG_0", "L1", "50"],
        ["benign/IMG_0", "L1", "70"],
        ["malignant/IMG_0", "L1", ""],
    ]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id", "age"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.metadata["age"][0] == 50.0
    told = "1 photograph (benign/IMG_0) in several rows with different age, sex or site"
    assert said(dataset, told, capsys)
    assert any("1 lesion (L1) with photographs of more than one class" in x for x in dataset.notes)


def test_one_lesion_of_most_photographs_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "photographs")
    rows = [[f"{key}/IMG_{n}", "0"] for key in ("benign", "malignant") for n in range(3)]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert said(dataset, "lesion 0 has 6 of 8 photographs", capsys)


def test_a_table_that_names_no_photograph_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), [["a", "L1"], ["b", "L1"]])
    with pytest.raises(UserError, match=r"none of its 2 rows \(a, b\) names one of the 8 photo"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), [])
    with pytest.raises(UserError, match="none of its 0 rows"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))


def test_a_partial_join_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path / "photographs")
    rows = [["benign/IMG_0", "L1"], ["benign/IMG_1", "L1"], ["elsewhere", "L2"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert said(dataset, "1 row (elsewhere) of photographs that are not here left out", capsys)
    assert any("6 photographs (benign/IMG_2, " in note for note in dataset.notes)


def test_one_photograph_with_two_lesions_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    rows = [["benign/IMG_0", "L1"], ["benign/IMG_0.png", "L2"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    with pytest.raises(UserError, match=r"1 photograph \(benign/IMG_0\) in several rows"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    rows = [["benign/IMG_0", "L1"], ["benign/IMG_0.png", "L1"]]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    assert (
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv")).lesions.count(
            "L1"
        )
        == 1
    )


def test_a_base_name_of_two_photographs_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "photographs")
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), [["IMG_0", "L1"]])
    with pytest.raises(UserError, match=r"1 image \(IMG_0\) could be more than one photograph"):
        load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))


NOTHING = [
    "nan",
    "NA",
    "none",
    "Unknown",
    "",
    "n/a",
    "null",
    "-",
    "?",
    "#N/A",
    "<NA>",
    "N.A.",
    "-1",
]


@pytest.mark.parametrize("cell", NOTHING)
def test_a_lesion_that_is_not_known_is_nobody_else_s(
    tmp_path: Path, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "photographs")
    rows = [[f"benign/IMG_{n}", cell] for n in range(4)]
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(tmp_path / "photographs", metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions == dataset.ids
    assert said(dataset, "4 photographs (benign/IMG_0, ", capsys)
    rows = ham_rows()
    for row in rows[:4]:
        row[0] = cell
    ham = load(DataTable(kind="ham10000", root=str(make_ham(tmp_path / "ham", rows))))
    assert ham.lesions[:4] == ham.ids[:4]
    assert said(ham, "4 photographs (ISIC_0000000, ", capsys)


# Files


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


# Classes


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


# Copies


def test_copies_are_one_lesion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path, each=20)
    for n in range(10):  # under other names, and as other files
        image = Image.open(root / "benign" / f"IMG_{n}.png")
        image.save(root / "benign" / f"COPY_{n}.bmp")
    recipe = Recipe(
        name="copies",
        data=DataTable(kind="folder", root=str(root)),
        split=SplitTable(validation=0.2, test=0.3),
    )
    experiment = prepared(recipe)
    role_of = {
        name: role
        for role in ("train", "validation", "test")
        for name in getattr(experiment.split, role)
    }
    for n in range(10):
        assert role_of[f"benign/COPY_{n}"] == role_of[f"benign/IMG_{n}"]
    assert said(experiment.dataset, "10 photographs (benign/IMG_0, ", capsys)
    assert experiment.dataset.hash == load(recipe.data).hash, "the data are the same"


def test_copies_under_a_split_by_photograph_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path, each=20)
    Image.open(root / "benign" / "IMG_0.png").save(root / "benign" / "COPY.bmp")
    table = DataTable(kind="folder", root=str(root))
    split = SplitTable(validation=0.2, test=0.3, by="photograph")
    experiment = prepared(Recipe(name="copies", data=table, split=split))
    assert said(experiment.dataset, "so its results are leaky", capsys)
    assert not any("count as one lesion" in note for note in experiment.dataset.notes)


def test_copies_join_their_lesions(tmp_path: Path) -> None:
    """A copy of one shot joins all shots of both lesions, over a chain as well."""
    root = make_folder(tmp_path / "photographs", each=6)
    for a, b in ((0, 2), (3, 4)):
        Image.open(root / "benign" / f"IMG_{a}.png").save(root / "benign" / f"IMG_{b}.png")
    rows = [[f"benign/IMG_{n}", f"L{n // 2}"] for n in range(6)]  # L0: 0 1, L1: 2 3, L2: 4 5
    write_csv(tmp_path / "lesions.csv", ("image", "lesion_id"), rows)
    dataset = load_folder(root, metadata=str(tmp_path / "lesions.csv"))
    assert set(join_copies(dataset).lesions[:6]) == {"L0"}


def test_copies_within_a_lesion_change_nothing(tmp_path: Path) -> None:
    root = make_ham(tmp_path)
    first, second = (root / f"HAM10000_images_part_{1 + n}" / f"ISIC_{n:07d}.jpg" for n in (0, 1))
    second.write_bytes(first.read_bytes())
    dataset = load(DataTable(kind="ham10000", root=str(root)))
    joined = join_copies(dataset)
    assert (joined.lesions, joined.notes) == (dataset.lesions, ())
    table = SplitTable(validation=0.2, test=0.2)
    assert make_split(joined, table) == make_split(dataset, table)


def test_one_picture_with_two_labels_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    image = Image.open(root / "benign" / "IMG_1.png")
    image.save(root / "malignant" / "other.png")
    message = (
        r"1 picture \(benign/IMG_1: benign and malignant/other: malignant\) with more than one"
    )
    with pytest.raises(UserError, match=message):
        prepared(Recipe(name="torn", data=DataTable(kind="folder", root=str(root))))


# Layouts


def parted(root: Path, parts: tuple[str, ...] = ("train", "test")) -> Path:
    for p, part in enumerate(parts):
        for c, key in enumerate(("mel", "nv")):
            for n in range(6):
                photograph(root / part / key / f"{part}{n}.png", 100 * p + 10 * c + n)
    return root


def test_train_and_test_folders_are_the_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(parted(tmp_path))
    assert [label.key for label in dataset.classes] == ["mel", "nv"]
    assert dataset.counts() == {"mel": 12, "nv": 12}
    assert said(dataset, "test, train are taken as the split", capsys)
    split = make_split(dataset, SplitTable(validation=0.25, test=0.2))
    assert {name.split("/")[0] for name in split.test} == {"test"}
    assert len(split.test) == 12
    assert {name.split("/")[0] for name in split.train + split.validation} == {"train"}
    assert len(split.validation) == 2, "of 6 of each class, a quarter is 1.5"
    assert split.by == "lists"
    told = "validation drawn from the sub-folder of training, by photograph, no lesion ids"
    assert told in capsys.readouterr().err


def test_all_three_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    dataset = load_folder(parted(tmp_path, ("Training", "val", "TEST")))
    split = make_split(dataset, SplitTable(validation=0.1, test=0.1))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [12, 12, 12]
    assert {name.split("/")[0] for name in split.validation} == {"val"}


def test_copies_over_the_folders_are_a_leak(tmp_path: Path) -> None:
    root = parted(tmp_path)
    image = Image.open(root / "train" / "mel" / "train0.png")
    image.save(root / "test" / "mel" / "again.png")
    with pytest.raises(UserError, match=r"1 lesion .* on both sides of the split"):
        prepared(Recipe(name="leak", data=DataTable(kind="folder", root=str(root))))


def test_parts_beside_classes_are_told(tmp_path: Path) -> None:
    make_folder(parted(tmp_path))
    with pytest.raises(UserError, match=r"beside 2 other sub-folders \(benign, malignant\)"):
        load_folder(tmp_path)


def test_folders_of_sites_are_not_advised_away(tmp_path: Path) -> None:
    """Moving the photographs up would lose the labels."""
    for site in ("vienna", "brisbane"):
        make_folder(tmp_path / site, ("mel", "nv"))
    with pytest.raises(UserError, match="else give the folder whose sub-folders are the classes"):
        load_folder(tmp_path)


def test_a_subset_s_table_leaves_the_other_photographs_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_isic(tmp_path)
    labels = root / "ISIC_2019_Training_GroundTruth.csv"
    lines = labels.read_text().splitlines()
    (tmp_path / "SUBSET.csv").write_text("\n".join([lines[0], *lines[4:]]) + "\n")
    table = DataTable(kind="isic", root=str(root), labels=str(tmp_path / "SUBSET.csv"))
    dataset = load(table, part=True)
    assert len(dataset) == 21
    assert said(dataset, "3 photographs (ISIC_0000000_downsampled, ISIC_0000001, ", capsys)
    with pytest.raises(UserError, match=r"3 photographs .* without a label"):
        load(table)


@pytest.mark.parametrize("kind", ["isic", "ham10000"])
def test_a_subset_of_the_photographs_leaves_the_other_labels_out(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = {"isic": make_isic, "ham10000": make_ham}[kind](tmp_path)
    whole = load(DataTable(kind=kind, root=str(root)))
    for path in whole.paths[:3] if whole.paths else ():
        Path(path).unlink()
    dataset = load(DataTable(kind=kind, root=str(root)), part=True)
    assert dataset.ids == whole.ids[3:]
    assert said(dataset, f"3 labels ({', '.join(whole.ids[:3])}) without a photograph", capsys)
    with pytest.raises(UserError, match=r"3 labels .* without a photograph; add"):
        load(DataTable(kind=kind, root=str(root)))


@pytest.mark.parametrize("spelled", ["{}.jpg", "images/{}.JPG", "images\\{}"])
def test_labels_may_spell_photographs_as_people_do(tmp_path: Path, spelled: str) -> None:
    ham, isic = ham_rows(), isic_rows()
    for row in ham:
        row[1] = spelled.format(row[1])
    for row in isic:
        row[0] = spelled.format(row[0])
    for kind, root, plain in (
        ("ham10000", make_ham(tmp_path / "ham", ham), make_ham(tmp_path / "ham0")),
        ("isic", make_isic(tmp_path / "isic", isic), make_isic(tmp_path / "isic0")),
    ):
        one, other = (load(DataTable(kind=kind, root=str(place))) for place in (root, plain))
        assert (one.ids, one.lesions, one.hash) == (other.ids, other.lesions, other.hash)


def test_a_photograph_and_its_reduced_copy_are_two(tmp_path: Path) -> None:
    """One row means one of them; the other has none."""
    folder = make_isic(tmp_path) / "ISIC_2019_Training_Input"
    photograph(folder / "ISIC_0000001_downsampled.jpg", 99)
    with pytest.raises(
        UserError, match=r"1 photograph \(ISIC_0000001_downsampled\) without a label"
    ):
        load(DataTable(kind="isic", root=str(tmp_path)))


def test_the_2019_test_layout_has_no_lesion_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_isic(tmp_path)
    for path in sorted(root.iterdir()):
        path.rename(path.with_name(path.name.replace("Training", "Test")))
    rows = [[f"ISIC_{n:07d}", 60.0, "anterior torso", "male"] for n in range(27)]
    header = ("image", "age_approx", "anatom_site_general", "sex")
    write_csv(root / "ISIC_2019_Test_Metadata.csv", header, rows)
    dataset = load(DataTable(kind="isic", root=str(root)))
    assert dataset.lesions == dataset.ids
    assert dataset.metadata["age"] == (60.0,) * 24, "whether or not a name says _downsampled"
    assert said(dataset, "no column lesion_id", capsys)


def test_ham10000_must_have_the_column(tmp_path: Path) -> None:
    make_ham(tmp_path)
    rows = [row[1:] for row in ham_rows()]
    write_csv(tmp_path / "HAM10000_metadata.csv", HAM_HEADER[1:], rows)
    with pytest.raises(UserError, match=r"1 column \(lesion_id\) missing"):
        load(DataTable(kind="ham10000", root=str(tmp_path)))


def test_a_class_without_a_place_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_folder(make_folder(tmp_path, ("Melanoma", "nv")))
    labels = (Label(key="mel", text="melanoma"), Label(key="nv", text="nevus"))
    mapped, left_out = map_classes(dataset, {}, labels)
    assert left_out == {"Melanoma": 4}
    assert np.array_equal(mapped.targets, [1] * 4)
    assert said(mapped, "4 photographs (Melanoma/IMG_0, ", capsys)
    assert any("--map Melanoma=mel" in note for note in mapped.notes)


def test_a_patients_column_that_is_not_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "photographs")
    ids = load_folder(root).ids
    header = ("image", "lesion_id", "Patient_ID")
    write_csv(tmp_path / "lesions.csv", header, [(name, "none", "p1") for name in ids])
    dataset = load_folder(root, metadata=str(tmp_path / "lesions.csv"))
    assert dataset.lesions == ids
    assert any(f"read as \"not known\": 'none' in {len(ids)};" in note for note in dataset.notes)
    assert said(dataset, "its column Patient_ID is not read here; copy it into lesion_id", capsys)
    write_csv(tmp_path / "lesions.csv", header, [(name, f"l{name}", "p1") for name in ids])
    load_folder(root, metadata=str(tmp_path / "lesions.csv"))
    assert "is not read here" not in capsys.readouterr().err
