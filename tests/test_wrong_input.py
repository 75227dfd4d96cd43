"""Wrong input, kind by kind: each gives one line that names the thing and the remedy, exit code 2, and leaves nothing behind."""

import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mobilekd.cli import main

SMALL = ["--smoke", "--set", "name=fresh", "--set", "train.epochs=1", "--set", "teach.epochs=1"]
CLASSES = ("bcc", "mel", "nv")


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((40, 40), 40 + seed).convert("RGB").save(path, quality=90)
    return path


def folder_data(root: Path, each: int = 8) -> Path:
    for number, key in enumerate(CLASSES):
        for i in range(each):
            photograph(root / key / f"{key}{i}.jpg", 10 * number + i)
    return root


def isic_data(
    root: Path, rows: list[list[str]], header: str = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", files: list[str] | None = None
) -> Path:
    for name in files if files is not None else [row[0] for row in rows]:
        photograph(root / f"{name}.jpg")
    with (root / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return root


def one_hot(name: str, column: int) -> list[str]:
    return [name, *("1.0" if i == column else "0.0" for i in range(9))]


def recipe_file(path: Path, text: str) -> Path:
    path.write_text('name = "mine"\n[data]\nkind = "synthetic"\ncount = 140\nsize = 32\n' + text)
    return path


# Each kind prepares its folder and returns the command; the strings must all be in its one line.

KINDS: dict[str, tuple[Callable[[Path], list[str]], tuple[str, ...]]] = {}


def kind(*says: str) -> Callable[[Callable[[Path], list[str]]], Callable[[Path], list[str]]]:
    def add(prepare: Callable[[Path], list[str]]) -> Callable[[Path], list[str]]:
        KINDS[prepare.__name__] = prepare, says
        return prepare

    return add


# ---- recipes -----------------------------------------------------------------------------------------------------


@kind("unknown key train.epoch", "did you mean epochs?", "line 7")
def unknown_recipe_key(here: Path) -> list[str]:
    return ["distill", str(recipe_file(here / "mine.toml", "[train]\nepoch = 3\n"))]


@kind("train.epochs", "greater than or equal to 1", "-3")
def value_out_of_range(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.epochs=-3"]


@kind("train.optimizer", "adamw")
def value_that_is_no_choice(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.optimizer=adam"]


@kind("mine.toml", "not valid TOML", "line 6")
def recipe_that_is_no_toml(here: Path) -> list[str]:
    return ["distill", str(recipe_file(here / "mine.toml", "[train\n"))]


@kind("demmo", "did you mean demo?")
def unknown_recipe(here: Path) -> list[str]:
    return ["teach", "demmo"]


@kind("--set train.epochs", "key=value")
def override_without_value(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.epochs"]


@kind("mixup", "train.views = 0")
def mixup_with_cached_views(here: Path) -> list[str]:
    return ["distill", "demo", "--set", "train.mixup=0.2", "--set", "train.views=2"]


@kind("unknown loss hintonn", "hinton")
def unknown_loss(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "losses.0.name=hintonn"]


@kind("mobilenetv9", "mobilenetv2")
def unknown_student(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "student.model=mobilenetv9"]


@kind("torchvision:mobilnet_v2", "near are")
def unknown_teacher(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "teachers.0.model=torchvision:mobilnet_v2"]


@kind("absent.pth", "no such weights file")
def missing_teacher_weights(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "teachers.0.weights=absent.pth"]


@kind("broken.pth", "not a readable weights file")
def broken_teacher_weights(here: Path) -> list[str]:
    (here / "broken.pth").write_bytes(b"\x80\x02not weights")
    return ["teach", "demo", *SMALL, "--set", "teachers.0.weights=broken.pth"]


@kind("nowhere/teachers/0", "mobilekd teach")
def missing_trained_teacher(here: Path) -> list[str]:
    return ["distill", "demo", *SMALL, "--set", "teachers.0.trained=nowhere/teachers/0"]


@kind("--grid student.width", "KEY=A,B")
def grid_without_values(here: Path) -> list[str]:
    return ["sweep", "demo", "--smoke", "--grid", "student.width"]


# ---- data --------------------------------------------------------------------------------------------------------


def on_folder(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "data.kind=folder", "--set", f"data.root={here / 'data'}"]


def on_isic(here: Path) -> list[str]:
    labels = f"data.labels={here / 'data' / 'truth.csv'}"
    return ["teach", "demo", *SMALL, "--set", "data.kind=isic", "--set", f"data.root={here / 'data'}", "--set", labels]


@kind("1 unreadable photograph", "nv/nv3", "replace or remove it")
def file_that_is_no_photograph(here: Path) -> list[str]:
    folder_data(here / "data")
    (here / "data/nv/nv3.jpg").write_bytes(b"no photograph")
    return on_folder(here)


@kind("1 unreadable photograph", "mel/mel1")
def truncated_photograph(here: Path) -> list[str]:
    folder_data(here / "data")
    path = here / "data/mel/mel1.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    return on_folder(here)


@kind("nothing-here", "no such folder")
def missing_data_folder(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "data.kind=folder", "--set", "data.root=nothing-here"]


@kind("class", "empty", "without any photograph")
def class_without_photographs(here: Path) -> list[str]:
    folder_data(here / "data")
    (here / "data/empty").mkdir()
    return on_folder(here)


@kind("XYZ", "unknown class column")
def csv_with_an_unknown_class(here: Path) -> list[str]:
    isic_data(here / "data", [["a", "1", "0"]], header="image,MEL,XYZ")
    return on_isic(here)


@kind("not one-hot", "1 in exactly one class column")
def csv_with_two_classes_at_once(here: Path) -> list[str]:
    row = one_hot("b", 1)
    row[1] = "1.0"
    isic_data(here / "data", [one_hot("a", 0), row])
    return on_isic(here)


@kind("1 label", "without", "gone")
def label_without_photograph(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 0), one_hot("gone", 1)], files=["a"])
    return on_isic(here)


@kind("1 photograph", "without", "extra")
def photograph_without_label(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 0), one_hot("b", 1)], files=["a", "b", "extra"])
    return on_isic(here)


@kind("1 id (a)", "listed more than once")
def duplicated_id(here: Path) -> list[str]:
    isic_data(here / "data", [one_hot("a", 0), one_hot("a", 0), one_hot("b", 1)])
    return on_isic(here)


@kind("lists.json", "1 unknown id", "nobody")
def split_list_with_an_unknown_id(here: Path) -> list[str]:
    return split_by(here, {"train": ["nv/nv0", "mel/mel0", "bcc/bcc0"], "validation": ["nv/nv1"], "test": ["nobody"]})


@kind("lists.json", "listed more than once", "nv/nv0")
def split_list_with_an_id_twice(here: Path) -> list[str]:
    return split_by(here, {"train": ["nv/nv0", "mel/mel0", "bcc/bcc0"], "validation": ["nv/nv0"], "test": ["nv/nv2"]})


def split_by(here: Path, lists: dict[str, list[str]]) -> list[str]:
    folder_data(here / "data")
    (here / "lists.json").write_text(json.dumps(lists))
    return [*on_folder(here), "--set", "split.by=lists", "--set", f"split.lists={here / 'lists.json'}"]


@kind("leave nothing to train on")
def split_without_training(here: Path) -> list[str]:
    return ["teach", "demo", *SMALL, "--set", "split.test=0.95", "--set", "split.validation=0.05"]


# ---- runs --------------------------------------------------------------------------------------------------------


@kind("nothing", "no such run", "mobilekd distill")
def unknown_run(here: Path) -> list[str]:
    return ["evaluate", "nothing"]


@kind("reference:nobody", "shipped are")
def unknown_reference(here: Path) -> list[str]:
    return ["export", "reference:nobody"]


@kind("NaN")
def student_with_nan_weights(here: Path) -> list[str]:
    from safetensors.torch import load_file, save_file

    path = here / "runs/demo/student.safetensors"
    state = load_file(path)
    name = next(name for name in state if name.endswith("weight"))
    state[name][:] = float("nan")
    save_file(state, path)
    return ["evaluate", "demo", "--output", "found"]


@kind("NaN")
def export_of_nan_weights(here: Path) -> list[str]:
    student_with_nan_weights(here)
    return ["export", "demo", "--output", "made"]


@kind("student.safetensors", "not a readable")
def truncated_student(here: Path) -> list[str]:
    path = here / "runs/demo/student.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    return ["evaluate", "demo", "--output", "found"]


@kind("runs/demo", "another")
def other_recipe_under_the_same_name(here: Path) -> list[str]:
    return ["distill", "demo", "--smoke", "--set", "student.width=0.5"]


@kind("checkpoint", "another recipe", "remove")
def stale_checkpoint(here: Path) -> list[str]:
    shutil.rmtree(here / "runs/demo/teachers/0")
    work = here / "runs/demo/teachers/.0.training"
    work.mkdir()
    import torch

    torch.save({"identity": "of another recipe", "epoch": 1}, work / "checkpoint.pt")
    return ["teach", "demo", "--smoke", "--resume"]


@kind("lesion.txt", "not a readable photograph")
def predict_on_a_text_file(here: Path) -> list[str]:
    (here / "lesion.txt").write_text("no photograph")
    return ["predict", "demo", "lesion.txt"]


@kind("gone.jpg", "no such photograph")
def predict_on_a_missing_file(here: Path) -> list[str]:
    return ["predict", "demo", "gone.jpg"]


@kind("--map SCC", "SCC=akiec")
def mapping_without_target(here: Path) -> list[str]:
    return ["evaluate", "demo", "--data", "synthetic", "--map", "SCC"]


@kind("--labels", "--data")
def labels_without_data(here: Path) -> list[str]:
    return ["evaluate", "demo", "--labels", "truth.csv"]


# ---- artifacts ---------------------------------------------------------------------------------------------------


def artifact(here: Path) -> Path:
    return here / "artifacts/demo-xnnpack-fp32"


@kind(".pte", "does not match its hash", "export again")
def truncated_model(here: Path) -> list[str]:
    path = next(artifact(here).glob("*.pte"))
    path.write_bytes(path.read_bytes()[:-1000])
    return ["inspect", str(artifact(here))]


@kind("manifest.json", "not a readable artifact manifest")
def manifest_cut_short(here: Path) -> list[str]:
    path = artifact(here) / "manifest.json"
    path.write_text(path.read_text()[:200])
    return ["verify", str(artifact(here))]


@kind("manifest.json", "schema_version")
def manifest_of_another_version(here: Path) -> list[str]:
    path = artifact(here) / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 7', 1))
    return ["bench", str(artifact(here)), "--output", "x.json"]


@kind("inputs.u8", "does not match its hash")
def golden_set_changed(here: Path) -> list[str]:
    path = artifact(here) / "golden/inputs.u8"
    path.write_bytes(bytes(path.stat().st_size))
    return ["bench", str(artifact(here)), "--output", "x.json"]


@kind("manifest.json", "no such artifact manifest")
def folder_that_is_no_artifact(here: Path) -> list[str]:
    (here / "empty").mkdir()
    return ["inspect", str(here / "empty")]


@kind("xnpack", "xnnpack")
def unknown_backend(here: Path) -> list[str]:
    return ["export", "demo", "--backend", "xnpack", "--output", "made"]


@kind("int4", "int8")
def unknown_precision(here: Path) -> list[str]:
    return ["export", "demo", "--precision", "int4", "--output", "made"]


@kind("exists already", "--output")
def output_that_exists(here: Path) -> list[str]:
    return ["export", "demo", "--precision", "int8", "--output", str(artifact(here))]


@kind("a-file", "choose")
def output_below_a_file(here: Path) -> list[str]:
    (here / "a-file").write_text("in the way")
    return ["export", "demo", "--output", "a-file/made"]


@kind("iphone", "host, adb")
def unknown_device(here: Path) -> list[str]:
    return ["bench", str(artifact(here)), "--device", "iphone", "--output", "x.json"]


@kind("old.json", "no such measurement")
def missing_baseline(here: Path) -> list[str]:
    return ["bench", str(artifact(here)), "--baseline", "old.json", "--fail-above", "1.1", "--output", "x.json"]


@kind("nothing-here")
def report_on_nothing(here: Path) -> list[str]:
    return ["report", "nothing-here", "--output", "page.html"]


# ---- the tests ---------------------------------------------------------------------------------------------------


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}


@pytest.fixture
def here(tmp_path: Path, smoke_runs: Path, smoke_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a finished run and its artifact."""
    shutil.copytree(smoke_runs, tmp_path / "runs")
    shutil.copytree(smoke_artifact, artifact(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_at_least_twenty_kinds():
    assert len(KINDS) >= 20


@pytest.mark.parametrize("name", KINDS)
def test_wrong_input(name: str, here: Path, capfd: pytest.CaptureFixture[str]):
    prepare, says = KINDS[name]
    command = prepare(here)
    before = snapshot(here)
    code = main(command)
    output, errors = capfd.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("mobilekd ")]
    assert code == 2, errors
    assert len(lines) == 1, errors
    assert errors.splitlines()[-1] == lines[0], "the reason is not the last line"
    for words in says:
        assert words in lines[0]
    assert re.search(r"; |should be | has ", lines[0]), "no remedy, and nothing that is allowed"
    assert "Traceback" not in errors
    assert output == ""
    assert snapshot(here) == before, "something was left behind"


def test_full_disk(here: Path):
    """A file size limit stands in for the full disk: the artifact's first large file cannot be written."""
    before = snapshot(here)
    done = subprocess.run(
        [sys.executable, "-m", "mobilekd", "export", "demo", "--output", "made"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        env={**os.environ, "TMPDIR": str(here.parent)},
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("mobilekd export: ")
    assert "Traceback" not in done.stderr
    assert snapshot(here) == before
