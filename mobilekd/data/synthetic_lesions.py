"""One painter per class: what dermoscopy's pattern analysis looks for, simplified, and drawn from
the lesion's own numbers.

Each ``PAINTERS[key](rng, canvas)`` draws the same lesion whenever ``rng`` starts alike. The pigment
is drawn from nearly the same distribution for every class, so that structure decides.
"""

from collections.abc import Callable

import numpy as np

from mobilekd.data.synthetic_canvas import Canvas, Rgb, ripple

#: Light brown, brown, dark brown, reddish, pink, grey-brown (RGB).
PIGMENTS = np.array(
    [[176, 124, 92], [142, 92, 64], [104, 66, 50], [172, 98, 84], [206, 146, 128], [140, 114, 100]],
    dtype=np.float32,
)
WHITE = np.array([240, 224, 212], dtype=np.float32)
BLUE_GREY = np.array([98, 104, 124], dtype=np.float32)


def _pigment(rng: np.random.Generator, favoured: int) -> Rgb:
    """A base colour; one in four lesions takes the class's favoured one, the others any."""
    choice = favoured if rng.random() < 0.25 else int(rng.integers(len(PIGMENTS)))
    return (PIGMENTS[choice] * rng.uniform(0.88, 1.12) + rng.normal(0, 6, 3)).astype(np.float32)


def _outline(
    rng: np.random.Generator, rough: float, aspect: float, waves: tuple[int, int] = (2, 5)
) -> np.ndarray:
    """Closed border ``[160, 2]``: an ellipse whose radius varies by about ``rough`` over ``waves``
    periods per turn.
    """
    turn = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    radius = np.ones_like(turn)
    count = waves[1] - waves[0] + 1
    for k in range(waves[0], waves[1] + 1):
        radius += (
            rough
            * np.sqrt(2 / count)
            * rng.uniform(0.6, 1.4)
            * np.cos(k * turn + rng.uniform(0, 2 * np.pi))
        )
    return np.stack([radius * np.cos(turn), radius * np.sin(turn) * aspect], axis=1)


def _scatter(rng: np.random.Generator, count: int, reach: float, apart: float) -> np.ndarray:
    """Up to ``count`` points ``[n, 2]`` within radius ``reach``, no two closer than ``apart``."""
    points: list[np.ndarray] = []
    for _ in range(count * 12):
        point = rng.uniform(-reach, reach, 2)
        if np.hypot(*point) <= reach and all(
            np.hypot(*(point - other)) >= apart for other in points
        ):
            points.append(point)
            if len(points) == count:
                break
    return np.array(points).reshape(-1, 2)


def _body(
    rng: np.random.Generator,
    canvas: Canvas,
    edge: np.ndarray,
    pigment: Rgb,
    soft: float,
    opacity: float,
) -> np.ndarray:
    """Fill the border with uneven, clumped pigment; returns the mask."""
    mask = canvas.polygon(edge, soft)
    shade = 0.95 + 0.1 * ripple(rng, canvas.view, 1.3) + 0.05 * ripple(rng, canvas.view, 0.25)
    canvas.blend(np.clip(mask * shade, 0, 1), pigment, opacity)
    darker = np.clip(ripple(rng, canvas.view, 0.7), 0, 1)
    canvas.blend(mask * darker, pigment * 0.75, 0.35 * opacity)
    return mask


def _network(canvas: Canvas, rng: np.random.Generator, period: float) -> np.ndarray:
    """Pigment network: a honeycomb's lines, float32 in 0..1, stronger here and weaker there; three
    plane waves at 60 degrees.
    """
    u, v = canvas.view.grid()
    turn, k = rng.uniform(0, np.pi), 2 * np.pi / period
    waves = sum(
        np.cos(k * (u * np.cos(turn + n * np.pi / 3) + v * np.sin(turn + n * np.pi / 3)))
        for n in (0, 1, 2)
    )
    strength = np.clip(0.8 + 0.25 * ripple(rng, canvas.view, 0.9), 0.3, 1)
    return np.asarray(np.clip((0.1 - waves) / 1.4, 0, 1) * strength, dtype=np.float32)


def _clarity(rng: np.random.Generator) -> float:
    """Opacity of a class's own marks: some lesions show them plainly, others barely."""
    return float(rng.uniform(0.6, 0.95))


def _dots(
    rng: np.random.Generator, canvas: Canvas, pigment: Rgb, least: int, most: int, opacity: float
) -> None:
    """Small dark dots and globules, anywhere."""
    dots = _scatter(rng, int(rng.integers(least, most + 1)), 0.85, 0.1)
    canvas.blend(
        canvas.discs(dots, rng.uniform(0.03, 0.07, len(dots)), 0.015), pigment * 0.4, opacity
    )


def _vessels(
    rng: np.random.Generator, canvas: Canvas, roots: int, width: float, opacity: float
) -> None:
    """Red vessels that enter from the border, bend and branch."""
    strokes: list[tuple[np.ndarray, float]] = []
    for turn in rng.uniform(0, 2 * np.pi) + np.arange(roots) * rng.uniform(1.4, 2.2):
        root = rng.uniform(0.8, 1.05) * np.array([np.cos(turn), np.sin(turn)])
        _branch(rng, strokes, root, turn + np.pi + rng.normal(0, 0.5), width, rng.uniform(0.6, 0.8))
    canvas.blend(canvas.lines(strokes, 0.018), np.array([150, 40, 48], dtype=np.float32), opacity)


def _branch(
    rng: np.random.Generator,
    strokes: list[tuple[np.ndarray, float]],
    root: np.ndarray,
    turn: float,
    width: float,
    length: float,
) -> None:
    """One vessel; it forks until it is thin."""
    steps = 5
    points = [root]
    for _ in range(steps):
        turn += rng.normal(0, 0.3)
        points.append(points[-1] + length / steps * np.array([np.cos(turn), np.sin(turn)]))
    strokes.append((np.array(points), width))
    if width > 0.028:
        for side in (-1, 1):
            _branch(
                rng,
                strokes,
                points[-1 - int(rng.integers(3))],
                turn + side * rng.uniform(0.4, 1.0),
                width * 0.65,
                length * 0.62,
            )


def _decoys(rng: np.random.Generator, canvas: Canvas, mask: np.ndarray, pigment: Rgb) -> None:
    """Marks that any lesion may bear and that decide nothing: a few dots, a trace of network, a
    pale spot, one thin vessel.
    """
    if rng.random() < 0.2:
        _dots(rng, canvas, pigment, 1, 4, 0.6)
    if rng.random() < 0.15:
        patch = canvas.discs(rng.uniform(-0.5, 0.5, (1, 2)), np.array([0.4]), 0.15)
        canvas.blend(mask * patch * _network(canvas, rng, 0.26), pigment * 0.5, 0.6)
    if rng.random() < 0.15:
        canvas.blend(
            canvas.discs(rng.uniform(-0.6, 0.6, (1, 2)), rng.uniform(0.1, 0.2, 1), 0.06), WHITE, 0.5
        )
    if rng.random() < 0.2:
        _vessels(rng, canvas, 1, 0.035, 0.6)


def nevus(rng: np.random.Generator, canvas: Canvas) -> None:
    """Symmetric, smooth border that fades, one regular network throughout."""
    pigment = _pigment(rng, 1)
    mask = _body(
        rng,
        canvas,
        _outline(rng, 0.04, rng.uniform(0.72, 1.0)),
        pigment,
        0.08,
        rng.uniform(0.6, 0.85),
    )
    canvas.blend(mask * _network(canvas, rng, rng.uniform(0.23, 0.3)), pigment * 0.5, _clarity(rng))
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.02, 0.5)


def melanoma(rng: np.random.Generator, canvas: Canvas) -> None:
    """Notched, asymmetric border; blotches off centre, a blue-grey veil, streaks over one part of
    the edge, uneven dots.
    """
    pigment = _pigment(rng, 2)
    edge = _outline(rng, rng.uniform(0.06, 0.14), rng.uniform(0.65, 0.9), (2, 8))
    mask = _body(rng, canvas, edge, pigment, rng.uniform(0.02, 0.07), rng.uniform(0.65, 0.95))
    start, width = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 3.0)
    strokes = []
    for turn in np.linspace(start, start + width, int(rng.integers(6, 14))):
        root = edge[int(turn / (2 * np.pi) * len(edge)) % len(edge)]
        strokes.append(
            (np.stack([root * 0.75, root * rng.uniform(1.0, 1.22)]), rng.uniform(0.05, 0.1))
        )
    canvas.blend(canvas.lines(strokes, 0.03), pigment * 0.6, _clarity(rng))
    where = start + width / 2 + rng.normal(0, 0.5, 3)
    blotches = np.stack([np.cos(where), np.sin(where)], axis=1) * rng.uniform(0.15, 0.55, (3, 1))
    canvas.blend(
        mask * canvas.discs(blotches, rng.uniform(0.16, 0.32, 3), 0.07),
        pigment * 0.45,
        _clarity(rng),
    )
    canvas.blend(
        mask * canvas.discs(-blotches[:1], rng.uniform(0.25, 0.4, 1), 0.13),
        BLUE_GREY,
        0.8 * _clarity(rng),
    )
    if rng.random() < 0.5:
        canvas.blend(
            mask * _network(canvas, rng, rng.uniform(0.23, 0.35)),
            pigment * 0.5,
            0.6 * _clarity(rng),
        )
    _dots(rng, canvas, pigment, 2, 10, 0.75)
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.025, 0.45)


def basal_cell_carcinoma(rng: np.random.Generator, canvas: Canvas) -> None:
    """Pale body, branching vessels in focus, a few blue-grey ovoid nests."""
    pigment = _pigment(rng, 4)
    mask = _body(
        rng,
        canvas,
        _outline(rng, 0.06, rng.uniform(0.75, 1.0)),
        pigment,
        0.08,
        rng.uniform(0.5, 0.8),
    )
    nests = _scatter(rng, int(rng.integers(1, 5)), 0.75, 0.4)
    canvas.blend(
        mask * canvas.discs(nests, rng.uniform(0.1, 0.18, len(nests)), 0.05, 1.3),
        BLUE_GREY * 0.9,
        0.8 * _clarity(rng),
    )
    _vessels(rng, canvas, int(rng.integers(2, 5)), rng.uniform(0.045, 0.075), _clarity(rng))
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.025, 0.4)


def benign_keratosis(rng: np.random.Generator, canvas: Canvas) -> None:
    """Stuck-on, sharp border; white milia-like cysts and dark comedo-like openings."""
    pigment = _pigment(rng, 0)
    edge = _outline(rng, 0.05, rng.uniform(0.7, 0.95), (3, 9))
    mask = _body(rng, canvas, edge, pigment, rng.uniform(0.015, 0.05), rng.uniform(0.65, 0.95))
    spots = _scatter(rng, int(rng.integers(8, 22)), 0.74, 0.17)
    radii = rng.uniform(0.04, 0.1, len(spots))
    half = len(spots) // 2
    canvas.blend(canvas.discs(spots[:half], radii[:half], 0.025), WHITE, _clarity(rng))
    canvas.blend(
        canvas.discs(spots[half:], radii[half:] * 1.1, 0.02, 0.8), pigment * 0.42, _clarity(rng)
    )
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.02, 0.4)


def actinic_keratosis(rng: np.random.Generator, canvas: Canvas) -> None:
    """Strawberry pattern without a border: a patch that fades into the skin, pale rings around
    follicles, scale.
    """
    pigment = _pigment(rng, 3)
    edge = _outline(rng, 0.1, rng.uniform(0.75, 1.0), (2, 6)) * 1.05
    mask = _body(rng, canvas, edge, pigment, rng.uniform(0.12, 0.22), rng.uniform(0.6, 0.85))
    follicles = _scatter(rng, int(rng.integers(10, 22)), 0.95, 0.27)
    radii = rng.uniform(0.09, 0.14, len(follicles))
    rings = canvas.discs(follicles, radii, 0.03) - canvas.discs(follicles, radii * 0.5, 0.03)
    canvas.blend(np.clip(rings, 0, 1) * (0.4 + 0.6 * mask), WHITE, _clarity(rng))
    for centre in _scatter(rng, int(rng.integers(1, 5)), 0.7, 0.4):
        flake = (
            _outline(rng, 0.25, rng.uniform(0.4, 0.8), (2, 6)) * rng.uniform(0.12, 0.22) + centre
        )
        canvas.blend(canvas.polygon(flake, 0.03), WHITE, 0.8 * _clarity(rng))
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.022, 0.35)


def dermatofibroma(rng: np.random.Generator, canvas: Canvas) -> None:
    """Round; a white scar-like patch in the centre, a delicate network around it."""
    pigment = _pigment(rng, 0)
    edge = _outline(rng, 0.03, rng.uniform(0.85, 1.0)) * 0.92
    mask = _body(rng, canvas, edge, pigment, 0.13, rng.uniform(0.6, 0.85))
    canvas.blend(
        mask * _network(canvas, rng, rng.uniform(0.2, 0.26)), pigment * 0.6, 0.7 * _clarity(rng)
    )
    scar = _outline(rng, 0.15, rng.uniform(0.7, 1.0)) * rng.uniform(0.28, 0.5) + rng.normal(
        0, 0.08, 2
    )
    canvas.blend(canvas.polygon(scar, 0.08), WHITE, _clarity(rng))
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.025, 0.5)


def vascular_lesion(rng: np.random.Generator, canvas: Canvas) -> None:
    """Lacunes: round, sharply bordered lobules packed together, pale septa between them."""
    pigment = _pigment(rng, 3)
    lacunes = _scatter(rng, int(rng.integers(7, 16)), 0.75, 0.33)
    radii = rng.uniform(0.16, 0.26, len(lacunes))
    mask = canvas.discs(lacunes, radii * 1.5, 0.08)
    canvas.blend(mask, pigment * 0.7 + WHITE * 0.3, rng.uniform(0.5, 0.8))
    wine, clarity = np.array([24, -14, 0], dtype=np.float32), _clarity(rng)
    for third, shade in enumerate(rng.uniform(0.5, 0.85, 3)):
        colour = np.clip(pigment * shade + wine, 0, 255)
        canvas.blend(canvas.discs(lacunes[third::3], radii[third::3], 0.025), colour, clarity)
    _decoys(rng, canvas, mask, pigment)
    canvas.warp(rng, 0.025, 0.45)


PAINTERS: dict[str, Callable[[np.random.Generator, Canvas], None]] = {
    "akiec": actinic_keratosis,
    "bcc": basal_cell_carcinoma,
    "bkl": benign_keratosis,
    "df": dermatofibroma,
    "mel": melanoma,
    "nv": nevus,
    "vasc": vascular_lesion,
}
