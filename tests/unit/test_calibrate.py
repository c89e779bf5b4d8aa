"""Calibration: steps where the prediction turns, and a file that the presets read."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest

from i2v_mlx import I2VGenXLPipeline, calibrate, presets
from i2v_mlx.cli import main
from i2v_mlx.parts.ddim import DDIM, DDIMConfig
from i2v_mlx.parts.time_grid import timesteps
from i2v_mlx.presets import Preset
from i2v_mlx.request import Request, listed_weights

RELEASED = DDIM(DDIMConfig())
GRID = RELEASED.timesteps(50)


def predictions(speed) -> np.ndarray:
    """A run whose prediction changes by speed(t) between neighbouring timesteps."""
    way = np.concatenate([[0.0], np.cumsum([speed(t) for t in GRID[1:]])])
    return way[:, None] * np.ones(3)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_an_even_turn_gives_even_steps(power):
    found = calibrate.turning(RELEASED, [predictions(lambda t: 1.0)], 8, power)
    assert found == [981, 841, 701, 561, 421, 281, 141, 1]


def test_steps_are_where_it_turns():
    late = [predictions(lambda t: 10.0 if t < 200 else 1.0)]
    found = calibrate.turning(RELEASED, late, 16, 1.0)
    assert (found[0], found[-1], len(found)) == (981, 1, 16)
    assert sum(t < 200 for t in found) >= 9
    evened = calibrate.turning(RELEASED, late, 16, 0.5)
    assert 16 * 0.2 < sum(t < 200 for t in evened) < sum(t < 200 for t in found)


def test_a_prediction_that_stands_still_still_has_steps():
    found = calibrate.turning(RELEASED, [predictions(lambda t: 1.0 if t < 100 else 0.0)], 12, 1.0)
    assert len(found) == 12 and all(a > b for a, b in pairwise(found))


def test_runs_count_alike_however_large():
    quiet, loud = predictions(lambda t: 1.0), 1000 * predictions(lambda t: 10.0 if t < 200 else 1.0)
    together = calibrate.turning(RELEASED, [quiet, loud], 16, 1.0)
    alone = calibrate.turning(RELEASED, [loud], 16, 1.0)
    assert sum(t < 200 for t in together) < sum(t < 200 for t in alone)


@pytest.mark.parametrize(("name", "most"), [("draft", 13), ("balanced", 27)])
def test_patterns_keep_to_the_budget(name, most):
    for steps, refresh in calibrate.PATTERNS[name]:
        preset = calibrate._preset(name, timesteps(RELEASED, steps, "blended"), refresh)
        preset.validate()
        both, single = presets.evaluations(preset.apply(Request(image="any")))
        assert 2 * both + single <= most


def test_what_was_fitted_is_what_a_run_makes(tiny_model, monkeypatch):
    """The weights are found with the same steps, history and thinning that a run has later."""
    monkeypatch.setattr(calibrate, "EXAMPLES", calibrate.EXAMPLES[:2])
    pipeline = I2VGenXLPipeline.from_pretrained(tiny_model[1], keep_loaded=True)
    calibration = calibrate.Calibration(pipeline, 32, 32, 3)
    grid = ",".join(map(str, timesteps(pipeline.scheduler, 6, "nested")))
    plain = Preset("draft", 6, "forecast", grid, guidance_refresh=3)
    fitted, error = calibration.fitted(plain)
    assert [len(step) for step in listed_weights(fitted.weights)] == [2, 3, 4, 5, 5, 5]
    fitted.validate()

    def off(preset) -> np.ndarray:
        errors = np.zeros(2)
        for example, trace in zip(calibrate.EXAMPLES, calibration.traces, strict=True):
            *_, last = calibration._steps(example, trace.start, preset)
            away = calibrate._channels_last(last.latents) - trace.latents[-1]
            errors += (away**2).sum(), (np.diff(away, axis=0) ** 2).sum()
        return errors

    assert off(fitted).prod() == pytest.approx(error, rel=1e-3)
    assert (off(fitted) < off(plain)).all()


def test_the_command_writes_what_presets_read(tiny_model, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model[1], folder)
    monkeypatch.setattr(calibrate, "EXAMPLES", calibrate.EXAMPLES[:1])
    monkeypatch.setattr(calibrate, "BLENDS", (0.7,))
    monkeypatch.setattr(calibrate, "TURNS", (1.0,))
    monkeypatch.setattr(calibrate, "PATTERNS", {"draft": ((2, 1),), "balanced": ((3, 1), (3, 2))})
    assert main(["calibrate", "--model", str(folder), "--size", "32x32", "--frames", "2"]) == 0
    assert "draft: 4 evaluations" in capsys.readouterr().out
    draft, balanced, best = presets.presets(folder)
    assert (draft.num_inference_steps, balanced.num_inference_steps) == (2, 3)
    assert best == presets.PRESETS[2]
    assert json.loads((folder / presets.FILE).read_text())["made"]["frames"] == 2
