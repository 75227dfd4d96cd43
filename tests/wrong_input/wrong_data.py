"""Wrong photographs, labels and splits."""

import csv
import json
from pathlib import Path

from PIL import Image
from wrong_kinds import SMALL, kind

CLASSES = ("bcc", "mel", "nv")


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((40, 40), 40 + seed).convert("RGB").save(path, quality=90)
    return path


def folder_data(root: Path, each: int = 8) -> Path:
    for number, key in enumerate(CLASSES):
        for i in range(each):
            photograph(root / key / f"{key}{i}.jpg", 10 * number + i)
    return root


def isic_data(
    root: Path,
    rows: list[list[str]],
    header: str = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
    files: list[str] | None = None,
) -> Path:
    for name in files if files is not None else [row[0] for row in rows]:
        photograph(root / f"{name}.jpg")
    with (root / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return root


def one_hot(name: str, column: int) -> list[str]:
    return [name, *("1.0" if i == column else "0.0" for i in range(9))]


def on_folder(here: Path) -> list[str]:
    return [
        "teach",
        "demo",
        *SMALL,
        "--set",
        "data.kind=folder",
        "--set",
        f"data.root={here / 'data'}",
    ]


def on_isic(here: Path) -> list[str]:
    labels = f"data.labels={here / 'data' / 'truth.csv'}"
    return [
        "teach",
        "demo",
        *SMALL,
        "--set",
        "data.kind=isic",
        "--set",
        f"data.root={here / 'data'}",
        "--set",
        labels,
    ]


@kind("1 unreadable photograph", "nv/nv3", "replace or remove it")
def file_that_is_no_photograph(here: Path) -> list[str]:
    folder_data(here / "data")
    (here / "data/nv/nv3.jpg").write_bytes(b"no photograph")
    return on_folder(here)


@kind("1 unreadable photograph", "mel/mel1")
def truncated_photograph(here: Path) -> list[str]:
    folder_data(here / "data")
    path = here / "data/mel/mel1.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return on_folder(here)


@kind("nothing-here", "no such folder")
def missing_data_folder(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "data.kind=folder", "--set", "data.root=nothing-here"]


@kind("class", "empty", "without any photograph")
def class_without_photographs(here: Path) -> list[str]:
    folder_data(here / "data")
    (here / "data/empty").mkdir()
    return on_folder(here)


@kind("XYZ", "unknown class column")
def csv_with_an_unknown_class(here: Path) -> list[str]:
    isic_data(here / "data", [["a", "1", "0"]], header="image,MEL,XYZ")
    return on_isic(here)


@kind("not one-hot", "1 in exactly one class column")
def csv_with_two_classes_at_once(here: Path) -> list[str]:
    row = one_hot("b", 1)
    row[1] = "1.0"
    isic_data(here / "data", [one_hot("a", 0), row])
    return on_isic(here)


@kind("1 label", "without", "gone")
def label_without_photograph(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 0), one_hot("gone", 1)], files=["a"])
    return on_isic(here)


@kind("1 photograph", "without", "extra")
def photograph_without_label(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 0), one_hot("b", 1)], files=["a", "b", "extra"])
    return on_isic(here)


@kind("1 id (a)", "listed more than once")
def duplicated_id(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 0), one_hot("a", 0), one_hot("b", 1)])
    return on_isic(here)


@kind("lists.json", "1 unknown id", "nobody")
def split_list_with_an_unknown_id(here: Path) -> list[str]:
    return split_by(
        here,
        {"train": ["nv/nv0", "mel/mel0", "bcc/bcc0"], "validation": ["nv/nv1"], "test": ["nobody"]},
    )


@kind("lists.json", "listed more than once", "nv/nv0")
def split_list_with_an_id_twice(here: Path) -> list[str]:
    return split_by(
        here,
        {"train": ["nv/nv0", "mel/mel0", "bcc/bcc0"], "validation": ["nv/nv0"], "test": ["nv/nv2"]},
    )


def split_by(here: Path, lists: dict[str, list[str]]) -> list[str]:
    folder_data(here / "data")
    (here / "lists.json").write_text(json.dumps(lists))
    return [
        *on_folder(here),
        "--set",
        "split.by=lists",
        "--set",
        f"split.lists={here / 'lists.json'}",
    ]


@kind("leave nothing to train on")
def split_without_training(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "split.test=0.95", "--set", "split.validation=0.05"]
