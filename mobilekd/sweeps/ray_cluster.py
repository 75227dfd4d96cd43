"""Cells as tasks of a Ray cluster, wherever there is room; a lost node's cells run elsewhere.

Ray places the tasks, notices lost nodes and starts their tasks again. What stands here is what a
sweep adds to that: that nodes are alike, that they have the photographs, and that the folder that
comes out is a local sweep's.
"""

import math
import os
import signal
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mobilekd.formats.recipe import Recipe, places
from mobilekd.formats.runs import control_name
from mobilekd.support.errors import UserError
from mobilekd.support.lock import locked
from mobilekd.support.progress import say
from mobilekd.support.version import VERSION
from mobilekd.support.words import counted, in_one_line
from mobilekd.sweeps.parcel import pack, receive
from mobilekd.sweeps.place import Cell, Command, job, result
from mobilekd.sweeps.progress_table import ProgressTable
from mobilekd.sweeps.ray_node import GRACE, MARK, PASSED_ON, Home
from mobilekd.sweeps.ray_travel import board_class, caller

#: How often a cell is started again whose node was lost.
RETRIES = 5
#: How long a cell waits for a folder that a lost node's cell may still hold, in seconds.
PATIENCE = 120.0
#: How long a node may take to say what it has, in seconds: its first process has to start.
ANSWER = 120.0
#: How long a cluster may take to answer the first knock, in seconds.
KNOCK = 20.0
#: Ray counts GPUs in ten thousandths.
PARTS = 10_000
#: Where the table of progress is kept: with the cluster's head, whose loss ends all anyway.
HEAD = "node:__internal_head__"


class RayCluster:
    """Cells on the nodes of the cluster at ``address``: auto (one that runs, as RAY_ADDRESS or this
    machine says), local (a new one on this machine, ended with the sweep) or HOST:PORT.

    A cell asks for ``cpus`` cores and, where the cluster has GPUs, for an equal share of one, of
    which it has ``per_gpu``. At most ``jobs`` go at once.
    """

    def __init__(
        self,
        runs: Path,
        control: bool,
        *,
        address: str,
        jobs: int | None,
        per_gpu: int | None,
        cpus: int,
    ) -> None:
        self.runs, self.control, self.address = runs, control, address
        self.jobs, self.per_gpu, self.cpus = jobs, per_gpu, cpus
        self.ray = library()
        self.home = Home(
            folder=str(Path.cwd()),
            runs=str(runs),
            word=uuid.uuid4().hex,
            environment={key: os.environ[key] for key in PASSED_ON if key in os.environ},
        )
        self.gpus = 0.0
        self.names: dict[str, str] = {}
        self.apart = False  # whether some node does not see our folder of runs
        self.running: dict[Any, Recipe] = {}
        self.opened = ExitStack()

    def __enter__(self) -> "RayCluster":
        with ExitStack() as opening:
            # nodes recognise our folder of runs by this lock, which keeps nobody out
            mark = locked(self.runs / MARK, f"sweep {self.home.word}", shared=True)
            opening.enter_context(mark)
            opening.enter_context(self._connected())
            self.opened = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._cancel()
        finally:
            self.opened.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        if self.ray.is_initialized():  # by whoever calls us from Python: it stays theirs
            yield
            return
        # nothing but the hub ever asks the internet
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        own = {"include_dashboard": False} if self.address == "local" else {}
        try:
            with _uninterrupted():
                self._connect(own)
            yield
        finally:
            self.ray.shutdown()

    def _connect(self, own: dict[str, Any]) -> None:
        try:
            _knock(self.address)
            self.ray.init(address=self.address, log_to_driver=False, logging_level="ERROR", **own)
        except Exception as error:  # whatever Ray finds wrong: no cluster, versions, tokens
            reason = in_one_line(error)[:300] or type(error).__name__
            raise UserError(
                f"--address {self.address}: no Ray cluster can be used there ({reason}); start one"
                " with ray start --head, or take --address local"
            ) from None

    def check(self, recipes: Sequence[Recipe]) -> None:
        """Every node that may get a cell has this program in this version and what the recipes
        name; a ``UserError`` says which has not, before anything runs.
        """
        living = [node for node in self.ray.nodes() if node["Alive"]]
        self.names = node_names(living)
        self.gpus = sum(node["Resources"].get("GPU", 0.0) for node in living)
        if self.per_gpu and not self.gpus:
            self.jobs = self.per_gpu
        usable = [node["NodeID"] for node in living if self._has_room(node["Resources"])]
        if not usable:
            most = max((node["Resources"].get("CPU", 0.0) for node in living), default=0.0)
            raise UserError(
                f"--cpus {self.cpus}: no node has so many cores"
                f"{' and a GPU' if self.gpus else ''}; the largest has {most:g}"
            )
        ours = self.runs
        named = [
            (key, place)
            for recipe in recipes
            for key, place in places(recipe)
            if not Path(place).is_relative_to(ours)  # what the sweep itself makes
        ]
        asked = {
            node: self._call("look", asdict(self.home), list(dict.fromkeys(named)), node=node)
            for node in usable
        }
        found = {node: self._answer(node, reference) for node, reference in asked.items()}
        for node, told in found.items():
            self._refuse(node, told)
        apart = [self._name(node) for node in usable if not found[node]["shares"]]
        self.apart = bool(apart)
        count = counted(len(usable), "node")
        away = f"; {', '.join(apart)} cannot see {self.runs}: runs travel" if apart else ""
        say(f"sweep: {count} of Ray with room for a run{away}")

    def _has_room(self, resources: Mapping[str, float]) -> bool:
        """Whether a node could run a cell when nothing else runs there."""
        return resources.get("CPU", 0.0) >= self.cpus and (
            not self.gpus or resources.get("GPU", 0.0) > 0
        )

    def _answer(self, node: str, reference: Any) -> dict[str, Any]:
        try:
            told: dict[str, Any] = self.ray.get(reference, timeout=ANSWER)
            return told
        except Exception as error:
            raise UserError(
                f"node {self._name(node)}: gives no answer ({first_line(error)}); mend it, or take"
                " it out of the cluster"
            ) from None

    def _refuse(self, node: str, told: Mapping[str, Any]) -> None:
        """A ``UserError`` where a node is not like us, or lacks a place."""
        for package, (theirs, ours) in told.get("differs", {}).items():
            has = f"has {package} {theirs}" if theirs else f"has no {package}"
            raise UserError(
                f"node {self._name(node)}: {has}, and the sweep was started with {ours}; install"
                f" {package}=={ours} there"
            )
        for key, place in told.get("missing", ()):
            raise UserError(
                f"node {self._name(node)}: {key} {place}: not there (seen from {self.home.folder});"
                " share that folder, or copy it to the same path on every node"
            )

    def train(self, command: Command, recipes: Sequence[Recipe]) -> list[Cell]:
        """Teach or distill each recipe; a cell that fails says so and stops no other."""
        ray, table = self.ray, ProgressTable(command, [recipe.name for recipe in recipes])
        if not recipes:
            return []
        board = ray.remote(board_class()).options(num_cpus=0, resources={HEAD: 0.001}).remote()
        teachers: dict[str, Any] = {}
        waiting, ended = list(recipes), {}
        with table.shown():
            while waiting or self.running:
                while waiting and len(self.running) < (self.jobs or len(recipes)):
                    recipe = waiting.pop(0)
                    self.running[self._submit(command, recipe, teachers, board)] = recipe
                done, _ = ray.wait(list(self.running), timeout=1.0)
                self._show(table, board)
                for reference in done:
                    recipe = self.running.pop(reference)
                    cell = self._finish(command, recipe, reference)
                    table.finish(cell.name, cell.state, cell.detail)
                    ended[recipe.name] = cell
        return [ended[recipe.name] for recipe in recipes]

    def _submit(
        self, command: Command, recipe: Recipe, teachers: dict[str, Any], board: Any
    ) -> Any:
        told = job(command, recipe, self.runs, control=self.control, patience=PATIENCE)
        parcels = []
        if self.apart:
            begun = (recipe.name, control_name(recipe.name))
            parcels.append(self.ray.put(pack(self.runs, begun)))
            for table in recipe.teachers:
                place = Path(table.trained or "")
                if table.trained and place.is_relative_to(self.runs):
                    name = str(place.relative_to(self.runs))
                    if name not in teachers:
                        teachers[name] = self.ray.put(pack(self.runs, [name]))
                    parcels.append(teachers[name])
        return self._call("run", asdict(self.home), told, parcels, board)

    def _call(self, function: str, *arguments: Any, node: str | None = None) -> Any:
        """A function of ``ray_node`` on a node: the one given, or one that has room for a cell."""
        if node is None:
            options = {
                "num_cpus": self.cpus,
                "num_gpus": math.floor(PARTS / (self.per_gpu or 1)) / PARTS if self.gpus else 0,
                "max_retries": RETRIES,
                "scheduling_strategy": "SPREAD",
            }
        else:
            strategies = import_module("ray.util.scheduling_strategies")
            there = strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            options = {"num_cpus": 0, "scheduling_strategy": there}
        wanted = {"mobilekd": VERSION, "torch": version("torch").partition("+")[0]}
        remote = self.ray.remote(caller())
        return remote.options(**options).remote(wanted, function, *arguments)

    def _show(self, table: ProgressTable, board: Any) -> None:
        with suppress(self.ray.exceptions.RayError):  # it is only progress
            for name, (node, line, starts) in self.ray.get(board.look.remote(), timeout=10).items():
                table.begin(name, self._name(node), starts)
                table.tell(name, line)

    def _finish(self, command: Command, recipe: Recipe, reference: Any) -> Cell:
        """A cell's end, with what it left brought home."""
        try:
            told = self.ray.get(reference)
            if told.get("differs"):
                self._refuse(told["node"], told)
            if told["parcel"] is not None:
                receive(told["parcel"], recipe, self.runs, f"{command} {recipe.name}")
        except UserError as error:
            return Cell(recipe.name, "refused", in_one_line(error))
        except self.ray.exceptions.RayError as error:
            return Cell(recipe.name, "failed", f"lost on the cluster: {first_line(error)}")
        if told["code"] not in (0, 2):  # a fault of ours: nobody saw its lines
            say(told["said"].rstrip())
        return result(recipe.name, self.runs / recipe.name, told["code"], told["answer"])

    def _cancel(self) -> None:
        """End the cells that still run: they are asked to, then killed."""
        left = list(self.running)
        self.running.clear()
        for force, patience in ((False, 2 * GRACE), (True, GRACE)):
            with suppress(self.ray.exceptions.RayError, ValueError):
                for reference in left:
                    self.ray.cancel(reference, force=force)
                if left:
                    _, left = self.ray.wait(left, num_returns=len(left), timeout=patience)

    def _name(self, node: str) -> str:
        if node not in self.names:  # it came later
            self.names = node_names(self.ray.nodes())
        return self.names.get(node, node[:8])


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off a first Ctrl-C or SIGTERM to the end of the block, and keep the handlers that were
    there: Ray puts its own in their place, and breaks where it is stopped while it starts.
    """
    waiting: list[int] = []
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def put_off(number: int, frame: Any) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals go elsewhere
        return
    try:
        for number in handlers:
            signal.signal(number, put_off)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for late in waiting:
        signal.raise_signal(late)


def _knock(address: str) -> None:
    """An ``OSError`` where nobody listens at an address: Ray itself would try for minutes."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


def library() -> Any:
    """``ray``; a ``UserError`` where the extra is not installed."""
    try:
        return import_module("ray")
    except ImportError:
        raise UserError(
            "--on ray: the package ray is not installed; pip install 'mobilekd[ray]'"
        ) from None


def node_names(nodes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What nodes are called, by id: the name that ``ray start`` gave them, else their host's; with
    the id's beginning where two would be called alike.
    """
    names = {
        node["NodeID"]: node["NodeManagerHostname"]
        if node.get("NodeName") in (None, "", node["NodeManagerAddress"])
        else node["NodeName"]
        for node in nodes
    }
    often = Counter(names.values())
    return {one: name if often[name] == 1 else f"{name}-{one[:8]}" for one, name in names.items()}


def first_line(error: BaseException) -> str:
    """An error of Ray's in one line: its own text goes on with traces of other machines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
