"""A hub that nobody reaches is said to be so at once, and by a key that exists."""

from pathlib import Path

import huggingface_hub.constants as constants
import pytest

from mobilekd.formats.training_tables import StudentTable, TeacherTable
from mobilekd.students import build
from mobilekd.students.hub import hub_or_cache
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import build_teacher


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """A hub where nothing listens, an empty cache, and the seconds that somebody slept to retry."""
    import time

    slept: list[float] = []
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_a_student_without_a_network_is_refused_at_once(nobody: list[float]):
    with pytest.raises(UserError, match=r"cannot be reached.*--set student\.weights=FILE"):
        build(StudentTable(model="mobilenetv2", width=0.5, weights="hub"), 3)
    assert nobody == [], "nothing is tried again"


def test_a_teacher_without_a_network_is_refused_at_once(nobody: list[float]):
    with pytest.raises(UserError, match=r"cannot be reached.*--set teachers\.0\.weights=FILE"):
        build_teacher(TeacherTable(model="mobilenetv2_100", weights="hub"), 3)
    assert nobody == []


def test_the_client_is_left_as_it_was(nobody: list[float]):
    with hub_or_cache():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
