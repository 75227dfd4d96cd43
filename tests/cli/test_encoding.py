"""Names in an alphabet that standard output cannot write end no command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilekd.support.errors import UserError
from mobilekd.support.files import new_folder, write_json, write_text

NAME = "Läsion-黒色腫"


def answered(*words: str, encoding: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LANG": "C", "LC_ALL": "C"}
    return subprocess.run(
        [sys.executable, "-m", "mobilekd", *words], capture_output=True, env=environment
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "ascii:strict", "utf-8"])
def test_a_name_that_the_terminal_cannot_write_is_escaped(encoding: str, tmp_path: Path):
    recipe = tmp_path / f"{NAME}.toml"
    recipe.write_text(f'base = "demo"\nname = "mine"\ntitle = "{NAME}"\n', encoding="utf-8")
    shown = answered("recipes", str(recipe), "--json", encoding=encoding)
    assert shown.returncode == 0, shown.stderr
    codec = encoding.partition(":")[0]
    assert json.loads(shown.stdout.decode(codec))["title"] == NAME
    assert answered("recipes", str(recipe), encoding=encoding).returncode == 0
    refused = answered("recipes", NAME, "--json", encoding=encoding)
    assert refused.returncode == 2, refused.stderr
    assert json.loads(refused.stdout.decode(codec))["error"].startswith(f"{NAME}: neither a")
    assert b"Traceback" not in refused.stderr
    # a name of bytes that are no text, as file systems allow
    odd = answered("recipes", "caf\udce9", "--json", encoding=encoding)
    assert odd.returncode == 2, odd.stderr
    assert json.loads(odd.stdout.decode(codec))["exit_code"] == 2


def test_what_cannot_be_written_is_named_with_its_remedy(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "a.json", tmp_path / "file" / "b" / "a.json"):
        with pytest.raises(UserError, match=r"a\.json: .*file is where a folder should be"):
            write_json(place, {})
    with (
        pytest.raises(UserError, match="file is where a folder should be"),
        new_folder(tmp_path / "file" / "made"),
    ):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="a folder is where a file should be"):
        write_text(tmp_path / "folder", "text")
    with pytest.raises(UserError, match="choose a shorter name"):
        write_text(tmp_path / ("n" * 300), "text")
    with pytest.raises(UserError, match="no UTF-8 text; rename"):
        write_json(tmp_path / "a.json", {"name": "caf\udce9.jpg"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
