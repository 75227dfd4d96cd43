"""A result file as what it is: measurement, evaluation or comparison, recognised by its content and
never by its name. No torch.
"""

from pathlib import Path

from mobilekd.formats.comparison import Comparison, parse_comparison
from mobilekd.formats.evaluation import Evaluation, read_evaluation
from mobilekd.formats.measurement import Measurement, read_measurement
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json

Result = Measurement | Evaluation | Comparison

#: Larger files are no results: the largest that was measured has 3 MB.
MOST_BYTES = 256_000_000


def read_result(path: Path) -> Result | str | None:
    """The result at ``path``; for other JSON the ``kind`` that it names itself, or None.

    A ``UserError`` where the file cannot be read, or names a kind of result and does not hold it.
    """
    if not path.is_file():
        raise UserError(f"{path}: not a regular file; give a result's own file")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path}: over {MOST_BYTES // 10**6} MB, which no result has; take it out")
    document = read_json(path, "JSON file")
    if not isinstance(document, dict):
        return None
    if {"artifact_sha256", "golden", "device"} <= document.keys():
        return read_measurement(path)
    match document.get("kind"):
        case "evaluation":
            return read_evaluation(path)
        case "comparison":
            return parse_comparison(document, str(path))
        case str() as kind:
            return kind
    return None
