"""A program: ``fuzz_targets.py PARSER SEEDS WORK [libFuzzer options]`` feeds one of our parsers
with odd input, guided by the branches of ``mobilekd`` that it reaches.

A parser may answer or raise ``UserError``. Any other exception, a crash, 60 seconds on one input or
6 GB of memory end the program with another code than 0, and the input stays in WORK.

Where a format has an outer shell that random bytes seldom keep whole (JSON, a zip, a protobuf), the
bytes also choose edits of a valid document: values of another kind, keys too many or too few.
"""

import io
import json
import mmap
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris
import fuzz_models
import numpy as np
from fuzz_inputs import Target, edited, flipped, instrumented, unsealed


def _as_text(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=True).encode()


def _document(path: Path, read: Callable[[], object]) -> Target:
    """Half of the inputs are the JSON file's text, half are edits of what stands there now,
    without the hashes that refuse all of them alike.
    """
    valid = unsealed(json.loads(path.read_text(encoding="utf-8")))

    def target(data: bytes) -> object:
        path.write_bytes(_as_text(edited(valid, data[1:])) if data[:1] > b"@" else data[1:])
        return read()

    return target


def recipe(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.formats.recipe_file import from_dict, load_recipe
    valid = load_recipe(str(seeds / "small.toml")).to_dict()
    path = work / "odd.toml"

    def target(data: bytes) -> object:
        if data[:1] > b"@":
            return from_dict(edited(valid, data[1:]), "odd")
        path.write_bytes(data[1:])
        return load_recipe(str(path))

    return target


def tables(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.data.dataset import Notes
        from mobilekd.data.metadata import read_metadata
        from mobilekd.data.tables import read_csv
    path, ids = work / "odd.csv", ["ISIC_1", "ISIC_2", "ISIC_3"]

    def target(data: bytes) -> object:
        path.write_bytes(data[1:])
        if data[:1] > b"@":
            return read_metadata(path, ids, Notes())
        return read_csv(path, ["image", "MEL"])

    return target


def manifest(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.formats.artifact import open_artifact
    artifact = Path(shutil.copytree(seeds / "artifact", work / "artifact"))
    return _document(artifact / "manifest.json", lambda: open_artifact(artifact).golden())


def layers(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.commands import inspect
        from mobilekd.formats.artifact import open_artifact
        from mobilekd.graphs import pte
    artifact = Path(shutil.copytree(seeds / "artifact", work / "artifact"))
    opened = open_artifact(artifact)
    file = pte.read(opened.model)

    def read() -> object:
        return inspect.layer_rows(opened, file), inspect.layer_rows(opened, None)

    return _document(artifact / "layers.json", read)


def measurement(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.formats.measurement import read_measurement
    path = Path(shutil.copy(seeds / "measured.json", work))
    return _document(path, lambda: read_measurement(path))


def run(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.formats.runs import open_run
    folder = Path(shutil.copytree(seeds / "runs" / "small", work / "small"))
    info = folder / "run.json"
    info.write_bytes(_as_text(unsealed(json.loads(info.read_text(encoding="utf-8")))))

    def read() -> object:
        opened = open_run(folder)
        return opened.title, opened.recipe, opened.split, opened.calibration

    targets = [
        _document(folder / f"{name}.json", read)
        for name in ("run", "recipe", "split", "calibration")
    ]
    kept = {path: path.read_bytes() for path in folder.glob("*.json")}

    def target(data: bytes) -> object:
        for path, raw in kept.items():
            path.write_bytes(raw)
        return targets[data[0] % 4](data[1:]) if data else None

    return target


def teacher(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.formats.teacher import LOGITS, read_teacher
        from mobilekd.students.checkpoint import read_state
        from mobilekd.teachers.logit_cache import LogitCache
        from mobilekd.teachers.stored_logits import read_stored_logits
    folder = Path(shutil.copytree(seeds / "runs" / "small" / "teachers" / "0", work / "0"))
    record = _document(folder / "teacher.json", lambda: read_teacher(folder))
    weights, logits = work / "odd.safetensors", work / "kept" / LOGITS
    logits.parent.mkdir()
    raw = (folder / "weights.safetensors").read_bytes()
    cached = next((seeds / "runs" / ".cache" / "teachers").glob("*/view-*.npz"))
    stored = io.BytesIO()
    with np.load(cached) as view:
        ids, table = view["ids"], view["logits"]
    np.savez(
        stored,
        depends_on=np.array("{}"),
        train_ids=ids,
        train_views=table[None],
        plain_ids=ids,
        plain=table,
    )
    cache = LogitCache(work / "cache")
    cache.folder.mkdir(parents=True)

    def target(data: bytes) -> object:
        way, rest = data[:1], data[1:]
        if way > b"\x90":
            return record(rest)
        if way > b"\x60":
            weights.write_bytes(flipped(raw, rest))
            return read_state(weights)
        if way > b"\x30":
            logits.write_bytes(flipped(stored.getvalue(), rest))
            return read_stored_logits(logits.parent)
        (cache.folder / "view-000.npz").write_bytes(flipped(cached.read_bytes(), rest))
        fresh = LogitCache(work / "cache")
        return fresh.has(0, [str(ids[0])]) and fresh.logits(0, [str(ids[0])])

    return target


def adb(seeds: Path, work: Path) -> Target:
    with instrumented():
        from mobilekd.runners import adb_client, android_state, linux_state, program
        from mobilekd.runners.base import Setting
    said = work / "said"
    adb_ = work / "adb"
    adb_.write_text(f'#!/bin/sh\ncat "{said}"\n')
    adb_.chmod(0o755)
    os.environ["PATH"] = f"{work}{os.pathsep}{os.environ['PATH']}"
    answer = {
        "count": 2,
        "widths": [3],
        "file_load_ns": 1,
        "method_load_ns": 1,
        "first_inference_ns": 1,
        "threads_in_effect": 1,
        "warmup_ns": [1],
        "steady_rule": "",
        "samples_ns": [5, 6],
        "offsets_ns": [1, 2],
        "baseline_rss_bytes": 1,
        "peak_rss_bytes": 1,
        "pss_bytes": 1,
    }

    def target(data: bytes) -> object:
        which, rest = data[:1], data[1:]
        text = rest.decode("utf-8", "replace")
        if which < b"\x08":  # a process each: few of them
            said.write_bytes(b"List of devices attached\n" + rest)
            return adb_client.listed()
        if which < b"\x40":
            return android_state.device(text, "serial"), android_state.problem(
                android_state.properties(text)
            )
        if which < b"\x60":
            return android_state.conditions(text), linux_state.big_cores(linux_state.parse(text))
        if which < b"\x80":
            odd = text
        else:
            odd = program.JSON + json.dumps(edited(answer, rest)) + f"\n{program.END}\n"
        told = program.document(program.CompletedCommand(0, odd, ""), "phone")
        if which < b"\xb0":
            return program.answer_array(b"\0" * 24, told, "phone")
        if which < b"\xd0":
            return program.memory(told, "phone")
        setting = Setting(threads=1, samples=2, seconds=float(which > b"\xe8"))
        return program.reading(told, setting, "phone")

    return target


def checkpoint(seeds: Path, work: Path) -> Target:
    """A checkpoint is gone on from: read, checked, put into model and optimiser."""
    with instrumented():
        import mobilekd.training.loop  # noqa: F401
        from mobilekd.training.state import CHECKPOINT
    import fuzz_checkpoint

    resume = fuzz_checkpoint.trainer(work)
    path = work / CHECKPOINT
    resume()  # leaves the checkpoint of its last epoch
    raw = path.read_bytes()
    state = fuzz_checkpoint.read(path)

    def target(data: bytes) -> object:
        if data[:1] > b"@":
            fuzz_checkpoint.write(edited(state, data[1:]), path)
        else:
            path.write_bytes(flipped(raw, data[1:]))
        return resume()

    return target


TARGETS: dict[str, Callable[[Path, Path], Target]] = {
    function.__name__: function
    for function in (
        recipe,
        tables,
        manifest,
        measurement,
        run,
        teacher,
        layers,
        adb,
        checkpoint,
        fuzz_models.litert,
        fuzz_models.mil,
        fuzz_models.onnx,
        fuzz_models.pte,
        fuzz_models.vulkan,
    )
}


def main() -> None:
    name, seeds, work = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    work.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name](seeds, work)
    from mobilekd.support.errors import UserError

    # libFuzzer ends the process without a word to Python: the counts are kept in a file
    file = work / "counts"
    file.write_bytes(bytes(16))
    counts = mmap.mmap(os.open(file, os.O_RDWR), 16)
    answered = refused = 0

    def one_input(data: bytes) -> None:
        nonlocal answered, refused
        try:
            target(data)
            answered += 1
        except UserError:
            refused += 1
        struct.pack_into("<QQ", counts, 0, answered, refused)

    atheris.Setup([sys.argv[0], *sys.argv[4:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
