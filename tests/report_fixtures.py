"""Artifacts and measurements as export and bench leave them, made by hand: no model is lowered and nothing is timed."""

from pathlib import Path

import numpy as np

from mobilekd.artifact import (
    Calibration,
    Delegation,
    Gate,
    GoldenIndex,
    Interval,
    Manifest,
    Provenance,
    Stage,
    Student,
    hashes,
    write_golden,
)
from mobilekd.files import read_json, write_json
from mobilekd.measurement import Cold, Conditions, Device, GoldenCheck, Measurement, Memory, Pipeline, Series, Sustained
from mobilekd.provenance import versions
from mobilekd.runs import open_run

HOST = Device(id="host-x", kind="host", maker="Acme", model="Bench 2", soc="two cores", os="Linux 6", abi="x86_64", cores=2)
PHONE = Device(id="phone-7", kind="adb", maker="Phone", model="Seven", soc="SoC 7", os="Android 14", abi="arm64-v8a", cores=8)
EMULATED = Device(id="qemu-cortex-a72", kind="qemu", model="cortex-a72", abi="arm64-v8a", emulated=True)


def make_artifact(folder: Path, run_folder: Path, precision: str, size: int, drop: float = 0.002) -> Path:
    """An artifact folder of ``run_folder`` that ``open_artifact`` accepts."""
    run = open_run(run_folder)
    folder.mkdir(parents=True)
    (folder / "model.pte").write_bytes(np.random.default_rng(size).bytes(size))
    index = GoldenIndex(count=1, height=2, width=2, classes=7, images=("00.png",), max_error=1e-3)
    write_golden(folder, index, np.zeros((1, 3, 2, 2)), np.full((1, 7), 1 / 7), None)
    manifest = Manifest(
        name=run.info.name,
        backend="xnnpack",
        precision=precision,
        model_file="model.pte",
        files=hashes(folder),
        bytes=size,
        student=Student(model="mobilenetv2", parameters=run.info.parameters, macs=run.info.macs),
        preprocess=run.recipe.preprocess.noun().to_dict(),
        labels=run.info.labels,
        calibration=Calibration(bias=None),
        delegation=Delegation(delegated={"convolution": 52}, portable={"softmax": 1}, heavy_total=53, heavy_delegated=53, partitions=1),
        parity=(
            Stage(
                stage="eager quantised",
                against="eager fp32",
                verified=True,
                where="this machine",
                reason=None,
                samples=500,
                max_error=0.08,
                sqnr_db=24.1,
                agreement=0.991,
                accuracy_drop=Interval(value=drop, low=drop - 0.004, high=drop + 0.005),
            ),
            Stage(
                stage="saved file",
                against="eager quantised",
                verified=True,
                where="this machine",
                reason=None,
                samples=500,
                max_error=2e-4,
                sqnr_db=61.0,
            ),
            Stage(stage="saved file on Arm (cortex-a72)", against="saved file", verified=False, reason="not asked for"),
        ),
        gates=(Gate(name="agreement with fp32", value=0.991, limit=0.98, relation=">=", passed=True, recorded=False),),
        accuracy={"balanced_accuracy": {"value": 0.71 - drop, "low": 0.69, "high": 0.73, "reason": None}},
        provenance=Provenance(
            run=run.info.name,
            recipe=run.recipe.to_dict(),
            recipe_hash=run.info.recipe_hash,
            data_hash=run.info.data_hash,
            split_hash=run.info.split_hash,
            split_by=run.info.split_by,
            data_licence="CC0",
            created_utc="2026-11-23T10:00:00Z",
            commit="abc1234",
            versions=versions(),
            source_sha256="",
        ),
    )
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))
    return folder


def make_measurement(
    artifact: Path,
    median_ms: float,
    *,
    device: Device = HOST,
    via: str = "shell",
    session: str = "s1",
    seed: int = 0,
    started: str = "2026-11-23T11:00:00Z",
    passed: bool = True,
    valid: bool = True,
    sustained: bool = False,
) -> Measurement:
    """Right-skewed samples around a median, three processes, one and two threads."""
    manifest = read_json(artifact / "manifest.json", "manifest")
    random = np.random.default_rng(seed)

    def samples(scale: float, count: int = 80) -> tuple[int, ...]:
        return tuple(int(x) for x in 1e6 * scale * (1 + random.gamma(1.5, 0.03, count)))

    timed = passed and not device.emulated
    series = [
        Series(
            threads_asked=n,
            threads_in_effect=n,
            warmup_ns=samples(median_ms * 2, 5),
            steady_rule="medians of windows agree",
            samples_ns=samples(median_ms / n**0.7),
        )
        for _ in range(3)
        for n in (1, 2)
    ]
    load = None
    if sustained:
        offsets = np.linspace(0, 300e9, 900).astype(int)
        times = 1e6 * median_ms * (1 + 0.3 * np.clip(offsets / 150e9 - 0.5, 0, 1) + random.gamma(1.5, 0.03, 900))
        load = Sustained(
            threads=2,
            offsets_ns=tuple(map(int, offsets)),
            samples_ns=tuple(map(int, times)),
            celsius=((0, 29.0), (int(150e9), 34.5), (int(300e9), 38.0)),
            frequency_khz=((0, 2_850_000), (int(150e9), 2_400_000), (int(300e9), 1_900_000)),
        )
    return Measurement(
        artifact=f"{manifest['name']}-{manifest['backend']}-{manifest['precision']}",
        artifact_sha256=manifest["files"]["model.pte"],
        backend=manifest["backend"],
        precision=manifest["precision"],
        via=via,
        device=device,
        golden=GoldenCheck(
            passed=passed,
            samples=8,
            max_error=2e-5 if passed else 0.4,
            limit=1e-3,
            agreement=1.0 if passed else 0.5,
            detail="" if passed else "picture 3 differs",
        ),
        cold=tuple(
            Cold(file_load_ns=200_000, method_load_ns=int(3e6 * x), first_inference_ns=int(2e6 * median_ms * x)) for x in (1.0, 1.1, 1.4)
        )
        if timed
        else (),
        series=tuple(series) if timed else (),
        sustained=load,
        pipeline=Pipeline(decode_ns=samples(4), resize_ns=samples(1), execute_ns=samples(median_ms), post_ns=samples(0.02))
        if timed and via == "app"
        else None,
        memory=Memory(peak_rss_bytes=21_000_000, baseline_rss_bytes=9_000_000) if timed else None,
        energy=None,
        before=Conditions(
            utc=started, load=0.3, governor="schedutil", battery_celsius=28.5 if device.kind == "adb" else None, charge_uah=None
        ),
        after=Conditions(
            utc=started, load=0.9, governor="schedutil", battery_celsius=33.0 if device.kind == "adb" else None, charge_uah=None
        ),
        session=session,
        started_utc=started,
        versions=versions(),
        command=f"mobilekd bench {artifact.name}",
        valid=valid,
        reasons=() if valid else ("the machine was busy before it began",),
    )


def write_measurement(folder: Path, measurement: Measurement, name: str) -> Path:
    path = folder / measurement.device.id / f"{name}.json"
    write_json(path, measurement.model_dump(mode="json"))
    return path
