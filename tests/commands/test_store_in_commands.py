"""Over teach, distill and evaluate each photograph is decoded once, and nothing that comes out is
another than without a store.
"""

from pathlib import Path

import pytest
from fixtures.experiment import experiment
from fixtures.teachers import believe
from PIL import Image

from mobilekd.commands.distill import distill
from mobilekd.commands.evaluate import evaluate
from mobilekd.commands.teach import teach
from mobilekd.data import Dataset
from mobilekd.formats.recipe_file import load_recipe


@pytest.mark.long
def test_commands_share_what_was_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    photograph_of = Dataset.photograph

    def counted(self: Dataset, i: int) -> Image.Image:
        decoded.append(self.ids[i])
        return photograph_of(self, i)

    monkeypatch.setattr(Dataset, "photograph", counted)
    recipe = load_recipe(
        str(experiment(tmp_path) / "small.toml"),
        [
            f"data.root={tmp_path / 'photographs'}",
            "preprocess.width=24",
            "preprocess.height=24",
            "teachers.0.width=32",
            "teachers.0.height=32",
            "teach.epochs=1",
        ],
    )
    made, counts = [], []
    for place in ("off", str(tmp_path / "store")):
        monkeypatch.setenv("MOBILEKD_STORE", place)
        runs = tmp_path / f"runs-{len(made)}"
        for folder in teach(recipe, runs):
            believe(folder)
        run = distill(recipe, runs, control=False)
        evaluate(run.folder, runs=runs)
        files = ("student.safetensors", "teacher_logits.safetensors", "training_hashes.json")
        made.append([(run.folder / name).read_bytes() for name in files])
        counts.append(len(decoded))
        decoded.clear()
    assert made[0] == made[1]
    assert counts[0] > 200
    assert counts[1] == 60
