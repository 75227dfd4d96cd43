"""Roles of classes, guessed from the names that people give folders."""

import pytest

from mobilekd.formats.labels import Label
from mobilekd.formats.roles import guess


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("mel", "melanoma"),
        ("MEL", "melanoma"),
        ("Melanoma", "melanoma"),
        ("melanoma_2019", "melanoma"),
        ("Melanom (sicher)", "melanoma"),
        ("mélanome", "melanoma"),
        ("malignant melanoma", "melanoma"),
        ("malignant", "malignant"),
        ("Maligno", "malignant"),
        ("bösartig", "malignant"),
        ("bcc", "malignant"),
        ("akiec", "malignant"),
        ("AK", "malignant"),
        ("SCC", "malignant"),
        ("basal cell carcinoma", "malignant"),
        ("nv", None),
        ("melanocytic nevus", None),
        ("benign", None),
        ("no melanoma", None),
        ("non-malignant", None),
        ("gutartig (kein Krebs)", None),
        ("warts", None),
    ],
)
def test_a_role_is_guessed_from_usual_names(key, role):
    assert guess(key) == role
    assert Label(key=key, text=key).known_role == role


def test_a_role_that_is_given_wins():
    assert Label(key="mel", text="mel", role="benign").known_role == "benign"
    assert Label(key="A", text="A", role="melanoma").known_role == "melanoma"
