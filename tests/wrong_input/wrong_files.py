"""Photographs, tables and folders that a file system can hold and a data set cannot."""

import os
from pathlib import Path

from wrong_data import folder_data, isic_data, on_folder, on_isic, one_hot, photograph
from wrong_kinds import kind


@kind("1 link", "nv9.jpg", "to no file", "mend or remove")
def link_to_nothing(here: Path) -> list[str]:
    folder_data(here / "data")
    (here / "data/nv/nv9.jpg").symlink_to("moved-away.jpg")
    return on_folder(here)


@kind("1 link", "nv9.jpg", "to no file")
def link_to_itself(here: Path) -> list[str]:
    folder_data(here / "data")
    (here / "data/nv/nv9.jpg").symlink_to("nv9.jpg")
    return on_folder(here)


@kind("1 name", "not in UTF-8", "rename")
def name_that_is_not_utf8(here: Path) -> list[str]:
    folder_data(here / "data")
    os.rename(here / "data/nv/nv0.jpg", os.fsencode(here / "data/nv") + b"/caf\xe9.jpg")
    return on_folder(here)


@kind("1 photograph", "nv/first-visit/nv9.jpg", "move them up")
def photograph_too_deep(here: Path) -> list[str]:
    photograph(folder_data(here / "data") / "nv/first-visit/nv9.jpg")
    return on_folder(here)


@kind("data", "a file, not a folder", "--root FOLDER")
def file_in_the_folders_place(here: Path) -> list[str]:
    (here / "data").write_text("no folder")
    return ["evaluate", "demo", "--data", "folder", "--root", "data", "--output", "found"]


@kind("1 column (MEL) more than once", "keep one")
def csv_with_a_column_twice(here: Path) -> list[str]:
    isic_data(
        here / "data",
        [[*one_hot("a", 1), "1.0"]],
        header="image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,MEL",
    )
    return on_isic(here)


@kind("truth.csv", "not a readable CSV file", "UTF-8")
def csv_in_utf16(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 1)])
    path = here / "data/truth.csv"
    path.write_text(path.read_text(), encoding="utf-16-le")  # without the mark of UTF-16
    return on_isic(here)
