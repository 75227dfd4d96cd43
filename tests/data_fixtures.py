"""Small data sets on disk in each public layout, for tests."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

KEYS = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def photograph(path: Path, seed: int, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


HAM_HEADER = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def ham_rows(per_class: int = 4) -> list[list[object]]:
    """Two photographs to a lesion."""
    rows: list[list[object]] = []
    for c, key in enumerate(KEYS):
        for n in range(per_class):
            number = c * per_class + n
            age, sex = ("55.0", "unknown") if n else ("", "male")
            rows.append([f"HAM_{number // 2:07d}", f"ISIC_{number:07d}", key, "histo", age, sex, "back"])
    return rows


def make_ham(root: Path, rows: Sequence[Sequence[object]] | None = None) -> Path:
    """The Kaggle layout below ``root``; photographs for ``ham_rows()`` whatever rows the CSV gets."""
    for number, row in enumerate(ham_rows()):
        photograph(root / f"HAM10000_images_part_{1 + number % 2}" / f"{row[1]}.jpg", number)
    write_csv(root / "HAM10000_metadata.csv", HAM_HEADER, ham_rows() if rows is None else rows)
    return root


ISIC_COLUMNS = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def isic_rows(per_class: int = 3) -> list[list[object]]:
    rows: list[list[object]] = []
    for c, _ in enumerate(ISIC_COLUMNS):
        for n in range(per_class):
            suffix = "_downsampled" if n == 0 else ""
            rows.append([f"ISIC_{c * per_class + n:07d}{suffix}", *["1.0" if c == k else "0.0" for k in range(len(ISIC_COLUMNS))]])
    return rows


def make_isic(root: Path, rows: Sequence[Sequence[object]] | None = None, columns: Sequence[str] = ISIC_COLUMNS) -> Path:
    """The 2019 training layout below ``root``: nine columns, metadata with ``lesion_id`` often empty."""
    for number, row in enumerate(isic_rows()):
        photograph(root / "ISIC_2019_Training_Input" / f"{row[0]}.jpg", number)
    rows = isic_rows() if rows is None else rows
    write_csv(root / "ISIC_2019_Training_GroundTruth.csv", ("image", *columns), rows)
    metadata = [[row[0], 60.0, "anterior torso", "" if n % 3 else f"BCN_{n // 6:07d}", "female"] for n, row in enumerate(isic_rows())]
    write_csv(root / "ISIC_2019_Training_Metadata.csv", ("image", "age_approx", "anatom_site_general", "lesion_id", "sex"), metadata)
    return root


def make_folder(root: Path, classes: Sequence[str] = ("benign", "malignant"), each: int = 4) -> Path:
    for c, name in enumerate(classes):
        for n in range(each):
            photograph(root / name / f"IMG_{n}.png", 100 * c + n)
    return root
