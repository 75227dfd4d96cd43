"""A finished run of seconds: a tiny student with random weights on generated photographs, as ``distill`` leaves it."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from mobilekd.artifact import Calibration
from mobilekd.calibrate import quality_limits
from mobilekd.data import inputs, load, make_split
from mobilekd.files import write_json
from mobilekd.provenance import utc_now, versions
from mobilekd.recipe import Recipe, from_dict
from mobilekd.runs import RunInfo
from mobilekd.students import build


def make_recipe(name: str, *, seed: int = 0, split: str = "lesion", control: bool = False) -> Recipe:
    document = {
        "name": name,
        "seed": seed,
        "data": {"kind": "synthetic", "count": 120, "size": 32},
        "split": {"by": split, "validation": 0.2, "test": 0.5},
        "preprocess": {"width": 32, "height": 32},
        "teachers": [] if control else [{"model": "mobilenetv2_100"}],
        "losses": [{"name": "cross_entropy"}] if control else [{"name": "hinton"}],
        "student": {"model": "mobilenetv2", "width": 0.1, "adapt": ["depth:0.1", "head:32"]},
    }
    return from_dict(document, name)


def make_run(
    root: Path, name: str = "tiny", *, seed: int = 0, split: str = "lesion", control: str | None = None, is_control: bool = False
) -> Path:
    """``root/<name>`` with everything that ``open_run`` and ``evaluate`` read; the weights depend on the seed and the name."""
    recipe = make_recipe(name, seed=seed, split=split, control=is_control)
    dataset = load(recipe.data)
    parts = make_split(dataset, recipe.split)
    torch.manual_seed(sum(name.encode()) + seed)
    student = build(recipe.student, len(dataset.classes))
    # A fresh classifier starts near zero, and would be unsure of everything; this one has opinions, right or wrong.
    torch.nn.init.normal_(student.get_submodule("classifier").weight, std=0.3)
    folder = root / name
    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in student.state_dict().items()}, folder / "student.safetensors")
    pictures = inputs(dataset, parts.validation, recipe.preprocess.noun())
    calibration = Calibration(
        temperature=1.5,
        bias=None,
        threshold=0.15,
        operating_points={"melanoma": 0.2, "malignant": 0.5},
        quality=quality_limits(pictures),
    )
    write_json(folder / "recipe.json", recipe.to_dict())
    write_json(folder / "split.json", parts.model_dump(mode="json"))
    write_json(folder / "calibration.json", calibration.model_dump(mode="json"))
    info = RunInfo(
        name=name,
        recipe_hash=recipe.hash(),
        split_hash=parts.hash(),
        split_by=parts.by,
        data_hash=dataset.hash,
        labels=dataset.classes,
        control=control,
        is_control=is_control,
        parameters=sum(value.numel() for value in student.parameters()),
        macs=1_000_000,
        epochs=1,
        seconds=1.0,
        created_utc=utc_now(),
        versions=versions(),
    )
    write_json(folder / "run.json", info.model_dump(mode="json"))
    return folder


def keep_teacher(folder: Path, logits: np.ndarray) -> None:
    """Give a run its teachers' test logits."""
    save_file({"test": torch.from_numpy(logits).to(torch.float16)}, folder / "teacher_logits.safetensors")
