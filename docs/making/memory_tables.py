"""Tables of what a data set takes: memory, and time to the first step."""

from typing import Any

from making.markdown import table
from making.result_files import read

#: How a run finds the store of decoded photographs -> what people call it.
STORES = {"cold": "store empty at first", "warm": "store full", "without_store": "no store"}


def measured() -> dict[tuple[str, int], Any]:
    """Every run, by its store and how many photographs it had."""
    return {(one["store"], one["photographs"]): one for one in read("memory.json")["runs"]}


def memory() -> str:
    """The least and the most photographs, by store."""
    found = measured()
    counts = sorted({count for _, count in found})
    least, most = counts[0], counts[-1]
    rows = []
    for store, words in STORES.items():
        small, large = (found[store, count]["peak_anonymous_mb"] for count in (least, most))
        rows.append((words, f"{small:,.0f}", f"{large:,.0f}", f"{large / small:.2f}"))
    return table(("", f"{least:,} photographs, MB", f"{most:,} photographs, MB", "ratio"), rows)


def first_step() -> str:
    """Seconds of one core to the first step, by store and number of photographs."""
    found = measured()
    counts = sorted({count for _, count in found})
    rows = [
        (words, *(f"{found[store, count]['to_first_step_cpu_s']:.1f}" for count in counts))
        for store, words in STORES.items()
        if all((store, count) in found for count in counts)
    ]
    return table(("To the first step, s", *(f"{count:,}" for count in counts)), rows)
