"""A small artifact of the real kind: a random network lowered by the real backend, with a golden
set of odd photographs.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mobilekd.backends import get
from mobilekd.formats.artifact import Manifest, Provenance, Student, hashes
from mobilekd.formats.calibration import Calibration, Quality, Rescale, Sets
from mobilekd.formats.chip import Chip
from mobilekd.formats.constants import constants
from mobilekd.formats.golden_set import GoldenIndex, write_golden
from mobilekd.formats.labels import Label
from mobilekd.formats.preprocess import Preprocess
from mobilekd.graphs import torch_graph
from mobilekd.metrics.decide import decided
from mobilekd.students import Deployable
from mobilekd.support.files import new_folder, write_json
from mobilekd.support.provenance import utc_now, versions

LABELS = tuple(
    Label(key=key, text=text)
    for key, text in (("mel", "Melanoma"), ("nv", "Melanocytic nevus"), ("bkl", "Benign keratosis"))
)


class Small(nn.Module):
    """A stem, a convolution and a classifier under the names that Deployable asks of a student."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.block = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        self.classifier = nn.Linear(16, len(LABELS))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.bn1(self.conv_stem(x)))

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        return self.classifier(features.mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def lose_delegate(file: Path) -> None:
    """Name another delegate in ``file``, which no runtime has. The name is as long, so that nothing
    in the file moves.
    """
    content, name = file.read_bytes(), b"XnnpackBackend"
    assert name in content
    file.write_bytes(content.replace(name, b"HexagonBackend"))


def make_artifact(
    folder: Path,
    photographs: list[Path],
    size: tuple[int, int],
    *,
    cam: bool,
    seed: int = 0,
    fitted: bool = False,
    backend: str = "xnnpack",
    soc: str | None = None,
) -> Path:
    """An artifact at ``folder`` whose golden set is ``photographs``; ``fitted`` gives it sets, and
    what a calibration by a clinic leaves; ``soc`` makes it a file for one chip, whose delegate no
    runtime here has.
    """
    lowering, precision = get(backend), "w8a16" if soc else "fp32"
    shown = "qnn" if soc else backend
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    preprocess = Preprocess(
        width=size[0], height=size[1], mean=(0.6, 0.5, 0.45), std=(0.2, 0.21, 0.22)
    )
    calibration = Calibration(
        temperature=1.3,
        threshold=0.36,
        quality=Quality(sharpness_low=20, luma_low=60, luma_high=230),
        # the likeliest class of grey.jpg has 0.55 and is excluded, that of lesion.jpg 0.59
        sets=Sets(coverage=0.9, thresholds={"mel": 0.2, "nv": 0.34, "bkl": 0.57})
        if fitted
        else None,
        rescale=Rescale(power=0.7, offsets=(0.3, -0.1, 0.0)) if fitted else None,
    )
    student = Small().eval()
    with torch.no_grad():
        student.classifier.weight.mul_(12)  # answers that differ from photograph to photograph
    model = Deployable(student, preprocess, calibration, cam=cam).eval()
    told = constants(
        name=f"small-{seed}",
        backend=shown,
        precision=precision,
        labels=LABELS,
        preprocess=preprocess,
        calibration=calibration,
        outputs=("probabilities", "cam") if cam else ("probabilities",),
        soc=soc,
        card="A random network for tests.\nIt has learnt nothing.",
        student="0" * 64,
        versions=versions(),
    )
    inputs = np.stack(
        [preprocess.load(photograph).transpose(2, 0, 1) for photograph in photographs]
    )
    with new_folder(folder, replace=True) as work:
        example = torch.zeros(1, 3, preprocess.height, preprocess.width)
        lowered = lowering.lower(torch_graph.capture(model, example), example, "fp32", told, work)
        answers = lowering.run(lowered.model_path, inputs.astype(np.float32))
        if soc:
            lose_delegate(lowered.model_path)
        names = []
        (work / "golden").mkdir()
        for index, photograph in enumerate(photographs):
            names.append(f"{index:02d}{photograph.suffix}")
            (work / "golden" / names[-1]).write_bytes(photograph.read_bytes())
        index = GoldenIndex(
            count=len(names),
            height=preprocess.height,
            width=preprocess.width,
            classes=len(LABELS),
            images=tuple(names),
            cam=answers[1].shape[1:] if cam else None,
            max_error=1e-5,
        )
        said = decided(answers[0], None, LABELS, calibration, None)
        write_golden(work, index, inputs, answers[0], answers[1] if cam else None, decisions=said)
        manifest = Manifest(
            name=f"small-{seed}",
            backend=shown,
            precision=precision,
            chip=Chip(soc=soc, architecture="v75", qnn="2.51") if soc else None,
            model_file="model.pte",
            files=hashes(work),
            bytes=lowered.model_path.stat().st_size,
            student=Student(model="small", parameters=1, macs=1),
            preprocess=preprocess.to_dict(),
            labels=LABELS,
            outputs=("probabilities", "cam") if cam else ("probabilities",),
            calibration=calibration,
            provenance=Provenance(
                run="small",
                recipe={},
                recipe_hash="",
                data_hash="",
                split_hash="",
                split_by="lesion",
                created_utc=utc_now(),
                versions=versions(),
            ),
        )
        write_json(work / "manifest.json", manifest.model_dump(mode="json"))
    return folder
