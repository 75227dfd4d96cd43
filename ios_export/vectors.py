"""Write the Swift tests' resize vectors with Pillow: ``python ios_export/vectors.py``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mobilekd.formats.preprocess import Preprocess

FILE = Path(__file__).parent / "Tests" / "LesionClassifierTests" / "resize.json"
#: (photograph's width, height, output width, height): reductions, an enlargement, odd sizes, one
#: pixel, both crops.
CASES = [
    (17, 11, 4, 4),
    (11, 17, 4, 4),
    (9, 9, 9, 9),
    (5, 7, 8, 8),
    (1, 1, 3, 3),
    (23, 8, 6, 4),
    (40, 30, 5, 3),
    (13, 29, 7, 7),
]


def vectors() -> list[dict[str, Any]]:
    """One dictionary per case; arrays are RGB, row after row."""
    generator = np.random.default_rng(0)
    made = []
    for width, height, out_width, out_height in CASES:
        photograph = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        preprocess = Preprocess(width=out_width, height=out_height)
        made.append(
            {
                "width": width,
                "height": height,
                "outWidth": out_width,
                "outHeight": out_height,
                "box": list(preprocess.crop_box(width, height)),
                "input": photograph.ravel().tolist(),
                "output": preprocess.apply(Image.fromarray(photograph)).ravel().tolist(),
            }
        )
    return made


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), separators=(",", ":")) + "\n", encoding="utf-8")
