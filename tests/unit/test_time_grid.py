"""Time grids: where they start and end, and that the blended one is worth it on a problem whose answer is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from known_score import Mixture, sampled

from i2v_mlx.errors import I2VError
from i2v_mlx.parts.ddim import DDIM, DDIMConfig, DDIMSampler
from i2v_mlx.parts.dpm_solver import DPMSolver
from i2v_mlx.parts.schedule import levels
from i2v_mlx.parts.time_grid import blended, timesteps

RELEASED = DDIM(DDIMConfig())


def test_the_reference_grid_is_the_models_own():
    assert timesteps(RELEASED, 50) == timesteps(RELEASED, 50, "leading") == list(range(981, 0, -20))
    assert timesteps(RELEASED, 10, "trailing") == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    trailing = DDIM(DDIMConfig(timestep_spacing="trailing"))
    assert timesteps(trailing, 10) == timesteps(RELEASED, 10, "trailing")
    assert timesteps(trailing, 10, "leading") == timesteps(RELEASED, 10)


@pytest.mark.parametrize(("steps", "expected"), [
    (8, [981, 920, 785, 524, 247, 93, 28, 1]),
    (12, [981, 947, 894, 802, 657, 468, 289, 161, 84, 40, 16, 1]),
    (16, [981, 957, 926, 879, 810, 712, 584, 442, 310, 205, 131, 80, 47, 25, 11, 1]),
    (1, [981]), (2, [981, 1]),
])  # fmt: skip
def test_blended(steps, expected):
    assert timesteps(RELEASED, steps, "blended") == expected


def test_fewer_steps_never_start_later():
    for steps in range(1, 982):
        grid = blended(RELEASED, steps)
        assert len(grid) == steps and grid[0] == 981
        assert all(t > after for t, after in pairwise(grid)) and (steps == 1 or grid[-1] == 1)


@pytest.mark.parametrize("blend", [0.0, 0.3, 1.0])
def test_the_ends_of_the_blend_are_what_they_say(blend):
    grid = np.array(blended(RELEASED, 21, blend))
    log_snr = np.array([level.log_snr for level in levels(RELEASED, grid.tolist())[:-1]])
    if blend == 0:
        assert np.abs(np.diff(grid) + 49).max() <= 1
    if blend == 1:
        assert np.abs(np.diff(log_snr)[:10] / np.diff(log_snr)[:10].mean() - 1).max() < 0.05
    middle = np.abs(grid - 500).argmin()
    assert log_snr[0] < log_snr[middle] < log_snr[-1]


@pytest.mark.parametrize("config", [
    {"timestep_spacing": "trailing"}, {"timestep_spacing": "linspace"}, {"num_train_timesteps": 20},
    {"rescale_betas_zero_snr": False, "timestep_spacing": "trailing"}, {"beta_schedule": "linear"},
])  # fmt: skip
def test_other_schedules(config):
    schedule = DDIM(DDIMConfig(**config))
    reference = schedule.timesteps(min(50, schedule.config.num_train_timesteps - 1))
    for steps in (1, 2, 7, 19):
        grid = blended(schedule, steps)
        assert len(grid) == steps and grid[0] == reference[0] and grid == sorted(set(grid), reverse=True)
        assert steps == 1 or grid[-1] == reference[-1]


@pytest.mark.parametrize(("grid", "steps"), [("blended", 982), ("blended", 0), ("leading", 1000), ("trailing", 1001)])
def test_steps_that_do_not_fit(grid, steps):
    with pytest.raises(I2VError) as caught:
        timesteps(RELEASED, steps, grid)
    assert caught.value.code == "num_inference_steps_out_of_range" and str(steps) in caught.value.message


def test_noise_cannot_be_predicted_where_no_signal_is_left():
    with pytest.raises(I2VError) as caught:
        timesteps(DDIM(DDIMConfig(prediction_type="epsilon")), 10, "trailing")
    assert caught.value.code == "config_invalid"


def test_it_is_worth_it():
    """Distance to the true solution from t = 981: 16 steps of 2M on the blended grid come closer than 50 of DDIM, 12
    closer than 25. The same on the model's own grid does not, because it starts later with the same noise."""
    mixture, x = Mixture(seed=3), np.random.default_rng(4).normal(size=(256, 8))
    start = levels(RELEASED, [981])[0].log_snr
    exact = mixture.exact(x, start, math.log(1e4), steps=4000)

    def error(sampler, grid):
        found = sampled(mixture, RELEASED, grid, sampler(RELEASED, grid), x, len(grid))
        return float(np.sqrt(((found - exact) ** 2).mean()))

    reference = {n: error(DDIMSampler, timesteps(RELEASED, n)) for n in (25, 50)}
    ours = {n: error(DPMSolver, timesteps(RELEASED, n, "blended")) for n in (8, 12, 16)}
    leading = {n: error(DPMSolver, timesteps(RELEASED, n)) for n in (8, 12, 16)}
    assert ours[16] < reference[50] and ours[12] < reference[25]
    assert leading[16] > reference[50] and leading[12] > reference[25]
    assert all(ours[n] < 0.7 * leading[n] for n in ours)
