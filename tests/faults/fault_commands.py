"""The eight commands on the smallest experiment that runs through all of them, each prepared once
from the result of the one before.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fault_trials import CACHE, Outcome, Scenario, Server, copied, digest, link
from fixtures.experiment import experiment

from mobilekd.android.toolchain import missing
from mobilekd.support.files import cache_folder

ALONE = ("--set", "teachers=[]", "--set", 'losses=[{name="cross_entropy"}]')

SCENARIOS = {
    one.command: one
    for one in (
        Scenario("teach", ("teach", "small.toml", "--resume"), products=("runs/small/teachers/0",)),
        Scenario(
            "distill",
            ("distill", "small.toml", "--resume"),
            products=("runs/small-control", "runs/small"),
            after="teach",
        ),
        Scenario(
            "evaluate",
            ("evaluate", "runs/small"),
            products=("runs/small/evaluation",),
            after="distill",
        ),
        Scenario(
            "export",
            ("export", "runs/small", "--output", "artifact"),
            products=("artifact",),
            after="evaluate",
        ),
        Scenario(
            "bench",
            ("bench", "artifact", "--threads=1", "--samples=20", "--output=measured.json"),
            products=("measured.json",),
            after="export",
            measured=("measured.json",),
            optional=("measured-*Z*.json",),
        ),
        Scenario(
            "report",
            ("report", "runs", "artifact", "measured.json", "--output=page.html"),
            products=("page.html", "page.md", "page.json"),
            after="bench",
        ),
        Scenario(
            "sweep",
            ("sweep", "small.toml", *ALONE, "--seeds=1"),
            products=("runs/small-s1",),
        ),
        Scenario(
            "apk",
            ("apk", "artifact", "--aar=community", "--output=demo.apk"),
            products=("demo.apk", "demo.apk.json"),
            after="export",
        ),
    )
}

#: Backends whose files parsers of ours read, with what their export is told.
EXPORTS = {
    "coreml": (),
    "onnx": ("--precision=int8",),
    "vulkan": ("--precision=int8",),
}


@dataclass
class Workshop:
    """Prepared folders, by the command that has just ended in them."""

    root: Path
    server: Server
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    digests: dict[str, dict[str, str]] = field(default_factory=dict)
    _count: int = 0

    def before(self, scenario: Scenario) -> Path:
        """The folder that the command starts from; copy it before you change it."""
        if scenario.command == "apk":
            return self._before_apk(scenario)
        if scenario.after:
            self.undisturbed(SCENARIOS[scenario.after])
            return self.root / scenario.after
        folder = self.root / "start"
        if not folder.exists():
            experiment(folder)
        return folder

    def _before_apk(self, scenario: Scenario) -> Path:
        """An artifact, and the user's cache of builds after this APK was made once."""
        folder = self.root / "apk-start"
        if not folder.exists():
            if absent := missing():
                pytest.skip(f"{', '.join(absent)} not on this machine")
            self.undisturbed(SCENARIOS["export"])
            copied(self.root / "export", folder)
            filled = copied(folder, self.root / "apk-first")
            outcome = self.server.run(filled, scenario.words)
            assert outcome.code == 0, outcome.err
            for part in ("android", "maven"):
                link(cache_folder() / part, folder / CACHE / part)
        return folder

    def undisturbed(self, scenario: Scenario) -> Outcome:
        """How the command ends when nothing happens to it: it stays in ``root/<command>``."""
        if scenario.command not in self.outcomes:
            start = self.before(scenario)
            folder = copied(start, self.root / scenario.command)
            outcome = self.server.run(folder, scenario.words)
            assert outcome.code == 0, outcome.err
            self.outcomes[scenario.command] = outcome
            self.digests[scenario.command] = digest(folder, scenario)
        return self.outcomes[scenario.command]

    def seeds(self, command: str) -> Path:
        """A folder that holds what the commands up to ``command`` leave; for a backend's name its
        artifact beside it.
        """
        if command in EXPORTS:
            folder = self.root / command
            if not folder.exists():
                copied(self.seeds("distill"), folder)
                words = ("export", "runs/small", f"--backend={command}", f"--output={command}")
                outcome = self.server.run(folder, (*words, *EXPORTS[command]))
                assert outcome.code == 0, outcome.err
            return folder
        self.undisturbed(SCENARIOS[command])
        return self.root / command

    def place(self) -> Path:
        """The path of a folder for the next trial."""
        self._count += 1
        return self.root / f"trial-{self._count}"
