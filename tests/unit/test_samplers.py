"""The samplers against diffusers' schedulers on the same grid, and against a problem whose answer is known."""

from __future__ import annotations

import math
from itertools import pairwise

import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler
from known_score import Mixture, sampled

from i2v_mlx.parts.ddim import DDIM, DDIMConfig, DDIMSampler
from i2v_mlx.parts.dpm_solver import DPMSolver
from i2v_mlx.parts.euler import Euler
from i2v_mlx.parts.schedule import Level, levels
from i2v_mlx.parts.time_grid import timesteps
from i2v_mlx.parts.unipc import UniPC

SAMPLERS = (DDIMSampler, Euler, DPMSolver, UniPC)
SECOND_ORDER = (DPMSolver, UniPC)
SHAPE = (1, 2, 3, 4, 4)
RELEASED = {
    "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
}  # fmt: skip


def normal(seed: int, shape=SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def run(sampler, x: np.ndarray, steps, before=None) -> list[np.ndarray]:
    """x after every step, from predictions that are random but the same for everybody."""
    x_t, all_x = mx.array(x), []
    for i in steps:
        x_t, _ = sampler.step(mx.array(normal(100 + i)), x_t, i)
        all_x.append(np.array(x_t))
    return all_x


# ---------------------------------------------------------------- live against diffusers


def theirs_on(scheduler, grid: list[int]):
    """Their scheduler on our grid. One of the three takes no grid, and all work out log-SNR in single precision, which
    is wrong by more than 1e-5 where steps are short: so the sigmas are set, in double. The latents stay float32."""
    scheduler.set_timesteps(len(grid))
    a = scheduler.alphas_cumprod.numpy()[grid].astype(np.float64)
    scheduler.sigmas = torch.tensor(np.append(((1 - a) / a) ** 0.5, 0))
    scheduler.timesteps = torch.tensor(grid, dtype=torch.float32 if isinstance(scheduler, EulerDiscreteScheduler)
                                       else torch.int64)
    return scheduler


def theirs_run(scheduler, x: np.ndarray) -> list[np.ndarray]:
    sigmas = scheduler.sigmas.numpy()
    scaled = isinstance(scheduler, EulerDiscreteScheduler)     # its x is x / alpha
    x_t, all_x = torch.tensor(x), []
    if scaled:
        x_t = x_t * math.sqrt(1 + sigmas[0] ** 2)
    for i, t in enumerate(scheduler.timesteps):
        if scaled:
            scheduler.scale_model_input(x_t, t)
        x_t = scheduler.step(torch.tensor(normal(100 + i)), t, x_t).prev_sample
        all_x.append(x_t.numpy() / math.sqrt(1 + sigmas[i + 1] ** 2) if scaled else x_t.numpy())
    return all_x


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("grid", ["leading", "trailing", "blended"])
@pytest.mark.parametrize("zero_snr", [True, False])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(DPMSolver, DPMSolverMultistepScheduler), (UniPC, UniPCMultistepScheduler), (Euler, EulerDiscreteScheduler),
     (DDIMSampler, EulerDiscreteScheduler)],
)  # fmt: skip
def test_every_step_is_that_of_diffusers(ours, theirs, zero_snr, grid):
    config = {**RELEASED, "rescale_betas_zero_snr": zero_snr}
    schedule = DDIM(DDIMConfig(**config))
    for steps in (1, 2, 3, 8, 16, 20, 50):
        scheduler = theirs_on(theirs(**config), timesteps(schedule, steps, grid))
        # They put 2^-24 where no signal is left; the sampler itself is compared here, so we do too.
        schedule.alpha_bar = scheduler.alphas_cumprod.numpy()
        sampler = ours(schedule, scheduler.timesteps.long().tolist())
        expected = theirs_run(scheduler, normal(0))
        for i, (one, other) in enumerate(zip(run(sampler, normal(0), range(steps)), expected, strict=True)):
            error = np.abs(one - other).max() / other.std()
            lost = 2**-22 * float(scheduler.sigmas[0]) if theirs is EulerDiscreteScheduler else 0   # of x / alpha
            assert error < max(1e-5, lost), (steps, i, error)


# ---------------------------------------------------------------- a known score


@pytest.fixture(scope="module")
def fine():
    """A schedule with so many timesteps that grids are not rounded."""
    return DDIM(DDIMConfig(num_train_timesteps=10_000))


def grid_errors(sampler, schedule, mixture, counts) -> list[float]:
    """RMS distance to the exact solution at the end of grids of equal steps, from t = 0.9 to 0.1."""
    x = np.random.default_rng(1).normal(size=(64, 8))
    first, last = levels(schedule, [9000, 1000])[:2]
    exact = mixture.exact(x, first.log_snr, last.log_snr)
    errors = []
    for steps in counts:
        grid = [round(t) for t in np.linspace(9000, 1000, steps + 1)]
        found = sampled(mixture, schedule, grid, sampler(schedule, grid), x, steps)   # without the step to no noise
        errors.append(float(np.sqrt(((found - exact) ** 2).mean())))
    return errors


@pytest.mark.parametrize(("sampler", "order"), [(DDIMSampler, 1), (Euler, 1), (DPMSolver, 2), (UniPC, 3)])
def test_order_of_convergence(fine, sampler, order):
    """Half the step divides the error by 2^order. UniC-2 makes of a predictor of order 2 a method of order 3."""
    errors = grid_errors(sampler, fine, Mixture(), (40, 80, 160))
    measured = [math.log2(before / after) for before, after in pairwise(errors)]
    assert all(order - 0.25 < rate < order + 0.25 for rate in measured), (errors, measured)


def test_second_order_is_closer_at_equal_work(fine):
    first, second, corrected = (grid_errors(s, fine, Mixture(), (20,))[0] for s in (DDIMSampler, DPMSolver, UniPC))
    assert second < first / 3 and corrected < first / 3


# ---------------------------------------------------------------- the ends of the schedule


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_start_without_signal_is_finite(sampler, steps):
    schedule = DDIM(DDIMConfig())
    grid = timesteps(schedule, steps, "trailing")
    assert schedule.alpha_bar[grid[0]] == 0
    x_T = normal(0)
    all_x = run(sampler(schedule, grid), x_T, range(steps))
    assert all(np.isfinite(x).all() and x.std() > 0.1 for x in all_x)
    after = levels(schedule, grid)[1]
    assert np.abs(all_x[0] - (after.alpha * -normal(100) + after.sigma * x_T)).max() < 1e-5   # x_0 = -v there


def test_levels():
    schedule = DDIM(DDIMConfig())
    none, some, all_ = levels(schedule, [999, 500])
    assert (none.alpha, none.sigma, none.log_snr) == (0, 1, -math.inf)
    assert (all_.alpha, all_.sigma, all_.log_snr) == (1, 0, math.inf)
    assert some.log_snr == pytest.approx(math.log(some.alpha / some.sigma)) and some == Level.at(some.alpha**2)


@pytest.mark.parametrize("grid", ["model", "trailing", "blended"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_constant_x_0_is_reached_exactly(sampler, grid):
    """All of them integrate the linear part of the ODE exactly, whatever the grid."""
    schedule = DDIM(DDIMConfig())
    chosen = timesteps(schedule, 10, grid)
    at = levels(schedule, chosen)
    x_0, epsilon = mx.array(normal(1)), mx.array(normal(2))
    x_t = at[0].alpha * x_0 + at[0].sigma * epsilon
    made = sampler(schedule, chosen)
    for i in range(10):
        x_t, found = made.step(at[i].alpha * epsilon - at[i].sigma * x_0, x_t, i)
        assert np.abs(np.array(found - x_0)).max() < 1e-5
    assert np.abs(np.array(x_t - x_0)).max() < 1e-5


@pytest.mark.parametrize("sampler", [Euler, *SECOND_ORDER])
def test_models_that_predict_noise(sampler):
    """The same run, told in epsilon instead of v."""
    in_v = DDIM(DDIMConfig())
    in_epsilon = DDIM(DDIMConfig(prediction_type="epsilon"))
    grid = timesteps(in_v, 8, "blended")
    one, other, x, y = sampler(in_v, grid), sampler(in_epsilon, grid), mx.array(normal(0)), mx.array(normal(0))
    for i, at in enumerate(levels(in_v, grid)[:-1]):
        v = mx.array(normal(100 + i))
        x, _ = one.step(v, x, i)
        y, _ = other.step(at.alpha * v + at.sigma * y, y, i)
        y = x if i == 0 else y    # at the start noise says nothing about x_0: float32 over alpha = 0.03
        assert np.abs(np.array(x - y)).max() < 1e-3


def test_clipping_is_heeded():
    schedule = DDIM(DDIMConfig(clip_sample=True, clip_sample_range=0.5))
    for sampler in SAMPLERS:
        _, x_0 = sampler(schedule, [500, 200]).step(mx.array(normal(1)), mx.array(normal(2)), 0)
        assert np.abs(np.array(x_0)).max() == 0.5


# ---------------------------------------------------------------- DDIM on a grid


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_on_the_models_grid_ddim_is_the_reference_bit_by_bit(spacing, eta):
    ddim = DDIM(DDIMConfig(timestep_spacing=spacing))
    for steps in (1, 7, 30, 50):
        grid = ddim.timesteps(steps)
        sampler = DDIMSampler(ddim, grid, eta)
        x = y = mx.array(normal(0))
        for i, t in enumerate(grid):
            v, noise = mx.array(normal(100 + i)), mx.array(normal(200 + i))
            x, _ = sampler.step(v, x, i, noise)
            y, _ = ddim.step(v, y, t, steps, eta, noise)
            assert np.array_equal(np.array(x), np.array(y)), (steps, t)


def test_euler_is_ddim_without_noise():
    schedule = DDIM(DDIMConfig())
    grid = timesteps(schedule, 12, "blended")
    for one, other in zip(*(run(s(schedule, grid), normal(0), range(12)) for s in (Euler, DDIMSampler)), strict=True):
        assert np.abs(one - other).max() / other.std() < 2e-6


# ---------------------------------------------------------------- carrying on


@pytest.mark.parametrize("done", [1, 2, 5, 7])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_with_its_history_a_run_carries_on_bit_by_bit(sampler, done):
    schedule = DDIM(DDIMConfig())
    grid = timesteps(schedule, 8, "blended")
    whole = run(sampler(schedule, grid), normal(0), range(8))

    first = sampler(schedule, grid)
    half = run(first, normal(0), range(done))
    second = sampler(schedule, grid)
    second.history = {name: mx.array(np.array(array)) for name, array in first.history.items()}
    rest = run(second, half[-1], range(done, 8))
    assert all(np.array_equal(one, other) for one, other in zip(half + rest, whole, strict=True))
    assert (sampler in SECOND_ORDER) == bool(first.history)


@pytest.mark.parametrize("sampler", SECOND_ORDER)
def test_without_its_history_the_next_step_is_of_first_order(sampler):
    schedule = DDIM(DDIMConfig())
    grid = timesteps(schedule, 8, "blended")
    x = normal(0)
    anew = run(sampler(schedule, grid), x, [4])[0]
    assert np.array_equal(anew, run(Euler(schedule, grid), x, [4])[0])
