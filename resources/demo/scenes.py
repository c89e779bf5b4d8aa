"""Pictures for the demo model: scenes drawn by program, and squares of photographs.

A *canvas* is a float32 picture of CANVAS x CANVAS x 3 in [0, 1]. A frame shows about half of it, so that a camera can
move without ever reaching the canvas' border. Everything is drawn from a `numpy.random.Generator`.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIZE = 96  # a frame, in pixels
VIEW = 192  # what a frame shows at zoom 1, in canvas pixels
CANVAS = 320


def photo_canvas(photo: np.ndarray, rng: np.random.Generator, augment: bool = True) -> np.ndarray:
    """A random square of a photograph, resized to a canvas."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(0.45, 1.0))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    picture = Image.fromarray((photo[top : top + side, left : left + side] * 255).round().astype(np.uint8))
    canvas = np.asarray(picture.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC), np.float32) / 255
    return jitter(canvas, rng) if augment else canvas


def jitter(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror, quarter turns, contrast, brightness and colour casts: a dozen photographs must stand for all of them."""
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    if rng.random() < 0.3:
        canvas = np.rot90(canvas, rng.integers(1, 4))
    if rng.random() < 0.4:
        canvas = canvas[..., rng.permutation(3)]
    if rng.random() < 0.15:
        canvas = 1 - canvas
    mean = canvas.mean()
    canvas = (canvas - mean) * rng.uniform(0.6, 1.3) + mean + rng.uniform(-0.12, 0.12) + rng.normal(0, 0.05, 3)
    return np.clip(canvas, 0, 1).astype(np.float32)


def noise_field(rng: np.random.Generator, falloff: float = 0.55) -> np.ndarray:
    """Fractal value noise in [0, 1]."""
    field = np.zeros((CANVAS, CANVAS), np.float32)
    for k, cells in enumerate((3, 6, 12, 24, 48)):
        grid = rng.random((cells + 2, cells + 2), np.float32)
        field += falloff**k * np.asarray(Image.fromarray(grid).resize((CANVAS, CANVAS), Image.Resampling.BILINEAR))
    field -= field.min()
    return field / max(field.max(), 1e-6)


def colour(rng: np.random.Generator) -> np.ndarray:
    return rng.random(3).astype(np.float32)


def rgb(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(0, 256, 3))


def gradient(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32) / CANVAS
    t = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
    return colour(rng) * (1 - t) + colour(rng) * t


def draw_shapes(canvas: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    scale = 2
    picture = Image.fromarray((canvas * 255).astype(np.uint8)).resize((CANVAS * scale,) * 2)
    pen = ImageDraw.Draw(picture)
    for _ in range(count):
        x, y = rng.integers(0, CANVAS * scale, 2)
        r = int(rng.uniform(8, 70) * scale)
        kind = rng.integers(0, 6)
        if kind == 0:
            pen.ellipse((x - r, y - r, x + r, y + r), fill=rgb(rng))
        elif kind == 1:
            pen.rectangle((x - r, y - r // 2, x + r, y + r // 2), fill=rgb(rng))
        elif kind == 2:
            turn = rng.uniform(0, 2 * np.pi)
            n = rng.integers(3, 7)
            pen.polygon(
                [
                    (x + r * np.cos(turn + 2 * np.pi * k / n), y + r * np.sin(turn + 2 * np.pi * k / n))
                    for k in range(n)
                ],
                fill=rgb(rng),
            )
        elif kind == 3:
            x2, y2 = rng.integers(0, CANVAS * scale, 2)
            pen.line((x, y, x2, y2), fill=rgb(rng), width=int(rng.uniform(2, 12) * scale))
        elif kind == 4:
            pen.ellipse((x - r, y - r, x + r, y + r), outline=rgb(rng), width=int(rng.uniform(2, 10) * scale))
        else:  # strokes that look like writing
            ink = rgb(rng)
            for k in range(rng.integers(3, 9)):
                pen.line(
                    [(x + (14 * k + dx) * scale, y + dy * scale) for dx, dy in rng.integers(-7, 8, (4, 2))],
                    fill=ink,
                    width=3 * scale,
                )
    return np.asarray(picture.resize((CANVAS, CANVAS), Image.Resampling.BOX), np.float32) / 255


def shapes_scene(rng: np.random.Generator) -> np.ndarray:
    base = gradient(rng) if rng.random() < 0.7 else np.ones((CANVAS, CANVAS, 3), np.float32) * colour(rng)
    return draw_shapes(base, rng, int(rng.integers(6, 26)))


def texture_scene(rng: np.random.Generator) -> np.ndarray:
    field = noise_field(rng, falloff=rng.uniform(0.4, 0.75))[..., None]
    canvas = colour(rng) * (1 - field) + colour(rng) * field
    if rng.random() < 0.5:
        other = noise_field(rng)[..., None]
        canvas = canvas * (1 - other) + colour(rng) * other
    if rng.random() < 0.4:
        canvas = np.floor(canvas * 6) / 6
    return draw_shapes(np.clip(canvas, 0, 1), rng, int(rng.integers(0, 8)))


def landscape_scene(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32) / CANVAS
    top, low = colour(rng) * 0.6 + 0.4, colour(rng)
    canvas = top * (1 - y[..., None]) + low * y[..., None]
    sun = rng.uniform(0.2, 0.8, 2)
    disc = np.clip((rng.uniform(0.04, 0.12) - np.hypot(x - sun[0], y - 0.5 * sun[1])) * 60, 0, 1)[..., None]
    canvas = canvas * (1 - disc) + (0.7 + 0.3 * colour(rng)) * disc
    for level in np.sort(rng.uniform(0.3, 0.9, rng.integers(2, 5))):
        ridge = level + sum(
            rng.uniform(0.01, 0.1) / k * np.sin(2 * np.pi * (k * x[0] * 1.5 + rng.random())) for k in (1, 2, 5, 11)
        )
        land = np.clip((y - ridge[None]) * CANVAS / 2, 0, 1)[..., None]
        ground = colour(rng) * (0.6 + 0.4 * noise_field(rng, falloff=0.7))[..., None]
        canvas = canvas * (1 - land) + ground * land
    return draw_shapes(np.clip(canvas, 0, 1), rng, int(rng.integers(0, 6)))


def pattern_scene(rng: np.random.Generator) -> np.ndarray:
    """Checks, stripes and tiles: regular structure, turned and coloured."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(16, 70)
    y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    a, b = (
        np.clip(np.sin(2 * np.pi * u / period) * 4, -1, 1),
        np.clip(np.sin(2 * np.pi * v / period / rng.uniform(0.5, 2)) * 4, -1, 1),
    )
    field = ((a if rng.random() < 0.3 else a * b) * 0.5 + 0.5)[..., None]
    canvas = gradient(rng) * field + gradient(rng) * (1 - field)
    return draw_shapes(np.clip(canvas, 0, 1), rng, int(rng.integers(3, 14)))


DRAWN = (shapes_scene, texture_scene, landscape_scene, pattern_scene)


def drawn_canvas(rng: np.random.Generator, kind: int | None = None) -> np.ndarray:
    """A scene of one of the kinds in `DRAWN`."""
    scene = DRAWN[int(rng.integers(len(DRAWN))) if kind is None else kind % len(DRAWN)]
    return np.ascontiguousarray(scene(rng), np.float32)


def seen(canvas: np.ndarray, x: float = 0, y: float = 0, scale: float = 1) -> np.ndarray:
    """The frame (SIZE, SIZE, 3) uint8 of a camera at (x, y) frame widths from the middle, with a magnification."""
    picture = Image.fromarray((canvas * 255).round().astype(np.uint8))
    left, top, side = CANVAS / 2 + (x - 0.5 / scale) * VIEW, CANVAS / 2 + (y - 0.5 / scale) * VIEW, VIEW / scale
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))
