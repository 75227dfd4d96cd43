"""The student of the documentation, from a file beside a recipe to a verified artifact that another
machine opens.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from mobilekd.commands.distill import distill
from mobilekd.commands.export import export
from mobilekd.formats.recipe_file import load_recipe

OPEN = ("gates.agreement=0", "gates.accuracy_drop=1", "gates.sqnr_db=0")
RECIPE = """
base = "demo"
name = "own"
teachers = []
losses = [{ name = "cross_entropy" }]
"""


def test_an_own_student_travels_without_its_file(tmp_path: Path, checkout: Path) -> None:
    page = (checkout / "docs/how-to/student.md").read_text(encoding="utf-8")
    source = next(one for one in re.findall(r"```python\n(.*?)```", page, re.S) if "nn" in one)
    table = next(one for one in re.findall(r"```toml\n(.*?)```", page, re.S) if ".py:" in one)
    here = tmp_path / "here"
    here.mkdir()
    (here / "my_student.py").write_text(source)
    (here / "r.toml").write_text(RECIPE + table)
    small = ["data.count=140", "data.size=40", "preprocess.width=32", "preprocess.height=32"]
    recipe = load_recipe(
        str(here / "r.toml"), [*small, "train.epochs=1", "train.views=0", "student.exports=[]"]
    )
    run = distill(recipe, here / "runs", control=False)
    export(run.folder, precision="fp32", output=here / "artifact", overrides=OPEN)
    (here / "my_student.py").unlink()
    away = shutil.move(here, tmp_path / "another_machine")
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "mobilekd", "verify", f"{away}/artifact"),
            *("--runs", f"{away}/runs"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "student" in done.stdout
