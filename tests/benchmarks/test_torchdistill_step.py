"""Our side of the comparison with torchdistill takes the training loop's own steps."""

import pytest
import torch
from fixtures.data import make_folder
from fixtures.scripts import script


def test_every_way_to_take_a_round_runs(checkout, tmp_path, monkeypatch: pytest.MonkeyPatch):
    place = checkout / "benchmarks/torchdistill"
    monkeypatch.syspath_prepend(str(place))
    threads = torch.get_num_threads()
    ours = script(place / "ours.py")
    photographs = make_folder(tmp_path / "photographs", each=4)
    step = ours.Step(
        str(photographs), 2, "test_resnet", 0.35, 32, 40, batch=4, steps=2, threads=1, compile="no"
    )
    try:
        side = ours.Ours(step, tmp_path)
        before = [value.clone() for value in side.student.parameters()]
        for way in (side.fresh, side.cached, side.fill, side.floor):
            assert way() == 8
        changed = zip(before, side.student.parameters(), strict=True)
        assert any(not torch.equal(one, other) for one, other in changed)
    finally:
        torch.set_num_threads(threads)
