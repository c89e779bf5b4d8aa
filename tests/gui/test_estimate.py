"""Estimates: a table at first, then what this machine did."""

import dataclasses

import pytest

from gui import quantities
from gui.estimate import Estimator
from i2v_mlx.request import Request

BIG = Request(width=1280, height=704)
SMALL = Request(width=448, height=256)


@pytest.fixture
def estimator(tmp_path):
    return Estimator(tmp_path / "estimates.json")


@pytest.mark.parametrize(("chip", "request_", "step"), [
    ("Apple M1", BIG, 100), ("Apple M2 Pro", BIG, 39), ("Apple M4 Max", BIG, 14), ("Apple M1", SMALL, 9),
    ("Apple M1 Max", SMALL, 2.3),
])
def test_the_first_guess_is_that_of_the_table(estimator, chip, request_, step):
    estimator.device = chip
    assert estimator.estimate(request_).seconds / request_.num_inference_steps == pytest.approx(step, rel=0.2)
    assert "first guess" in str(estimator.estimate(request_))


def test_more_is_never_quicker(estimator):
    seconds = [estimator.estimate(dataclasses.replace(SMALL, **more)).seconds for more in (
        {}, {"num_frames": 24}, {"num_frames": 24, "width": 640}, {"num_frames": 24, "width": 640, "height": 640})]
    assert seconds == sorted(seconds) and len(set(seconds)) == 4


def test_one_run_is_enough_and_an_outlier_does_no_harm(estimator, tmp_path):
    for _ in range(3):
        estimator.learn(SMALL, [9.0, 1.0, 1.0, 1.0], 4.0, 2 * 10**9)
    estimator.learn(SMALL, [50.0] * 4, 100.0, 0)                    # the lid was closed
    again = Estimator(tmp_path / "estimates.json").estimate(dataclasses.replace(SMALL, num_inference_steps=4))
    assert again.learned and again.seconds == pytest.approx(4 * 1.0 + 4.0, rel=0.01)
    assert again.memory_bytes == pytest.approx(2e9, rel=0.01)
    assert str(again) == "about 8 s, 2.0 GB"


def test_runs_of_about_this_size_count_more(estimator):
    estimator.learn(SMALL, [1.0], 4.0, 0)
    estimator.learn(SMALL, [1.0], 4.0, 0)
    estimator.learn(BIG, [200.0], 4.0, 0)
    assert estimator.estimate(BIG).seconds == pytest.approx(50 * 200, rel=0.05)
    assert estimator.estimate(SMALL).seconds == pytest.approx(50 * 1.0, rel=0.2)


def test_models_do_not_mix(estimator):
    estimator.learn(dataclasses.replace(SMALL, model="demo"), [0.1], 1.0, 0)
    assert not estimator.estimate(SMALL).learned


def test_what_does_not_fit_comes_with_what_does(estimator):
    estimator.memory_bytes = 5_300_000_000                          # an 8 GB Mac
    estimate = estimator.estimate(BIG)
    assert not estimate.fits and str(estimate).startswith("needs 6.1 GB, more")
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
