"""Run folders on their way between machines that share no disk: packed into bytes, unpacked whole.

On the node that trained it, a student found its teachers in a folder of that node's. When it comes
home its recipe gets the sweep's own places again, so that the run is the one of a local sweep.
"""

import io
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import open_run, write_run_info
from mobilekd.support.files import new_folder, write_json
from mobilekd.support.lock import locked


def pack(root: Path, names: Iterable[str]) -> bytes:
    """The folders ``names`` below ``root`` with all that is in them; those that are not there are
    left out.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, strict_timestamps=False) as parcel:
        for name in names:
            for path in sorted((root / name).rglob("*")):
                if path.is_file():
                    parcel.write(path, path.relative_to(root).as_posix())
    return buffer.getvalue()


def unpack(parcel: bytes, root: Path) -> None:
    """Every file of a parcel below ``root``."""
    with zipfile.ZipFile(io.BytesIO(parcel)) as files:
        files.extractall(root)


def receive(parcel: bytes, recipe: Recipe, runs: Path, command: str) -> None:
    """Put the folders of a cell's parcel into ``runs``, each whole or not at all, the cell's own
    last: its presence says that all is there.

    Raises:
        Held: another command works in the cell's folder.
    """
    with zipfile.ZipFile(io.BytesIO(parcel)) as files, locked(runs / recipe.name, command):
        inside: dict[str, list[str]] = {}
        for member in files.namelist():
            inside.setdefault(member.partition("/")[0], []).append(member)
        for name in sorted(inside, key=lambda name: name == recipe.name):
            with new_folder(runs / name, replace=True) as new:
                files.extractall(new, inside[name])
                for part in (new / name).iterdir():
                    part.rename(new / part.name)
                shutil.rmtree(new / name)
                if name == recipe.name:
                    _with_own_places(new, recipe)


def _with_own_places(folder: Path, recipe: Recipe) -> None:
    """A run's recipe as the sweep wrote it, and its record of that."""
    if not (folder / "recipe.json").exists():
        return
    info = open_run(folder).info if (folder / "run.json").exists() else None
    write_json(folder / "recipe.json", recipe.to_dict())
    if info:
        write_run_info(folder, info.model_copy(update={"recipe_hash": recipe.hash()}))
