"""A checkpoint is whole or is refused."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from i2v_mlx import checkpoint
from i2v_mlx.errors import I2VError
from i2v_mlx.events import Step
from i2v_mlx.request import Request

REQUEST = Request("a.png", "ä \"quoted\"", num_frames=3, num_inference_steps=4, crop=(0.0, 0.1, 1.0, 0.9))
LATENTS = np.random.default_rng(0).normal(size=(1, 4, 3, 6, 8)).astype(np.float32)


def test_it_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "a.safetensors"
    for index in (1, 2):
        checkpoint.save(path, REQUEST, Step(index, 4, latents=index * LATENTS))
    request, step = checkpoint.load(path)
    assert request == REQUEST and (step.index, step.count) == (2, 4)
    assert step.latents.dtype == np.float32 and np.array_equal(step.latents, 2 * LATENTS)
    assert list(tmp_path.iterdir()) == [path]


def test_history_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "a.safetensors"
    history = {name: k * LATENTS.transpose(0, 2, 3, 4, 1) for k, name in enumerate(("x_0", "difference"))}
    checkpoint.save(path, REQUEST, Step(2, 4, latents=LATENTS, history=history))
    _, step = checkpoint.load(path)
    assert np.array_equal(step.latents, LATENTS) and set(step.history) == set(history)
    assert all(np.array_equal(step.history[name], array) for name, array in history.items())


@pytest.mark.parametrize("array", [
    LATENTS, LATENTS[0], LATENTS.transpose(0, 2, 3, 4, 1)[:, :2], LATENTS.transpose(0, 2, 3, 4, 1).astype(np.float16),
    np.full((1, 3, 6, 8, 4), np.inf, np.float32),
], ids=["axes", "videos", "frames", "float16", "infinite"])
def test_history_that_does_not_fit_is_refused(tmp_path, array):
    metadata = {"version": "1", "request": json.dumps(REQUEST.to_dict()), "step": "2"}
    save_file({"latents": LATENTS, "x_0": np.ascontiguousarray(array)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(I2VError) as caught:
        checkpoint.load(tmp_path / "a.safetensors")
    assert caught.value.code == "checkpoint_damaged"


def damaged(path, latents=LATENTS, **changes):
    metadata = {"version": "1", "request": json.dumps(REQUEST.to_dict()), "step": "2"} | changes
    save_file({"latents": latents}, path, {key: value for key, value in metadata.items() if value is not None})


@pytest.mark.parametrize("change", [
    {"version": "2"}, {"version": None}, {"step": "0"}, {"step": "5"}, {"step": "two"}, {"step": None},
    {"request": None}, {"request": "{"}, {"request": '{"dream": 1}'}, {"request": "[]"},
    {"latents": LATENTS[0]}, {"latents": LATENTS[:, :, :2]}, {"latents": LATENTS.astype(np.float64)},
    {"latents": np.full_like(LATENTS, np.nan)},
])
def test_what_does_not_fit_together_is_refused(tmp_path, change):
    path = tmp_path / "a.safetensors"
    damaged(path, **change)
    with pytest.raises(I2VError) as caught:
        checkpoint.load(path)
    assert caught.value.code == "checkpoint_damaged"


@pytest.mark.parametrize("size", [0, 4, 100, 700])
def test_a_truncated_file_is_refused(tmp_path, size):
    path = tmp_path / "a.safetensors"
    damaged(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(I2VError) as caught:
        checkpoint.load(path)
    assert caught.value.code == "checkpoint_damaged"


def test_no_file_and_no_place_for_it(tmp_path):
    with pytest.raises(I2VError) as caught:
        checkpoint.load(tmp_path / "gone.safetensors")
    assert caught.value.code == "checkpoint_not_found"
    with pytest.raises(I2VError) as caught:
        checkpoint.save(tmp_path / "gone" / "a.safetensors", REQUEST, Step(1, 4, latents=LATENTS))
    assert caught.value.code == "output_folder_missing"


def test_the_request_of_a_checkpoint_may_be_any(tmp_path):
    request = dataclasses.replace(REQUEST, prompt="x" * 100_000 + "\0\u2028🦊", eta=0.5)
    checkpoint.save(tmp_path / "a.safetensors", request, Step(1, 4, latents=LATENTS))
    assert checkpoint.load(tmp_path / "a.safetensors")[0] == request
