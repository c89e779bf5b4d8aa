"""At which timesteps the network is asked.

The released model's own grid ("leading") starts later the fewer steps there are: 981 of 1000 for 50 steps, 951 for 20,
901 for 10, though the latents are pure noise in all of them. "blended" starts and ends where 50 steps do, whatever
their number, and puts the steps between where they are worth most. "nested" is the same on the 50 steps' own timesteps.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import I2VError
from ..request import REFERENCE_STEPS, listed_timesteps
from .ddim import DDIM
from .schedule import Level

BLEND = 0.7    # share of log-SNR; the best of a sweep over problems with a known score


def timesteps(schedule: DDIM, steps: int, grid: str = "model") -> list[int]:
    """The `steps` timesteps of a run, descending.

    Args:
        grid: "model" for what the model's scheduler_config.json says, "leading" or "trailing" (table 2 of arXiv
            2305.08891) instead of that, "blended" or "nested"; or the timesteps themselves, as "981,712,205,1".

    Raises:
        I2VError: ``num_inference_steps_out_of_range``, ``grid_unknown``.
    """
    listed = listed_timesteps(grid)
    if listed is not None:
        last = schedule.config.num_train_timesteps - 1
        if listed[0] > last:
            raise I2VError("grid_unknown", f"The grid starts at timestep {listed[0]}.", f"The model's last is {last}.")
        return listed
    if grid == "blended":
        return blended(schedule, steps)
    if grid == "nested":
        return nested(schedule, steps)
    if grid == "model":
        return schedule.timesteps(steps)
    return DDIM(dataclasses.replace(schedule.config, timestep_spacing=grid)).timesteps(steps)


def reference_timesteps(schedule: DDIM) -> list[int]:
    """Of the reference's 50 steps; of fewer where a schedule has not so many timesteps."""
    return schedule.timesteps(min(REFERENCE_STEPS, schedule.config.num_train_timesteps - 1))


def blended(schedule: DDIM, steps: int, blend: float = BLEND) -> list[int]:
    """Between the reference's first and last timestep, lambda = log(alpha / sigma) is (1 - blend) times what it is on
    the grid of equal steps in t, plus blend times what it is on the grid of equal steps in lambda."""
    reference = reference_timesteps(schedule)
    first, last = reference[0], reference[-1]
    if not 0 < steps <= first - last + 1:
        raise I2VError("num_inference_steps_out_of_range", f"{steps} steps do not fit the blended grid.",
                       f"Use 1 to {first - last + 1}.")
    every_t = np.arange(last, first + 1)
    signal = schedule.alpha_bar[every_t]
    signal = np.maximum(signal, signal[signal > 0].min())    # where none is left, log-SNR counts as just before
    log_snr = np.array([Level.at(float(a)).log_snr for a in signal])

    equal_t = np.interp(np.linspace(first, last, steps), every_t, log_snr)
    wanted = (1 - blend) * equal_t + blend * np.linspace(log_snr[-1], log_snr[0], steps)
    chosen = np.interp(-wanted, -log_snr, every_t).round().astype(int)    # np.interp wants rising abscissae
    return distinct(chosen, first, last)


def nested(schedule: DDIM, steps: int, blend: float = BLEND) -> list[int]:
    """Of the reference's own timesteps those next to the blended ones, its first and last among them.

    Raises:
        I2VError: ``num_inference_steps_out_of_range``.
    """
    reference = np.array(reference_timesteps(schedule))
    if steps > len(reference):
        raise I2VError("num_inference_steps_out_of_range", f"{steps} steps do not fit the nested grid.",
                       f"Use 1 to {len(reference)}.")
    nearest = [int(np.abs(reference - t).argmin()) for t in blended(schedule, steps, blend)]
    last = len(reference) - 1
    return [int(reference[last - k]) for k in distinct(last - np.array(nearest), last, 0)]


def distinct(chosen: np.ndarray, first: int, last: int) -> list[int]:
    """Where rounding has made two of a timestep, the neighbours make room."""
    i = np.arange(len(chosen))
    chosen = np.minimum.accumulate(np.minimum(chosen, first) + i) - i
    chosen = np.maximum.accumulate((np.maximum(chosen, last) - i[::-1])[::-1])[::-1] + i[::-1]
    return [int(t) for t in chosen]
