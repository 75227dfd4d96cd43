"""A small real run without training for minutes: a tiny student that learnt for some steps, its split, its calibration."""

import atexit
import functools
import tempfile
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
from mobilekd.runs import Run, RunInfo, open_run
from mobilekd.students import build


def make_recipe(name: str, model: str = "mobilenetv2", width: float = 0.1, size: int = 32, count: int = 160, **gates: float) -> Recipe:
    """Seven blocks and a head of 32 channels: 23 convolutions, lowered in seconds where MobileNetV2 takes a minute."""
    return from_dict(
        {
            "name": name,
            "data": {"kind": "synthetic", "count": count, "size": size},
            "split": {"validation": 0.2, "test": 0.4},
            "preprocess": {"width": size, "height": size},
            "student": {"model": model, "width": width, "adapt": ["depth:0.1", "head:32"]},
            "quantize": {"calibration": 32, "qat_epochs": 1},
            "gates": {"agreement": 0.5, "accuracy_drop": 0.5, "sqnr_db": 10.0, **gates},
        },
        name,
    )


def make_run(
    folder: Path, model: str = "mobilenetv2", width: float = 0.1, size: int = 32, *, steps: int = 40, name: str = "tiny", **gates: float
) -> Run:
    """``folder/<name>`` as ``distill`` leaves it; the student took ``steps`` steps of Adam, enough to have an opinion."""
    recipe = make_recipe(name, model, width, size, **gates)
    dataset = load(recipe.data)
    split = make_split(dataset, recipe.split)
    preprocess = recipe.preprocess.noun()
    torch.manual_seed(0)
    student = build(recipe.student, len(dataset.classes))
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (preprocess.mean, preprocess.std))

    def pictures(ids: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        raw = inputs(dataset, ids, preprocess)
        return raw, dataset.targets[dataset.rows(ids)], (torch.from_numpy(raw).float() / 255 - mean) / std

    _, targets, x = pictures(split.train)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(student.train()(x), torch.from_numpy(targets))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():  # running averages of the last weights
        for _ in range(8):
            student(x)
    # an overfitted student is wrong but sure, which is what parity needs; a fitted temperature would make it unsure
    raw = pictures(split.validation)[0]
    calibration = Calibration(temperature=1.2, threshold=0.3, quality=quality_limits(raw))
    place = folder / name
    place.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in student.state_dict().items()}, place / "student.safetensors")
    write_json(place / "recipe.json", recipe.to_dict())
    write_json(place / "split.json", split.model_dump(mode="json"))
    write_json(place / "calibration.json", calibration.model_dump(mode="json"))
    info = RunInfo(
        name=name,
        recipe_hash=recipe.hash(),
        split_hash=split.hash(),
        split_by=split.by,
        data_hash=dataset.hash,
        data_licence=dataset.licence,
        labels=dataset.classes,
        parameters=sum(value.numel() for value in student.parameters()),
        macs=1_000_000,
        epochs=1,
        seconds=1.0,
        created_utc=utc_now(),
        versions=versions(),
    )
    write_json(place / "run.json", info.model_dump(mode="json"))
    return open_run(place)


@functools.cache
def scratch() -> Path:
    """A folder for this process, removed at its end."""
    folder = tempfile.TemporaryDirectory(prefix="mobilekd-tests-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@functools.cache
def run_folder() -> Path:
    """One tiny run for all tests of this process; copy it before you change it."""
    return make_run(scratch() / "runs").folder


@functools.cache
def exported(precision: str, backend: str = "xnnpack") -> Path:
    """That run's artifact, exported once per process; copy it before you change it."""
    from mobilekd.export import export

    output = scratch() / f"tiny-{backend}-{precision}"
    return export(run_folder(), backend=backend, precision=precision, output=output).folder
