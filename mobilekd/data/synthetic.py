"""Generated, dermoscopy-like photographs: the whole flow runs on them offline, and tests need no
data set.

A class is what it is by structure (border, texture, dots, streaks, vessels, symmetry); colour says
little. Nothing learnt on these pictures says anything about skin. Every lesion and every photograph
is drawn from (seed, number) alone; a lesion's further photographs are other views of the same
structure, so a split by photograph leaks here as well.
"""

import threading
from collections import OrderedDict
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from mobilekd.data import classes
from mobilekd.data.dataset import Dataset
from mobilekd.data.synthetic_canvas import Canvas, View
from mobilekd.data.synthetic_lesions import PAINTERS
from mobilekd.data.synthetic_scene import paint_over, paint_skin
from mobilekd.formats.data_tables import DataTable
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.words import counted

LICENCE = "CC0 1.0 (generated)"

#: Part of the data set's hash: raise it whenever a change moves a pixel.
VERSION = 1

#: How often each class is drawn, in the order of the classes: unequal, as in life, though less so.
SHARES = (0.11, 0.14, 0.15, 0.09, 0.15, 0.26, 0.10)

#: Added to the seed for photographs without labels, so that they are others.
UNLABELLED = 1_000_003

#: The first lesions take turns through the classes, so that a small set has all of them in every
#: part of a split.
TURNS = 3 * len(SHARES)

#: How often a lesion has one, two or three photographs.
VIEWS = (0.65, 0.25, 0.10)

#: Bytes of generated photographs that a process keeps: drawing takes 10 ms and more, and a command
#: asks for each again and again (its hash, its size, every size that a network sees).
KEPT_BYTES = 32 << 20

SITES = ("back", "trunk", "lower extremity", "upper extremity", "face", "abdomen")


def load(table: DataTable) -> Dataset:
    """``table.count`` photographs of ``table.size`` pixels; a larger count begins with the same
    photographs.
    """
    if table.count < len(SHARES):
        raise UserError(
            f"data.count: {counted(table.count, 'photograph')} cannot show {len(SHARES)}"
            f" classes; set at least {len(SHARES)}"
        )
    if table.size < 32:
        raise UserError(
            f"data.size: {table.size} pixels are too few to draw a lesion on; set at least 32"
        )
    lesions: list[int] = []
    targets: list[int] = []
    people: list[tuple[float | None, str, str]] = []
    number = 0
    while len(lesions) < table.count:
        rng = np.random.default_rng([table.seed, number, 0])
        target, views = int(rng.choice(len(SHARES), p=SHARES)), 1 + int(rng.choice(3, p=VIEWS))
        if number < TURNS:
            target, views = number % len(SHARES), 1
        age = float(5 * rng.integers(4, 18))
        person = (
            None if rng.random() < 0.05 else age,
            str(rng.choice(["female", "male"])),
            str(rng.choice(SITES)),
        )
        for _ in range(min(views, table.count - len(lesions))):
            lesions.append(number)
            targets.append(target)
            people.append(person)
        number += 1
    ids = tuple(f"synthetic-{table.seed}-{n:06d}" for n in range(table.count))
    return Dataset(
        kind="synthetic",
        ids=ids,
        targets=np.array(targets, dtype=np.int64),
        lesions=tuple(f"synthetic-{table.seed}-lesion-{n:06d}" for n in lesions),
        classes=classes.labels(classes.HAM10000),
        paths=None,
        metadata={
            **dict(zip(("age", "sex", "site"), map(tuple, zip(*people, strict=True)), strict=True)),
            "confirmed": (None,) * table.count,
        },
        licence=LICENCE,
        hash=sha256_json([VERSION, table.count, table.size, table.seed]),
        draw=partial(_draw, table.seed, table.size, tuple(lesions), tuple(targets)),
    )


def load_unlabelled(table: DataTable) -> Dataset:
    """``table.without_labels`` further photographs like those of ``table``, none of which is among
    them, whose labels nobody is told: targets -1, no classes.
    """
    count = table.without_labels
    drawn = load(table.model_copy(update={"count": count, "seed": table.seed + UNLABELLED}))
    return replace(
        drawn,
        kind="unlabelled",
        targets=np.full(count, -1, dtype=np.int64),
        classes=(),
        hash=sha256_json([drawn.hash, "unlabelled"]),
    )


def forget() -> None:
    """Let go of the photographs that were kept: each is drawn afresh."""
    with _lock:
        _kept.clear()


#: All that a photograph depends on -> its pixels, the one that was asked for last at the end.
_kept: OrderedDict[tuple[int, ...], bytes] = OrderedDict()
_lock = threading.Lock()


def _draw(
    seed: int, size: int, lesions: tuple[int, ...], targets: tuple[int, ...], i: int
) -> Image.Image:
    """Photograph ``i``: RGB, ``size`` x ``size``, drawn once and kept while there is room."""
    key = (seed, size, lesions[i], targets[i], i)
    with _lock:
        if (pixels := _kept.get(key)) is not None:
            _kept.move_to_end(key)
    if pixels is None:
        pixels = _drawn(*key).tobytes()
        with _lock:
            _kept[key] = pixels
            while sum(map(len, _kept.values())) > KEPT_BYTES:
                _kept.popitem(last=False)
    return Image.frombytes("RGB", (size, size), pixels)


def _drawn(seed: int, size: int, lesion_number: int, target: int, i: int) -> Image.Image:
    """Photograph ``i``, drawn at twice its size and reduced."""
    # alike in all its photographs
    lesion, session = (np.random.default_rng([seed, lesion_number, stream]) for stream in (1, 2))
    scene = np.random.default_rng([seed, i, 3])
    view = View.random(lesion, scene, 2 * size)
    canvas = Canvas(view, paint_skin(lesion, scene, view.side))
    PAINTERS[classes.HAM10000[target]](lesion, canvas)
    paint_over(session, scene, canvas)
    return canvas.photograph()
