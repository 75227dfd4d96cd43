"""The command line: grammar, exit codes, what goes to which stream, and what it costs to start."""

import json
import os
import statistics
import subprocess
import sys
import time

import pytest

from mobilekd.cli import commands
from mobilekd.support import progress

NAMES = sorted(commands().parsers)


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mobilekd", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def test_the_commands_of_the_design_are_all_there():
    design = (
        "teach distill evaluate calibrate predict compare export bench report apk inspect verify"
        " recipes devices doctor demo sweep design"
    )
    assert sorted(design.split()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_help_has_examples_that_parse(name):
    parser = commands().parsers[name]
    above, _, options = parser.format_help().partition("\noptions:\n")
    assert "--json" in options
    examples = above.partition("examples:\n")[2].partition("\n\n")[0]
    lines = [line.strip() for line in examples.strip().splitlines()]
    assert lines, "no examples"
    for line in lines:
        import shlex

        words = line.removeprefix("mobilekd ").partition(" > ")[0]
        arguments = commands().parse(shlex.split(words))
        assert arguments.command == name


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_help(name):
    for action in commands().parsers[name]._actions:
        assert action.help or action.metavar == "ARTIFACT", action.dest


def test_help_begins_with_an_example_and_groups_every_command_by_what_one_wants():
    text = commands().root.format_help()
    first, *groups = text.partition("start with:\n")[2].partition("\n\nmore:")[0].split("\n\n")
    assert first.strip() == "mobilekd demo"
    assert len(groups) == 5
    listed = [line.split()[0] for group in groups for line in group.splitlines()[1:]]
    assert sorted(listed) == NAMES


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mobilekd ex", {"export"}),
        ("mobilekd export --ba", {"--backend"}),
        ("mobilekd export --backend core", {"coreml", "coreml-pte"}),
        ("mobilekd distill self", {"self-distillation"}),
        ("mobilekd distill demo --set train.ep", {"train.epochs="}),
        ("mobilekd export reference", {"reference:ham10000-lesionnet"}),
    ],
)
def test_a_shell_is_told_what_may_come_next(line, offered, tmp_path):
    """As argcomplete's hook asks: the line in the environment, the answer on descriptor 8."""
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m mobilekd 8>&1 9>&2 >/dev/null 2>&1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **asked, "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_COMP_WORDBREAKS": ""},
    )
    assert offered <= {word.strip() for word in done.stdout.split("\n")}, done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_a_shell_runs(shell):
    done = run("--completion", shell)
    assert done.returncode == 0
    assert "_ARGCOMPLETE" in done.stdout


def test_help_and_floor_0_load_neither_torch_nor_pydantic():
    program = (
        "import sys; from mobilekd.cli import main\ntry: main(['--help'])\nexcept SystemExit:"
        " pass\nprint(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.strip().splitlines()[-1].replace("'", '"')))
    assert not loaded & {"torch", "pydantic", "numpy", "rich", "PIL", "executorch", "matplotlib"}


def test_help_costs_at_most_6_bare_starts():
    def seconds(*arguments: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start

    bare, full = [], []
    for _ in range(11):  # interleaved, so that a busy machine slows both
        bare.append(seconds("-c", "pass"))
        full.append(seconds("-m", "mobilekd", "--help"))
    assert statistics.median(full) <= 6 * statistics.median(bare)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["distil"], "command distil: unknown; did you mean distill?"),
        (["distill", "demo", "--rsume"], "unexpected --rsume, did you mean --resume?"),
        (["distill"], "RECIPE"),
        (["bench", "x", "--threads", "none"], "none is not a whole number above 0"),
        (["evaluate", "x", "--data", "isik"], "isik"),
    ],
)
def test_a_wrong_call_takes_one_line_and_exits_with_2(arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_json_is_one_document_on_standard_output():
    done = run("recipes", "--json")
    assert done.returncode == 0
    assert "demo" in {recipe["name"] for recipe in json.loads(done.stdout)["recipes"]}


def test_a_refusal_in_json_is_one_document_and_one_line(tmp_path):
    done = run("teach", "no-such-recipe", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["exit_code"] == 2
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_libraries_that_print_do_not_reach_standard_output(tmp_path):
    program = """
import ctypes, os, sys
import mobilekd.cli.training as training
from mobilekd.cli.parser import Answer
def noisy(arguments):
    print("python chatter"); os.write(1, b"descriptor chatter\\n")
    ctypes.CDLL(None).printf(b"C chatter\\n")
    return Answer({"ok": True}, "ok")
training.recipes = noisy
from mobilekd.cli import main
sys.exit(main(["recipes", "--json"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == {"ok": True}
    assert {"python chatter", "descriptor chatter", "C chatter"} <= set(done.stderr.splitlines())


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (
            "RuntimeError('a fault\\nof ours')",
            1,
            "unexpected RuntimeError: a fault of ours; traceback saved in ",
        ),
        ("MemoryError()", 2, "not enough memory (none left); ask for less"),
        (
            "RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried 128 bytes')",
            2,
            "not enough memory (DefaultCPUAllocator: can't allocate memory: you tried 128 bytes)",
        ),
        ("KeyboardInterrupt()", 130, "stopped"),
        (
            "OSError(28, 'No space left on device', 'runs/x')",
            2,
            "runs/x: no space left on device; free some space",
        ),
        (
            "PermissionError(13, 'Permission denied', 'runs')",
            2,
            "runs: permission denied; choose a folder",
        ),
    ],
)
def test_every_failure_takes_one_line(failure, code, says, tmp_path):
    program = f"""
import sys
import mobilekd.cli.training as training
def fail(arguments): raise {failure}
training.recipes = fail
from mobilekd.cli import main
sys.exit(main(["recipes"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == code
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    if code == 1:
        assert "Traceback" in next(tmp_path.glob("*.traceback.txt")).read_text()


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m mobilekd recipes --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


def test_plain_progress_does_not_take_the_first_item_for_the_others(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """The first batch of an epoch waits for the compiler, which made minutes into hours."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    for seconds in progress.track([100, 10, 10, 10], "work"):
        clock[0] += seconds
    assert capfd.readouterr().err.splitlines() == ["work: 1 of 4", "work: 3 of 4, about 10 s left"]
