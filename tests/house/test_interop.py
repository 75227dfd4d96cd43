"""A program that knows nothing of this package loads the file, asks it about itself, and gets the
package's answers.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mobilekd.commands.predict import predict
from mobilekd.formats.artifact import open_artifact

PROGRAM = '''\
"""Classify a photograph with a .pte of mobilekd: all that is needed to know is inside the file."""
import json, sys
import torch
from executorch.runtime import Runtime
from PIL import Image

model, photograph = sys.argv[1:]
program = Runtime.get().load_program(model)
def ask(name): return program.load_method(name).execute([])
labels, (height,), (width,) = ask("labels"), ask("input_height"), ask("input_width")

image = Image.open(photograph).convert("RGB")
scale = min(image.width / width, image.height / height)
box_width, box_height = round(width * scale), round(height * scale)
left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
box = (left, top, left + box_width, top + box_height)
image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)

x = pixels.view(1, height, width, 3).permute(0, 3, 1, 2).contiguous().float()
answers = program.load_method("forward").execute([x])[0][0]
answers = dict(zip(labels, answers.tolist()))
json.dump({"answers": answers, "modules": sorted(sys.modules)}, sys.stdout)
'''


def test_a_foreign_program_gets_the_same_answers(smoke_artifact: Path, tmp_path: Path):
    (tmp_path / "classify.py").write_text(PROGRAM)
    model = next(smoke_artifact.glob("*.pte"))
    image = tmp_path / "lesion.png"
    noise = np.random.default_rng(3).integers(0, 256, (90, 133, 3), np.uint8)
    Image.fromarray(noise).resize((399, 270), Image.Resampling.BICUBIC).save(image)
    done = subprocess.run(
        [sys.executable, "-P", "classify.py", model, image],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert "mobilekd" not in {name.partition(".")[0] for name in found["modules"]}
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) <= 20
    [ours] = predict(smoke_artifact, [image])
    assert found["answers"].keys() == ours.probabilities.keys()
    for key, share in ours.probabilities.items():
        assert abs(found["answers"][key] - share) < 1e-6
    assert abs(sum(found["answers"].values()) - 1) < 1e-5


def test_the_foreign_program_needs_no_manifest(smoke_artifact: Path):
    manifest = open_artifact(smoke_artifact).manifest
    assert [label.key for label in manifest.labels]
    for word in ("manifest", "mobilekd.", manifest.name + "-"):
        assert word not in PROGRAM
