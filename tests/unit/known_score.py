"""A problem with a known answer: a mixture of Gaussians, whose score is a closed form."""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np

from i2v_mlx.parts.ddim import DDIM
from i2v_mlx.parts.schedule import levels


class Mixture:
    """Equal shares of N(mean_k, spread^2 I) in 8 dimensions."""

    def __init__(self, seed: int = 0, spread: float = 0.3):
        self.means = np.random.default_rng(seed).normal(size=(4, 8))
        self.spread = spread

    def clean(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """E[x_0 | x_t = x], x (N, 8)."""
        variance = (alpha * self.spread) ** 2 + sigma**2
        off = x[:, None] - alpha * self.means                       # (N, K, 8)
        logits = -(off**2).sum(-1) / (2 * variance)
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        each = self.means + alpha * self.spread**2 / variance * off
        return (share[..., None] * each).sum(1)

    def v(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        return (alpha * x - self.clean(x, alpha, sigma)) / sigma

    def exact(self, x: np.ndarray, start: float, end: float, steps: int = 2000) -> np.ndarray:
        """x at log-SNR `end` from x at `start`, by Runge-Kutta of order 4: y = x / alpha obeys dy/dlambda = x_0 - y."""

        def slope(y, at):
            alpha = 1 / math.sqrt(1 + math.exp(-2 * at))
            return self.clean(alpha * y, alpha, alpha * math.exp(-at)) - y

        h = (end - start) / steps
        y = x * math.sqrt(1 + math.exp(-2 * start))
        for i in range(steps):
            at = start + i * h
            k1 = slope(y, at)
            k2 = slope(y + h / 2 * k1, at + h / 2)
            k3 = slope(y + h / 2 * k2, at + h / 2)
            k4 = slope(y + h * k3, at + h)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y / math.sqrt(1 + math.exp(-2 * end))


def sampled(mixture: Mixture, schedule: DDIM, grid: list[int], sampler, x: np.ndarray, steps: int) -> np.ndarray:
    """x after the first `steps` steps of a run."""
    x_t = mx.array(x.astype(np.float32))
    at = levels(schedule, grid)
    for i in range(steps):
        v = mixture.v(np.array(x_t, np.float64), at[i].alpha, at[i].sigma)
        x_t, _ = sampler.step(mx.array(v.astype(np.float32)), x_t, i)
    return np.array(x_t, np.float64)
