"""How the camera moved between two frames: Lucas-Kanade (1981) for a shift and a magnification, from coarse to fine."""

from __future__ import annotations

import moves
import numpy as np

Way = tuple[float, float, float]  # x and y in frame widths, to the right and down, and how much larger things look
STARTS = ((0, 0, 0), (8, 0, 0), (-8, 0, 0), (0, 8, 0), (0, -8, 0), (0, 0, 0.15), (0, 0, -0.15))


def camera_between(first: np.ndarray, last: np.ndarray) -> Way:
    """The camera's way from frame `first` to frame `last`, both (H, W, 3) in [0, 1].

    Coarsely from several starts, since a large shift leaves the first-order model; the two best are refined.
    """
    a, b = grey(first), grey(last)
    coarse = (blurred(a, 4), blurred(b, 4))
    tries = sorted((fit(*coarse, np.array(start, float), rounds=12) for start in STARTS), key=lambda found: found[1])
    best = []
    for way, _ in tries[:2]:
        wrong = np.inf
        for sigma in (2, 1):
            way, wrong = fit(blurred(a, sigma), blurred(b, sigma), way, rounds=10)
        best.append((way, wrong))
    (x, y, log_scale), _ = min(best, key=lambda found: found[1])
    return float(x) / a.shape[1], float(y) / a.shape[0], float(np.exp(log_scale))


def fit(a: np.ndarray, b: np.ndarray, way: np.ndarray, rounds: int) -> tuple[np.ndarray, float]:
    """Refines `way` = (x, y, log magnification), in pixels, so that `a` seen by the moved camera looks like `b`.

    Gain and offset of the brightness are free; what does not fit at all (new content, ghosts) counts little. Returns
    the way and what is left, as a share of the variance of `b`.
    """
    height, width = a.shape
    y, x = np.mgrid[0:height, 0:width].astype(float)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    slope_y, slope_x = np.gradient(a)
    limits = np.array([width / 3, height / 3, 0.5])
    for _ in range(rounds):
        scale = np.exp(-way[2])
        u, v = x * scale + way[0] + (width - 1) / 2, y * scale + way[1] + (height - 1) / 2
        inside = (u > 1) & (u < width - 2) & (v > 1) & (v < height - 2)
        seen, gx, gy = (sampled(field, v, u)[inside] for field in (a, slope_x, slope_y))
        columns = np.stack([gx, gy, -(gx * x[inside] + gy * y[inside]) * scale, np.ones_like(gx), seen], axis=-1)
        wrong = b[inside] - seen
        weight = 1 / (1 + (wrong / (np.median(np.abs(wrong)) * 2 + 1e-3)) ** 2)
        weighted = (columns * weight[:, None]).T
        step = np.linalg.solve(weighted @ columns + np.diag([1e-3, 1e-3, 1e-1, 1e-3, 1e-3]), weighted @ wrong)
        way = np.clip(way + np.clip(step[:3], (-3, -3, -0.06), (3, 3, 0.06)), -limits, limits)
        if np.abs(step[:2]).max() < 0.005 and abs(step[2]) < 1e-4:
            break
    return way, float((wrong**2).mean() / (b.var() + 1e-6))


def along(move: str, way: Way) -> float:
    """How far the camera went the way that was asked, as a share of what the move asks: 1 is exact, negative wrong."""
    x, y, scale = way
    dx, dy, whole = moves.MOVES[move]
    if whole != 1:
        return float(np.log(scale) / np.log(whole))
    return float((x * dx + y * dy) / (dx * dx + dy * dy))


def amount(way: Way) -> float:
    """How much a camera moved at all, comparable between shifts and zooms: 1 is a whole pan, or a whole zoom."""
    x, y, scale = way
    return float(np.hypot(x, y) / moves.SHIFT + abs(np.log(scale) / np.log(moves.ZOOM)))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise of two pictures in [0, 1], in dB."""
    return float(-10 * np.log10(((np.asarray(a, float) - b) ** 2).mean() + 1e-12))


def grey(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W)"""
    return np.asarray(frame, float) @ (0.299, 0.587, 0.114)


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur of (H, W), the picture mirrored at its edges."""
    reach = round(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for _ in range(2):  # along the last axis, then turned, along the other
        wide = np.pad(picture, ((0, 0), (reach, reach)), mode="symmetric")
        picture = np.lib.stride_tricks.sliding_window_view(wide, len(kernel), axis=1).dot(kernel).T
    return picture


def sampled(field: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(H, W) between its pixels, bilinearly; beyond the edge it stays as at the edge."""
    height, width = field.shape
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    down, right = y - top, x - left
    upper = field[top, left] * (1 - right) + field[top, left + 1] * right
    lower = field[top + 1, left] * (1 - right) + field[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down
