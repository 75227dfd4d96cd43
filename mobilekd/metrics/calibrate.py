"""What validation fixes and the test set never touches: temperature, "not sure", operating points,
picture quality.

Temperature scaling after Guo et al. (arXiv 1706.04599): one number, so the decisions stay those of
the network.
"""

from collections.abc import Sequence

import numpy as np

from mobilekd.formats.calibration import Calibration, Quality, Rescale
from mobilekd.formats.labels import GROUPS, Label
from mobilekd.formats.pictures import Pictures, in_parts
from mobilekd.metrics.conformal import fit_sets
from mobilekd.support.errors import UserError

#: Bounds of the temperature; a validation set without a single error would drive it to zero.
COLDEST, HOTTEST = 0.25, 20.0
SPECIFICITY = 0.95


def calibrate(
    logits: np.ndarray,
    targets: np.ndarray,
    lesions: Sequence[str],
    labels: tuple[Label, ...],
    pictures: Pictures | None = None,
    coverage: float = 0.9,
    set_coverage: float = 0.9,
) -> Calibration:
    """Fit on validation: ``logits`` float ``[N, C]``, ``targets`` int ``[N]``, their ``lesions``
    (``""``: not known), ``pictures`` uint8 ``[N, 3, H, W]`` after the preprocess.

    ``coverage`` is the least share of validation that must get an answer, ``set_coverage`` the
    least share of each class whose set is to hold it.
    """
    logits, targets = np.asarray(logits, float), np.asarray(targets)
    if len(logits) == 0:
        raise UserError(
            "calibration: validation is empty; give the split a larger validation share"
        )
    if not np.isfinite(logits).all():
        raise UserError(
            "calibration: the network answers NaN or infinity; lower the learning rate and train"
            " again"
        )
    temperature = fit_temperature(logits, targets)
    probabilities = softmax(logits / temperature)
    top = probabilities.max(1)
    threshold = float(np.quantile(top, 1 - coverage, method="lower"))
    kept = top >= threshold
    return Calibration(
        temperature=temperature,
        bias=None,
        threshold=threshold,
        coverage=float(kept.mean()),
        coverage_by_class={
            label.key: float(kept[targets == i].mean())
            for i, label in enumerate(labels)
            if (targets == i).any()
        },
        operating_points=operating_points(probabilities, targets, labels),
        quality=None if pictures is None else quality_limits(pictures),
        shares={label.key: float((targets == i).mean()) for i, label in enumerate(labels)},
        sets=fit_sets(
            probabilities, targets, lesions, [label.key for label in labels], set_coverage
        ),
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax, float64."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


#: A probability below this counts as this much when it is rescaled: float16 has none below 6e-8.
LEAST = 1e-12


def rescaled(probabilities: np.ndarray, rescale: Rescale | None) -> np.ndarray:
    """What a file gives ``[N, C]`` -> probabilities as its artifact means them, float64."""
    if rescale is None:
        return np.asarray(probabilities, np.float64)
    evidence = np.log(np.maximum(np.asarray(probabilities, np.float64), LEAST))
    return softmax(rescale.power * evidence + np.array(rescale.offsets))


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature of least log loss. The loss is convex in ``1 / T``, so its slope changes sign
    once: bisection in log T.
    """

    def slope(log_t: float) -> float:
        """d loss / d(1 / T): positive where the network is too sure."""
        expected = (softmax(logits * np.exp(-log_t)) * logits).sum(1)
        return float((expected - logits[np.arange(len(targets)), targets]).mean())

    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def operating_points(
    probabilities: np.ndarray, targets: np.ndarray, labels: tuple[Label, ...]
) -> dict[str, float]:
    """For melanoma and for malignant: the lowest threshold on the summed probability with at least
    95% specificity here.
    """
    found = {}
    for name, members in GROUPS.items():
        columns = [i for i, label in enumerate(labels) if label.known_role in members]
        negative = np.sort(probabilities[~np.isin(targets, columns)][:, columns].sum(1))
        if not columns or not len(negative) or not np.isin(targets, columns).any():
            continue
        # All but the allowed false alarms lie below: just above the first negative that must be
        # refused.
        refused = negative[int(np.ceil(SPECIFICITY * len(negative))) - 1]
        found[name] = float(np.nextafter(refused, 2))
    return found


def picture_quality(pictures: Pictures) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 ``[N, 3, H, W]`` -> sharpness and mean luma, two float ``[N]``, as
    :class:`mobilekd.formats.calibration.Quality` defines them. Without a pixel that has neighbours
    on all sides there is no sharpness: 0.
    """
    parts = [_quality(part) for part in in_parts(pictures)]
    if not parts:
        return np.zeros(0), np.zeros(0)
    sharpness, luma = (np.concatenate(each) for each in zip(*parts, strict=True))
    return sharpness, luma


def _quality(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    red, green, blue = (pictures[:, channel].astype(np.int32) for channel in range(3))
    luma = (77 * red + 150 * green + 29 * blue) >> 8  # [N, H, W]
    inner = luma[:, 1:-1, 1:-1]
    laplacian = (
        luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:] - 4 * inner
    )
    sharpness = laplacian.var((1, 2)) if inner.size else np.zeros(len(pictures))
    return sharpness, luma.mean((1, 2))


def quality_limits(pictures: Pictures) -> Quality:
    """1% quantiles of sharpness and of luma from both ends."""
    sharpness, luma = picture_quality(pictures)
    low, high = np.quantile(luma, [0.01, 0.99])
    return Quality(
        sharpness_low=float(np.quantile(sharpness, 0.01)),
        luma_low=float(low),
        luma_high=float(high),
    )
