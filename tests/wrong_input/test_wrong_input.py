"""Wrong input, kind by kind: each gives one line that names the thing and the remedy, exit code 2,
and leaves nothing behind.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wrong_data  # noqa: F401  (it fills KINDS)
import wrong_files  # noqa: F401  (it fills KINDS)
import wrong_recipes  # noqa: F401  (it fills KINDS)
from wrong_kinds import KINDS
from wrong_models import artifact

from mobilekd.cli import main

#: Every kind, by the name of the function that prepares it. A kind that is missing here, or twice,
#: fails below.
LISTED = (
    # wrong_recipes.py
    "unknown_recipe_key",
    "value_out_of_range",
    "value_that_is_no_choice",
    "recipe_that_is_no_toml",
    "unknown_recipe",
    "override_without_value",
    "mixup_with_cached_views",
    "unknown_loss",
    "unknown_student",
    "unknown_teacher",
    "teacher_of_another_size",
    "missing_teacher_weights",
    "broken_teacher_weights",
    "missing_trained_teacher",
    "grid_without_values",
    "losses_that_weigh_nothing",
    "head_that_fits_no_memory",
    "grid_of_one_key_twice",
    "negative_seed_of_generated_data",
    "infinite_learning_rate",
    "deviation_of_zero",
    "input_that_fits_no_memory",
    # wrong_data.py
    "file_that_is_no_photograph",
    "truncated_photograph",
    "missing_data_folder",
    "class_without_photographs",
    "csv_with_an_unknown_class",
    "csv_with_two_classes_at_once",
    "label_without_photograph",
    "photograph_without_label",
    "duplicated_id",
    "split_list_with_an_unknown_id",
    "split_list_with_an_id_twice",
    "split_without_training",
    # wrong_files.py
    "link_to_nothing",
    "link_to_itself",
    "name_that_is_not_utf8",
    "photograph_too_deep",
    "file_in_the_folders_place",
    "csv_with_a_column_twice",
    "csv_in_utf16",
    # wrong_models.py: runs
    "checkpoint_without_its_weights",
    "unknown_run",
    "unknown_reference",
    "student_with_nan_weights",
    "export_of_nan_weights",
    "truncated_student",
    "run_without_its_student",
    "other_recipe_under_the_same_name",
    "stale_checkpoint",
    "predict_on_a_text_file",
    "predict_on_a_missing_file",
    "mapping_without_target",
    "mapping_of_one_class_twice",
    "labels_that_nobody_reads",
    "archive_without_labels",
    "labels_without_data",
    # wrong_models.py: artifacts
    "truncated_model",
    "manifest_cut_short",
    "manifest_of_another_version",
    "golden_set_changed",
    "folder_that_is_no_artifact",
    "unknown_backend",
    "unknown_precision",
    "output_that_exists",
    "output_below_a_file",
    "split_that_is_none",
    "unknown_device",
    "missing_baseline",
    "report_on_nothing",
)


def snapshot(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def here(
    tmp_path: Path, smoke_runs: Path, smoke_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder with a finished run and its artifact."""
    shutil.copytree(smoke_runs, tmp_path / "runs")
    shutil.copytree(smoke_artifact, artifact(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_list_is_whole_and_has_at_least_twenty_kinds():
    assert sorted(LISTED) == sorted(KINDS)
    assert len(LISTED) >= 20


@pytest.mark.parametrize("name", LISTED)
def test_wrong_input(name: str, here: Path, capfd: pytest.CaptureFixture[str]):
    prepare, says = KINDS[name]
    command = prepare(here)
    before = snapshot(here)
    code = main(command)
    output, errors = capfd.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("mobilekd ")]
    assert code == 2, errors
    assert len(lines) == 1, errors
    assert errors.splitlines()[-1] == lines[0], "the reason is not the last line"
    for words in says:
        assert words in lines[0]
    assert re.search(r"; |should be | has ", lines[0]), "no remedy, and nothing that is allowed"
    assert "Traceback" not in errors
    assert output == ""
    assert snapshot(here) == before, "something was left behind"


def test_full_disk(here: Path):
    """A file size limit stands in for the full disk: the artifact's first large file cannot be
    written.
    """
    before = snapshot(here)
    done = subprocess.run(
        [sys.executable, "-m", "mobilekd", "export", "demo", "--output", "made"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        env={**os.environ, "TMPDIR": str(here.parent)},
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("mobilekd export: ")
    assert "Traceback" not in done.stderr
    assert snapshot(here) == before
