"""Estimates: a table at first, then what this machine did."""

import dataclasses

import pytest

from gui import quantities, work
from gui.estimate import Estimator
from i2v_mlx import chips
from i2v_mlx.request import Request

BIG = Request(width=1280, height=704)
SMALL = Request(width=448, height=256)


@pytest.fixture
def estimator(tmp_path):
    return Estimator(tmp_path / "estimates.json")


@pytest.mark.parametrize(("chip", "request_", "step"), [
    ("Apple M1", BIG, 87), ("Apple M2 Pro", BIG, 34), ("Apple M4 Max", BIG, 12.5), ("Apple M1", SMALL, 8.5),
    ("Apple M1 Max", SMALL, 2.2),
])
def test_the_first_guess_is_that_of_the_table(estimator, chip, request_, step):
    estimator.device = chip
    assert estimator.estimate(request_).seconds / request_.num_inference_steps == pytest.approx(step, rel=0.2)
    assert "first guess" in str(estimator.estimate(request_))


@pytest.mark.parametrize(("width", "height", "pooled"), [
    (448, 256, False), (704, 448, True), (1280, 704, False), (1280, 704, True)])
def test_the_table_agrees_with_what_the_engine_counts(estimator, width, height, pooled):
    """Arithmetic in the network's own graph, and the arrays that the engine expects to be in memory."""
    from i2v_mlx import cost, memory
    from i2v_mlx.i2vgen_xl.config import UNetConfig
    from i2v_mlx.parts.vae import VAEConfig

    request = Request(width=width, height=height, key_pooling=pooled)
    shared, alone = cost.unet_costs(UNetConfig(), 16, height // 8, width // 8, pooled)
    both = (shared + alone * 2).total.executed / (shared + alone).total.executed
    assert pytest.approx(both, abs=0.05) == work.BOTH
    estimator.device = "Apple M1"
    counted = (shared + alone).total.executed / (chips.find("M1").tflops * 1e12)
    assert estimator._evaluation(request) == pytest.approx(counted, rel=0.15)
    for device, kind, item in (("Apple M1", "gpu", 2), ("CPU (x86_64)", "cpu", 4)):
        estimator.device = device
        denoise = 1.42e9 * item + memory.unet_bytes(UNetConfig(), 16, height // 8, width // 8, item, kind)
        expected = max(denoise, memory.vae_bytes(VAEConfig(), width, height, kind))
        assert estimator.estimate(request).memory_bytes == pytest.approx(expected, rel=0.2)


def test_work_is_counted_in_evaluations(estimator):
    """Half of the steps with both branches of guidance and half with one are three quarters of the work."""
    thinned = dataclasses.replace(SMALL, num_inference_steps=16, guidance_refresh=999)
    assert sorted(work.of_steps(thinned)) == [1.0] * 7 + [work.BOTH] * 9
    assert work.of_steps(dataclasses.replace(thinned, guidance_scale=1.0)) == [1.0] * 16
    estimator.learn(thinned, [2 * part for part in work.of_steps(thinned)], 4.0, 0)
    whole = dataclasses.replace(thinned, guidance_refresh=1)
    assert estimator.estimate(thinned).seconds == pytest.approx(2 * (9 * work.BOTH + 7) + 4.0, rel=0.01)
    assert estimator.estimate(whole).seconds == pytest.approx(2 * 16 * work.BOTH + 4.0, rel=0.01)


def test_more_is_never_quicker(estimator):
    seconds = [estimator.estimate(dataclasses.replace(SMALL, **more)).seconds for more in (
        {}, {"num_frames": 24}, {"num_frames": 24, "width": 640}, {"num_frames": 24, "width": 640, "height": 640})]
    assert seconds == sorted(seconds) and len(set(seconds)) == 4


def test_one_run_is_enough_and_an_outlier_does_no_harm(estimator, tmp_path):
    four = dataclasses.replace(SMALL, num_inference_steps=4)
    for _ in range(3):
        estimator.learn(four, [9.0, 1.0, 1.0, 1.0], 4.0, 2 * 10**9)
    estimator.learn(four, [50.0] * 4, 100.0, 0)                     # the lid was closed
    again = Estimator(tmp_path / "estimates.json").estimate(four)
    assert again.learned and again.seconds == pytest.approx(4 * 1.0 + 4.0, rel=0.01)
    assert again.memory_bytes == pytest.approx(2e9, rel=0.01)
    assert str(again) == "about 8 s, 2.0 GB"


def test_runs_of_about_this_size_count_more(estimator):
    estimator.learn(SMALL, [1.0] * 50, 4.0, 0)
    estimator.learn(SMALL, [1.0] * 50, 4.0, 0)
    estimator.learn(BIG, [200.0] * 50, 4.0, 0)
    assert estimator.estimate(BIG).seconds == pytest.approx(50 * 200, rel=0.05)
    assert estimator.estimate(SMALL).seconds == pytest.approx(50 * 1.0, rel=0.2)


def test_models_do_not_mix(estimator):
    estimator.learn(dataclasses.replace(SMALL, model="demo"), [0.1] * 50, 1.0, 0)
    assert not estimator.estimate(SMALL).learned


def test_what_does_not_fit_comes_with_what_does(estimator):
    estimator.memory_bytes = 5_300_000_000                          # an 8 GB Mac
    estimate = estimator.estimate(BIG)
    assert not estimate.fits and str(estimate).startswith("needs 9.3 GB, more")
    assert 1 <= len(estimate.alternatives) <= 3
    for sentence, smaller in estimate.alternatives:
        assert estimator.estimate(smaller).fits and any(c.isdigit() for c in sentence)
        smaller = dataclasses.replace(smaller, image="a.png")
        smaller.validate()
    assert estimator.estimate(SMALL).fits and estimator.estimate(SMALL).alternatives == ()
    estimator.memory_bytes = 1000
    assert estimator.estimate(SMALL).alternatives == ()


@pytest.mark.parametrize(("seconds", "text"), [
    (0.2, "1 s"), (7.4, "7 s"), (42, "40 s"), (59, "1 min"), (185, "3 min"), (3599, "1 h"), (4800, "1 h 20 min"),
])
def test_durations(seconds, text):
    assert quantities.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [
    (10, "1 kB"), (2.5e6, "2 MB"), (999e6, "1.0 GB"), (6.84e9, "6.8 GB"), (16e9, "16 GB"),
])
def test_sizes(count, text):
    assert quantities.size(count) == text
