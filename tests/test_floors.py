"""Imports point down only. Every module has a floor; inside one sub-package siblings may know each other, otherwise never."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mobilekd

PACKAGE = Path(mobilekd.__file__).parent

#: The floors of the design, lowest first; where a floor's modules build on one another it has a mezzanine.
FLOORS = (
    "__init__ errors files preprocess recipe recipes reference artifact measurement provenance runs stats progress constants pte golden",
    "int8_arithmetic",
    "graphs",
    "float_operators",
    "data students losses quantize parity metrics backends runners coreml android views figures parallel teacher_networks",
    "teachers teacher_cache kept_teacher calibrate",
    "teacher_engine teacher_probe answers",
    "training",
    "evaluate evidence predict report inspect doctor devices baseline",
    "compare",
    "teach distill export bench apk verify",
    "demo sweep",
    "cli __main__",
)
#: Floor 0 is one room, because nouns are made of nouns, and so is the top.
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names.split()}

TRAVELLERS = ("android_demo", "ios_export")


def modules() -> list[Path]:
    """What is imported; the folders that merely travel with the package are run by their own readers."""
    return sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts and room(path) not in TRAVELLERS)


def room(path: Path) -> str:
    """The module or sub-package directly below ``mobilekd`` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms that a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("mobilekd.")}
    return {name if name in FLOOR or (PACKAGE / name).is_dir() else "__init__" for name in found}


def test_every_room_has_a_floor():
    assert {room(path) for path in modules()} <= set(FLOOR)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = room(path)
    for there in imported(path) - {here}:
        assert FLOOR[there] < FLOOR[here] or FLOOR[there] == FLOOR[here] in (0, len(FLOORS) - 1), f"{here} imports {there}"


def test_floor_0_loads_no_torch():
    names = ", ".join(f"mobilekd.{name}" for name in FLOORS[0].split()[1:] if (PACKAGE / f"{name}.py").exists())
    program = f"import sys, {names}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_planted_upward_import_is_found(tmp_path):
    planted = tmp_path / "metrics.py"
    planted.write_text("def late():\n    from mobilekd.export import export\n    return export\n")
    assert FLOOR[imported(planted).pop()] > FLOOR["metrics"]
