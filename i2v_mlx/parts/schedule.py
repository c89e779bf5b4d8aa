"""The noise levels that a sampler passes through: x = alpha x_0 + sigma epsilon, alpha^2 + sigma^2 = 1.

Made once per run as Python floats, so that the coefficients of every update are computed in double precision and only
the latents are float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .ddim import DDIM


@dataclass(frozen=True)
class Level:
    """Attributes:
    log_snr: lambda = log(alpha / sigma), the time in which the multistep solvers (arXiv 2206.00927) count. It is
        -inf where no signal is left and inf where no noise is.
    """

    alpha: float
    sigma: float
    log_snr: float

    @classmethod
    def at(cls, alpha_bar: float) -> Level:
        alpha, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
        if alpha == 0 or sigma == 0:
            return cls(alpha, sigma, math.inf if alpha else -math.inf)
        return cls(alpha, sigma, math.log(alpha / sigma))


def levels(schedule: DDIM, grid: list[int]) -> list[Level]:
    """One level for each timestep of the grid, and after the last the one at which the video is clean."""
    alpha_bars = [float(schedule.alpha_bar[t]) for t in grid]
    return [Level.at(a) for a in [*alpha_bars, schedule.final_alpha_bar]]


def exact_parts(now: Level, after: Level) -> tuple[float, float]:
    """(a, b) of x' = a x + b x_0, the exact way from one level to the next where the predicted x_0 is constant.

    b is alpha' (1 - exp(-h)), h = lambda' - lambda, written so that it is finite where there is no signal yet.
    """
    a = after.sigma / now.sigma
    return a, after.alpha - a * now.alpha
