"""Flatbuffers of ExecuTorch's delegates as JSON, by the ``flatc`` in its wheel."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from mobilekd.support.errors import UserError
from mobilekd.support.files import nearly_full
from mobilekd.support.process import printable


def as_json(schema: str, binary: bytes) -> Any:
    """``binary`` by the schema at ``schema`` below ExecuTorch's package. ``UserError`` where it is
    none, or where the disk has no room.
    """
    import executorch

    root = Path(next(iter(executorch.__path__)))
    with tempfile.TemporaryDirectory() as work:
        place = Path(work) / "graph.bin"
        place.write_bytes(binary)
        command = [
            str(root / "data/bin/flatc"),
            "--json",
            "--strict-json",
            "--defaults-json",
            "--raw-binary",
            "-o",
            work,
            str(root / schema),
            "--",
            str(place),
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            reason = printable(done.stderr or done.stdout) or f"exit code {done.returncode}"
            if little := nearly_full(Path(work)):
                raise UserError(f"{work}: flatc ended with an error ({reason}); {little}")
            raise UserError(
                f"flatc cannot read the delegate's graph ({reason}): the file is broken; export"
                " again or copy it whole"
            )
        text = (Path(work) / "graph.json").read_text(encoding="utf-8")
    # flatc writes infinity as C does
    return json.loads(re.sub(r"(:\s*-?)inf\b", r"\1Infinity", text))
