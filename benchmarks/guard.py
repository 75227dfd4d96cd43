"""Rate a guard: how well its score tells own test photographs from anything else.

    python benchmarks/guard.py TARGET --own data/ham10000 --folder "not skin=FOLDER" \
        --output benchmarks/results/guard-NAME.json

TARGET is a run or an artifact with a guard. Its own test photographs come from the recorded split;
each ``--folder`` is a folder of photographs that the model was never trained on, and the guard
never fitted on, of which 500 are drawn where there are more. Besides, own photographs blurred, with
red and blue exchanged and with colours upside down, noise, flat colours and the synthetic lesions.
Each gets the AUROC against the own ones and the share that is refused, both with 95% intervals
(bootstrap over photographs, 1,000 draws).
"""

import argparse
import shlex
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy.stats import rankdata

from mobilekd.data import inputs, load
from mobilekd.formats.data_tables import DataTable
from mobilekd.formats.preprocess import Preprocess, readable_suffixes
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.inference.predictor import Predictor, open_predictor
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_json
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions

DRAWS = 1000

#: Own photographs that are altered, and pictures of each kind that are drawn.
MADE = 200


def auroc(own: np.ndarray, other: np.ndarray) -> float:
    """Chance that one of ``other`` scores higher than one of ``own``; ties count half."""
    ranks = rankdata(np.concatenate([own, other]))[len(own) :]
    return float((ranks.sum() - len(other) * (len(other) + 1) / 2) / (len(own) * len(other)))


def rated(own: np.ndarray, other: np.ndarray, threshold: float) -> dict[str, object]:
    """AUROC and share refused of ``other``'s scores, each with its interval."""
    random = np.random.default_rng(0)
    draws = [
        (
            auroc(random.choice(own, len(own)), drawn := random.choice(other, len(other))),
            float((drawn > threshold).mean()),
        )
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(np.array(draws), [0.025, 0.975], axis=0)
    values = {"auroc": auroc(own, other), "refused": float((other > threshold).mean())}
    return {
        "photographs": len(other),
        **{
            name: {"value": value, "low": float(low[i]), "high": float(high[i])}
            for i, (name, value) in enumerate(values.items())
        },
    }


def blurred(pictures: np.ndarray, radius: float) -> np.ndarray:
    """Pictures uint8 ``[N, 3, H, W]`` under a Gaussian of ``radius`` pixels."""
    gaussian = ImageFilter.GaussianBlur(radius)
    return np.stack(
        [
            np.asarray(Image.fromarray(one.transpose(1, 2, 0)).filter(gaussian)).transpose(2, 0, 1)
            for one in pictures
        ]
    )


def folder(path: Path, preprocess: Preprocess, most: int) -> np.ndarray:
    """Photographs below ``path``, as the model takes them: all, or ``most`` drawn with seed 0."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in readable_suffixes())
    if not files:
        raise UserError(f"{path}: no photographs in this folder")
    if len(files) > most:
        rows = np.random.default_rng(0).permutation(len(files))[:most]
        files = [files[row] for row in sorted(rows)]
    return np.stack([preprocess.load(file).transpose(2, 0, 1) for file in files])


def drawn(preprocess: Preprocess) -> dict[str, np.ndarray]:
    """Pictures that no camera made."""
    random = np.random.default_rng(0)
    shape = (MADE, 3, preprocess.height, preprocess.width)
    table = DataTable(kind="synthetic", count=MADE, size=max(preprocess.height, preprocess.width))
    synthetic = load(table)
    colours = random.integers(0, 256, (MADE, 3, 1, 1))
    return {
        "noise": random.integers(0, 256, shape).astype(np.uint8),
        "flat colours": np.broadcast_to(colours, shape).astype(np.uint8),
        "synthetic lesions": inputs(synthetic, synthetic.ids, preprocess),
    }


def rate(predictor: Predictor, own: np.ndarray, others: dict[str, np.ndarray]) -> dict[str, object]:
    """The whole document but for where it comes from."""
    if predictor.guard is None:
        raise UserError(f"{predictor.folder}: has no guard; mobilekd export RUN --guard fits one")
    threshold = predictor.guard.threshold
    known = predictor.answers(own).scores
    assert known is not None
    document: dict[str, object] = {"threshold": threshold, "own": rated(known, known, threshold)}
    for name, pictures in others.items():
        say(f"guard: {len(pictures)} photographs of {name}")
        scores = predictor.answers(pictures).scores
        assert scores is not None
        document[name] = rated(known, scores, threshold)
    return document


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target")
    parser.add_argument("--own", type=Path, required=True, help="root of the run's own data")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--most", type=int, default=500, help="photographs of each folder")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    predictor = open_predictor(arguments.target)
    recipe = with_overrides(predictor.recipe, [f'data.root="{arguments.own}"'])
    own = open_evaluation_set(
        recipe, predictor.labels, predictor.split, predictor.split_hash, roles=("test",)
    )
    pictures, preprocess = own.test().inputs, predictor.preprocess
    some = pictures[:MADE]
    others = {
        "red and blue exchanged": some[:, ::-1],
        "colours upside down": 255 - some,
        "blurred by 2 pixels": blurred(some, 2),
        "blurred by 4 pixels": blurred(some, 4),
        **drawn(preprocess),
    }
    for text in arguments.folder:
        name, _, place = text.partition("=")
        others[name] = folder(Path(place), preprocess, arguments.most)
    document = {
        "what": "how well a guard tells own test photographs from anything else",
        "command": shlex.join(["python", "benchmarks/guard.py", *sys.argv[1:]]),
        "target": predictor.name,
        "kind": predictor.kind,
        **{name: predictor.facts.get(name) for name in ("backend", "precision", "sha256")},
        **rate(predictor, pictures, others),
        "created_utc": utc_now(),
        "commit": commit(),
        "versions": versions(),
    }
    write_json(arguments.output, document)


if __name__ == "__main__":
    main()
