"""Everything around a generated lesion: skin, light, hair, ruler marks, gel bubbles, the
dermatoscope's dark rim.
"""

import numpy as np
from PIL import Image, ImageFilter

from mobilekd.data.synthetic_canvas import Canvas, ripple

#: Skin from fair to brown (RGB); a person's is a mixture of two neighbours.
TONES = np.array(
    [[240, 206, 190], [231, 188, 164], [214, 164, 134], [181, 128, 96], [139, 94, 68]],
    dtype=np.float32,
)


def paint_skin(person: np.random.Generator, scene: np.random.Generator, side: int) -> np.ndarray:
    """Bare skin, float32 ``[side, side, 3]``: the person's tone, mottled, with fine furrows."""
    place = 4 * person.beta(1.2, 2.2)
    low = min(int(place), 3)
    tone = (
        TONES[low]
        + (place - low) * (TONES[low + 1] - TONES[low])
        + person.normal(0, 5)
        + person.normal(0, 2, 3)
    )
    mottle = 1 + 0.025 * ripple(scene, side, 0.5)
    grain = Image.fromarray(scene.integers(0, 256, (side, side), dtype=np.uint8)).filter(
        ImageFilter.GaussianBlur(side / 90)
    )
    furrows = (np.asarray(grain, dtype=np.float32) - 127.5) / 127.5
    blush = np.clip(ripple(scene, side, 0.35), 0, None)[:, :, None] * np.array(
        [2, -4, -3], dtype=np.float32
    )
    return ((mottle + 0.3 * furrows)[:, :, None] * tone + blush).astype(np.float32)


def paint_over(session: np.random.Generator, scene: np.random.Generator, canvas: Canvas) -> None:
    """Hair, bubbles and ruler marks on the skin, then light, rim, colour cast and the sensor's
    noise.

    Hair, the instrument and its colour cast stay alike through a session, in which a lesion's
    photographs are taken.
    """
    if session.random() < 0.4:
        _hair(session, canvas)
    if scene.random() < 0.2:
        _bubbles(scene, canvas)
    if scene.random() < 0.25:
        _ruler(scene, canvas)
    side = canvas.view.side
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = line[None, :], line[:, None]
    angle = scene.uniform(0, 2 * np.pi)
    light = 1 + scene.uniform(0, 0.1) * (x * np.cos(angle) + y * np.sin(angle))
    distance = np.sqrt(x * x + y * y)
    if session.random() < 0.2:  # the round black rim of a contact dermatoscope
        light = light * np.clip((session.uniform(1.1, 1.3) - distance) * 12, 0.03, 1)
    else:
        light = light * (1 - scene.uniform(0.05, 0.25) * np.clip(distance - 0.5, 0, None))
    canvas.multiply(light.astype(np.float32))
    canvas.picture *= (scene.uniform(0.92, 1.08) * (1 + session.normal(0, 0.012, 3))).astype(
        np.float32
    )
    canvas.picture += scene.normal(0, 5, (side, side, 1)).astype(np.float32)


def _hair(session: np.random.Generator, canvas: Canvas) -> None:
    """Bent dark or fair strands, mostly in one direction, each with its own width."""
    direction = session.uniform(0, np.pi)
    strokes = []
    for _ in range(session.integers(2, 11)):
        angle = direction + session.normal(0, 0.4)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        middle = session.uniform(-1.6, 1.6, 2)
        length, bend = session.uniform(0.8, 2.2), session.normal(0, 0.4)
        t = np.linspace(-1, 1, 16)[:, None]
        strokes.append(
            (middle + t * length * along + t * t * bend * across, session.uniform(0.015, 0.045))
        )
    colour = np.array([52, 38, 30]) if session.random() < 0.8 else np.array([190, 160, 110])
    canvas.blend(canvas.lines(strokes, 0.008), colour.astype(np.float32), 0.8)


def _bubbles(scene: np.random.Generator, canvas: Canvas) -> None:
    """Air in the immersion gel: faint bright rings with a glint."""
    count = int(scene.integers(1, 6))
    centres, radii = scene.uniform(-1.6, 1.6, (count, 2)), scene.uniform(0.05, 0.16, count)
    ring = canvas.discs(centres, radii, 0.01) - canvas.discs(centres, radii * 0.8, 0.01)
    white = np.full(3, 250, dtype=np.float32)
    canvas.blend(np.clip(ring, 0, 1), white, 0.35)
    canvas.blend(canvas.discs(centres - radii[:, None] * 0.4, radii * 0.25, 0.01), white, 0.7)


def _ruler(scene: np.random.Generator, canvas: Canvas) -> None:
    """A scale's ticks along one edge of the picture, every fifth one longer."""
    side = canvas.view.side
    picture = np.zeros((side, side), dtype=np.float32)
    step, edge = (
        max(4, round(side * scene.uniform(0.035, 0.06))),
        round(side * scene.uniform(0.01, 0.04)),
    )
    width = max(1, side // 130)
    for number, at in enumerate(range(step, side - step, step)):
        reach = round(side * (0.075 if number % 5 == 0 else 0.04))
        picture[edge : edge + reach, at : at + width] = 1
    picture = np.rot90(picture, int(scene.integers(4)))
    canvas.blend(picture, np.array([35, 35, 38], dtype=np.float32), 0.75)
