"""``mobilekd calibrate``: an artifact fitted to a clinic's photographs, without training.

The network stays bit for bit; what follows from its answers is fitted: temperature, priors, the
threshold of "not sure", operating points, sets, limits of picture quality and the guard's
threshold. Without labels nothing is fitted: what can be told is how the photographs differ.

The file's own temperature and priors are inside its graph, in a delegate's compiled part, which
cannot be changed without lowering again; and the run whose weights that takes does not travel with
an artifact. But softmax can be undone up to a constant, so any other temperature and priors follow
exactly from the file's probabilities: ``Rescale`` says how, travels inside the file as a constant
and is applied by Python, the app and Swift alike. Only the file's constants are written again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.data import load_unlabelled, pictures
from mobilekd.formats.artifact import (
    Artifact,
    ClinicFit,
    Manifest,
    open_artifact,
)
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.data_tables import DataTable, as_data_table
from mobilekd.formats.document import read_document
from mobilekd.formats.evaluation import Evaluation
from mobilekd.formats.gates import Gate
from mobilekd.formats.guard import GuardSummary
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.parity_names import GateId, GateName
from mobilekd.formats.runs import open_run
from mobilekd.inference.other_data import (
    check_named,
    load_named,
    other_data,
)
from mobilekd.inference.predictor import Answers, Predictor, open_predictor
from mobilekd.lowering import parity
from mobilekd.lowering.card_figures import evaluation_of
from mobilekd.lowering.refit import Refit, model_sha, write_refitted
from mobilekd.metrics import clinic
from mobilekd.metrics.drift import Drift, drift
from mobilekd.metrics.guard import LEAST_LESIONS, REFUSED
from mobilekd.metrics.lesions import known_lesions
from mobilekd.support.errors import GateError, UserError
from mobilekd.support.files import check_writable, new_folder
from mobilekd.support.progress import say
from mobilekd.support.provenance import utc_now, versions

#: So many labelled lesions at least: fewer say more about chance than about a clinic.
LEAST = 30


@dataclass(frozen=True)
class CalibrateResult:
    """What ``calibrate`` found, and the artifact that it wrote."""

    artifact: str | None  # None without labels: nothing is fitted
    photographs: int
    clinic: ClinicFit | None
    drift: Drift
    shares: dict[str, float]  # of each class; without labels as estimated


def calibrate(
    artifact: Path,
    *,
    data: DataTable | Mapping[str, Any] | None = None,
    unlabelled: Path | None = None,
    mapping: Mapping[str, str] | None = None,
    output: Path | None = None,
    set_coverage: float | None = None,
    runs: Path = Path("runs"),
) -> CalibrateResult:
    """Fit an artifact to labelled photographs of ``data``, whose classes ``mapping`` maps, and
    write it to ``output``: by default beside the artifact, called after it with ``-fitted``.
    ``data`` is a recipe's table, or its keys as a dictionary: ``{"kind": "folder", "root":
    "photographs"}``.

    Or tell how the photographs below ``unlabelled`` differ from what it knows, and write nothing.
    ``set_coverage`` is the least share of each class whose set is to hold it (default: the
    recipe's). The photographs are to come as the clinic sees them, one after another, not chosen by
    class, since priors are fitted, too.

    Judged by cross-fitting; a fit whose log loss is proven to be worse is refused (``GateError``),
    and so is one to photographs that hardly have a melanoma (``UserError``): it would learn not to
    say it.
    """
    if (data is None) == (unlabelled is None):
        raise UserError(
            "calibrate: give labelled photographs (--data and --root) or a folder of photographs"
            " without labels (--unlabelled), one of them"
        )
    given = {"--map": mapping, "--output": output, "--set-coverage": set_coverage is not None}
    if unlabelled is not None and (useless := [name for name, used in given.items() if used]):
        raise UserError(
            f"calibrate: {useless[0]} is of no use with --unlabelled, which fits nothing; leave it"
            " out, or give labelled photographs (--data)"
        )
    if data is not None:
        data = as_data_table(data)
        check_named(data)
    opened = open_artifact(artifact)
    predictor = open_predictor(artifact, runs)
    if unlabelled is not None:
        return _told(predictor, unlabelled, runs)
    assert data is not None
    if opened.manifest.clinic is not None:
        raise UserError(
            f"{opened.folder}: was fitted to a clinic before; calibrate the artifact that it came"
            " from"
        )
    if predictor.training_hashes() is None:
        raise UserError(
            f"{opened.folder}: does not say which photographs trained it, so it may have seen those"
            " that are to fit it; export it again, and calibrate what comes out"
        )
    wanted = predictor.recipe.decision.set_coverage if set_coverage is None else set_coverage
    if not 0 < wanted < 1:
        raise UserError(f"--set-coverage {wanted:g}: not a share between 0 and 1; for example 0.9")
    here = opened.folder.resolve()
    place = output or here.with_name(f"{here.name}-fitted")
    check_writable(place, folder=True)
    if place.exists() and not _fitted_from(place, opened):
        raise UserError(f"{place}: exists, and is no earlier fit of this artifact; move it away")
    return _fitted(opened, predictor, data, mapping or {}, place, wanted)


def _fitted_from(place: Path, source: Artifact) -> bool:
    """Whether ``place`` holds an earlier fit of ``source``, which a new one may replace."""
    if not (place / "manifest.json").is_file():
        return False
    earlier = read_document(place / "manifest.json", Manifest, "artifact manifest").clinic
    return earlier is not None and earlier.source_sha256 == model_sha(source.manifest)


def _fitted(
    source: Artifact,
    predictor: Predictor,
    data: DataTable,
    mapping: Mapping[str, str],
    place: Path,
    set_coverage: float,
) -> CalibrateResult:
    judged = other_data(predictor, load_named(data), mapping, "calibrate")
    rows = judged.dataset.rows(judged.ids)
    targets = judged.dataset.targets[rows]
    lesions = [judged.dataset.lesions[row] for row in rows]
    counts = {label.key: int((targets == i).sum()) for i, label in enumerate(predictor.labels)}
    lesion_counts = clinic.lesions_by_class(targets, lesions, predictor.labels)
    spans = {key: clinic.coverage_span(n, set_coverage) for key, n in lesion_counts.items()}
    _refuse_few(predictor, lesion_counts, set_coverage)
    photographs = pictures(judged.dataset, judged.ids, predictor.preprocess)
    given = predictor.answers(photographs)  # its own probabilities: it was not fitted before
    before, labels = predictor.calibration, predictor.labels
    wanted = {"coverage": 0.9, "set_coverage": set_coverage}
    was, now, added = clinic.judge(given.probabilities, targets, lesions, labels, before, **wanted)
    found = clinic.fit_clinic(
        given.probabilities, targets, lesions, labels, before, pictures=photographs, **wanted
    )
    guard = _guard(predictor, given, sum(lesion_counts.values()))
    fit = ClinicFit(
        source_sha256=model_sha(source.manifest),
        data=judged.dataset.kind,
        data_hash=judged.dataset.hash,
        photographs=len(targets),
        lesions=len(set(known_lesions(lesions))),
        by_class=counts,
        lesions_by_class=lesion_counts,
        before=was,
        after=now,
        enough=clinic.enough(set_coverage),
        span=spans,
        guard_refused_before=None if given.outside is None else float(given.outside.mean()),
        created_utc=utc_now(),
        versions=versions(),
    )
    _tell(fit, before, found, labels, set_coverage)
    _tell_guard(fit, predictor.guard, guard)
    loss = _loss_gate(added, len(targets))
    if not loss.passed:
        raise GateError(
            f"{parity.judged(loss)}; nothing was written; the artifact answers these photographs"
            " better as it is, so keep it, or give more of them"
        )
    with new_folder(place, replace=True) as folder:
        write_refitted(folder, source, predictor, Refit(found, guard, fit, loss), judged)
    say(f"calibrate: {place}")
    return CalibrateResult(
        artifact=str(place),
        photographs=len(targets),
        clinic=fit,
        drift=drift(
            given.probabilities, given.outside, photographs, predictor.guard, before, labels
        ),
        shares=found.shares,
    )


def _refuse_few(predictor: Predictor, lesions: Mapping[str, int], set_coverage: float) -> None:
    total, present = sum(lesions.values()), sum(count > 0 for count in lesions.values())
    if total < LEAST or present < 2:
        raise UserError(
            f"calibrate: {total} labelled lesions of {present} classes of {predictor.name}; give at"
            f" least {LEAST} of 2 classes or more"
        )
    for label in predictor.labels:
        if label.known_role == "melanoma" and lesions[label.key] < clinic.least(set_coverage):
            raise UserError(
                f"calibrate: {lesions[label.key]} lesions of {label.text}, too few to fit to: the"
                " artifact would learn not to say it; give more photographs as the clinic sees"
                f" them, until {clinic.least(set_coverage)} lesions of it are among"
                " them, or take --unlabelled, which fits nothing"
            )


def _tell(
    fit: ClinicFit,
    before: Calibration,
    found: Calibration,
    labels: tuple[Label, ...],
    set_coverage: float,
) -> None:
    """How much so many photographs can say, and what they cannot."""
    if lost := [name for name in before.operating_points if name not in found.operating_points]:
        say(f"calibrate: no operating point for {', '.join(lost)}; too few such photographs")
    spans = [
        f"{label.key} {fit.lesions_by_class[label.key]} ({low:.0%} to {high:.0%})"
        for label in labels
        for low, high in [fit.span[label.key]]
        if high < 1
    ]
    rare = [label.key for label in labels if fit.span[label.key][1] == 1]
    say(
        f"calibrate: {fit.enough} lesions of a class are enough to know its sets' coverage to 5"
        f" points around {set_coverage:.0%}; here, with the 95% interval of what it will be:"
        f" {', '.join(spans) or 'none that can be known'}"
        + (f"; too few to exclude them, so always in the set: {', '.join(rare)}" if rare else "")
    )


def _loss_gate(added: Interval, count: int) -> Gate:
    low = added.low if added.low is not None else 1.0
    return Gate(
        name=GateName(GateId.CLINIC_LOSS),
        value=low,
        limit=0.0,
        relation="<=",
        passed=low <= 0,
        estimate=added,
        samples=count,
    )


def _tell_guard(fit: ClinicFit, was: GuardSummary | None, now: GuardSummary | None) -> None:
    if was is None or now is None or fit.guard_refused_before is None:
        return
    refused = f"calibrate: the guard refused {fit.guard_refused_before:.0%} of these photographs"
    if was.clinic:
        say(f"{refused}; its threshold stays, as {was.clinic} photographs of a clinic set it")
    elif now == was:
        say(
            f"{refused}; its threshold stays, as more than {LEAST_LESIONS} lesions are needed to"
            " move it"
        )
    else:
        say(
            f"{refused} at {was.threshold:.3f}, and refuses {now.refused:.0%} at"
            f" {now.threshold:.3f}; try it on photographs of anything else before you rely on it."
            " mobilekd export RUN --guard-photographs FOLDER makes a file whose guard knows these"
            " and refuses far more of anything else; calibrate that file"
        )


def _guard(predictor: Predictor, given: Answers, lesions: int) -> GuardSummary | None:
    """The guard with the threshold that refuses at most a hundredth of the clinic's photographs;
    as it was where it knows a clinic already, or where there are too few to know what is unusual.
    """
    guard = predictor.guard
    if guard is None or guard.clinic or given.scores is None or lesions <= LEAST_LESIONS:
        return guard
    scores = np.asarray(given.scores, np.float64)
    threshold = float(np.quantile(scores, 1 - REFUSED, method="higher"))
    return GuardSummary(threshold=threshold, refused=float((scores > threshold).mean()))


def _told(predictor: Predictor, root: Path, runs: Path) -> CalibrateResult:
    """Without labels: how the photographs differ, and the mix of classes that fits the answers."""
    dataset = load_unlabelled(root)
    if not dataset.ids:
        raise UserError(f"{root}: no photographs in this folder; name another")
    photographs = pictures(dataset, dataset.ids, predictor.preprocess)
    given = predictor.answers(photographs)
    calibration, labels = predictor.calibration, predictor.labels
    shares = calibration.shares or _run_shares(predictor, runs)
    estimated: dict[str, float] = {}
    if shares:
        values = clinic.estimate_shares(given.probabilities, shares)
        estimated = {label.key: float(one) for label, one in zip(labels, values, strict=True)}
    else:
        say(
            "calibrate: the artifact was made before it said how common each class was, and its run"
            " is not here, so the mix of classes is not estimated; export it again"
        )
    found = drift(
        given.probabilities,
        given.outside,
        photographs,
        predictor.guard,
        calibration,
        labels,
        shares=shares,
        estimated=estimated,
    )
    return CalibrateResult(None, len(photographs), None, found, estimated)


def _run_shares(predictor: Predictor, runs: Path) -> dict[str, float]:
    """How common each class was on the test split of the run that it came from, where that is
    here.
    """
    source: Any = predictor.facts.get("run")
    evaluation: Evaluation | None = None
    for name in (str(source), f"reference:{source}"):
        try:
            evaluation = evaluation or evaluation_of(open_run(name, runs))
        except UserError:
            continue
    if evaluation is None:
        return {}
    counts = {label.key: evaluation.data.by_class.get(label.key, 0) for label in predictor.labels}
    total = max(1, sum(counts.values()))
    return {key: count / total for key, count in counts.items()}
