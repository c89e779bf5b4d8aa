"""The camera moves that the demo model knows."""

from __future__ import annotations

import numpy as np

SHIFT = 1 / 12  # of the frame's width, over a whole clip, at 16 frames per second
ZOOM = 1.16
GENTLE = 1.06

# (dx, dy) is the camera's way in frame widths, to the right and down, the last number the final magnification. A camera
# that pans left shows what lies left of the picture: its content moves to the right.
MOVES = {
    "left": (-SHIFT, 0.0, 1.0),
    "right": (SHIFT, 0.0, 1.0),
    "up": (0.0, -SHIFT, 1.0),
    "down": (0.0, SHIFT, 1.0),
    "in": (0.0, 0.0, ZOOM),
    "out": (0.0, 0.0, 1 / ZOOM),
    "still": (0.0, 0.0, 1.0),
    "gentle": (0.0, 0.0, GENTLE),
}
NAMES = list(MOVES)


def speed(fps: float) -> float:
    """How far the camera gets within a clip: a clip of few frames per second lasts longer."""
    return float(np.clip(16 / fps, 0.5, 1.5))


def camera(move: str, progress: float, fps: float = 16) -> tuple[float, float, float]:
    """The camera's centre (x, y in frame widths) and magnification at progress 0..1 through the clip."""
    dx, dy, scale = MOVES[move]
    way = progress * speed(fps)
    return dx * way, dy * way, scale**way
