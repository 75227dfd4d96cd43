"""What both sides share: the step that is compared, and a loop that runs rounds on request. Imports
neither side.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Step:
    """The distillation step: networks by timm name, sizes in pixels, Hinton's loss beside
    cross-entropy, AdamW.
    """

    photographs: str
    classes: int
    teacher: str = "mobilenetv2_100"
    student_width: float = 0.35
    size: int = 160
    storage: int = 200
    batch: int = 64
    temperature: float = 2.0
    alpha: float = 0.3
    lr: float = 1e-3
    weight_decay: float = 0.02
    steps: int = 4
    threads: int = 2
    workers: int = 2
    compile: str = "yes"
    #: the augmentation both draw: degrees, zoom, shift, then the colours
    rotation: float = 180.0
    scale: float = 0.2
    translate: float = 0.08
    jitter: float = 0.15
    hue: float = 0.02

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_arguments(cls) -> "Step":
        return cls(**json.loads(sys.argv[1]))


def serve(modes: dict[str, Callable[[], int]], facts: dict[str, object]) -> None:
    """Say ``facts``, then answer each mode's name on standard input with one round's images and
    seconds.
    """
    answers = sys.stdout
    sys.stdout = sys.stderr  # progress of either side must not mix with the answers
    print(json.dumps(facts), file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        images = modes[line.strip()]()
        print(
            json.dumps({"images": images, "seconds": time.perf_counter() - began}),
            file=answers,
            flush=True,
        )
