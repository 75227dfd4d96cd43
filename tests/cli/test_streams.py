"""Standard output and error that are full, or that were closed before the command began."""

import json
import subprocess
import sys

import pytest

FULL, CLOSED = "/dev/full", "&-"


def run(words: str, out: str = "", err: str = "") -> "subprocess.CompletedProcess[str]":
    """``mobilekd`` from a shell that sends standard output and error where it is told."""
    redirections = (f" >{out}" if out else "") + (f" 2>{err}" if err else "")
    command = f'"{sys.executable}" -P -m mobilekd {words}{redirections}'
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True)


@pytest.mark.parametrize("err", [FULL, CLOSED])
def test_an_answer_does_not_depend_on_standard_error(err: str):
    done = run("recipes --json", err=err)
    assert done.returncode == 0
    assert json.loads(done.stdout)["recipes"]


@pytest.mark.parametrize("err", [FULL, CLOSED])
@pytest.mark.parametrize("words", ["recipes NOPE", "recipes --nope", "nonsense"])
def test_a_refusal_that_nobody_can_read_is_one_still(words: str, err: str):
    done = run(words, err=err)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("words", ["recipes", "recipes --json"])
def test_an_answer_that_finds_no_room_is_refused(words: str):
    done = run(words, out=FULL)
    assert done.returncode == 2
    assert done.stderr == (
        "mobilekd recipes: output: no space left on device; free some space or choose another"
        " folder\n"
    )
    assert run(words, out=FULL, err=FULL).returncode == 2


@pytest.mark.parametrize("out", [FULL, CLOSED])
def test_a_refusal_needs_no_standard_output(out: str):
    done = run("evaluate nope --json", out=out)
    assert done.returncode == 2
    assert done.stderr.startswith("mobilekd evaluate: nope: no such run;")
    assert done.stderr.count("\n") == 1


def test_a_closed_standard_output_is_no_mistake_of_the_command():
    assert run("recipes", out=CLOSED).returncode == 0
    assert run("recipes", out=CLOSED, err=CLOSED).returncode == 0
