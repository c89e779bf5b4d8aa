"""DPM-Solver++(2M), algorithm 2 of arXiv 2211.01095, in its x_0 form; diffusers' scheduling_dpmsolver_multistep.py.

Second order for one evaluation a step: x_0 is carried on along the line through its last two predictions.
"""

from __future__ import annotations

import mlx.core as mx

from .ddim import DDIM
from .schedule import Level, exact_parts, levels


class DPMSolver:
    """One per run. Of first order in the first step, which has no other before it, and in the last, to no noise.

    Args:
        grid: timesteps, descending.

    Attributes:
        history: "x_0", the prediction of the step before. Kept and put back, a run goes on bit by bit where it was
            interrupted; without it the next step is one of first order.
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
        x_next = extrapolated(self._levels, i, x_t, x_0, self.history.get("x_0"))
        self.history = {"x_0": x_0}
        return x_next, x_0


def extrapolated(
    levels: list[Level], i: int, x_t: mx.array, x_0: mx.array, x_0_before: mx.array | None
) -> mx.array:
    """From level i to i + 1, second order where there is a prediction from level i - 1 (midpoint form)."""
    a, b = exact_parts(levels[i], levels[i + 1])
    if x_0_before is None or i + 1 == len(levels) - 1:
        return a * x_t + b * x_0
    h = levels[i + 1].log_snr - levels[i].log_snr
    h_before = levels[i].log_snr - levels[i - 1].log_snr    # infinite after a start without signal: first order
    k = h / (2 * h_before)
    return a * x_t + b * (1 + k) * x_0 - b * k * x_0_before
