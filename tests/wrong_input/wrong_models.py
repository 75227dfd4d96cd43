"""Wrong runs and artifacts, and wrong questions about them. Each folder holds ``runs/demo`` and its
artifact already.
"""

import shutil
from pathlib import Path

from fixtures.run import reseal_run
from wrong_kinds import kind

# ---- runs
# ------------------------------------------------------------


@kind("nothing", "no such run", "mobilekd distill")
def unknown_run(here: Path) -> list[str]:
    return ["evaluate", "nothing"]


@kind("reference:nobody", "known: ")
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
    reseal_run(path.parent)
    return ["evaluate", "demo", "--output", "found"]


@kind("NaN")
def export_of_nan_weights(here: Path) -> list[str]:
    student_with_nan_weights(here)
    return ["export", "demo", "--output", "made"]


@kind("student.safetensors", "changed since it was written")
def truncated_student(here: Path) -> list[str]:
    path = here / "runs/demo/student.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    return ["evaluate", "demo", "--output", "found"]


@kind("student.safetensors", "missing from the folder", "distil it again")
def run_without_its_student(here: Path) -> list[str]:
    (here / "runs/demo/student.safetensors").unlink()
    return ["evaluate", "demo", "--output", "found"]


@kind("runs/demo", "another")
def other_recipe_under_the_same_name(here: Path) -> list[str]:
    return ["distill", "demo", "--smoke", "--set", "student.width=0.5"]


@kind("checkpoint", "another recipe", "another name")
def stale_checkpoint(here: Path) -> list[str]:
    return with_checkpoint(
        here,
        identity="of another recipe",
        epoch=1,
        model={},
        average={},
        objective={},
        optimizer={},
        seconds=1.0,
        images=1,
        metrics="",
    )


@kind("checkpoint", "not a whole checkpoint (model: missing)", "remove")
def checkpoint_without_its_weights(here: Path) -> list[str]:
    return with_checkpoint(here, identity="of this recipe", epoch=1)


def with_checkpoint(here: Path, **content: object) -> list[str]:
    shutil.rmtree(here / "runs/demo/teachers/0")
    work = here / "runs/demo/teachers/.0.training"
    work.mkdir()
    import torch

    torch.save(content, work / "checkpoint.pt")
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


@kind("--map scc=nv: scc has another value already (akiec)", "give it once")
def mapping_of_one_class_twice(here: Path) -> list[str]:
    return ["evaluate", "demo", "--data", "synthetic", "--map", "scc=akiec", "--map", "scc=nv"]


@kind("--labels: folder has no such table, only isic", "leave it out")
def labels_that_nobody_reads(here: Path) -> list[str]:
    words = ["--data", "folder", "--root", "runs", "--labels", "runs/demo/run.json"]
    return ["evaluate", "demo", *words]


@kind("runs: no *GroundTruth.csv in it", "set --labels")
def archive_without_labels(here: Path) -> list[str]:
    return ["evaluate", "demo", "--data", "isic", "--root", "runs"]


@kind("--labels", "--data")
def labels_without_data(here: Path) -> list[str]:
    return ["evaluate", "demo", "--labels", "truth.csv"]


# ---- artifacts
# ------------------------------------------------------------


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


@kind("manifest.json", "version 7", "update mobilekd")
def manifest_of_another_version(here: Path) -> list[str]:
    path = artifact(here) / "manifest.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 7', 1))
    return ["bench", str(artifact(here)), "--output", "x.json"]


@kind("inputs.u8", "does not match its hash")
def golden_set_changed(here: Path) -> list[str]:
    path = artifact(here) / "golden/inputs.u8"
    path.write_bytes(bytes(path.stat().st_size))
    return ["bench", str(artifact(here)), "--output", "x.json"]


@kind("empty", "no artifact, as it has no manifest.json; give the folder that")
def folder_that_is_no_artifact(here: Path) -> list[str]:
    (here / "empty").mkdir()
    return ["inspect", str(here / "empty")]


@kind("xnpack", "xnnpack")
def unknown_backend(here: Path) -> list[str]:
    return ["export", "demo", "--backend", "xnpack", "--output", "made"]


@kind("int4", "int8")
def unknown_precision(here: Path) -> list[str]:
    return ["export", "demo", "--precision", "int4", "--output", "made"]


@kind("exists already", "choose another folder")
def output_that_exists(here: Path) -> list[str]:
    return ["export", "demo", "--precision", "int8", "--output", str(artifact(here))]


@kind("a-file", "choose")
def output_below_a_file(here: Path) -> list[str]:
    (here / "a-file").write_text("in the way")
    return ["export", "demo", "--output", "a-file/made"]


@kind("runs/demo/split.json", "not a valid split", "make it again")
def split_that_is_none(here: Path) -> list[str]:
    (here / "runs/demo/split.json").write_text("{}")
    return ["evaluate", str(artifact(here)), "--output", "found"]


@kind("tablet", "host, adb")
def unknown_device(here: Path) -> list[str]:
    return ["bench", str(artifact(here)), "--device", "tablet", "--output", "x.json"]


@kind("old.json", "no such measurement")
def missing_baseline(here: Path) -> list[str]:
    return [
        "bench",
        str(artifact(here)),
        "--baseline",
        "old.json",
        "--fail-above",
        "1.1",
        "--output",
        "x.json",
    ]


@kind("nothing-here")
def report_on_nothing(here: Path) -> list[str]:
    return ["report", "nothing-here", "--output", "page.html"]
