"""Several sources as one data set, and copies that lie in two of them or in two folds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.data import isic_rows, make_folder, make_ham, make_isic, photograph, write_csv
from PIL import Image

from mobilekd.commands.evaluate import moved
from mobilekd.data import Dataset, join_copies, load, make_split
from mobilekd.data.overlap import overlap_hashes, overlapping
from mobilekd.formats.data_tables import DataTable, SplitTable, data_title
from mobilekd.formats.recipe import same_but_for_places
from mobilekd.formats.recipe_file import from_dict, load_recipe, with_overrides
from mobilekd.support.errors import UserError


def folder(root: Path, **options: Any) -> dict[str, Any]:
    return {"kind": "folder", "root": str(root), **options}


def several(*sources: dict[str, Any], **options: Any) -> DataTable:
    return DataTable(kind="several", sources=sources, **options)


@pytest.fixture
def clinics(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two folders of twelve photographs to a class, all alike in name and none in pixels."""
    for number, name in enumerate(("vienna", "barcelona")):
        for c, kind in enumerate(("mel", "nv")):
            for n in range(12):
                photograph(tmp_path / name / kind / f"IMG_{n}.png", 1000 * number + 100 * c + n)
    return (
        folder(tmp_path / "vienna", origin="Vienna"),
        folder(tmp_path / "barcelona", origin="Barcelona"),
    )


def test_sources_become_one_data_set(clinics: Any) -> None:
    dataset = load(several(*clinics))
    assert len(dataset) == 48
    assert dataset.kind == "folder"
    assert dataset.ids == tuple(sorted(dataset.ids))
    assert dataset.ids[0] == "Barcelona/mel/IMG_0", "both have it, so the source stands before it"
    assert dataset.counts() == {"mel": 24, "nv": 24}
    assert all(
        name.startswith(f"{o}/") for name, o in zip(dataset.ids, dataset.origins, strict=True)
    )
    row = dataset.ids.index("Vienna/nv/IMG_3")
    assert dataset.paths is not None
    assert Path(dataset.paths[row]).parent.parent.name == "vienna"
    assert dataset.notes[-1].endswith(
        "48 photographs of 2 sources, by origin: 24 Barcelona, 24 Vienna"
    )
    assert any("24 ids (mel/IMG_0, " in note and "source's name" in note for note in dataset.notes)
    assert load(several(*clinics[::-1])).ids == dataset.ids


def test_a_copy_in_another_source_and_in_another_fold_is_found(clinics: Any) -> None:
    """The planted copy has another name, another place and another format, and is one lesion."""
    vienna, barcelona = Path(clinics[0]["root"]), Path(clinics[1]["root"])
    Image.open(vienna / "mel" / "IMG_3.png").save(barcelona / "mel" / "other.bmp")
    Image.open(vienna / "nv" / "IMG_3.png").save(vienna / "nv" / "again.bmp")
    table = several(*clinics)
    copies = [("Vienna/mel/IMG_3", "mel/other"), ("Vienna/nv/IMG_3", "nv/again")]
    plain = load(table)
    apart = [
        fold
        for fold in range(5)
        for one, other in copies
        if len({one, other} & set(make_split(plain, SplitTable(folds=5, fold=fold)).test)) == 1
    ]
    assert apart, "by names alone the folds would part a pair"
    dataset = join_copies(plain)
    lesion = dict(zip(dataset.ids, dataset.lesions, strict=True))
    judged: list[str] = []
    for fold in range(5):
        split = make_split(dataset, SplitTable(folds=5, fold=fold))
        for one, other in copies:
            assert lesion[one] == lesion[other]
            roles = [
                role
                for role in ("train", "validation", "test")
                if {one, other} & set(getattr(split, role))
            ]
            assert len(roles) == 1, "both or none"
        judged += split.test
    assert sorted(judged) == list(plain.ids)
    split = make_split(dataset, SplitTable(test_origin="Barcelona"))
    assert {"Vienna/mel/IMG_3", "mel/other"} <= set(split.test), "it leaks nowhere"


def test_archives_that_hold_each_other(tmp_path: Path) -> None:
    """ISIC 2019 contains HAM10000: the same photograph and the same lesion under one name."""
    ham, isic = make_ham(tmp_path / "ham"), make_isic(tmp_path / "isic")
    rows = [[row[0], 60.0, "torso", f"HAM_{n // 2:07d}", "f"] for n, row in enumerate(isic_rows())]
    header = ("image", "age_approx", "anatom_site_general", "lesion_id", "sex")
    write_csv(isic / "ISIC_2019_Training_Metadata.csv", header, rows)
    table = several(
        {"kind": "ham10000", "root": str(ham)},
        {"kind": "isic", "root": str(isic), "map": {"SCC": "akiec"}},
    )
    dataset = load(table)
    assert dataset.kind == "ham10000+isic"
    assert [label.key for label in dataset.classes][:3] == ["akiec", "bcc", "bkl"]
    lesion = dict(zip(dataset.ids, dataset.lesions, strict=True))
    assert lesion["ham10000/ISIC_0000001"] == lesion["isic/ISIC_0000001"] == "HAM_0000000"
    assert lesion["ISIC_0000000"] == lesion["ISIC_0000000_downsampled"], "shrunk, and the same"
    assert set(dataset.origins) == {"ham10000", "isic"}, "where none is stated"
    assert dataset.metadata["site"][dataset.ids.index("isic/ISIC_0000001")] == "torso"
    alone = load(DataTable(kind="ham10000", root=str(ham)))
    seen = overlap_hashes(alone, ["ISIC_0000001"], "salt")
    found = overlapping(dataset, ("ham10000/ISIC_0000001", "isic/ISIC_0000001"), seen, "salt")
    assert found.all(), "a name before an id hides nobody"


def test_lesions_of_one_name_are_different_ones(clinics: Any, tmp_path: Path) -> None:
    for clinic in clinics:
        rows = [(f"{kind}/IMG_{n}", f"L{n // 2}") for kind in ("mel", "nv") for n in range(2)]
        clinic["metadata"] = f"{clinic['root']}.csv"
        write_csv(Path(clinic["metadata"]), ("image", "lesion_id"), rows)
    dataset = load(several(*clinics))
    lesion = dict(zip(dataset.ids, dataset.lesions, strict=True))
    assert lesion["Vienna/mel/IMG_0"] == lesion["Vienna/mel/IMG_1"] == "Vienna/L0"
    assert lesion["Barcelona/mel/IMG_0"] == "Barcelona/L0"
    assert lesion["Vienna/mel/IMG_5"] == "Vienna/mel/IMG_5"
    assert any("1 lesion id (L0) in several sources" in note for note in dataset.notes)
    pair = [("Vienna/mel/IMG_0", "Barcelona/mel/IMG_0")]
    joined = load(several(*clinics, duplicates=pair))
    lesion = dict(zip(joined.ids, joined.lesions, strict=True))
    assert lesion["Vienna/mel/IMG_1"] == lesion["Barcelona/mel/IMG_1"]


def test_classes_are_the_union_and_said(clinics: Any, tmp_path: Path) -> None:
    other = folder(make_folder(tmp_path / "other", ("MEL", "wart"), 3))
    dataset = load(several(clinics[0], other))
    assert dataset.counts() == {"mel": 15, "nv": 12, "wart": 3}
    assert {"data: class nv only in Vienna", "data: class wart only in folder"} < set(dataset.notes)
    assert set(dataset.origins) == {"Vienna", "folder"}
    row = dataset.ids.index("MEL/IMG_0")
    assert dataset.classes[dataset.targets[row]].key == "mel"
    alike = folder(make_folder(tmp_path / "alike", ("Melanoma", "nv"), 3))
    with pytest.raises(
        UserError, match=r"class Melanoma of folder is what mel of Vienna means; .*"
    ):
        load(several(clinics[0], alike))
    assert load(several(clinics[0], {**alike, "map": {"Melanoma": "mel"}})).counts()["mel"] == 15


def test_generated_photographs_beside_those_of_a_folder(clinics: Any) -> None:
    drawn = {"kind": "synthetic", "count": 40, "size": 32, "origin": "drawn"}
    dataset = load(several(clinics[0], drawn))
    assert dataset.paths is None
    rows = [dataset.origins.index("drawn"), dataset.origins.index("Vienna")]
    assert dataset.photograph(rows[0]).size == (32, 32)
    assert dataset.photograph(rows[1]).size == (40, 30)
    first = load(DataTable(kind="synthetic", count=40, size=32))
    place = first.ids.index(dataset.ids[rows[0]])
    assert np.array_equal(first.photograph(place), dataset.photograph(rows[0]))


RECIPE = """
name = "two"
[[data]]
kind = "folder"
root = "a"
origin = "Vienna"
[[data]]
kind = "isic"
root = "b"
map = { SCC = "akiec" }
"""


def test_a_recipe_lists_its_sources(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(RECIPE)
    recipe = load_recipe(str(path), ["data.1.root=elsewhere"])
    assert [source.root for source in recipe.data.sources] == ["a", "elsewhere"]
    assert recipe.data.title == "folder and isic" == data_title(recipe.to_dict()["data"])
    assert from_dict(recipe.to_dict(), "two") == recipe
    again = with_overrides(recipe, ["data.0.origin=Graz", "data.1.root=x"])
    assert [(source.name, source.root) for source in again.data.sources] == [
        ("Graz", "a"),
        ("isic", "x"),
    ]
    assert same_but_for_places(recipe, with_overrides(recipe, ["data.1.root=x"]))
    assert not same_but_for_places(recipe, again)
    one = load_recipe("demo", ['data=[{kind = "synthetic", count = 30}]'])
    assert one.data == DataTable(kind="synthetic", count=30), "a list of one is that one"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.2.root=x", "no entry 2 in a list of 2"),
        ("data.1.kind=photos", "data.sources.1.kind: .*'several'.*given: 'photos'"),
        ("data=[]", "need each other; write each source as"),
        ('data={kind = "several"}', "need each other; write each source as"),
        ('data={kind = "isic", sources = [{kind = "isic"}]}', "need each other"),
        ('data={kind = "several", root = "x", sources = [{kind = "isic"}]}', "to each source"),
    ],
)
def test_sources_that_cannot_be(tmp_path: Path, override: str, said: str) -> None:
    path = tmp_path / "two.toml"
    path.write_text(RECIPE)
    with pytest.raises(UserError, match=said) as caught:
        load_recipe(str(path), [override])
    assert "\n" not in str(caught.value)


def test_sources_that_moved_together_are_found(clinics: Any, tmp_path: Path) -> None:
    table = several(*clinics)
    found = moved(table, tmp_path / "now")
    assert [Path(str(source.root)) for source in found.sources] == [
        tmp_path / "now" / "vienna",
        tmp_path / "now" / "barcelona",
    ]


def test_a_subset_of_several_stays_aligned(clinics: Any) -> None:
    dataset: Dataset = load(several(*clinics))
    part = dataset.subset([3, 40])
    assert part.origins == (dataset.origins[3], dataset.origins[40])
    assert part.photograph(1).tobytes() == dataset.photograph(40).tobytes()


def test_classes_are_labelled_as_their_sources_label_them(clinics: Any) -> None:
    one = load(DataTable(**clinics[0]))
    assert load(several(*clinics)).classes == one.classes
