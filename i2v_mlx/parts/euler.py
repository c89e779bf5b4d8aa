"""Euler's method (algorithm 1 of arXiv 2206.00364 without churn), as diffusers' scheduling_euler_discrete.py.

There x / alpha moves along sigma / alpha in straight lines. In our variables, which stay finite where alpha is zero,
that is the exact step for a constant x_0: the same as DDIM with eta 0 between neighbours of the grid, to rounding.
"""

from __future__ import annotations

import mlx.core as mx

from .ddim import DDIM
from .schedule import exact_parts, levels


class Euler:
    """First order, one per run. It remembers nothing, so that a run may be resumed after any step.

    Args:
        grid: timesteps, descending.
    """

    def __init__(self, schedule: DDIM, grid: list[int]):
        self._schedule, self._grid = schedule, grid
        self._levels = levels(schedule, grid)
        self.history: dict[str, mx.array] = {}

    def step(
        self, prediction: mx.array, x_t: mx.array, i: int, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """prediction, x_t float32 of one shape at step i, from 0 -> (x at the next level, predicted x_0).

        Deterministic: `noise` is there for the interface it shares with `DDIMSampler`.
        """
        x_0 = self._schedule.clean(prediction, x_t, self._grid[i])
        a, b = exact_parts(self._levels[i], self._levels[i + 1])
        return a * x_t + b * x_0, x_0
