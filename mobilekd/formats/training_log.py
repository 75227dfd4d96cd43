"""``metrics.jsonl``: what training says of each epoch, one JSON object a line. No torch."""

from pathlib import Path

from pydantic import ConfigDict, Field, PositiveInt

from mobilekd.formats.document import Document, parse_document
from mobilekd.support import strict_json
from mobilekd.support.errors import UserError


class Epoch(Document):
    """One line; the losses in it go by their names and are not read."""

    model_config = ConfigDict(extra="ignore")

    epoch: PositiveInt
    balanced_accuracy: float | None = Field(None, description="on validation, where it was judged")


def read_training_log(path: Path) -> tuple[Epoch, ...]:
    """All epochs in order; a broken line is a ``UserError`` that names it, no file is no epochs."""
    remedy = "copy the run's folder whole, or take the file out to go without the curve"
    if not path.exists():
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable training log ({error}); {remedy}") from None
    epochs = []
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            document = strict_json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error}); {remedy}") from None
        epochs.append(parse_document(document, Epoch, where, "epoch", remedy))
    return tuple(epochs)
