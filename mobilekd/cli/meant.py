"""What somebody means who types another tool's word: ``train`` for a command, ``--epochs`` for an
option, a backend where a run belongs. Each is answered with the words of this program.

Add a word to the table of its kind. ``tests/cli/test_meant.py`` holds every answer against the
grammar, so that none names a command or an option that does not exist.
"""

import re
import shlex
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from mobilekd.support.words import names_by_file

DISTILL = "mobilekd distill RECIPE trains a student (mobilekd teach RECIPE its teachers first)"
EXPORT = "mobilekd export RUN makes the file for the phone"
INT8 = "mobilekd export RUN --precision int8 makes an int8 file"
BENCH = "mobilekd bench ARTIFACT measures latency"
PREDICT = "mobilekd predict RUN PHOTOGRAPH names the class of a photograph"
EVALUATE = "mobilekd evaluate RUN judges a student on its test photographs"
RECIPES = "mobilekd recipes lists the recipes and the shipped students"
OWN = "mobilekd recipes ham10000 > mine.toml is the start of an own recipe"
APK = "mobilekd apk ARTIFACT builds the Android app"
INSPECT = "mobilekd inspect ARTIFACT says what a file is"
VERIFY = "mobilekd verify ARTIFACT checks a file"
DOCTOR = "mobilekd doctor says what this machine lacks"
DEMO = "mobilekd demo shows the whole flow"
SWEEP = "mobilekd sweep RECIPE --grid KEY=A,B tries values of a recipe's keys"
REPORT = "mobilekd report PATH writes the page"
IOS = "mobilekd export RUN --backend coreml makes the file for an iPhone"
DEVICES = "mobilekd devices lists what can be measured on"
HELP = "mobilekd --help lists the commands"
COMPARE = "mobilekd compare RUN RUN puts students side by side"

#: Answer to a command, by the words that stand for it elsewhere.
COMMANDS: dict[str, str] = {
    word: answer
    for words, answer in (
        ("train fit learn finetune fine-tune tune-student student training", DISTILL),
        ("teacher pretrain train-teacher", "mobilekd teach RECIPE trains a recipe's teachers"),
        ("convert conversion lower compile trace save freeze to-pte", EXPORT),
        ("quantize quantise quant ptq qat int8 compress", INT8),
        ("benchmark benchmarks measure latency speed time perf", BENCH),
        ("infer inference classify ask label diagnose", PREDICT),
        ("run", f"{DISTILL}; {PREDICT}"),
        ("test", f"{EVALUATE}; {VERIFY}"),
        ("eval validate validation score metrics accuracy judge", EVALUATE),
        ("models model list ls zoo students references presets", RECIPES),
        ("init new create config configure recipe template", OWN),
        ("deploy", f"{APK}; {IOS}"),
        ("app android install build package", APK),
        ("ios iphone coreml swift", IOS),
        ("info show describe summary profile stats view", INSPECT),
        ("check prove validate-file golden", VERIFY),
        ("setup env environment status diagnose-machine", DOCTOR),
        ("start quickstart example examples tutorial try hello", DEMO),
        ("tune grid search hpo ablate ablation", SWEEP),
        ("plot html page dashboard chart", REPORT),
        ("phone phones device adb", DEVICES),
        ("diff versus", COMPARE),
        ("version", "mobilekd --version says it"),
        ("completion completions", 'eval "$(mobilekd --completion bash)" turns completion on'),
        ("commands usage man docs", HELP),
    )
    for word in words.split()
}

#: What to write where what a command is about was left out.
MISSING = {
    "distill": f"{RECIPES}, and photographs is the one for your own",
    "teach": RECIPES,
    "sweep": RECIPES,
    "predict": "a student comes first: mobilekd predict reference:NAME PHOTOGRAPH",
    "compare": COMPARE,
    "calibrate": "mobilekd calibrate ARTIFACT --data folder --root FOLDER fits it to a clinic",
    "design": "mobilekd design --latency 0.5 proposes a student for half a millisecond",
}

#: Commands that take a recipe, and the table of the recipe that says how they train.
TRAINING = {"distill": "train", "sweep": "train", "teach": "teach"}

#: Answer to an option of the commands that take a recipe. ``{value}`` is what was given.
RECIPE_OPTIONS: dict[str, str] = {
    word: answer
    for words, answer in (
        ("epochs epoch num-epochs max-epochs n-epochs", "--set {table}.epochs={value:3}"),
        ("lr learning-rate", "--set {table}.lr={value:1e-3}"),
        ("batch-size batch bs", "--set {table}.batch_size={value:32}"),
        ("optimizer optim", "--set {table}.optimizer={value:sgd}"),
        ("weight-decay wd", "--set {table}.weight_decay={value:0.02}"),
        ("warmup warmup-epochs", "--set {table}.warmup_epochs={value:1}"),
        ("mixup", "--set {table}.mixup={value:0.2}"),
        ("workers num-workers threads", "--set {table}.threads={value:2}"),
        ("seed random-seed", "--set seed={value:1}"),
        (
            "data dataset data-dir data-path data-root root images photos photographs train-dir"
            " input",
            "--set data.root={value:FOLDER}, and --set data.kind=folder where each class is a"
            " sub-folder of it",
        ),
        ("labels csv", "--set data.labels={value:FILE}"),
        ("metadata", "--set data.metadata={value:FILE}"),
        ("model arch architecture student backbone net", "--set student.model={value:mobilenetv2}"),
        ("width alpha multiplier", "--set student.width={value:0.5}"),
        (
            "teacher teachers teacher-model",
            '--set \'teachers=[{{model="{value:mobilenetv2_100}", weights="hub"}}]\'',
        ),
        ("weights pretrained init-from", "--set student.weights={value:hub}"),
        ("loss losses", "--set 'losses=[{{name=\"{value:hinton}\"}}]'"),
        ("temperature temp t", "--set losses.1.options.temperature={value:2.0}"),
        ("dropout", "--set student.dropout={value:0.1}"),
        (
            "size image-size img-size imgsz resolution",
            "--set preprocess.width={value:128}, and the same for preprocess.height",
        ),
        ("split test-size test", "--set split.test={value:0.2}"),
        ("val validation val-size", "--set split.validation={value:0.1}"),
        (
            "output out output-dir out-dir save-dir save o outdir",
            "--runs {value:FOLDER} for the folder of all runs, --set name=NAME for this one's",
        ),
        ("name run-name experiment", "--set name={value:NAME}"),
        ("config recipe cfg c", "{command} {value:RECIPE}: the recipe stands alone"),
        (
            "device gpu gpus cuda cpu",
            "nothing: training takes the GPU where there is one, and"
            " CUDA_VISIBLE_DEVICES= keeps it off",
        ),
        ("amp fp16 bf16 half", "nothing: a GPU trains in bf16 where that is faster"),
        ("checkpoint resume-from continue", "--resume"),
        ("quick fast dry-run test-run debug-run", "--smoke"),
        ("no-teacher baseline", "--set 'teachers=[]' --set 'losses=[{{name=\"cross_entropy\"}}]'"),
    )
    for word in words.split()
}
RECIPE_OPTIONS |= {f"data.{key}": f"--set data.{key}={{value:...}}" for key in ("root", "kind")}

_FILE = "{command} {value:ARTIFACT}: the artifact's folder stands alone"
_RUN = "{command} {value:RUN}: the run stands alone"
_BITS = "--precision {value:int8}"
_ARCHIVE = "nothing: .md and .json appear beside the page"

#: Answer to an option of one other command.
OPTIONS: dict[str, dict[str, str]] = {
    command: {word: answer for words, answer in rows for word in words.split()}
    for command, rows in {
        "export": (
            (
                "format target framework runtime to f engine",
                "--backend xnnpack for Android (.pte), --backend coreml for an iPhone,"
                " --backend onnx for ONNX Runtime, --backend litert for LiteRT (.tflite)",
            ),
            ("onnx onnxruntime ort", "--backend onnx"),
            ("ios iphone coreml", "--backend coreml"),
            ("android pte executorch xnnpack", "--backend xnnpack"),
            ("tflite litert", "--backend litert"),
            ("torchscript", "--backend xnnpack, coreml, onnx or litert; no TorchScript is made"),
            ("quantize quantise quant int8 ptq 8bit q", "--precision int8"),
            ("qat", "--precision int8-qat"),
            ("fp16 half float16", "--precision fp16 (with --backend coreml)"),
            ("chip chipset soc-model", "--soc {value:SM8650}"),
            ("fp32 float float32", "--precision fp32"),
            ("dtype type bits quantization", _BITS),
            ("model run weights checkpoint input student i", _RUN),
            ("data root dataset data-dir calibration-data", "--set data.root={value:FOLDER}"),
            ("calibration samples", "--set quantize.calibration={value:256}"),
            ("epochs qat-epochs", "--set quantize.qat_epochs={value:3}"),
            ("lr qat-lr", "--set quantize.qat_lr={value:1e-5}"),
            ("tolerance atol agreement force", "--set gates.agreement={value:0.97}"),
            ("out output-dir out-dir o save name", "--output {value:FOLDER}"),
            ("arm", "--verify arm"),
            ("size image-size imgsz batch-size", "nothing: the input is the one that was trained"),
        ),
        "bench": (
            ("model artifact file input i", _FILE),
            ("iterations runs repeat n reps num-runs iters", "--samples {value:200}"),
            ("duration time seconds", "--minutes {value:5}"),
            ("phone android", "--device adb"),
            ("serial s", "--device adb:{value:SERIAL}"),
            ("cpu local", "--device host"),
            ("app", "--via app"),
            ("out output-dir json-file o", "--output {value:FILE}"),
            ("compare reference", "--baseline {value:FILE}"),
            ("warmup batch-size", "nothing: every process warms up and answers one photograph"),
        ),
        "evaluate": (
            ("model run artifact checkpoint weights i", _RUN),
            ("dataset data-dir images input photographs", "--data folder --root {value:FOLDER}"),
            ("csv ground-truth", "--labels {value:FILE}"),
            ("classes mapping", "--map THEIRS=OURS"),
            ("out output-dir o save", "--output {value:FOLDER}"),
            ("split", "nothing: the test split judges, or what --data names"),
            ("set", "--root FOLDER, where the run's photographs lie now"),
        ),
        "predict": (
            ("model run artifact checkpoint weights", "{command} {value:RUN} PHOTOGRAPH"),
            (
                "image images input data folder source i photo photos",
                "{command} RUN {value:PHOTOGRAPH}: photographs and folders stand alone",
            ),
            ("out output csv o save", "--json, and > FILE after it"),
            ("threshold conf confidence", 'nothing: validation fixed where "not sure" begins'),
            ("top-k topk top", "--json, which has every class"),
        ),
        "report": (
            ("format", _ARCHIVE),
            ("md markdown pdf", _ARCHIVE),
            ("input runs run results artifacts i", "{command} {value:PATH}: paths stand alone"),
            ("out o html save", "--output {value:FILE}"),
        ),
        "compare": (
            ("out o output-dir save", "--output {value:FOLDER}"),
            ("baseline run model", "{command} {value:RUN} RUN: runs stand alone"),
        ),
        "inspect": (
            ("model artifact file input i", _FILE),
            ("time latency operators", "--profile"),
            ("plot svg output out o", "--picture {value:FILE}"),
        ),
        "verify": (
            ("model artifact file input i", _FILE),
            ("verify", "--arm"),
        ),
        "apk": (
            ("model artifact file input i", _FILE),
            ("out o output-dir", "--output {value:FILE}"),
            ("images photographs", "--samples {value:FOLDER}"),
            ("key sign", "--keystore {value:FILE}"),
            ("serial device phone", "--install {value:SERIAL}"),
            ("title label", "--name {value:TEXT}"),
            ("arch abis", "--abi {value:arm64-v8a}"),
            ("libs so jni", "--libraries {value:FOLDER}"),
        ),
        "demo": (
            ("out o output-dir", "--output {value:FOLDER}"),
            ("quick fast", "--smoke"),
        ),
        "doctor": (("fix", "--install"),),
        "sweep": (
            (
                "checkpoint resume resume-from continue",
                "nothing: a sweep goes on with what is missing",
            ),
        ),
        "recipes": (
            ("list", "{command}, which lists them"),
            ("show", "{command} {value:RECIPE}: the recipe stands alone"),
            ("help-key key describe", "--explain {value:KEY}"),
        ),
    }.items()
}

#: Answer to an option of any command.
COMMON = {
    "set": "nothing: what this command does follows from the run or the file",
    "verbose": "nothing: progress is said as it comes; --debug shows an error whole",
    "v": "nothing: progress is said as it comes; --debug shows an error whole",
    "quiet": "2> /dev/null: the answer alone is on standard output",
    "q": "2> /dev/null: the answer alone is on standard output",
    "format": "--json",
    "log-level": "nothing: progress is said as it comes; --debug shows an error whole",
    "y": "nothing: no command asks back",
    "yes": "nothing: no command asks back",
    "version": "mobilekd --version",
    "runs": "nothing: this command reads no runs by name",
}


#: What ``export`` takes after ``--backend``: one file each, whose names cost no import.
BACKENDS = tuple(names_by_file(Path(__file__).parents[1] / "backends"))
#: What it takes after ``--precision``, whichever backend has it.
PRECISIONS = ("fp16", "fp32", "int8", "int8-qat", "mixed", "palette", "w8a16", "w8a8")


def command(word: str) -> str | None:
    """The answer to a command that does not exist; None where nobody knows what is meant."""
    return COMMANDS.get(_plain(word))


def key(word: str) -> str | None:
    """The recipe's key that another tool's option stands for."""
    answer = RECIPE_OPTIONS.get(_plain(word), "")
    found = re.search(r"--set '?([\w.]+)=", filled(answer, "distill", ""))
    return found[1] if found else None


def option(command: str, given: Sequence[str], known: Collection[str]) -> str | None:
    """The answer to the first of a command's arguments that is another tool's option; None where
    there is none. ``known`` are the command's own options.
    """
    for place, text in enumerate(given):
        if text == "--":
            return None
        if not text.startswith("-") or text.partition("=")[0] in known:
            continue
        name, _, value = text.partition("=")
        if not value and place + 1 < len(given) and not given[place + 1].startswith("-"):
            value = given[place + 1]
        answer = _option(command, _plain(name))
        if answer is not None:
            return f"{name}: {command} has no such option; write {filled(answer, command, value)}"
    return None


def place(command: str, given: Sequence[str]) -> str | None:
    """The answer to a backend or a precision that stands where ``export`` takes a run, and to a
    folder that stands where ``--data`` takes a kind.
    """
    for before, text in pairwise(given):
        if before == "--data" and Path(text).is_dir():
            return (
                f"--data {text}: a folder, and a kind of photographs stands here; write --data"
                f" folder --root {shlex.quote(text)}"
            )
    if command != "export":
        return None
    for before, text in zip(("", *given), given, strict=False):
        word = _plain(text)
        if before.startswith("-") or text.startswith("-"):
            continue
        for kind, words in (("backend", BACKENDS), ("precision", PRECISIONS)):
            if word in words and not Path(text).exists():
                return f"{text}: a {kind}, and a run stands here; write --{kind} {word}"
    return None


def _option(command: str, word: str) -> str | None:
    recipe = RECIPE_OPTIONS if command in TRAINING else {}
    return OPTIONS.get(command, {}).get(word) or recipe.get(word) or COMMON.get(word)


class _Value(str):
    """What was given after an option; its format specification stands in where nothing was."""

    def __format__(self, instead: str) -> str:
        return str(self) or instead


def filled(answer: str, command: str, value: str) -> str:
    """An answer with what was given for ``{value}``, or with an example where nothing was."""
    return answer.format(
        value=_Value(value), table=TRAINING.get(command, ""), command=f"mobilekd {command}"
    )


def _plain(word: str) -> str:
    return word.casefold().lstrip("-").replace("_", "-")
