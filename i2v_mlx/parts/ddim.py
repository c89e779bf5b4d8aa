"""DDIM (arXiv 2010.02502) in the form of diffusers' schedulers/scheduling_ddim.py; zero terminal SNR as in 2305.08891.

A schedule is numbers only: alpha_bar of every training timestep, made once. The update works on float32 latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import mlx.core as mx
import numpy as np

from ..errors import I2VError
from ..request import check_number


@dataclass(frozen=True)
class DDIMConfig:
    """The hub's scheduler_config.json. Defaults are the released model's."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "squaredcos_cap_v2"
    prediction_type: str = "v_prediction"
    rescale_betas_zero_snr: bool = True
    timestep_spacing: str = "leading"
    steps_offset: int = 1
    set_alpha_to_one: bool = True
    clip_sample: bool = False
    clip_sample_range: float = 1.0

    def __post_init__(self):
        for name, known in (
            ("beta_schedule", ("linear", "scaled_linear", "squaredcos_cap_v2")),
            ("prediction_type", ("v_prediction", "epsilon")),
            ("timestep_spacing", ("leading", "trailing", "linspace")),
        ):
            if getattr(self, name) not in known:
                raise I2VError("config_invalid", f"The scheduler's {name} is {getattr(self, name)!r}.",
                               f"Known are {', '.join(known)}.")
        for name, low, high in (
            ("num_train_timesteps", 1, 10_000), ("steps_offset", 0, 10_000), ("beta_start", 0.0, 1.0),
            ("beta_end", 0.0, 1.0), ("clip_sample_range", 0.0, 1e6),
        ):  # fmt: skip
            try:
                check_number(name, getattr(self, name), low, high)
            except I2VError as error:
                raise I2VError("config_invalid", f"The scheduler's {error.message}", error.hint) from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DDIMConfig:
        """From scheduler_config.json. What is missing there has the reference's default, not the released model's."""
        if values.get("thresholding") or values.get("trained_betas") is not None:
            raise I2VError("config_invalid", "The scheduler uses thresholding or trained_betas, unknown here.")
        reference: dict[str, Any] = {
            "beta_schedule": "linear", "prediction_type": "epsilon", "rescale_betas_zero_snr": False,
            "steps_offset": 0, "clip_sample": True,
        }  # fmt: skip
        known = {field.name for field in fields(cls)}
        return cls(**reference | {name: value for name, value in values.items() if name in known})


class DDIM:
    """Turns v (or epsilon) predictions into the next latents."""

    def __init__(self, config: DDIMConfig):
        self.config = config
        self.alpha_bar = alpha_bars(config)
        self.final_alpha_bar = 1.0 if config.set_alpha_to_one else float(self.alpha_bar[0])

    def timesteps(self, steps: int) -> list[int]:
        """The `steps` timesteps, descending. `steps` is 1 .. num_train_timesteps - steps_offset for leading spacing."""
        T = self.config.num_train_timesteps
        spacing = self.config.timestep_spacing
        if not 0 < steps <= T:
            raise _too_many(steps, T)
        if spacing == "leading":
            chosen = np.arange(steps)[::-1] * (T // steps) + self.config.steps_offset
        elif spacing == "trailing":
            chosen = np.round(np.arange(T, 0, -T / steps)[:steps]) - 1  # rounding may give one too many
        else:
            chosen = np.linspace(0, T - 1, steps).round()[::-1]
        timesteps = [int(t) for t in chosen]
        if timesteps[0] >= T:
            raise _too_many(steps, T)
        if self.config.prediction_type == "epsilon" and self.alpha_bar[timesteps[0]] == 0:
            raise I2VError("config_invalid", "Noise prediction cannot start where no signal is left.",
                           "Use leading spacing, or a model that predicts v.")
        return timesteps

    def clean(self, prediction: mx.array, x_t: mx.array, t: int) -> mx.array:
        """The predicted x_0, equation 12 of the DDIM paper; from v as in appendix D of arXiv 2202.00512."""
        a = float(self.alpha_bar[t])
        if self.config.prediction_type == "v_prediction":
            x_0 = math.sqrt(a) * x_t - math.sqrt(1 - a) * prediction
        else:
            x_0 = (x_t - math.sqrt(1 - a) * prediction) / math.sqrt(a)
        if self.config.clip_sample:
            x_0 = mx.clip(x_0, -self.config.clip_sample_range, self.config.clip_sample_range)
        return x_0

    def step(
        self, prediction: mx.array, x_t: mx.array, t: int, steps: int, eta: float = 0.0, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """One update on a grid of `steps` equal steps, as the reference takes it; see `step_to`."""
        return self.step_to(prediction, x_t, t, t - self.config.num_train_timesteps // steps, eta, noise)

    def step_to(
        self, prediction: mx.array, x_t: mx.array, t: int, t_prev: int, eta: float = 0.0, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """One update; equations 12 and 16 of the DDIM paper.

        Args:
            t_prev: the timestep to go to; below zero for the end.
            prediction, x_t: float32, any shape.
            noise: standard normal of the same shape; needed where eta > 0.

        Returns:
            (x at the previous timestep, predicted x_0).
        """
        a = float(self.alpha_bar[t])
        a_prev = float(self.alpha_bar[t_prev]) if t_prev >= 0 else self.final_alpha_bar

        x_0 = self.clean(prediction, x_t, t)
        if self.config.prediction_type == "v_prediction":
            epsilon = math.sqrt(a) * prediction + math.sqrt(1 - a) * x_t
        else:
            epsilon = prediction

        sigma = eta * math.sqrt(self.variance(t, t_prev))
        # Rounding can leave a hair less than nothing for the old noise at eta = 1.
        x_prev = math.sqrt(a_prev) * x_0 + math.sqrt(max(1 - a_prev - sigma**2, 0)) * epsilon
        if sigma > 0 and noise is not None:
            x_prev = x_prev + sigma * noise
        return x_prev, x_0

    def variance(self, t: int, t_prev: int) -> float:
        """sigma^2 of equation 16 at eta = 1."""
        a = float(self.alpha_bar[t])
        a_prev = float(self.alpha_bar[t_prev]) if t_prev >= 0 else self.final_alpha_bar
        return (1 - a_prev) / (1 - a) * (1 - a / a_prev)


class DDIMSampler:
    """DDIM on a grid, one per run. It remembers nothing, so that a run may be resumed after any step.

    Args:
        grid: timesteps, descending.
        eta: share of fresh noise, 0 to 1.
    """

    def __init__(self, ddim: DDIM, grid: list[int], eta: float = 0.0):
        self._ddim, self._grid, self._eta = ddim, grid, eta
        steps = len(grid)
        self._next = [*grid[1:], -1]
        if grid == ddim.timesteps(steps):    # there the reference makes equal steps, though rounding may shift the grid
            self._next = [t - ddim.config.num_train_timesteps // steps for t in grid]
        self.history: dict[str, mx.array] = {}

    def step(
        self, prediction: mx.array, x_t: mx.array, i: int, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]:
        """prediction, x_t float32 of one shape at step i, from 0 -> (x at the next level, predicted x_0).

        Args:
            noise: standard normal of the same shape; needed where eta > 0.
        """
        return self._ddim.step_to(prediction, x_t, self._grid[i], self._next[i], self._eta, noise)


def _too_many(steps: int, T: int) -> I2VError:
    return I2VError("num_inference_steps_out_of_range", f"{steps} steps do not fit the schedule.", f"Use 1 to {T - 1}.")


def alpha_bars(config: DDIMConfig) -> np.ndarray:
    """(T,) float32, the signal's share of the variance at every timestep; float32 arithmetic as in the reference."""
    T = config.num_train_timesteps
    if config.beta_schedule == "linear":
        betas = np.linspace(config.beta_start, config.beta_end, T, dtype=np.float32)
    elif config.beta_schedule == "scaled_linear":
        betas = np.linspace(config.beta_start**0.5, config.beta_end**0.5, T, dtype=np.float32) ** 2
    else:  # squaredcos_cap_v2, equation 17 of arXiv 2102.09672
        level = [math.cos((i / T + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(T + 1)]
        betas = np.array([min(1 - level[i + 1] / level[i], 0.999) for i in range(T)], dtype=np.float32)
    alpha_bar = _products(np.float32(1) - betas)
    if not config.rescale_betas_zero_snr:
        return alpha_bar
    root = np.sqrt(alpha_bar)
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))  # algorithm 1 of arXiv 2305.08891
    alphas = root**2
    alphas[1:] = alphas[1:] / alphas[:-1]
    return _products(alphas)


def _products(alphas: np.ndarray) -> np.ndarray:
    """Running products as torch makes them on a CPU: summed up in double, kept in single precision."""
    return np.cumprod(alphas, dtype=np.float64).astype(np.float32)
