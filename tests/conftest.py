"""What all tests share: skips that nobody allowed are failures, a run's record, which worker runs
what, and where the real data and weights may lie.
"""

import fnmatch
import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from fixtures.recipes import PLAIN

#: Tiny networks gain nothing from a second thread, and lose much to it on a busy machine. Before
#: torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: As the command line does: libraries make a million objects that stay.
gc.set_threshold(50_000, 20, 50)

#: How long an example takes is the machine's affair, not a property.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

CHECKOUT = Path(__file__).resolve().parents[1]
ALLOWED_SKIPS = CHECKOUT / "tests" / "allowed_skips.txt"


def allowed_skips() -> list[tuple[str, str]]:
    """(pattern of test names, machine that runs them) from ``tests/allowed_skips.txt``."""
    lines = [
        line
        for line in ALLOWED_SKIPS.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    return [
        (pattern.strip(), machine.strip())
        for pattern, _, machine in (line.partition(" : ") for line in lines)
    ]


def forbid(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip that the list does not allow into a failure that says so."""
    name = report.nodeid
    # pytest reports a test that is expected to fail as skipped, too; it ran, so it is none of this
    # list's business
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and not any(fnmatch.fnmatch(name, pattern) for pattern, _ in allowed_skips())
    ):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = (
            f"{name}: {reason}\nThis skip is not in tests/allowed_skips.txt: mend this machine, or"
            " list it with the machine that runs it."
        )


def pytest_runtest_setup() -> None:
    """Numbers that a test draws without a seed of its own do not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    forbid(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    forbid(report)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    from fixtures.schedule import workers

    return workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    from fixtures.schedule import ByGroup

    return ByGroup(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        from fixtures.schedule import dearness

        items.sort(key=lambda item: dearness(item.nodeid))


def pytest_configure(config: pytest.Config) -> None:
    from fixtures.shared import close_shared_folder, open_shared_folder

    if folder := open_shared_folder():
        config.add_cleanup(lambda: close_shared_folder(folder))
        # the user's store is none of a test's business
        os.environ["MOBILEKD_STORE"] = str(folder / "photographs")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record",
        type=Path,
        metavar="FILE",
        help="write every test's outcome and seconds there, as make test-long does",
    )
    faults = parser.getgroup("faults", "tests/faults")
    faults.addoption(
        "--reliability", type=Path, metavar="FILE", help="write what was tried into this table"
    )
    faults.addoption(
        "--share",
        type=float,
        default=1.0,
        help="the share of a long trial that is run: 0.1 fuzzes for one minute instead of ten",
    )
    faults.addoption("--fault-seed", type=int, default=0, help="draws every point, moment and byte")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the machine for every skip, so that what did not run here is known; keep what --record
    asks for.
    """
    if file := terminalreporter.config.getoption("--record"):
        from fixtures.long_result import write_result

        known = [
            report
            for group in terminalreporter.stats.values()
            for report in group
            if isinstance(report, pytest.TestReport)
        ]
        write_result(terminalreporter.config.invocation_params.dir / file, CHECKOUT, known)
    for report in terminalreporter.stats.get("skipped", []):
        machine = next(
            (
                machine
                for pattern, machine in allowed_skips()
                if fnmatch.fnmatch(report.nodeid, pattern)
            ),
            "",
        )
        terminalreporter.write_line(f"not run here: {report.nodeid} (runs on: {machine})")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The checkout that these tests belong to; the package under test is the installed one."""
    return CHECKOUT


@pytest.fixture(scope="session")
def ham10000() -> Path:
    """The real HAM10000 folder, where this machine has it."""
    return _needed("MOBILEKD_HAM10000", CHECKOUT.parent / "shared" / "data" / "ham10000")


@pytest.fixture(scope="session")
def pretrained() -> Path:
    """The folder of pretrained weights, where this machine has it."""
    return _needed("MOBILEKD_WEIGHTS", CHECKOUT.parent / "shared" / "weights")


@pytest.fixture(scope="session")
def smoke_runs() -> Path:
    """A folder of runs with the demo recipe's smoke reduction, trained through its teachers and its
    control.
    """
    from fixtures.shared import once

    return once("smoke-runs", _train_smoke_runs)


@pytest.fixture(scope="session")
def smoke_artifact(smoke_runs: Path) -> Path:
    """That run's student as an XNNPACK artifact in fp32. Copy it before you change it."""
    from fixtures.shared import once

    def export_smoke_run(place: Path) -> None:
        from mobilekd.commands.export import export

        output = place / "demo-xnnpack-fp32"
        export("demo", backend="xnnpack", precision="fp32", output=output, runs=smoke_runs)

    return once("smoke-artifacts", export_smoke_run) / "demo-xnnpack-fp32"


def _train_smoke_runs(runs: Path) -> None:
    from mobilekd.commands.distill import distill
    from mobilekd.commands.teach import teach
    from mobilekd.formats.recipe_file import load_recipe

    recipe = load_recipe(PLAIN, smoke=True)
    teach(recipe, runs)
    distill(recipe, runs)


def _needed(variable: str, default: Path) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.exists():
        pytest.skip(f"{path} is not on this machine; set {variable}")
    return path
