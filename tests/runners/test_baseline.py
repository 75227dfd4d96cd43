"""``--fail-above`` over many settings: the whole command has one chance of a false alarm, and still
finds what is slower.
"""

from pathlib import Path

import numpy as np
import pytest
from fixtures.latencies import RECORDED
from fixtures.report import make_measurement

from mobilekd.formats.measurement import Measurement, Series
from mobilekd.metrics.stats import FALSE_ALARM, process_ratio
from mobilekd.page.latency_ratios import latency_ratios
from mobilekd.runners.baseline import Regression, judge
from mobilekd.support.errors import UserError

SETTINGS, PROCESSES, COMMANDS = 12, 4, 300


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    folder = tmp_path_factory.mktemp("artifact")
    (folder / "manifest.json").write_text(
        '{"name": "tiny", "backend": "xnnpack", "precision": "fp32", "files": {"model.pte": "0"}}'
    )
    return make_measurement(folder, 1.0)


def quiet(random: np.random.Generator, count: int, factor: float = 1.0) -> list[tuple[int, ...]]:
    """Processes that differ by 1%, samples inside by 3%."""
    centers = 1e6 * factor * np.exp(random.normal(0, 0.01, count))
    return [tuple((center * np.exp(random.normal(0, 0.03, 15))).astype(int)) for center in centers]


def busy(random: np.random.Generator, count: int, factor: float = 1.0) -> list[tuple[int, ...]]:
    """Recorded processes of one program on a machine that others used, too."""
    return [
        tuple(int(factor * ns) for ns in RECORDED[i])
        for i in random.integers(0, len(RECORDED), count)
    ]


def measured(plain: Measurement, settings: list[list[tuple[int, ...]]]) -> Measurement:
    """A measurement with these processes at 1, 2, 3 ... threads."""
    series = [
        Series.model_construct(threads_asked=number, samples_ns=samples)
        for number, processes in enumerate(settings, 1)
        for samples in processes
    ]
    return plain.model_copy(update={"series": tuple(series)})


def alarms(new: Measurement, old: Measurement, fail_above: float) -> dict[str, float]:
    """What failed, with its ratio."""
    try:
        judge([new], old, Path("old.json"), fail_above)
    except Regression as regression:
        return {key: ratio.value or 0.0 for key, ratio in regression.regressions.items()}
    return {}


@pytest.mark.parametrize("machine", [quiet, busy])
def test_many_settings_that_are_as_fast_as_before_rarely_fail(machine, plain):
    """Any ratio above 1 may fail here, so only the correction stands between luck and an alarm;
    without it a fifth and a tenth fail.
    """
    random, failed, uncorrected = np.random.default_rng(5), 0, 0
    for _ in range(COMMANDS):
        new, old = ([machine(random, PROCESSES) for _ in range(SETTINGS)] for _ in range(2))
        failed += bool(alarms(measured(plain, new), measured(plain, old), 1.0))
        uncorrected += any(
            (process_ratio(*map(_arrays, pair)).low or 0.0) > 1
            for pair in zip(new, old, strict=True)
        )
    assert failed / COMMANDS <= FALSE_ALARM + 2 * np.sqrt(
        FALSE_ALARM * (1 - FALSE_ALARM) / COMMANDS
    )
    assert uncorrected / COMMANDS > 3 * FALSE_ALARM


def _arrays(processes: list[tuple[int, ...]]) -> list[np.ndarray]:
    return [np.array(samples, float) for samples in processes]


def test_one_slower_setting_among_many_is_found_and_named(plain):
    """A tenth slower at 7 threads; the others stay out of it, though Holm is kinder to them once
    the first is found.
    """
    random, found, others = np.random.default_rng(6), 0, 0
    for _ in range(100):
        new = [
            quiet(random, PROCESSES, 1.1 if number == 7 else 1.0)
            for number in range(1, SETTINGS + 1)
        ]
        failed = alarms(
            measured(plain, new), measured(plain, [quiet(random, PROCESSES) for _ in new]), 1.0
        )
        found += "7 threads" in failed
        others += bool(failed.keys() - {"7 threads"})
    assert found >= 90
    assert others <= 100 * FALSE_ALARM + 2 * np.sqrt(100 * FALSE_ALARM * (1 - FALSE_ALARM))


def test_a_single_setting_fails_where_its_interval_lies_above_one(plain):
    """As it always was: with one setting there is nothing to correct."""
    random, failed = np.random.default_rng(7), 0
    for _ in range(100):
        new, old = quiet(random, PROCESSES, 1.015), quiet(random, PROCESSES)
        ratio = process_ratio(_arrays(new), _arrays(old))
        alarm = bool(alarms(measured(plain, [new]), measured(plain, [old]), 1.005))
        assert alarm == (ratio.value > 1.005 and ratio.low > 1)
        failed += alarm
    assert 10 < failed < 90, "a case that always or never fails shows nothing"


def fixed(*ratios: float) -> list[list[tuple[int, ...]]]:
    """Settings with these ratios to ``fixed(1, 1, ...)``, and always the same spread of
    about 1%.
    """
    return [
        [(int(1e6 * ratio * (1 + spread)),) * 5 for spread in (-0.01, -0.003, 0.003, 0.01)]
        for ratio in ratios
    ]


def test_what_only_its_own_interval_calls_slower_is_said_and_does_not_fail(plain, capsys):
    new, old = fixed(1.02, *[1.0] * 11), fixed(*[1.0] * 12)
    assert process_ratio(*map(_arrays, (new[0], old[0]))).low > 1
    assert alarms(measured(plain, new[:1]), measured(plain, old[:1]), 1.01) == {
        "1 thread": pytest.approx(1.02, abs=1e-4)
    }
    capsys.readouterr()
    assert alarms(measured(plain, new), measured(plain, old), 1.01) == {}
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "--fail-above" in line]
    assert line.startswith(
        "bench: tiny-xnnpack-fp32, 1 thread: above --fail-above 1.01, but luck may explain it (p 0."
    )
    assert line.endswith(
        " by Holm over 12 settings, and it fails below 0.025); measure again with more --samples"
    )


@pytest.mark.parametrize("who", ["this one", "the baseline"])
def test_an_invalid_measurement_is_compared_and_not_judged(plain, capsys, who):
    """As in the report: a busy machine would fail, or hide, what the program does."""
    pair = {"this one": measured(plain, fixed(1.3)), "the baseline": measured(plain, fixed(1))}
    pair[who] = pair[who].model_copy(update={"valid": False, "reasons": ("it was busy",)})
    new, old = pair.values()
    with pytest.raises(
        UserError, match=f"{who} is marked invalid: it was busy, so --fail-above cannot judge"
    ) as caught:
        judge([new], old, Path("old.json"), 1.05)
    assert not isinstance(caught.value, Regression)
    judge([new], old, Path("old.json"), None)
    assert "1.300" in capsys.readouterr().err


def test_the_report_and_the_command_never_disagree(plain):
    """Slower on the page is what --fail-above 1 fails on, setting by setting; and faster is that
    with the two exchanged.
    """
    random, seen = (
        np.random.default_rng(8),
        {"faster": 0, "slower": 0, "no difference shown": 0, "luck may explain it": 0},
    )
    for _ in range(60):
        factors = np.exp(random.normal(0, 0.02, 4))
        new = measured(plain, [quiet(random, PROCESSES, factor) for factor in factors])
        old = measured(plain, [quiet(random, PROCESSES) for _ in factors]).model_copy(
            update={"started_utc": "2020-01-01T00:00:00Z"}
        )
        verdicts = {one.ours.name: one.verdict for one in latency_ratios([new, old])}
        assert alarms(new, old, 1.0).keys() == {
            name for name, words in verdicts.items() if words.startswith("slower")
        }
        assert alarms(old, new, 1.0).keys() == {
            name for name, words in verdicts.items() if words.startswith("faster")
        }
        for words in seen:
            seen[words] += sum(words in verdict for verdict in verdicts.values())
    assert min(seen.values()) > 3, "every verdict came up"


def test_the_failure_names_the_worst_setting_the_correction_and_how_many_more(plain):
    with pytest.raises(
        Regression,
        match=(
            r"2 threads: 1\.300 \(1\.\d+ to 1\.\d+\) times the baseline, above --fail-above 1\.05"
        ),
    ) as caught:
        judge(
            [measured(plain, fixed(1.2, 1.3, 1.0))],
            measured(plain, fixed(1, 1, 1)),
            Path("old.json"),
            1.05,
        )
    assert str(caught.value).endswith(" by Holm over 3 settings; 1 more failed)")
    assert set(caught.value.regressions) == {"1 thread", "2 threads"}
    with pytest.raises(Regression, match=r"\(p [\d.e-]+\)$"):
        judge([measured(plain, fixed(1.2))], measured(plain, fixed(1)), Path("old.json"), 1.05)
