"""Runs commands as forks of one warm process, so that a kill costs no import of torch.

One job per line on standard input, as JSON; the answers are ``{"pid": ...}`` at once and
``{"code": ...}`` at the end, negative for a signal, with the modules that the command loaded: they
are loaded here too, for the forks that follow.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import sys
import tempfile
from typing import Any

from fault_points import VARIABLE, arm


def _run(job: dict[str, Any], modules: int) -> None:
    """The forked child: a session of its own, its own folder and environment, then the command
    line's ``main``.
    """
    os.setsid()
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    tempfile.tempdir = None  # chosen again, from the environment
    for handle, name in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(opened, handle)
        os.close(opened)
    if job["largest"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))
    from mobilekd.cli import main

    if job["arm"]:
        os.environ[VARIABLE] = json.dumps(job["arm"])
        arm(**job["arm"])
    code = main(job["words"])
    os.write(modules, "\n".join(sys.modules).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


def _warm(names: list[str]) -> None:
    wanted = [name for name in names if name not in sys.modules and "." not in name[:1]]
    for name in wanted:
        if name.partition(".")[0] not in ("__main__", "fault_points"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def serve() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        gc.freeze()  # a fork that touches nothing of its parent's copies nothing
        job = json.loads(line)
        modules, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(modules)
            answers.close()
            _run(job, theirs)
        os.close(theirs)
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        with os.fdopen(modules) as reader:
            names = reader.read().split()
        _, status, used = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        answer = {"code": code, "processor_seconds": used.ru_utime + used.ru_stime}
        print(json.dumps(answer), file=answers, flush=True)
        _warm(names)


if __name__ == "__main__":
    serve()
    os._exit(0)  # nothing to tidy up, and libraries complain of it
