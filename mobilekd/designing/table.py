"""The table of measured operators: chains of them, timed once on a device, in the user's cache.

One file for each device, runtime, precision and number of threads, which is what a latency hangs
on. Whole networks that were measured later stand in it, too: they judge the costs that the chains
give, and no cost is learnt from them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mobilekd.backends.base import one_thread
from mobilekd.designing import chains
from mobilekd.designing.files import Latency, lower, measure
from mobilekd.designing.operators import Operator, operators
from mobilekd.formats.document import Document, read_document
from mobilekd.formats.preprocess import Preprocess
from mobilekd.support.cache import scratch
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder, write_json
from mobilekd.support.progress import say, track
from mobilekd.support.provenance import utc_now, versions

#: Raise it where chains or the count of operators change, so that no older table is taken.
VERSION: Literal[1] = 1


class Measured(Document):
    """A network whose latency is known."""

    name: str
    operators: tuple[Operator, ...]
    latency: Latency


class Setup(Document):
    """What a latency hangs on beside the network."""

    device: str
    processor: str
    runtime: str
    precision: str
    threads: int


class Table(Document):
    """Measured chains, and whole networks of a family."""

    schema_version: Literal[1] = VERSION
    setup: Setup
    created_utc: str
    versions: dict[str, str]
    load: float | None = None  # of the machine, before the chains were measured
    chains: tuple[Measured, ...]
    networks: tuple[Measured, ...] = ()

    @property
    def doubt(self) -> str:
        """Why its latencies may be others on a quiet machine; empty where processes agree."""
        count = sum(bool(row.latency.doubt) for row in self.chains)
        few = count <= len(self.chains) // 4
        return "" if few else f"{count} of {len(self.chains)} chains differed between processes"

    def with_networks(self, rows: Sequence[Measured]) -> "Table":
        """The table with more networks; one of the same name is replaced."""
        kept = {row.name: row for row in (*self.networks, *rows)}
        return self.model_copy(update={"networks": tuple(kept.values())})


def place(setup: Setup) -> Path:
    """Where a setup's table is kept."""
    name = f"{setup.device}-executorch-{setup.runtime}-{setup.precision}-{setup.threads}.json"
    return cache_folder() / "operators" / name


def read(path: Path, setup: Setup) -> Table:
    """A kept table; one of another setup is a ``UserError``."""
    table = read_document(path, Table, "table of operators", "remove it, to have it measured again")
    for name, ours in setup.model_dump().items():
        theirs = getattr(table.setup, name)
        if theirs != ours:
            raise UserError(
                f"{path}: measured with {name} {theirs}, and here it is {ours}; name another file,"
                " or none"
            )
    return table


def measured(setup: Setup, load: float | None) -> Table:
    """A new table: every chain lowered and timed here, interleaved."""
    plans = chains.PLANS
    say(f"design: measuring {len(plans)} chains of operators, once; kept for later calls")
    rows, files = {}, {}
    with scratch() as work, one_thread():
        for number, plan in enumerate(track(plans, "design: lowering")):
            network = plan.make()
            rows[plan.name] = operators(network, plan.side, plan.side)
            size = Preprocess(plan.side, plan.side)
            files[plan.name] = lower(network, size, setup.precision, work / str(number))
        latencies = measure(files, setup.threads, "design: measuring")
    return Table(
        setup=setup,
        created_utc=utc_now(),
        versions=versions(),
        load=load,
        chains=tuple(
            Measured(name=name, operators=found, latency=latencies[name])
            for name, found in rows.items()
        ),
    )


def write(path: Path, table: Table) -> None:
    """Keep a table."""
    write_json(path, table.model_dump(mode="json"))
