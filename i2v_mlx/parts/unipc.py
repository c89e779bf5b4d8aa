"""UniPC of order 2 with B_2(h) = e^h - 1 (arXiv 2302.04867) in its x_0 form; diffusers' scheduling_unipc_multistep.py.

Its predictor UniP-2 is DPM-Solver++(2M). Every prediction serves twice: before the next step sets out from x, the
corrector UniC-2 takes the step that led there again, now knowing x_0 at its end.
"""

from __future__ import annotations

import math

import mlx.core as mx

from .ddim import DDIM
from .dpm_solver import extrapolated
from .schedule import exact_parts, levels


class UniPC:
    """One per run. Of first order in the first step and in the last, as `DPMSolver`.

    Args:
        grid: timesteps, descending.

    Attributes:
        history: "x", the corrected latents that the last step set out from, and "x_0" and "x_0_before", the last two
            predictions. Kept and put back, a run goes on bit by bit where it was interrupted; without it the next
            step is one of first order.
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
        x_0_before = self.history.get("x_0")
        if x_0_before is not None:
            x_t = self._corrected(x_0, x_0_before, i)
        x_next = extrapolated(self._levels, i, x_t, x_0, x_0_before)
        before = {} if x_0_before is None else {"x_0_before": x_0_before}
        self.history = {"x": x_t, "x_0": x_0, **before}
        return x_next, x_0

    def _corrected(self, x_0: mx.array, x_0_before: mx.array, i: int) -> mx.array:
        """x at level i once more, from level i - 1; equation 10 of the paper."""
        a, b = exact_parts(self._levels[i - 1], self._levels[i])
        exact = a * self.history["x"] + b * x_0_before
        long_before = self.history.get("x_0_before")
        if long_before is None:
            return exact + b * 0.5 * (x_0 - x_0_before)
        h = self._levels[i].log_snr - self._levels[i - 1].log_snr
        r = (self._levels[i - 2].log_snr - self._levels[i - 1].log_snr) / h   # -inf after a start without signal
        weight_past, weight_now = _corrector_weights(h, r)
        return exact + b * (weight_now * (x_0 - x_0_before) + weight_past / r * (long_before - x_0_before))


def _corrector_weights(h: float, r: float) -> tuple[float, float]:
    """(rho_1, rho_2) that solve rho_1 + rho_2 = g_1, r rho_1 + rho_2 = g_2: the corrector is exact where x_0 is a
    parabola of lambda."""
    B = math.expm1(-h)
    phi_2 = -B / h - 1
    phi_3 = -phi_2 / h - 1 / 2
    g_1, g_2 = phi_2 / B, 2 * phi_3 / B
    past = (g_2 - g_1) / (r - 1)
    return past, g_1 - past
