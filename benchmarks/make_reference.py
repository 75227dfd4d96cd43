"""Turn a finished run into a shipped reference: float16 weights, frozen quantisation, recorded
gates, card.

    python benchmarks/make_reference.py runs/ham10000 ham10000-mobilenetv2-035

Needs the run's data: the gates of every backend and precision are decided on its test split, with
the rounded weights that are shipped. Writes ``mobilekd/reference/<name>/``; nothing of the data
itself but salted hashes of what was trained on. A shipped student's gates are recorded again, its
weights and what it has frozen being kept, with

    python benchmarks/make_reference.py reference:ham10000-lesionnet --set data.root=data/ham10000

and it gets a guard, or another one, with the gates of files that hold it, with

    python benchmarks/make_reference.py reference:ham10000-lesionnet --guard \
        --row xnnpack-int8 --set data.root=data/ham10000
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import mobilekd
from mobilekd.commands.evaluate import evaluate
from mobilekd.formats.document import read_document
from mobilekd.formats.guard import GUARD
from mobilekd.formats.parity_names import GateId
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import SPLIT, RunInfo, open_run, read_split, write_run_info
from mobilekd.inference.evaluation_set import open_evaluation_set
from mobilekd.inference.guard import guard_for
from mobilekd.lowering.freeze import every_row, freeze_quantisation
from mobilekd.lowering.pipeline import lower_run
from mobilekd.lowering.record import RECORD, read_record
from mobilekd.students import load
from mobilekd.support.files import new_folder, write_json, write_text

SHIPPED = (
    "run.json",
    "recipe.json",
    "calibration.json",
    "guard.json",
    "student.safetensors",
    "metrics.jsonl",
    "quantization.json",
    "quantization.safetensors",
    "recorded_gates.json",
    "training_hashes.json",
)

CARD = """# {name}

{title}. {parameters:,} parameters, {macs:,} multiply-accumulates for a photograph of {width} x \
{height} pixels.

- Trained on {licence} data, split by {split_by} (hash `{split_hash}`); the weights inherit that \
licence's terms:
  attribution, non-commercial.
- Starting weights: {start}.
- Unlabelled photographs that its teachers answered: {unlabelled}.
- Test split ({photographs} photographs): accuracy {accuracy}, balanced accuracy {balanced}.
- A research demonstration, not a medical device. Not validated on other cameras, other hospitals, \
darker skin, children, or
  anything that is not a dermoscopic photograph of a pigmented lesion. Seven classes; what is none \
of them gets one of
  them, or "not sure".
- Files: weights in {stored}, the resolved recipe, calibration from validation, quantisation
  parameters, and the gates recorded where the data was.
"""


def words(interval: dict[str, float]) -> str:
    """0.812 [0.790, 0.834]."""
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def make_reference(
    source: Path,
    name: str,
    rows: list[tuple[str, str]],
    overrides: list[str],
    *,
    half: bool = True,
) -> Path:
    """Round, judge, freeze and ship."""
    target = Path(mobilekd.__file__).parent / "reference" / name
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / name
        shutil.copytree(
            source, folder, ignore=shutil.ignore_patterns("teachers", "evaluation", "*.safetensors")
        )
        state = load_file(source / "student.safetensors")
        # batch norms stay as they are: some variances are below float16's range, and rounding them
        # alone flipped 0.5% of decisions
        halves = {
            key: value.half() if value.is_floating_point() and value.dim() > 1 and half else value
            for key, value in state.items()
        }
        if not all(torch.isfinite(value).all() for value in halves.values()):
            raise SystemExit(f"{source}: a weight does not fit float16")
        save_file(halves, folder / "student.safetensors")
        info = read_document(folder / "run.json", RunInfo, "run")
        split = read_split(folder / SPLIT) if (folder / SPLIT).exists() else None
        pixels = split.pixels if split else info.pixels  # the list of ids does not travel
        write_run_info(folder, info.model_copy(update={"name": name, "pixels": pixels}))
        document = evaluate(folder, output=folder / "evaluation")
        freeze_quantisation(folder, rows, overrides=overrides)
        (folder / SPLIT).unlink(missing_ok=True)
        write_run_info(folder, read_document(folder / "run.json", RunInfo, "run"))
        run = open_run(folder)
        write_json(folder / "metrics.json", document)
        start = run.recipe.student.weights
        card = CARD.format(
            name=name,
            title=run.title,
            parameters=run.info.parameters,
            macs=run.info.macs,
            width=run.recipe.preprocess.width,
            height=run.recipe.preprocess.height,
            licence=run.info.data_licence,
            split_by=run.info.split_by,
            split_hash=run.info.split_hash[:12],
            stored=(
                "float16 (batch norms in float32)"
                if half
                else "float32 (rounding them to float16 flips decisions)"
            ),
            start=(
                f"{Path(start).name}, whose own licence is unclear upstream" if start else "random"
            ),
            unlabelled=", ".join(map(str, run.recipe.unlabelled_photographs.folders)) or "none",
            photographs=document["data"]["photographs"],
            accuracy=words(document["metrics"]["accuracy"]),
            balanced=words(document["metrics"]["balanced_accuracy"]),
        )
        with new_folder(target, replace=True) as new:
            for item in (*SHIPPED, "metrics.json"):
                if (folder / item).exists():
                    shutil.copy(folder / item, new / item)
            write_text(new / "README.md", card)
    return target


def add_guard(name: str, rows: list[tuple[str, str]], overrides: list[str]) -> Path:
    """Fit a guard for a shipped student, which stays as it is otherwise, and record the gates of
    its files that hold it.
    """
    run = open_run(name)
    recipe = with_overrides(run.recipe, overrides)
    known = open_evaluation_set(
        recipe, run.info.labels, run.split, run.info.split_hash, pixels=run.info.pixels
    )
    fitted = guard_for(load(run), known.preprocess, known.training(), known.validation().inputs)
    if fitted is None:
        raise SystemExit(f"{name}: this student can have no guard")
    added = run.guard is None or run.guard.added  # files that held one keep holding one
    guard = fitted.model_copy(update={"added": added})
    write_json(run.folder / GUARD, guard.model_dump(mode="json"))
    write_run_info(run.folder, run.info)
    run, record = open_run(name), read_record(run.folder)
    for backend, precision in rows:
        key = f"{backend}-{precision}"
        if key not in record or record[key].refused:
            continue
        with tempfile.TemporaryDirectory() as work:
            made, _ = lower_run(
                run,
                backend,
                precision,
                Path(work) / "artifact",
                guard=True,
                overrides=overrides,
                retry=False,
                evaluation_set=known,
            )
        own = [gate for gate in made.manifest.gates if gate.name.id is GateId.GUARD_AGREEMENT]
        others = [g for g in record[key].gates if g.name.id is not GateId.GUARD_AGREEMENT]
        record[key] = record[key].model_copy(update={"gates": (*others, *own)})
        document = {row: one.model_dump(mode="json") for row, one in sorted(record.items())}
        write_json(run.folder / RECORD, document)
    return run.folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a run's folder, or reference:NAME to record it again")
    parser.add_argument("name", nargs="?", help="the shipped student's name, for a run")
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="BACKEND-PRECISION",
        help="to record, for example coreml-fp16 (default: every backend with each precision)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        help="of the export, for example quantize.calibration=512",
    )
    parser.add_argument(
        "--float32",
        action="store_true",
        help="keep weights as they are, where rounding them to float16 costs decisions",
    )
    parser.add_argument(
        "--guard",
        action="store_true",
        help="fit a guard for a shipped student; its other files stay",
    )
    arguments = parser.parse_args()
    known = {f"{backend}-{precision}": (backend, precision) for backend, precision in every_row()}
    if unknown := [row for row in arguments.row if row not in known]:
        parser.error(f"--row {unknown[0]}: not one of {', '.join(known)}")
    rows = [known[row] for row in arguments.row] or list(known.values())
    if arguments.run.startswith("reference:"):
        if arguments.guard:
            print(add_guard(arguments.run, rows, arguments.overrides))
            return
        run = freeze_quantisation(arguments.run, rows, overrides=arguments.overrides)
        print(run.folder)
        return
    if arguments.name is None:
        parser.error("give the shipped student's name after the run")
    print(
        make_reference(
            Path(arguments.run),
            arguments.name,
            rows,
            arguments.overrides,
            half=not arguments.float32,
        )
    )


if __name__ == "__main__":
    main()
