"""The reference's own 50 steps of DDIM, of which only some ask the network.

Between the steps that do, DDIM goes on at its own timesteps with a forecast of x_0: the line through the last two
predictions, in log-SNR. A solver of higher order would approach the exact solution, from which the reference itself is
some way off (DDIM is of first order); this approaches the reference. All that lies between two evaluations is linear,
so a step is one sum of three arrays.
"""

from __future__ import annotations

from itertools import pairwise

import mlx.core as mx

from .ddim import DDIM
from .schedule import Level, exact_parts, levels


class Forecast:
    """One per run. Without a prediction from before, in the first step, x_0 is taken to stay as it is.

    Args:
        grid: timesteps at which the network is asked, descending.
        reference: the reference's timesteps, descending.

    Attributes:
        history: "x_0", the prediction of the step before, as in `DPMSolver`.
    """

    def __init__(self, schedule: DDIM, grid: list[int], reference: list[int]):
        self._schedule, self._grid = schedule, grid
        self._levels = levels(schedule, grid)
        self._between = [
            [Level.at(float(schedule.alpha_bar[t])) for t in reference if after < t < now]
            for now, after in zip(grid, [*grid[1:], -1], strict=True)
        ]
        self.history: dict[str, mx.array] = {}

    def step(
        self, prediction: mx.array, x_t: mx.array, i: int, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """prediction, x_t float32 of one shape at step i, from 0 -> (x at the next level, predicted x_0).

        Deterministic: `noise` is there for the interface it shares with `DDIMSampler`.
        """
        x_0 = self._schedule.clean(prediction, x_t, self._grid[i])
        x_0_before = self.history.get("x_0")
        a, b, b_before = self._sum(i, x_0_before is not None)
        x_next = a * x_t + b * x_0
        if x_0_before is not None:
            x_next = x_next + b_before * x_0_before
        self.history = {"x_0": x_0}
        return x_next, x_0

    def _sum(self, i: int, known_before: bool) -> tuple[float, float, float]:
        """(a, b, c) of x' = a x + b x_0 + c x_0_before, all steps of the reference from level i to level i + 1."""
        a, b, c = 1.0, 0.0, 0.0
        here = self._levels[i]
        passed = [here, *self._between[i], self._levels[i + 1]]
        for now, after in pairwise(passed):
            keep, add = exact_parts(now, after)
            way = 0.0
            if known_before:    # none at `here`, 1 where log-SNR has gone on as far as since the step before
                way = (now.log_snr - here.log_snr) / (here.log_snr - self._levels[i - 1].log_snr)
            a, b, c = keep * a, keep * b + add * (1 + way), keep * c - add * way
        return a, b, c
