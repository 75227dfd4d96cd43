"""All phones that adb knows, at once: phones share no core, so each is measured as if it were
alone.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from mobilekd.formats.measurement import Device, Measurement
from mobilekd.runners import get
from mobilekd.runners.adb_client import listed
from mobilekd.runners.base import DeviceError, Runner
from mobilekd.support.errors import UserError
from mobilekd.support.process import printable, stopped_by
from mobilekd.support.words import counted

Item = TypeVar("Item")
Result = TypeVar("Result")

#: What ``--device`` calls all phones.
ALL = "adb:all"
#: Phones that a message says what is wrong with, before it counts the others.
NAMED = 3


@dataclass(frozen=True)
class Phone:
    """One of all phones: what it is, what was measured on it, and why not everything was."""

    device: str  # ``adb:SERIAL``
    about: Device | None = None
    runner: Runner | None = None
    measurements: tuple[Measurement, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """``adb:SERIAL``, with the name that its files have where it told one."""
        return f"{self.device} ({self.about.id})" if self.about else self.device

    @property
    def measured(self) -> bool:
        """Whether any file answered rightly here, and without a doubt."""
        return any(one.valid and one.golden.passed for one in self.measurements)


class PhonesError(UserError):
    """Not everything was measured on every phone; ``phones`` holds what was, and why not the
    rest.
    """

    def __init__(self, phones: Sequence[Phone]):
        broken = [phone for phone in phones if phone.problem]
        count = sum(phone.measured for phone in phones)
        why = "; ".join(f"{phone.device}: {phone.problem}" for phone in broken[:NAMED])
        why += f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        super().__init__(
            f"adb:all: measured on {count or 'none'} of {counted(len(phones), 'phone')}; {why}"
        )
        self.phones = tuple(phones)


def connected(via: str, libraries: Sequence[Path] = ()) -> list[Phone]:
    """Every phone that adb lists, each with what it is or why it cannot be used; ``libraries`` as
    in ``runners.get``.

    A phone that is connected twice (by cable and Wi-Fi) is used once: two measurements would share
    its cores.
    """
    known = listed()
    if not known:
        raise DeviceError(
            "adb:all: no phone is connected; plug some in with USB debugging on, then see mobilekd"
            " devices"
        )
    phones, first = [], dict[str, str]()
    for phone in at_once(lambda item: _describe(item.serial, via, libraries), known):
        twin = first.get(phone.about.id) if phone.about else None
        if phone.about and twin is None:
            first[phone.about.id] = phone.device
        phones.append(
            phone
            if twin is None
            else replace(
                phone,
                problem=f"has the serial number of {twin}; if these are two phones, measure this"
                f" one by itself with --device {phone.device}",
            )
        )
    return phones


def _describe(serial: str, via: str, libraries: Sequence[Path]) -> Phone:
    device = f"adb:{printable(serial)}"
    try:
        runner = get(f"adb:{serial}", via, libraries)
        return Phone(device, runner.describe(), runner)
    except UserError as error:
        return Phone(device, problem=without_name(error, device))


def without_name(error: Exception, device: str) -> str:
    """A message without the device that it begins with, to stand beside that device."""
    return str(error).removeprefix(f"{device}: ")


def at_once(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``work`` for every item in a thread of its own, results in order.

    Ctrl-C, and whatever else ends this thread's wait, stops each as it would stop it alone: its
    program is ended, and it tidies up.
    """
    stops = [threading.Event() for _ in items]

    def one(item: Item, stop: threading.Event) -> Result:
        with stopped_by(stop):
            return work(item)

    with ThreadPoolExecutor(len(items)) as pool:
        futures = [pool.submit(one, *pair) for pair in zip(items, stops, strict=True)]
        try:
            wait(futures)
        except BaseException:
            for stop in stops:
                stop.set()
            raise  # when the pool has seen each to its end
    return [future.result() for future in futures]
