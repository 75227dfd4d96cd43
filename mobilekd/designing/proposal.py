"""The recipe that a design ends with: a base, a student and an input size."""

import json
import os
import re
from pathlib import Path

from mobilekd.designing.families import Candidate
from mobilekd.formats.own_code import is_own
from mobilekd.formats.recipe_file import shipped


def recipe_text(
    one: Candidate, base: str, output: Path, precision: str, measured_ms: float, why: str
) -> str:
    """TOML for ``output``; ``why`` is how the student was chosen."""
    student = one.student
    model = student.model
    if is_own(model) and base not in shipped():
        model = _beside(model, output)
    title = f"{one.name}: {measured_ms:.3f} ms in {precision}"
    lines = [
        f"# Proposed by mobilekd design: {title}, as a whole file on the machine that proposed it.",
        f"# Chosen by {why}.",
        f"base = {json.dumps(base if base in shipped() else _beside(base, output))}",
        f"name = {json.dumps(re.sub(r'[^A-Za-z0-9._-]+', '-', output.stem))}",
        f"title = {json.dumps(title)}",
        "",
        "[student]",
        f"model = {json.dumps(model)}",
        f"width = {student.width:g}",
        f"adapt = {json.dumps(list(student.adapt))}",
        # the base's weights, where it starts from any, belong to a network of another width
        'weights = ""',
        "",
        "[preprocess]",
        f"width = {one.side}",
        f"height = {one.side}",
        "",
    ]
    return "\n".join(lines)


def _beside(path: str, output: Path) -> str:
    """A path as a recipe in ``output``'s folder names it."""
    return os.path.relpath(str(Path(path).expanduser()), str(output.parent))
