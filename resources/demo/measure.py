"""How the camera moved between two frames: Lucas-Kanade for a shift and a magnification, from coarse to fine."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates


def grey(frame):
    """(H, W, 3) in [0, 1] -> (H, W)."""
    return np.asarray(frame, np.float64) @ (0.299, 0.587, 0.114)


def fit(first, last, start, sigma, rounds):
    """Refine (x, y, log magnification) so that `first`, seen by the moved camera, looks like `last`."""
    a, b = gaussian_filter(first, sigma), gaussian_filter(last, sigma)
    height, width = a.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    ay, ax = np.gradient(a)
    p = np.array(start, np.float64)
    for _ in range(rounds):
        scale = np.exp(-p[2])
        u, v = cx + (x - cx) * scale + p[0], cy + (y - cy) * scale + p[1]
        inside = (u > 1) & (u < width - 2) & (v > 1) & (v < height - 2)
        seen, gx, gy = (map_coordinates(field, (v, u), order=1, mode="nearest") for field in (a, ax, ay))
        columns = np.stack([gx, gy, -(gx * (x - cx) + gy * (y - cy)) * scale, np.ones_like(gx), seen], -1)[inside]
        wrong = (b - seen)[inside]
        weight = 1 / (1 + (wrong / (np.median(np.abs(wrong)) * 2 + 1e-3)) ** 2)
        ridge = np.diag([1e-3, 1e-3, 1e-1, 1e-3, 1e-3])
        step = np.linalg.solve((columns * weight[:, None]).T @ columns + ridge, (columns * weight[:, None]).T @ wrong)
        p += np.clip(step[:3], (-3, -3, -0.06), (3, 3, 0.06))
        p = np.clip(p, (-width / 3, -height / 3, -0.5), (width / 3, height / 3, 0.5))
        if np.abs(step[:2]).max() < 0.005 and abs(step[2]) < 1e-4:
            break
    left = (b - seen)[inside]
    return p, float((left**2).mean() / (b.var() + 1e-6))


def camera_between(first, last):
    """(x, y, magnification): the camera's way in frame widths, to the right and down, and how much larger things look."""
    a, b = grey(first), grey(last)
    tries = []
    for start in ((0, 0, 0), (8, 0, 0), (-8, 0, 0), (0, 8, 0), (0, -8, 0), (0, 0, 0.15), (0, 0, -0.15)):
        p, wrong = fit(a, b, start, 4, 12)
        tries.append((wrong, tuple(p)))
    best = []
    for _, start in sorted(tries)[:2]:
        for sigma in (2, 1):
            start, wrong = fit(a, b, start, sigma, 10)
        best.append((wrong, tuple(start)))
    x, y, log_scale = min(best)[1]
    return x / a.shape[1], y / a.shape[0], float(np.exp(log_scale))


def along(move, way):
    """How far the camera went in the direction asked for, as a share of what the move asks: 1 is exact, negative is wrong."""
    import clips

    x, y, scale = way
    dx, dy, whole = clips.MOVES[move]
    if whole != 1:
        return float(np.log(scale) / np.log(whole))
    return float((x * dx + y * dy) / (dx * dx + dy * dy))


def amount(way):
    """How much a camera moved at all, comparable between shifts and zooms (share of a whole pan)."""
    import clips

    x, y, scale = way
    return float(np.hypot(x, y) / clips.SHIFT + abs(np.log(scale) / np.log(clips.ZOOM)))
