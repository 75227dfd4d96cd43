"""What a phone owner's install tells: every refusal of words, and the commands that read and
measure. All imports but those of ``requirements-phone.txt`` are blocked here.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.bench import tiny_artifact
from fixtures.light import absent, light

REFUSALS = {
    "distill nofile": "nofile: neither a recipe file nor a shipped recipe",
    "distill ham10000": "data/ham10000: no such folder",
    "distill ham10000 --set train.foo=1": "unknown key train.foo",
    "teach ham10000 --set data.root=nope": "nope: no such folder",
    "teach ham10000 --set data.root=. --set data.metadata=nope": "data.metadata nope: no such",
    "sweep ham10000 --seeds 0,1": "data/ham10000: no such folder",
    "sweep nofile": "nofile: neither a recipe file nor a shipped recipe",
    "export --backend xnpack": "did you mean xnnpack?",
    "export --precision int4": "did you mean int8?",
    "export --backend coreml --verify arm": "no runtime for coreml",
    "export --set train.lr=1": "an export cannot change it",
    "export nosuch": "nosuch: no such run",
    "export artifacts/x": "no such artifact; mobilekd export makes one",
    "evaluate nosuch": "nosuch: no such run",
    "evaluate artifacts/x": "no such artifact; mobilekd export makes one",
    "evaluate --data folder --root nope": "nope: no such folder",
    "predict reference:ham10000-lesionnet x.jpg": "x.jpg: no such photograph",
    "predict nosuch .": "no photographs in this folder",
    "bench": "artifacts: no artifact here",
    "bench --device phone": "did you mean adb?",
    "bench --device iPhone": "Xcode's performance report measures it there",
    "export --backend iOS": "did you mean coreml?",
    "export --backend TFLite": "did you mean litert?",
    "export --backend torchscript": "did you mean xnnpack for Android, coreml for an iPhone?",
    "inspect full/mine.txt": "full/mine.txt: a file, and an artifact is a folder",
    "bench nosuch": "nosuch: no such artifact; mobilekd export makes one",
    "inspect nosuch": "nosuch: no such artifact",
    "verify nosuch": "nosuch: no such artifact",
    "apk nosuch": "nosuch: no such artifact",
    "compare a b": "a: no such run",
    "report": "mobilekd demo makes all of them",
    "report nosuch": "nosuch: no such run, artifact",
    "demo --output full": "exists and is not an earlier demo",
    "recipes nosuch": "nosuch: neither a recipe file nor a shipped recipe",
    "recipes --explain train.foo": "train.lr",
}


def test_words_are_checked_before_torch_is_loaded(tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    answers = light([line.split() for line in REFUSALS], tmp_path)
    for (line, says), (code, out, err) in zip(REFUSALS.items(), answers, strict=True):
        last = err.strip().splitlines()[-1]
        assert (code, out, says in last) == (2, "", True), (line, err)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine.txt"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with an artifact where ``export`` puts it."""
    tiny_artifact(tmp_path / "artifacts" / "tiny")
    return tmp_path


def test_what_reads_and_measures_runs_light(shop: Path):
    lines = [
        ["recipes"],
        ["recipes", "losses"],
        ["recipes", "students"],
        ["recipes", "adaptations"],
        ["recipes", "ham10000"],
        ["recipes", "--explain", "gates"],
        ["verify", "--hashes"],
        ["inspect"],
        ["report"],
        ["devices"],
    ]
    answers = light(lines, shop)
    for line, (code, out, err) in zip(lines, answers, strict=True):
        # the tiny artifact records no gates, which is no pass
        assert code == (2 if line[0] == "verify" else 0), (line, err)
        assert out
    told = dict(zip(map(" ".join, lines), answers, strict=True))
    for command in ("verify --hashes", "inspect", "report"):
        assert "the newest" in told[command][2]
        assert "artifacts/tiny" in told[command][2]
    assert "files match their SHA-256" in told["verify --hashes"][1]
    assert "executorch is not installed here" in told["inspect"][1]
    assert (shop / "report.html").is_file()


def test_a_phone_is_asked_light(shop: Path, monkeypatch: pytest.MonkeyPatch):
    """Measuring on a phone needs the file and adb alone; where there is none, that is said."""
    monkeypatch.setenv("PATH", str(shop))
    monkeypatch.setenv("HOME", str(shop))
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    ((code, _, err),) = light([["bench", "--device", "adb", "--via", "shell"]], shop)
    assert code == 2
    assert "adb" in err.strip().splitlines()[-1], err
    assert "torch" not in err


def test_all_that_is_heavy_is_absent():
    blocked = absent()
    assert {"torch", "executorch", "timm", "torchvision", "coremltools", "sklearn"} <= set(blocked)
    assert {"numpy", "PIL", "pydantic"} & set(blocked) == set()


def test_torch_is_announced_before_it_is_loaded():
    program = (
        "import sys; from mobilekd.cli.loading import say_before_torch\n"
        "say_before_torch('export')\n"
        "class Stop(Exception): pass\n"
        "class Last:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': raise Stop\n"
        "sys.meta_path.insert(1, Last())\n"
        "try:\n"
        "    import torch\n"
        "except Stop:\n"
        "    print('reached torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "reached torch"
    assert done.stderr == "export: loading torch\n"
