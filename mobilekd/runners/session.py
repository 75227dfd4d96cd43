"""One measuring session: the golden set first, then cold starts and samples of several artifacts
interleaved, then the golden set again.

The protocol in words is in ``benchmarks/protocol.md``; this is the protocol in code. Nothing is
dropped: what is doubtful carries its reasons, and what was measured before a fault stays in
``Collected``.
"""

import itertools
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mobilekd.formats.artifact import Artifact
from mobilekd.formats.measurement import (
    Cold,
    Conditions,
    Energy,
    GoldenCheck,
    Memory,
    Pipeline,
    Series,
    Sustained,
    thread_words,
)
from mobilekd.runners.base import BindError, Runner, Setting
from mobilekd.runners.golden_passes import GoldenPasses
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say, track

# Android's PowerManager.THERMAL_STATUS_*: none, light, moderate, severe, critical, emergency,
# shutdown. From moderate on the system throttles what is in the foreground too
# (developer.android.com/games/optimize/adpf/thermal).
MODERATE = 2
THERMAL_WORDS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
HOT_BATTERY = 40.0  # degrees Celsius; above it phones begin to throttle and refuse to charge
POLL = 10.0  # seconds between looks at temperatures


@dataclass(frozen=True)
class Plan:
    """What to measure, the same for every artifact of the session."""

    threads: tuple[int, ...]
    samples: int  # per setting, over all rounds
    minutes: float = 0.0
    rounds: int = 4  # fresh processes per setting
    cool_wait: float = 300.0  # seconds to wait at most for the device to cool
    who: str = "bench"  # how messages begin: several phones are measured at once


@dataclass
class Collected:
    """What one artifact's measurement has so far."""

    artifact: Artifact
    passes: GoldenPasses | None = None
    golden: GoldenCheck | None = None
    cold: list[Cold] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    sustained: Sustained | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def trusted(self) -> bool:
        """Only a device that answers rightly gets a latency."""
        return self.golden is not None and self.golden.passed

    def answer(self, runner: Runner, threads: Sequence[int], *, after_load: bool = False) -> None:
        """The golden set once more at each of the thread counts; what is wrong is a reason."""
        self.passes = self.passes or GoldenPasses(self.artifact)
        for count in threads:
            self.golden = self.passes.take(runner, count, after_load=after_load)
        if self.golden is not None and not self.golden.passed:
            self.reasons.append(f"the device answers the golden set wrongly ({self.golden.detail})")


def measure(runner: Runner, collected: Sequence[Collected], plan: Plan) -> None:
    """Fill ``collected`` in place; a fault of the device is raised with what came before it kept
    there.
    """
    for item in collected:
        item.answer(runner, plan.threads)
    trusted = [item for item in collected if item.trusted]
    if runner.answers_only or not trusted:
        return
    _samples(runner, trusted, plan)
    for item in trusted:
        item.memory = runner.memory(item.artifact, max(plan.threads))
        if plan.minutes > 0:
            _sustain(runner, item, plan)
        if not any(series.valid for series in item.series):
            item.reasons.append(
                "no series is valid: "
                + "; ".join(sorted({reason for series in item.series for reason in series.reasons}))
            )
        item.answer(runner, (max(plan.threads),), after_load=True)


def settings(plan: Plan, big_cores: str) -> list[Setting]:
    """The thread sweep over all cores, then over the big ones where there are some."""
    each = math.ceil(plan.samples / plan.rounds)
    everywhere = [Setting(threads=count, samples=each) for count in plan.threads]
    big = len(big_cores.split(",")) if big_cores else 0
    return everywhere + [
        Setting(threads=count, samples=each, cores=big_cores)
        for count in plan.threads
        if count <= big
    ]


def _samples(runner: Runner, trusted: Sequence[Collected], plan: Plan) -> None:
    """Every round visits each artifact in each setting, every second round backwards, so that drift
    hits all alike.
    """
    visits = [
        (item, setting)
        for setting in settings(plan, _big_cores(runner, trusted[0].artifact))
        for item in trusted
    ]
    order = [
        visit
        for number in range(plan.rounds)
        for visit in (reversed(visits) if number % 2 else visits)
    ]
    for position, (item, setting) in enumerate(track(order, plan.who, total=len(order))):
        waited = wait_until_cool(runner, plan) if position % len(visits) == 0 else ()
        reading = runner.measure(item.artifact, setting)
        item.cold.append(reading.cold)
        if reading.pipeline is not None:
            item.pipelines.append(reading.pipeline)
        if reading.series is not None:
            reasons = (*reading.series.reasons, *waited, *too_hot(runner.conditions()))
            reasons = tuple(dict.fromkeys(reasons))
            item.series.append(
                reading.series.model_copy(
                    update={"order": position, "valid": not reasons, "reasons": reasons}
                )
            )


def _big_cores(runner: Runner, artifact: Artifact) -> str:
    """The big cores, if the platform lets a process be bound to them (tried once; phones' cpusets
    may forbid it).
    """
    cores = runner.big_cores()
    if cores:
        try:
            runner.measure(artifact, Setting(threads=1, samples=1, cores=cores))
        except BindError as error:
            say(f"bench: {error}; measuring on all cores only")
            return ""
    return cores


def too_hot(conditions: Conditions) -> tuple[str, ...]:
    """Why the device's temperature spoils a measurement; empty where it does not, or does
    not tell.
    """
    status, battery = conditions.thermal_status, conditions.battery_celsius
    if status is not None and status >= MODERATE:
        word = THERMAL_WORDS[min(status, len(THERMAL_WORDS) - 1)]
        return (f"the device throttles (thermal status {status}, {word})",)
    if battery is not None and battery > HOT_BATTERY:
        return (f"the battery has more than {HOT_BATTERY:.0f} degrees",)
    return ()


def wait_until_cool(runner: Runner, plan: Plan) -> tuple[str, ...]:
    """Wait, bounded and announced, while the device is too hot; the reasons that are left at the
    end.
    """
    at_most = plan.cool_wait
    end = time.monotonic() + at_most
    reasons = too_hot(runner.conditions())
    if reasons:
        say(f"{plan.who}: {reasons[0]}; waiting up to {at_most:.0f} s for it to cool")
    while reasons and time.monotonic() < end:
        time.sleep(min(POLL, max(0.0, end - time.monotonic())))
        reasons = too_hot(runner.conditions())
    return tuple(f"{reason}, after waiting {at_most:.0f} s" for reason in reasons)


def _sustain(runner: Runner, item: Collected, plan: Plan) -> None:
    """Back-to-back inferences for ``plan.minutes`` with the fastest thread count, while another
    thread watches temperatures.
    """
    fastest = min(
        item.series, key=lambda series: (not series.valid, float(np.median(series.samples_ns)))
    )
    setting = Setting(
        threads=fastest.threads_asked, samples=0, cores=fastest.cores, seconds=plan.minutes * 60
    )
    # or the second artifact would begin in the heat of the first
    waited = wait_until_cool(runner, plan)
    say(
        f"{plan.who}: {item.artifact.folder.name}: sustained for {plan.minutes:g} minutes,"
        f" {thread_words(setting.threads)}"
    )
    watcher = _Watcher(runner)
    before = runner.conditions()
    try:
        reading = runner.measure(item.artifact, setting, watch=watcher.start)
    finally:
        watcher.stop()
    item.cold.append(reading.cold)
    if reading.sustained is not None:
        seen = {
            "celsius": tuple(watcher.celsius),
            "frequency_khz": tuple(watcher.frequency),
            "reasons": waited,
        }
        item.sustained = reading.sustained.model_copy(update=seen)
        item.energy = energy(
            before,
            runner.conditions(),
            watcher.charges,
            reading.sustained.inferences,
            setting.seconds,
        )


def energy(
    before: Conditions, after: Conditions, charges: Sequence[int], inferences: int, seconds: float
) -> Energy | None:
    """What the whole phone took during the sustained part, by its own charge counter; None where
    there is no counter.

    On the cable there is nothing to measure.
    """
    if before.charge_uah is None or after.charge_uah is None or before.voltage_mv is None:
        return None
    if before.charging or after.charging:
        return Energy(
            reason="the battery was charging; measure over Wi-Fi (adb connect) with the cable out"
        )
    values = [before.charge_uah, *charges, after.charge_uah]
    steps = [abs(b - a) for a, b in itertools.pairwise(values) if a != b]
    used = before.charge_uah - after.charge_uah
    if used <= 0 or not steps:
        return Energy(
            reason="less than the charge counter's resolution; measure for more minutes",
            seconds=seconds,
        )
    joules = used * 1e-6 * 3600 * before.voltage_mv / 1000
    return Energy(
        joules=joules,
        joules_per_inference=joules / inferences if inferences else None,
        seconds=seconds,
        used_uah=used,
        resolution_uah=min(steps),
        scope="the whole phone, screen and radio included",
    )


class _Watcher:
    """Temperature and frequency against time, on this side of the cable; a failed look is a gap,
    not an end.
    """

    def __init__(self, runner: Runner):
        self.runner = runner
        self.celsius: list[tuple[int, float]] = []
        self.frequency: list[tuple[int, int]] = []
        self.charges: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._begin = 0

    def start(self) -> None:
        self._begin = time.monotonic_ns()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                now = self.runner.conditions()
            except UserError:
                now = None
            offset = time.monotonic_ns() - self._begin
            if now is not None:
                celsius = now.soc_celsius if now.soc_celsius is not None else now.battery_celsius
                if celsius is not None:
                    self.celsius.append((offset, celsius))
                if now.frequency_khz:
                    self.frequency.append((offset, max(now.frequency_khz)))
                if now.charge_uah is not None:
                    self.charges.append(now.charge_uah)
            self._over.wait(POLL)
