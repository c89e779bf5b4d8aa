"""Presets: what they cost, how they are named, and what a model's own file may say."""

from __future__ import annotations

import dataclasses
import json

import pytest

from i2v_mlx import presets
from i2v_mlx.errors import I2VError
from i2v_mlx.presets import PRESETS
from i2v_mlx.request import Request

REQUEST = Request(image="cat.png")


@pytest.mark.parametrize(("index", "evaluations"), [(0, 13), (1, 26), (2, 100)])
def test_evaluations(index, evaluations):
    both, single = presets.evaluations(PRESETS[index].apply(REQUEST))
    assert 2 * both + single == evaluations


def test_without_guidance_there_is_one_branch():
    assert presets.evaluations(dataclasses.replace(REQUEST, guidance_scale=1.0)) == (0, 50)


def test_best_is_the_default():
    assert PRESETS[2].apply(REQUEST) == REQUEST
    assert presets.named(REQUEST) == "best"


@pytest.mark.parametrize("preset", PRESETS, ids=presets.NAMES)
def test_a_request_is_named_while_it_follows(preset):
    request = preset.apply(REQUEST)
    request.validate()
    assert presets.named(request) == preset.name
    assert presets.named(dataclasses.replace(request, seed=5, prompt="other")) == preset.name
    assert presets.named(dataclasses.replace(request, num_inference_steps=17)) is None


def test_a_models_own(tmp_path):
    grid = "981,900,700,500,300,100,50,1"
    (tmp_path / presets.FILE).write_text(json.dumps({"draft": {"grid": grid, "guidance_refresh": 5}}))
    draft, balanced, best = presets.presets(tmp_path)
    assert (draft.grid, draft.guidance_refresh, draft.num_inference_steps) == (grid, 5, 8)
    assert (balanced, best) == PRESETS[1:]
    assert presets.named(draft.apply(REQUEST), tmp_path) == "draft"
    assert presets.named(draft.apply(REQUEST)) is None


@pytest.mark.parametrize("text", [
    "", "[]", "no", '{"draft": 5}', '{"draft": {"sampler": "best"}}', '{"draft": {"steps": 5}}',
    '{"draft": {"name": "x"}}', '{"draft": {"grid": "981,1"}}', '{"draft": {"num_inference_steps": 0}}',
    '{"draft": {"seed": 5}}', "[" * 100_000, '{"draft": {"key_pooling": 1}}', " " * 70_000,
])  # fmt: skip
def test_damaged_files_are_refused(tmp_path, text):
    (tmp_path / presets.FILE).write_text(text)
    with pytest.raises(I2VError) as caught:
        presets.presets(tmp_path)
    assert caught.value.code == "presets_invalid" and presets.FILE in caught.value.message
