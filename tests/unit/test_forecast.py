"""Forecast: DDIM's own steps, of which few ask the network."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from known_score import Mixture, sampled

from i2v_mlx.parts.ddim import DDIM, DDIMConfig, DDIMSampler
from i2v_mlx.parts.dpm_solver import DPMSolver
from i2v_mlx.parts.forecast import BEFORE, Forecast, fit
from i2v_mlx.parts.schedule import Level, exact_parts, levels
from i2v_mlx.parts.time_grid import timesteps

RELEASED = DDIM(DDIMConfig())
REFERENCE = RELEASED.timesteps(50)


def final(sampler, grid: list[int], mixture: Mixture) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(64, 8))
    return sampled(mixture, RELEASED, grid, sampler, x, len(grid))


def test_asked_everywhere_it_is_ddim():
    mixture = Mixture()
    ours = final(Forecast(RELEASED, REFERENCE, REFERENCE), REFERENCE, mixture)
    theirs = final(DDIMSampler(RELEASED, REFERENCE, 0.0), REFERENCE, mixture)
    assert np.abs(ours - theirs).max() < 1e-5


def test_a_step_is_all_steps_between_with_the_forecast_in_each():
    grid = [981, 801, 401, 1]
    sampler = Forecast(RELEASED, grid, REFERENCE)
    normal = np.random.default_rng(0).normal
    x, before = normal(size=(2, 3)), None
    at = levels(RELEASED, grid)
    for i, t in enumerate(grid):
        v = normal(size=(2, 3))
        got, clean = sampler.step(mx.array(v, mx.float32), mx.array(x, mx.float32), i)
        x_0 = at[i].alpha * x - at[i].sigma * v
        assert np.abs(np.array(clean) - x_0).max() < 1e-5
        passed = [at[i]]
        passed += [Level.at(float(RELEASED.alpha_bar[s])) for s in REFERENCE if [*grid, -1][i + 1] < s < t]
        for now, after in zip(passed, [*passed[1:], at[i + 1]], strict=True):
            way = 0.0 if before is None else (now.log_snr - at[i].log_snr) / (at[i].log_snr - at[i - 1].log_snr)
            keep, add = exact_parts(now, after)
            x = keep * x + add * (x_0 + way * (x_0 - before if before is not None else 0))
        assert np.abs(np.array(got) - x).max() < 1e-4
        before, x = x_0, np.array(got, np.float64)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_it_comes_closer_to_the_reference_than_a_solver_of_the_exact_problem(seed):
    mixture = Mixture(seed)
    reference = final(DDIMSampler(RELEASED, REFERENCE, 0.0), REFERENCE, mixture)

    def error(sampler, grid):
        return float(np.sqrt(((final(sampler(grid), grid, mixture) - reference) ** 2).mean()))

    errors = [error(lambda grid: Forecast(RELEASED, grid, REFERENCE), timesteps(RELEASED, n, "nested"))
              for n in (8, 16, 26)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < error(lambda grid: DPMSolver(RELEASED, grid), timesteps(RELEASED, 16, "blended"))
    assert errors[1] < error(lambda grid: DDIMSampler(RELEASED, grid, 0.0), timesteps(RELEASED, 25))


WEIGHTS = [[0.5, 0.4], [0.3, 0.8, -0.1], [0.2, 0.7, 0.2, -0.1], [0.1, 0.6, 0.3, 0.2, -0.2], [0.0, 1.1, 0.1, -0.1, 0.05]]
FIVE = [981, 801, 601, 201, 1]


def test_with_weights_a_step_is_their_sum():
    sampler = Forecast(RELEASED, FIVE, REFERENCE, WEIGHTS)
    normal = np.random.default_rng(0).normal
    x, said = normal(size=(2, 3)), []
    for i, weights in enumerate(WEIGHTS):
        v = normal(size=(2, 3))
        got, clean = sampler.step(mx.array(v, mx.float32), mx.array(x, mx.float32), i)
        said.insert(0, np.array(clean, np.float64))
        x = sum(weight * array for weight, array in zip(weights, [x, *said], strict=False))
        assert np.abs(np.array(got) - x).max() < 1e-5
        assert set(sampler.history) == set(BEFORE[: i + 1])


def test_with_weights_and_history_a_run_carries_on_bit_by_bit():
    first = Forecast(RELEASED, FIVE, REFERENCE, WEIGHTS)
    x = mx.random.normal((2, 3), key=mx.random.key(0))
    for i in range(3):
        x, _ = first.step(mx.sin((i + 1) * x), x, i)
    second = Forecast(RELEASED, FIVE, REFERENCE, WEIGHTS)
    second.history = {name: mx.array(np.array(array)) for name, array in first.history.items()}
    assert np.array_equal(*(np.array(sampler.step(mx.cos(x), x, 3)[0]) for sampler in (first, second)))


def test_with_weights_but_without_history_a_step_goes_by_the_line():
    fitted, plain = Forecast(RELEASED, FIVE, REFERENCE, WEIGHTS), Forecast(RELEASED, FIVE, REFERENCE)
    x = mx.random.normal((2, 3), key=mx.random.key(0))
    assert np.array_equal(*(np.array(sampler.step(mx.cos(x), x, 3)[0]) for sampler in (fitted, plain)))


def test_fit_finds_the_weights():
    normal = np.random.default_rng(0).normal
    videos = [[normal(size=(3, 2, 2, 4)) for _ in range(4)] for _ in range(2)]
    wanted = [0.3, 0.9, -0.25, 0.05]
    targets = [sum(weight * array for weight, array in zip(wanted, video, strict=True)) for video in videos]
    assert np.abs(np.array(fit(videos, targets)) - wanted).max() < 1e-9


def test_fit_weighs_motion_as_much_as_the_picture():
    still = np.ones((2, 1, 1, 1))
    moving = np.array([-0.5, 0.5]).reshape(2, 1, 1, 1)
    # One array alone: of `target` its still half would ask for nothing, its moving half for everything.
    target = np.array([-0.5, 0.5]).reshape(2, 1, 1, 1)
    (weight,) = fit([[still + moving]], [target])
    # rows: (0.5, 1.5) -> (-0.5, 0.5), and the difference 1 -> 1
    assert weight == pytest.approx((0.5 * -0.5 + 1.5 * 0.5 + 1) / (0.25 + 2.25 + 1))


def test_a_start_without_signal():
    grid = timesteps(RELEASED, 8, "trailing")
    assert np.isfinite(final(Forecast(RELEASED, grid, REFERENCE), grid, Mixture())).all()


@pytest.mark.parametrize(("steps", "expected"), [
    (1, [981]), (2, [981, 1]), (8, [981, 921, 781, 521, 241, 101, 21, 1]),
    (13, [981, 941, 901, 821, 721, 541, 381, 221, 141, 81, 41, 21, 1]), (50, REFERENCE),
])  # fmt: skip
def test_nested_grids(steps, expected):
    assert timesteps(RELEASED, steps, "nested") == expected


def test_nested_grids_are_part_of_the_reference():
    for steps in range(1, 51):
        grid = timesteps(RELEASED, steps, "nested")
        assert len(grid) == steps and set(grid) <= set(REFERENCE) and grid == sorted(grid, reverse=True)
