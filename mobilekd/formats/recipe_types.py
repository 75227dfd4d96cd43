"""Types of a recipe's values: bounds within which numbers are no slip of the keyboard."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mobilekd.formats.preprocess import Side

Fraction = Annotated[float, Field(strict=True, ge=0, le=1)]
#: Counts; what is above the bound is a slip of the keyboard, and fits no array.
Positive = Annotated[int, Field(strict=True, ge=1, lt=2**31)]
Scale = Annotated[float, Field(strict=True, gt=0, le=1e6)]
Pixels = Annotated[Side, Field(strict=True)]
#: At most what a TOML integer holds; every generator takes it.
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]


def _home(text: str) -> str:
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError as error:
        raise ValueError(f"{str(error).lower()} write the folder out") from None


def _json_only(options: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("dates, NaN and infinity are no options; give numbers and texts") from None
    return options


#: A file or folder; ``~`` is the user's home.
Place = Annotated[str, AfterValidator(_home)]
Options = Annotated[dict[str, Any], AfterValidator(_json_only)]
