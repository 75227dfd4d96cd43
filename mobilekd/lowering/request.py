"""What was asked of an export, held against what there is, before anything is loaded. No torch."""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.backends import Backend, for_soc, get
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.recipe_file import with_overrides
from mobilekd.formats.runs import Run
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_writable, read_json
from mobilekd.support.words import unknown

#: Tables of a recipe that an export may override: where the data is, how it is judged, how it is
#: rounded.
OPEN_TABLES = ("data", "gates", "quantize")


def check_words(
    backend: str, precision: str, verify: Sequence[str] = (), soc: str | None = None
) -> Backend:
    """The backend asked for; ``UserError`` for one, a chip, a precision or a check that does not
    exist, and for one that this machine cannot lower with.
    """
    lowering = for_soc(get(backend), soc)
    if precision not in lowering.precisions:
        given = f"--precision {precision} of {backend}"
        raise UserError(unknown(given, precision, lowering.precisions))
    for word in sorted(set(verify) - {"arm"}):
        raise UserError(unknown(f"--verify {word}", word, ["arm"]))
    if verify and not lowering.processor:
        raise UserError(
            f"--verify arm: the emulated Arm processors have no runtime for {lowering.name}; leave"
            " --verify out"
        )
    lowering.refuse_missing(precision)
    return lowering


def overridden(run: Run, overrides: Sequence[str]) -> Recipe:
    """The run's recipe with what an export may change; ``UserError`` for the rest."""
    foreign = [text for text in overrides if text.split(".")[0] not in OPEN_TABLES]
    if foreign:
        raise UserError(
            f"--set {foreign[0]}: the student was trained with it, so an export cannot change it;"
            f" {', '.join(OPEN_TABLES)} can be set"
        )
    return with_overrides(run.recipe, overrides)


def same_export(output: Path, run: Run, backend: Backend, precision: str) -> bool:
    """Whether ``output`` holds an earlier export of the same thing, which the new one may
    replace.
    """
    path = output / "manifest.json"
    if not path.is_file():
        return False
    earlier = read_json(path, "artifact manifest")
    if not isinstance(earlier, dict):
        return False
    chip = earlier.get("chip")
    found = [earlier.get(key) for key in ("name", "backend", "precision")]
    found.append(chip.get("soc") if isinstance(chip, dict) else None)
    return found == [run.info.name, backend.name, precision, backend.soc]


def check_output(output: Path, run: Run, backend: Backend, precision: str) -> None:
    """A ``UserError`` where the artifact's folder could not be written in the end."""
    check_writable(output, folder=True)
    if output.exists() and not same_export(output, run, backend, precision):
        raise UserError(f"{output}: exists already; remove it or choose another folder")
