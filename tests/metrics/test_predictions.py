"""``predictions.csv``: what is written is read, and a broken file names the line."""

from pathlib import Path

import numpy as np
import pytest

from mobilekd.metrics.predictions import Predictions, read_predictions, write_predictions
from mobilekd.support.errors import UserError

HEADER = "image,lesion,truth,mel,nv\n"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    given = Predictions(
        ("mel", "nv"), ("a", 'b,"c'), ("l", ""), np.array([1, 0]), np.array([[0.25, 0.75], [1, 0]])
    )
    write_predictions(tmp_path / "p.csv", given)
    read = read_predictions(tmp_path / "p.csv")
    assert (read.keys, read.ids, read.lesions) == (given.keys, given.ids, given.lesions)
    assert (read.truth == given.truth).all()
    assert (read.probabilities == given.probabilities).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "or it is empty"),
        (HEADER, "or it is empty"),
        ("image,lesion\na,l\n", "its columns are not"),
        ("image,lesion,truth,nv,nv\na,l,nv,0.5,0.5\n", "two of one name"),
        (HEADER + "a,l\n", "line 2 has 2 columns"),
        (HEADER + "a,l,nv,0.5,0.5\na,l,nv,0.5,0.5\n", "line 3: a is there twice"),
        (HEADER + "a,l,bcc,0.5,0.5\n", "line 2: no class is called 'bcc'"),
        (HEADER + "a,l,nv,nan,0.5\n", "line 2: nan, 0.5 are no probabilities"),
        (HEADER + "a,l,nv,inf,0.5\n", "are no probabilities"),
        (HEADER + "a,l,nv,-0.5,1.5\n", "are no probabilities"),
        (HEADER + "a,l,nv,0.5,0.1\n", "sum to 0.6"),
        (HEADER + "a,l,nv,much,0.1\n", "could not convert"),
        (HEADER + "a,l,nv,0.5,0.5\x00\n", "not a predictions file"),
        (HEADER + "a" * 200_000 + ",l,nv,0.5,0.5\n", "not a predictions file"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: not a predictions file")
    assert words in str(caught.value)
    assert "evaluate again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a predictions file"):
        read_predictions(tmp_path / "p.csv")
