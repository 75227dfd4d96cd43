r"""A ``.pte`` judged on photographs in ISIC's layout, whose truth is known: HAM10000 renamed, in
another order, with other files.

    python benchmarks/ham10000/as_isic.py artifacts/ham10000-mobilenetv2-035-xnnpack-int8 \
        --root data/ham10000

All photographs are laid out as ISIC 2019 does (one folder, one-hot CSV, metadata CSV) under new
names; those that the student was trained on must be left out by their content, and what is judged
must be judged as under the run's own layout. Writes ``benchmarks/results/ham10000/as-isic.json``.
"""

import argparse
import csv
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from mobilekd.commands.evaluate import evaluate
from mobilekd.data import load
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now

RESULT = Path(__file__).resolve().parents[1] / "results" / "ham10000" / "as-isic.json"

#: ISIC's columns in the archive's order, and the project's keys.
COLUMNS = {
    "MEL": "mel",
    "NV": "nv",
    "BCC": "bcc",
    "AK": "akiec",
    "BKL": "bkl",
    "DF": "df",
    "VASC": "vasc",
    "SCC": None,
    "UNK": None,
}


def lay_out(root: Path, folder: Path) -> DataTable:
    """HAM10000 below ``root`` as ISIC 2019 would have it."""
    dataset = load(DataTable(kind="ham10000", root=str(root)))
    photographs = folder / "ISIC_2019_Training_Input"
    photographs.mkdir(parents=True)
    files = {path.stem: path for path in root.rglob("*.jpg")}
    labels, metadata = (
        folder / "ISIC_2019_Training_GroundTruth.csv",
        folder / "ISIC_2019_Training_Metadata.csv",
    )
    with labels.open("w", newline="") as truth, metadata.open("w", newline="") as facts:
        hot, known = csv.writer(truth), csv.writer(facts)
        hot.writerow(["image", *COLUMNS])
        known.writerow(["image", "age_approx", "anatom_site_general", "lesion_id", "sex"])
        for index, name in enumerate(reversed(dataset.ids)):
            row = int(dataset.rows([name])[0])
            renamed = f"ISIC_9{index:06d}"
            shutil.copy(files[name], photographs / f"{renamed}.jpg")
            key = dataset.classes[int(dataset.targets[row])].key
            hot.writerow([renamed, *("1.0" if key == own else "0.0" for own in COLUMNS.values())])
            known.writerow([renamed, "", "", f"L_{dataset.lesions[row]}", ""])
    return DataTable(kind="isic", root=str(photographs), labels=str(labels), metadata=str(metadata))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--root", type=Path, required=True, help="HAM10000's folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        table = lay_out(options.root, Path(work) / "isic")
        judged = evaluate(options.artifact, data=table, output=Path(work) / "isic-evaluation")
    command = shlex.join(["python", "benchmarks/ham10000/as_isic.py", *sys.argv[1:]])
    write_json(
        RESULT,
        {
            "what": __doc__.splitlines()[0],
            "command": command,
            "judged": judged,
            "commit": commit(),
            "created_utc": utc_now(),
        },
    )
    metric = judged["metrics"]["balanced_accuracy"]
    say(f"{judged['data']}: balanced accuracy {metric['value']:.3f}")


if __name__ == "__main__":
    main()
