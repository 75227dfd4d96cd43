"""Tables of the demo in ten seeds."""

from making.markdown import table
from making.result_files import read


def ten_seeds() -> str:
    """The demo in one sentence: in how many seeds the student is ahead of its control."""
    found = read("demo-seeds.json")
    gains = [100 * one["gain"] for one in found["seeds"]]
    return (
        f"The demo's student is ahead of its control in {found['ahead']} seeds, by"
        f" {min(gains):.1f} to {max(gains):.1f} points of balanced accuracy."
    )


def seeds() -> str:
    """Student, control and teacher of the demo, seed by seed."""
    rows = [
        (
            str(one["seed"]),
            *(f"{one[name]:.3f}" for name in ("student", "control", "teacher")),
            f"{100 * one['gain']:+.1f}",
        )
        for one in read("demo-seeds.json")["seeds"]
    ]
    return table(("Seed", "Student", "Control", "Teacher", "Gain, points"), rows)
