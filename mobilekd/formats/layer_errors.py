"""``layer_errors.json`` of an artifact: what each layer's rounding does to its output and to the
decision. Only for files that hold rounded numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from mobilekd.formats.document import Document, read_document

FILE = "layer_errors.json"
#: Layers that are named as the ones to keep in higher precision.
WORST = 3


class LayerError(Document):
    """One convolution or linear layer."""

    layer: str
    sqnr_db: float = Field(
        description="its output where it alone is rounded, against fp32; what is read next, so"
        " behind its activation"
    )
    file_sqnr_db: float | None = Field(
        description="its output in the file, against fp32: what came before is rounded, too; null"
        " where the file's layers are not known"
    )
    change: float = Field(
        ge=0,
        description="how far it alone, rounded, moves the decision: mean absolute change of the"
        " margin, ln p of the likeliest class less ln p of the second",
    )
    share: float = Field(ge=0, le=1, description="its change over the sum of all layers' changes")


class LayerErrors(Document):
    """All of them, in the order of execution."""

    photographs: int = Field(ge=1)
    of: Literal["training", "golden"] = Field(
        description="training photographs, or the artifact's golden ones where the data is not here"
    )
    source: str = Field(description="where the outputs in the file were read")
    margin: float = Field(ge=0, description="mean margin in fp32")
    change: float = Field(ge=0, description="of the margin, with everything rounded")
    layers: tuple[LayerError, ...]
    in_float: tuple[str, ...] = Field((), description="layers that the file has in floating point")
    not_compared: tuple[str, ...] = Field(
        (), description="layers that the rounded graph has in another form"
    )

    def ranked(self) -> list[LayerError]:
        """The layers that move the decision most come first."""
        return sorted(self.layers, key=lambda one: (-one.change, one.sqnr_db))

    def worst(self) -> list[str]:
        """Up to ``WORST`` layers to keep in higher precision, the first of those that move it."""
        return [one.layer for one in self.ranked()[:WORST] if one.change > 0]

    def about(self) -> str:
        """On which photographs and from which layers, in sentences."""
        left = ", ".join(self.not_compared)
        return (
            f"On {self.photographs} {self.of} photographs, one layer rounded at a time and the"
            f" others in fp32. “In the file” is read from {self.source}."
            + (f" Not compared, as rounding changed their form: {left}." if left else "")
        )


def read_layer_errors(folder: Path) -> LayerErrors | None:
    """Of an artifact's folder; None where there is none."""
    file = folder / FILE
    return (
        read_document(file, LayerErrors, "table of layers' errors", "export again")
        if (file.exists())
        else None
    )


def keep_option(layers: Sequence[str]) -> str:
    """What is pasted behind ``mobilekd export RUN`` to keep these layers in floating point."""
    names = ", ".join(f'"{name}"' for name in layers)
    return f"--precision mixed --set 'quantize.float_layers=[{names}]'"
