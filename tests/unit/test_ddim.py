"""The sampler: published numbers of the peer's own tests, the released schedule as numbers, and diffusers step by step.

The published sums are those of diffusers' tests/schedulers/test_scheduler_ddim.py, Apache-2.0.
"""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from i2v_mlx.errors import I2VError
from i2v_mlx.parts.ddim import DDIM, DDIMConfig

PEER = {
    "beta_schedule": "linear", "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "steps_offset": 0,
    "clip_sample": True,
}  # fmt: skip
SPACINGS = ("leading", "trailing", "linspace")
SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")

# The peer's dummies: a ramp as the sample, its reverse as the noise.
RAMP = np.arange(768, dtype=np.float32)
SAMPLE = (RAMP / 768).reshape(3, 8, 8, 4).transpose(3, 0, 1, 2)
NOISE = (RAMP[::-1] / 768).reshape(3, 8, 8, 4).transpose(3, 0, 1, 2)


def peer(**changes) -> DDIM:
    return DDIM(DDIMConfig(**PEER | changes))


def full_loop(ddim: DDIM, steps: int = 10, x: np.ndarray = SAMPLE, start: int = 0) -> np.ndarray:
    x_t = mx.array(x)
    for t in ddim.timesteps(steps)[start:]:
        x_t, _ = ddim.step(x_t * (t / (t + 1)), x_t, t, steps)
    return np.abs(np.array(x_t))


def assert_sum(result: np.ndarray, total: float, mean: float) -> None:
    assert abs(result.sum() - total) < 1e-2
    assert abs(result.mean() - mean) < 1e-3


# ---------------------------------------------------------------- published numbers


def test_steps_offset():
    assert peer(steps_offset=1).timesteps(5) == [801, 601, 401, 201, 1]
    assert peer(steps_offset=0).timesteps(5) == [800, 600, 400, 200, 0]


@pytest.mark.parametrize(
    ("t", "t_prev", "expected"),
    [(0, 0, 0.0), (420, 400, 0.14771), (980, 960, 0.32460), (487, 486, 0.00979), (999, 998, 0.02)],
)
def test_variance(t, t_prev, expected):
    assert abs(peer().variance(t, t_prev) - expected) < 1e-5


@pytest.mark.parametrize(
    ("changes", "total", "mean"),
    [
        ({}, 172.0067, 0.223967),
        ({"clip_sample": False}, 172.0067, 0.223967),
        ({"prediction_type": "v_prediction"}, 52.5302, 0.0684),
        ({"set_alpha_to_one": True, "beta_start": 0.01}, 149.8295, 0.1951),
        ({"set_alpha_to_one": False, "beta_start": 0.01}, 149.0784, 0.1941),
    ],
    ids=["default", "unclipped", "v", "alpha one", "alpha not one"],
)
def test_full_loop(changes, total, mean):
    assert_sum(full_loop(peer(**changes)), total, mean)


def test_full_loop_from_the_eighth_step():
    ddim = peer()
    a = ddim.alpha_bar[ddim.timesteps(10)[8]]
    noised = np.sqrt(a) * SAMPLE + np.sqrt(1 - a) * NOISE
    assert_sum(full_loop(ddim, x=noised, start=8), 354.5418, 0.4616)


# ---------------------------------------------------------------- the released schedule


def test_released_timesteps():
    ddim = DDIM(DDIMConfig())
    assert ddim.timesteps(1) == [1]
    assert ddim.timesteps(2) == [501, 1]
    assert ddim.timesteps(10) == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert ddim.timesteps(50) == list(range(981, 0, -20))
    assert ddim.timesteps(999) == list(range(999, 0, -1))


@pytest.mark.parametrize(
    ("t", "alpha_bar"),
    [
        (0, 0.99995887), (1, 0.999912739), (21, 0.997971177), (101, 0.971052766), (250, 0.84588122),
        (301, 0.784342229), (500, 0.49226505), (501, 0.490706533), (701, 0.200595036), (750, 0.1431556),
        (901, 0.0231324323), (961, 0.00349756121), (981, 0.000784030592), (998, 2.28e-06), (999, 0.0),
    ],
)  # fmt: skip
def test_released_alpha_bar(t, alpha_bar):
    assert DDIM(DDIMConfig()).alpha_bar[t] == pytest.approx(alpha_bar, rel=2e-3 if t == 998 else 1e-6, abs=1e-12)


@pytest.mark.parametrize(("steps", "total", "mean"), [(10, 73.2074, 0.095322), (50, 78.9907, 0.102852)])
def test_released_full_loop(steps, total, mean):
    assert_sum(full_loop(DDIM(DDIMConfig()), steps), total, mean)


def test_a_config_file_that_says_nothing_means_the_references_defaults():
    theirs = DDIMScheduler()
    ours = DDIM(DDIMConfig.from_dict({}))
    assert np.abs(ours.alpha_bar - theirs.alphas_cumprod.numpy()).max() < 1e-7
    for name in ("prediction_type", "clip_sample", "steps_offset", "timestep_spacing", "set_alpha_to_one"):
        assert getattr(ours.config, name) == getattr(theirs.config, name), name


def test_the_files_of_diffusers_are_understood():
    theirs = DDIMScheduler(beta_schedule="scaled_linear", set_alpha_to_one=False, timestep_spacing="trailing")
    ours = DDIMConfig.from_dict(dict(theirs.config))
    assert (ours.beta_schedule, ours.set_alpha_to_one, ours.timestep_spacing) == ("scaled_linear", False, "trailing")


# ---------------------------------------------------------------- live against diffusers


def both(**config) -> tuple[DDIM, DDIMScheduler]:
    return DDIM(DDIMConfig(**config)), DDIMScheduler(**{"beta_start": 1e-4, "beta_end": 0.02, **config})


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("beta_schedule", SCHEDULES)
@pytest.mark.parametrize("T", [1000, 100])
def test_alpha_bar_is_that_of_diffusers(beta_schedule, zero_snr, T):
    ours, theirs = both(beta_schedule=beta_schedule, rescale_betas_zero_snr=zero_snr, num_train_timesteps=T)
    expected = theirs.alphas_cumprod.numpy()
    assert ours.alpha_bar.dtype == np.float32 and ours.alpha_bar.shape == (T,)
    # Torch's square root is not rounded correctly, and the rescaled product of T of them keeps that.
    assert np.abs(ours.alpha_bar - expected).max() < (1e-6 if zero_snr else 1e-7)
    assert (ours.alpha_bar[-1] == 0) == zero_snr


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("offset", [0, 1])
def test_timesteps_are_those_of_diffusers(spacing, offset):
    ours, theirs = both(timestep_spacing=spacing, steps_offset=offset)
    compared = 0
    for steps in range(1, 1000):
        theirs.set_timesteps(steps)
        expected = theirs.timesteps.tolist()
        if len(expected) == steps:  # `trailing` there makes one too many for 62 of these numbers; see below
            assert ours.timesteps(steps) == expected, steps
            compared += 1
    assert compared > 900


@pytest.mark.parametrize("spacing", SPACINGS)
def test_there_are_as_many_timesteps_as_asked_for(spacing):
    ddim = DDIM(DDIMConfig(timestep_spacing=spacing))
    for steps in range(1, 1000):
        timesteps = ddim.timesteps(steps)
        assert len(timesteps) == steps
        assert timesteps == sorted(set(timesteps), reverse=True)
        assert timesteps[-1] >= 0 and timesteps[0] <= 999


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("beta_schedule", SCHEDULES)
def test_every_step_is_that_of_diffusers(beta_schedule, spacing, prediction_type, zero_snr):
    draw = np.random.default_rng(0).standard_normal
    for clip_sample, to_one, offset in ((False, True, 1), (True, False, 0)):
        ours, theirs = both(
            beta_schedule=beta_schedule, timestep_spacing=spacing, prediction_type=prediction_type,
            rescale_betas_zero_snr=zero_snr, clip_sample=clip_sample, set_alpha_to_one=to_one, steps_offset=offset,
            clip_sample_range=1.5,
        )  # fmt: skip
        ours.alpha_bar = theirs.alphas_cumprod.numpy()  # compared above; what is left is the update itself
        ours.final_alpha_bar = float(theirs.final_alpha_cumprod)
        for steps in (1, 9, 50):
            theirs.set_timesteps(steps)
            for t in theirs.timesteps.tolist():
                x_t, prediction, noise = (draw((2, 3, 4, 5), np.float32) for _ in range(3))
                if prediction_type == "epsilon" and ours.alpha_bar[t] == 0:
                    continue  # divides by zero there; refused here, see below
                for eta in (0.0, 0.5, 0.9):
                    expected = theirs.step(
                        torch.tensor(prediction), t, torch.tensor(x_t), eta, variance_noise=torch.tensor(noise)
                    )
                    found = ours.step(mx.array(prediction), mx.array(x_t), t, steps, eta, mx.array(noise))
                    for one, other in zip(found, (expected.prev_sample, expected.pred_original_sample), strict=True):
                        error = np.abs(np.array(one) - other.numpy()).max() / other.numpy().std()
                        assert error < 1e-5, (clip_sample, steps, t, eta, error)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_full_stochasticity_is_finite_at_every_step_count(spacing):
    """eta 1 where no signal is left: all that remains is noise, and 1 - a - sigma^2 is zero but for rounding."""
    ddim = DDIM(DDIMConfig(timestep_spacing=spacing))
    x = mx.array(np.ones((1, 4), np.float32))
    for steps in range(1, 1000):
        t = max(ddim.timesteps(steps))
        x_prev, x_0 = ddim.step(0.5 * x, x, t, steps, 1.0, x)
        assert mx.isfinite(x_prev).all().item() and mx.isfinite(x_0).all().item(), (steps, t)


def test_eta_zero_needs_no_noise_and_the_last_step_adds_none():
    ddim = DDIM(DDIMConfig())
    x = mx.array(SAMPLE)
    still, _ = ddim.step(x, x, 1, 50, 0.0)
    noisy, x_0 = ddim.step(x, x, 1, 50, 1.0, mx.array(NOISE))
    assert np.array_equal(np.array(still), np.array(noisy))
    assert np.array_equal(np.array(still), np.array(x_0))


def test_the_true_noise_leads_straight_back():
    """With the exact v at every step, the result is the clean sample: equation 12 undone."""
    ddim = DDIM(DDIMConfig())
    clean, noise = mx.array(SAMPLE), mx.array(NOISE)
    a = float(ddim.alpha_bar[981])
    x_t = math.sqrt(a) * clean + math.sqrt(1 - a) * noise
    for t in ddim.timesteps(50):
        a = float(ddim.alpha_bar[t])
        x_t, x_0 = ddim.step(math.sqrt(a) * noise - math.sqrt(1 - a) * clean, x_t, t, 50)
        assert np.abs(np.array(x_0) - SAMPLE).max() < 1e-4
    assert np.abs(np.array(x_t) - SAMPLE).max() < 1e-4


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [-1, 0, 1001])
def test_step_counts_that_do_not_fit(spacing, steps):
    with pytest.raises(I2VError) as caught:
        DDIM(DDIMConfig(timestep_spacing=spacing)).timesteps(steps)
    assert caught.value.code == "num_inference_steps_out_of_range"
    assert str(steps) in caught.value.message and caught.value.hint


def test_a_thousand_steps_would_start_beyond_the_schedule():
    with pytest.raises(I2VError):
        DDIM(DDIMConfig(steps_offset=1)).timesteps(1000)
    assert DDIM(DDIMConfig(steps_offset=0)).timesteps(1000)[0] == 999


def test_noise_prediction_without_signal():
    ddim = DDIM(DDIMConfig(prediction_type="epsilon", timestep_spacing="trailing"))
    with pytest.raises(I2VError) as caught:
        ddim.timesteps(10)
    assert caught.value.code == "config_invalid"


@pytest.mark.parametrize(
    "values",
    [
        {"beta_schedule": "sigmoid"}, {"prediction_type": "sample"}, {"timestep_spacing": "karras"},
        {"thresholding": True}, {"trained_betas": [0.1, 0.2]}, {"trained_betas": []},
        {"num_train_timesteps": "1000"}, {"num_train_timesteps": 0}, {"num_train_timesteps": -5},
        {"num_train_timesteps": None}, {"num_train_timesteps": 10**6}, {"beta_start": "low"}, {"beta_end": None},
        {"beta_end": 1.5}, {"beta_start": -0.1}, {"steps_offset": "1"}, {"steps_offset": -1},
        {"beta_schedule": ["linear"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_schedule_that_cannot_be_made(values):
    with pytest.raises(I2VError) as caught:
        DDIM(DDIMConfig.from_dict(values))
    assert caught.value.code == "config_invalid"
    assert next(iter(values)) in caught.value.message
