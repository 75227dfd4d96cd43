"""``export``: one student in, one accepted artifact out, or a refusal that names the gate and
leaves nothing behind.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.formats.artifact import ARTIFACTS, Artifact
from mobilekd.formats.runs import newest_run, open_run, reading
from mobilekd.lowering.request import check_words, overridden
from mobilekd.support.progress import say


def export(
    run: str | Path | None = None,
    *,
    backend: str = "xnnpack",
    precision: str = "fp32",
    output: Path | None = None,
    runs: Path = Path("runs"),
    cam: bool = False,
    verify: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Artifact:
    """Lower a run's student, prove the file, write the artifact folder.

    ``run`` is a name, a folder or ``reference:NAME``; None takes the newest run, else the default
    reference. ``verify`` may hold ``arm`` (the golden set on emulated Arm processors).
    ``overrides`` change the recipe (``gates.agreement=0.97``). Raises ``GateError`` when a gate
    fails; then nothing is left behind.
    """
    check_words(backend, precision, verify)
    chosen = newest_run(runs) if run is None else open_run(run, runs)
    overridden(chosen, overrides)
    name = f"{chosen.info.name}-{backend}-{precision}"
    say(
        f"export: {'reference:' if chosen.reference else ''}{chosen.info.name} -> {backend},"
        f" {precision}"
    )
    folder = output or ARTIFACTS / name
    from mobilekd.lowering.pipeline import lower_run  # loads torch, so not before all is checked

    with reading(chosen, f"export {chosen.info.name}"):
        return lower_run(
            chosen, backend, precision, folder, cam=cam, verify=verify, overrides=overrides
        )[0]
