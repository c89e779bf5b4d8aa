"""The reference's own 50 steps of DDIM, of which only some ask the network.

Between the steps that do, DDIM goes on at its own timesteps with a forecast of x_0: the line through the last two
predictions, in log-SNR. A solver of higher order would approach the exact solution, from which the reference itself is
some way off (DDIM is of first order); this approaches the reference. All that lies between two evaluations is linear,
so a step is one sum of a few arrays; `calibrate` can fit its weights to a model (see `fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import mlx.core as mx
import numpy as np

from .ddim import DDIM
from .schedule import Level, exact_parts, levels

BEFORE = ("x_0", "x_0_before", "x_0_before_that")    # names in the history, the latest first


class Forecast:
    """One per run. Without a prediction from before, in the first step, x_0 is taken to stay as it is.

    Args:
        grid: timesteps at which the network is asked, descending.
        reference: the reference's timesteps, descending.
        weights: instead of the line, one list a step: of x, of the prediction in that step, of those before it.

    Attributes:
        history: the predictions of earlier steps, as far back as a later one needs them. Without them a step is as
            the first.
    """

    def __init__(
        self, schedule: DDIM, grid: list[int], reference: list[int], weights: list[list[float]] | None = None
    ):
        self._schedule, self._grid, self._weights = schedule, grid, weights
        self._levels = levels(schedule, grid)
        self._between = [
            [Level.at(float(schedule.alpha_bar[t])) for t in reference if after < t < now]
            for now, after in zip(grid, [*grid[1:], -1], strict=True)
        ]
        self._kept = 1 if weights is None else max(1, max(map(len, weights)) - 2)
        self.history: dict[str, mx.array] = {}

    def step(
        self, prediction: mx.array, x_t: mx.array, i: int, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """prediction, x_t float32 of one shape at step i, from 0 -> (x at the next level, predicted x_0).

        Deterministic: `noise` is there for the interface it shares with `DDIMSampler`.
        """
        x_0 = self._schedule.clean(prediction, x_t, self._grid[i])
        predictions = [x_0, *(self.history[name] for name in BEFORE if name in self.history)]
        x_next = add_up(self._sum(i, len(predictions)), [x_t, *predictions])
        self.history = dict(zip(BEFORE, predictions[: self._kept], strict=False))
        return x_next, x_0

    def _sum(self, i: int, known: int) -> list[float]:
        """What x and the `known` predictions, the latest first, are worth in step i."""
        if self._weights is not None and known >= len(self._weights[i]) - 1:
            return self._weights[i]
        return self.line(i, known > 1)

    def line(self, i: int, known_before: bool) -> list[float]:
        """[a, b, c] of x' = a x + b x_0 + c x_0_before: all steps of the reference from level i to level i + 1."""
        a, b, c = 1.0, 0.0, 0.0
        here = self._levels[i]
        passed = [here, *self._between[i], self._levels[i + 1]]
        for now, after in pairwise(passed):
            keep, add = exact_parts(now, after)
            way = 0.0
            if known_before:    # none at `here`, 1 where log-SNR has gone on as far as since the step before
                way = (now.log_snr - here.log_snr) / (here.log_snr - self._levels[i - 1].log_snr)
            a, b, c = keep * a, keep * b + add * (1 + way), keep * c - add * way
        return [a, b, c] if known_before else [a, b]


def add_up(weights: Sequence[float], arrays: Sequence[Any]) -> Any:
    """The weighted sum of the first `len(weights)` arrays, of MLX or numpy."""
    total = weights[0] * arrays[0]
    for weight, array in zip(weights[1:], arrays[1:], strict=False):
        total = total + weight * array
    return total


def fit(arrays: Sequence[Sequence[np.ndarray]], targets: Sequence[np.ndarray]) -> list[float]:
    """The weights whose sums come closest to the targets, in the picture and in the motion (least squares).

    Args:
        arrays: of every video, x and the predictions, the latest first, each (F, h, w, 4).
        targets: of every video, x of the reference at the next level.
    """
    def column(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x.ravel(), np.diff(x, axis=0).ravel()]).astype(np.float64)

    table = np.concatenate([np.stack([column(array) for array in video], axis=1) for video in arrays])
    wanted = np.concatenate([column(target) for target in targets])
    found, *_ = np.linalg.lstsq(table.T @ table, table.T @ wanted, rcond=1e-12)
    return [float(weight) for weight in found]
