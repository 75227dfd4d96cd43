"""A Core AI model answers in Apple's own runtime as eager does; the interpreter, which reads it a
second time, agrees, and names what it does not know.
"""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.coreml import EXAMPLE, LABELS, captured, facts, pictures, small

from mobilekd import backends
from mobilekd.backends.base import Lowered
from mobilekd.graphs import coreai_file, coreai_program, torch_nodes
from mobilekd.support.errors import UserError

BACKEND = backends.get("coreai")


def apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def lowered(kind: str, precision: str, folder: Path, *, cam: bool = False) -> Lowered:
    graph = captured(small(kind, cam=cam), "coreai", precision)
    return BACKEND.lower(graph, EXAMPLE, precision, facts("coreai", precision, cam=cam), folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Lowered:
    return lowered("v2", "fp32", tmp_path_factory.mktemp("coreai"))


@pytest.fixture
def copy(plain: Lowered, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain.model_path, tmp_path / "model.aimodel"))


@pytest.mark.parametrize("kind", ["v2", "v3"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_apples_runtime_answers_as_eager_does(kind: str, precision: str, tmp_path: Path) -> None:
    made, x = lowered(kind, precision, tmp_path, cam=True), pictures(4)
    given = BACKEND.run(made.model_path, x)
    limit = 1e-4 if precision == "fp32" else 0.02
    assert apart(given, made.eager_reference(x)) < limit
    assert [answer.dtype for answer in given] == [np.float32, np.float32]
    assert np.ptp(given[0], axis=0).max() > 0.02
    assert apart(given, coreai_program.interpret(made.model_path, x)) < limit


def test_red_and_blue_exchanged_are_told_apart(plain: Lowered) -> None:
    x = pictures(4)
    assert apart(BACKEND.run(plain.model_path, x[:, ::-1]), plain.eager_reference(x)) > 0.01


def test_layers_of_the_file_are_the_graphs(plain: Lowered) -> None:
    x = pictures(1).astype(np.float32)
    assert plain.graph is not None
    assert plain.saved_layers is not None
    wanted = torch_nodes.layer_outputs(plain.graph(), x)
    given = plain.saved_layers(x)
    assert len(given) == len(wanted) == 6
    for one, other in zip(given, wanted.values(), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_every_layer_is_counted(plain: Lowered) -> None:
    assert plain.delegation is not None
    assert (plain.delegation.heavy_total, plain.delegation.heavy_delegated) == (6, 6)
    assert BACKEND.delegation(plain.model_path, 7).heavy_delegated == 6  # counted in the file


def test_it_says_of_itself_what_it_is_and_can_be_told_otherwise(copy: Path) -> None:
    said = BACKEND.constants(copy)
    assert said["labels"] == [label.key for label in LABELS]
    assert said["temperature"] == pytest.approx(1.3)
    before = BACKEND.network_hash(copy)
    BACKEND.rewrite(copy, {**said, "threshold": 0.75})
    assert BACKEND.constants(copy)["threshold"] == 0.75
    assert BACKEND.network_hash(copy) == before


def test_the_same_student_gives_the_same_program(plain: Lowered, tmp_path: Path) -> None:
    again = lowered("v2", "fp32", tmp_path)
    assert BACKEND.network_hash(again.model_path) == BACKEND.network_hash(plain.model_path)


def test_it_answers_inside_a_notebooks_loop_of_events(plain: Lowered) -> None:
    async def cell() -> list[np.ndarray]:
        return BACKEND.run(plain.model_path, pictures(1))

    assert asyncio.run(cell())[0].shape == (1, len(LABELS))


def test_an_operator_that_the_interpreter_does_not_know_is_named(
    plain: Lowered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(coreai_program.OPERATIONS, "softmax")
    with pytest.raises(UserError, match="the interpreter does not know softmax"):
        coreai_program.interpret(plain.model_path, pictures(1))


def test_a_result_of_another_type_than_the_file_declares_is_refused(plain: Lowered) -> None:
    program = coreai_program.Program.read(plain.model_path)
    with pytest.raises(
        UserError, match=r"sub gives .*, and the file declares \(1, 3, 32, 32\) f32"
    ):
        program.answers(torch.zeros(1, 3, 30, 30))


@pytest.mark.parametrize("broken", ["", "cut", "noise"])
def test_a_model_that_is_none_is_refused_in_words(copy: Path, broken: str) -> None:
    file = copy / coreai_file.PROGRAM
    raw = file.read_bytes()
    file.write_bytes({"": b"", "cut": raw[: len(raw) // 2], "noise": bytes(range(256)) * 9}[broken])
    for ask in (
        lambda: BACKEND.run(copy, pictures(1)),
        lambda: coreai_program.interpret(copy, pictures(1)),
        lambda: BACKEND.delegation(copy, 6),
    ):
        with pytest.raises(UserError, match=r"model\.aimodel"):
            ask()


def test_metadata_that_is_no_json_is_refused_in_words(copy: Path) -> None:
    (copy / "metadata.json").write_text("{")
    with pytest.raises(UserError, match=r"model\.aimodel"):
        BACKEND.constants(copy)


def test_a_student_that_cannot_be_converted_is_named_with_its_operator(tmp_path: Path) -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(torch.fft.rfft(x).real.sum((1, 2))[:, :4], 1)

    graph = torch.export.export(Odd(), (EXAMPLE,)).module()
    with pytest.raises(UserError, match=r"cannot convert this student \(.*_fft_r2c.*\); choose"):
        BACKEND.lower(graph, EXAMPLE, "fp32", facts("coreai", "fp32"), tmp_path)
    assert not list(tmp_path.iterdir())
