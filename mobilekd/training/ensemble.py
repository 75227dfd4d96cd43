"""The teachers of one run at work: together they act as one, whose outputs are cached for each view
or computed as views are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mobilekd.formats.pictures import Pictures
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import shape
from mobilekd.formats.runs import TeacherSummary
from mobilekd.formats.teacher import teacher_folder
from mobilekd.formats.training_tables import EnsembleTable, TeacherTable, TrainTable
from mobilekd.losses import Objective, Outputs, Taps
from mobilekd.support.progress import say, track
from mobilekd.support.words import counted
from mobilekd.teachers.engine import Forward, fastest
from mobilekd.teachers.logit_cache import LogitCache
from mobilekd.teachers.network import combine
from mobilekd.teachers.program import is_program
from mobilekd.training.experiment import Experiment
from mobilekd.training.loop import DrawnBatch, TeacherFeed
from mobilekd.training.member import BATCH, Member, open_member
from mobilekd.training.parallel import World
from mobilekd.training.pixels import Drawer, predict_logits
from mobilekd.training.views import VIEWS_VERSION, Views

#: Photographs drawn at once for it, a multiple of that.
DRAWN = 4 * BATCH


@dataclass
class TeacherEnsemble:
    """All teachers of a run; together they act as one."""

    members: list[Member]
    rule: EnsembleTable
    train: TrainTable
    experiment: Experiment
    cache_root: Path
    world: World

    @classmethod
    def open(
        cls,
        tables: Sequence[TeacherTable],
        rule: EnsembleTable,
        train: TrainTable,
        experiment: Experiment,
        folder: Path,
        cache_root: Path,
        world: World,
    ) -> "TeacherEnsemble":
        """Open every teacher of ``tables``; one whose files changed, that was judged on another
        split or that knows nothing ends the run.

        ``folder`` is the run's, where a teacher lies that was trained under the run's own name.
        """
        members = [
            open_member(
                table, teacher_folder(table, folder, index), index, experiment, world.device
            )
            for index, table in enumerate(tables)
        ]
        ensemble = cls(members, rule, train, experiment, cache_root, world)
        for member in members:
            if member.stored:
                member.stored.check(ensemble._depends_on(member), min(train.views, train.epochs))
        return ensemble

    @property
    def network(self) -> nn.Module | None:
        """The network whose layers feature losses look at; they need exactly one teacher, with its
        weights.
        """
        return self.network_of(0) if len(self.members) == 1 else None

    def network_of(self, index: int) -> nn.Module | None:
        """A member's network; None where only its answers were kept, or it is a program."""
        network = self.members[index].network
        return network.network if network and not is_program(network) else None

    @property
    def weights(self) -> tuple[str, ...]:
        """Hash of each teacher's weights."""
        return tuple(member.record.weights_sha256 for member in self.members)

    def describe(self) -> tuple[TeacherSummary, ...]:
        """For ``run.json``."""
        return tuple(member.record.summary() for member in self.members)

    def doubts(self) -> tuple[str, ...]:
        """Why figures of their student may be too good, once each."""
        found = (member.record.doubt() for member in self.members)
        return tuple(dict.fromkeys(doubt for doubt in found if doubt is not None))

    def logits(self, ids: Sequence[str]) -> np.ndarray:
        """The teachers as one on photographs of the data set as they are, ``[N, C]``."""
        inputs: dict[Preprocess, Pictures] = {}
        each = []
        for index, member in enumerate(self.members):
            if member.stored:
                each.append(member.stored.plain(ids))
                continue
            own = member.preprocess
            if own not in inputs:
                inputs[own] = self.experiment.inputs(ids, own)
            each.append(
                predict_logits(
                    self._engine(index), self._views(index), inputs[own], self.world.device, BATCH
                )
            )
        return self._combine([torch.from_numpy(one) for one in each]).numpy()

    def feed(self, objective: Objective, index: int = 0) -> TeacherFeed:
        """Where a batch's teacher outputs come from: the cache for fixed views, else the networks
        themselves. Feature losses look inside member ``index`` alone.
        """
        if objective.teacher_layers:
            return self._looking_inside(objective.teacher_layers, index)
        if self.train.views:
            return self._cached()
        return lambda batch: Outputs(
            self._combine(
                [
                    self._engine_for(index, len(batch.rows))(self._seen_by(index, batch))
                    for index in range(len(self.members))
                ]
            )
        )

    def _seen_by(self, index: int, batch: DrawnBatch) -> Tensor:
        """The batch's view at a member's own resolution, mixed as the student's; the student's own
        input where both take the same.
        """
        if self.members[index].preprocess == self.experiment.preprocess:
            return batch.x
        views = self._views(index)
        drawer = self._drawer(index, batch.view_seed)
        return batch.mix(views.normalise(drawer.draw(batch.rows, batch.view)))

    def _views(self, index: int) -> Views:
        return Views(self.experiment.augment, self.members[index].preprocess)

    def _drawer(self, index: int, view_seed: int) -> Drawer:
        """Members of one size share it."""
        own = self.members[index].preprocess
        kind = (own.width, own.height, view_seed)
        if kind not in self._drawers:
            self._drawers[kind] = Drawer(
                self.experiment.images(own),
                self._views(index),
                view_seed,
                self.world.device,
            )
        return self._drawers[kind]

    def caches(self) -> list[LogitCache]:
        """One cache for each teacher, named by all that its numbers depend on."""
        return [LogitCache(self.cache_root, **self._depends_on(member)) for member in self.members]

    def _depends_on(self, member: Member) -> dict[str, Any]:
        """All that a member's logits over views depend on."""
        experiment = self.experiment
        return {
            "weights": member.record.weights_sha256,
            "data": experiment.dataset.hash,
            "unlabelled": experiment.unlabelled_hash,
            "storage": experiment.storage(member.preprocess).to_dict(),
            "preprocess": member.preprocess.to_dict(),
            "augment": shape(experiment.augment),
            "seed": experiment.view_seed(self.train),
            "views_version": VIEWS_VERSION,
        }

    def _looking_inside(self, layers: Sequence[str], index: int) -> TeacherFeed:
        teacher = self.members[index].network
        assert teacher is not None, "Objective asks for the network of feature losses' teacher"

        def feed(batch: DrawnBatch) -> Outputs:
            with Taps(teacher.network, layers) as taps:
                logits = teacher(self._seen_by(index, batch))
            return Outputs(logits, taps.features)

        return feed

    def fill(self) -> list[LogitCache]:
        """The caches, with every view that training asks for; what is missing is computed and
        kept.
        """
        caches = self.caches()
        # the others do not even look, so that all of them read what it leaves
        if self.world.leader:
            self._fill(caches)
        self.world.barrier()
        return caches

    def _fill(self, caches: list[LogitCache]) -> None:
        images = self.experiment.training_images
        row_of = {name: row for row, name in enumerate(images.ids)}
        wanted = range(min(self.train.views, self.train.epochs))
        missing = [
            (v, i) for v in wanted for i, cache in enumerate(caches) if not cache.has(v, images.ids)
        ]
        if missing:
            count = counted(len(missing), "view")
            say(f"teachers: {count} to compute once, into {caches[0].folder.parent}")
        for view, index in track(missing, "teacher views", len(missing)):
            stored = self.members[index].stored
            if stored:
                caches[index].fill(view, images.ids, partial(stored.of_view, view))
                continue

            def compute(names: Sequence[str], view: int = view, index: int = index) -> np.ndarray:
                rows = np.array([row_of[name] for name in names])
                drawer = self._drawer(index, self.experiment.view_seed(self.train))
                engine, views = self._engine(index), self._views(index)
                parts = [
                    predict_logits(engine, views, drawn, self.world.device, BATCH)
                    for drawn in drawer.parts(rows, view, DRAWN)
                ]
                return np.concatenate(parts)

            caches[index].fill(view, images.ids, compute)

    def _cached(self) -> TeacherFeed:
        caches, images = self.fill(), self.experiment.training_images

        def feed(batch: DrawnBatch) -> Outputs:
            names = [images.ids[row] for row in batch.rows]
            stored = [
                torch.from_numpy(cache.logits(batch.view, names)).to(batch.x.device)
                for cache in caches
            ]
            return Outputs(self._combine(stored))

        return feed

    def _combine(self, logits: Sequence[Tensor]) -> Tensor:
        weights = [member.table.weight for member in self.members]
        return combine(
            logits,
            self.rule,
            weights,
            [member.record.recalls() for member in self.members],
        )

    def _engine(self, index: int) -> Forward:
        return self._engine_for(index, BATCH)

    def _engine_for(self, index: int, batch: int) -> Forward:
        if (index, batch) not in self._engines:
            size = self.members[index].preprocess
            example = (
                torch.rand(batch, 3, size.height, size.width, device=self.world.device) * 2 - 1
            )
            views = min(self.train.views or self.train.epochs, self.train.epochs)
            photographs = len(self.experiment.training_images.ids) * views
            network = self.members[index].network
            assert network is not None, "kept answers need no engine"
            self._engines[index, batch] = fastest(network, example, photographs)[0]
        return self._engines[index, batch]

    @cached_property
    def _drawers(self) -> dict[tuple[int, int, int], Drawer]:
        return {}

    @cached_property
    def _engines(self) -> dict[tuple[int, int], Forward]:
        return {}
