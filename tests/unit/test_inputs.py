"""Bad arguments of a call: each is named, with what to do about it, before a single network is loaded."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch
from PIL import Image

from i2v_mlx import I2VGenXLPipeline
from i2v_mlx.errors import I2VError
from i2v_mlx.model_folder import ModelFolder

DIMS = 24   # of the tiny model's text states
GOOD = {"height": 32, "width": 48, "num_frames": 2, "num_inference_steps": 2, "generator": 1}
PICTURE = Image.new("RGB", (48, 32), "orange")
HUGE = 10**400


class Loaded(AssertionError):
    """A network was loaded."""


@pytest.fixture
def pipe(tiny_model, monkeypatch):
    """A pipeline that can check but not run."""
    pipe = I2VGenXLPipeline.from_pretrained(tiny_model[1])

    def refuse(*args):
        raise Loaded

    monkeypatch.setattr(ModelFolder, "load_part", refuse)
    return pipe


def refused(pipe, prompt="a cat", image=PICTURE, **call) -> I2VError:
    with pytest.raises(I2VError) as caught:
        pipe(prompt, image, **{**GOOD, **call})
    error = caught.value
    assert error.message.endswith(".") and error.hint, "says neither what is wrong nor what to do"
    assert pipe.networks.loaded == []
    return error


def accepted(pipe, prompt="a cat", image=PICTURE, **call) -> None:
    with pytest.raises(Loaded):
        pipe(prompt, image, **{**GOOD, **call})


def test_good_arguments_get_as_far_as_loading(pipe):
    accepted(pipe)
    accepted(pipe, ["a cat", "the sea"], [PICTURE, PICTURE], negative_prompt=["blurry", "still"], generator=[1, 2])
    accepted(pipe, height=None, width=None, decode_chunk_size=None, clip_skip=None)
    accepted(pipe, ("a cat", "the sea"), num_videos_per_prompt=2, generator=(1, 2, 3, 4))


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("num_frames", 1, 128), ("num_inference_steps", 1, 999), ("target_fps", 1, 120), ("guidance_scale", 0.0, 100.0),
        ("eta", 0.0, 1.0), ("num_videos_per_prompt", 1, 64), ("decode_chunk_size", 1, 10_000), ("width", 16, 4096),
        ("height", 16, 4096), ("clip_skip", 0, None),
    ],
)  # fmt: skip
def test_numbers_out_of_range(pipe, name, low, high):
    accepted(pipe, **{name: low})
    if high is not None and name != "num_videos_per_prompt":
        accepted(pipe, **{name: high})
    step = 8 if name in ("width", "height") else 1 if isinstance(low, int) else 1e-6
    wrong = [low - step, -1000, "5", True, [5], math.nan, math.inf, HUGE, *([] if high is None else [high + step])]
    if isinstance(low, int):
        wrong.append(low + 0.5)
    if name not in ("decode_chunk_size", "clip_skip", "width", "height"):
        wrong.append(None)
    for value in wrong:
        error = refused(pipe, **{name: value})
        assert error.code == f"{name}_out_of_range", value
        assert name in error.message, value


def test_sides(pipe):
    error = refused(pipe, width=36)
    assert error.code == "size_not_multiple_of_8"
    assert "width" in error.message and "36" in error.message and "32" in error.hint
    assert refused(pipe, height=57).code == "size_not_multiple_of_8"


def test_more_layers_skipped_than_there_are(pipe):
    accepted(pipe, clip_skip=3)
    error = refused(pipe, clip_skip=4)
    assert error.code == "clip_skip_out_of_range" and "3" in error.hint


def test_more_steps_than_this_models_schedule_has(tiny_model, tmp_path, pipe):
    folder = copied(tiny_model[1], tmp_path, "scheduler/scheduler_config.json", num_train_timesteps=20)
    short = I2VGenXLPipeline.from_pretrained(folder)
    accepted(short, num_inference_steps=19)
    for steps in (20, 21, 50):
        assert refused(short, num_inference_steps=steps).code == "num_inference_steps_out_of_range"


def test_a_noise_predicting_model_without_signal_at_the_start(tiny_model, tmp_path, pipe):
    changes = {"prediction_type": "epsilon", "timestep_spacing": "trailing"}
    folder = copied(tiny_model[1], tmp_path, "scheduler/scheduler_config.json", **changes)
    with pytest.raises(I2VError) as caught:
        I2VGenXLPipeline.from_pretrained(folder)("a cat", PICTURE, **GOOD)
    assert caught.value.code == "config_invalid"


# ---------------------------------------------------------------- texts and embeddings


def test_both_or_neither_of_prompt_and_embeddings(pipe):
    error = refused(pipe, None)
    assert error.code == "prompt_or_embeds" and "neither" in error.message and "prompt_embeds" in error.message
    error = refused(pipe, "a cat", prompt_embeds=embeds())
    assert error.code == "prompt_or_embeds" and "both" in error.message
    error = refused(pipe, negative_prompt="blurry", negative_prompt_embeds=embeds())
    assert error.code == "prompt_or_embeds" and "negative_prompt_embeds" in error.message


def test_the_empty_prompt_is_a_prompt(pipe):
    accepted(pipe, "")
    accepted(pipe, ["", "  "], negative_prompt="")


@pytest.mark.parametrize("value", [5, b"a cat", {"a": "cat"}, [], [5], ["a", None], {"a"}, True], ids=repr)
def test_texts_of_another_kind(pipe, value):
    assert refused(pipe, value).code == "prompt_type"


@pytest.mark.parametrize("value", [5, b"blurry", [5], ["a", None], [], 0, False], ids=repr)
def test_negative_texts_of_another_kind(pipe, value):
    assert refused(pipe, negative_prompt=value).code in ("negative_prompt_type", "lengths_differ")


def embeds(P=1, L=77, D=DIMS) -> np.ndarray:
    return np.zeros((P, L, D), np.float32)


def test_embeddings(pipe):
    accepted(pipe, None, prompt_embeds=embeds(), negative_prompt_embeds=embeds())
    accepted(pipe, None, prompt_embeds=mx.array(embeds(2)))
    accepted(pipe, negative_prompt_embeds=embeds())


@pytest.mark.parametrize(
    "value",
    [embeds()[0], embeds()[None], embeds().tolist(), embeds(D=DIMS + 1), embeds(D=1024), embeds(P=0), embeds(L=0),
     np.full((1, 77, DIMS), np.nan, np.float32), np.full((1, 77, DIMS), "a")],
    ids=["2d", "4d", "list", "one too wide", "of the real model", "no prompt", "no tokens", "nan", "texts"],
)  # fmt: skip
def test_embeddings_of_another_shape_or_kind(pipe, value):
    error = refused(pipe, None, prompt_embeds=value)
    assert error.code.startswith("embeds_") and "prompt_embeds" in error.message
    error = refused(pipe, negative_prompt_embeds=value)
    assert error.code in ("embeds_shape", "lengths_differ") or error.code.startswith("embeds_")
    assert "negative_prompt_embeds" in error.message


def test_embeddings_that_do_not_fit_each_other(pipe):
    error = refused(pipe, None, prompt_embeds=embeds(), negative_prompt_embeds=embeds(L=70))
    assert error.code == "embeds_shape" and "70" in error.message


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize(
    ("call", "given", "wanted"),
    [
        ({"prompt": ["a", "b"], "image": [PICTURE] * 3}, 3, 2),
        ({"image": [PICTURE] * 2}, 2, 1),
        ({"prompt": ["a", "b", "c"], "negative_prompt": ["d", "e"]}, 2, 3),
        ({"negative_prompt": ["d", "e"]}, 2, 1),
        ({"prompt": ["a", "b"], "generator": [1]}, 1, 2),
        ({"prompt": ["a", "b"], "num_videos_per_prompt": 2, "generator": [1, 2]}, 2, 4),
        ({"generator": []}, 0, 1),
        ({"prompt": ["a", "b"], "negative_prompt_embeds": embeds(3)}, 3, 2),
        ({"prompt": None, "prompt_embeds": embeds(2), "image": [PICTURE] * 3}, 3, 2),
    ],
)
def test_lists_of_different_length(pipe, call, given, wanted):
    error = refused(pipe, **call)
    assert error.code == "lengths_differ"
    assert str(given) in error.message and str(wanted) in error.message


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("value", [None, [], "", ()], ids=repr)
def test_no_picture(pipe, value):
    assert refused(pipe, image=value).code == "image_missing"


@pytest.mark.parametrize("value", [5, b"png", {"path": "a.png"}, [5], [PICTURE, None], torch.zeros(1, 3, 32, 32), True])
def test_what_is_no_picture(pipe, value):
    error = refused(pipe, image=value)
    assert error.code == "image_type" and error.hint


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 2), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), np.zeros((0, 4, 3), np.uint8),
     np.full((32, 32, 3), 255.0), np.full((32, 32, 3), np.nan), np.zeros((32, 32, 3), np.int64),
     np.zeros((32, 32, 3), complex), np.array("a")],
    ids=["2 channels", "a video", "no pixels", "255 in floats", "nan", "int64", "complex", "text"],
)  # fmt: skip
def test_arrays_that_are_no_picture(pipe, array):
    assert refused(pipe, image=array).code == "image_array"


def test_files_that_are_no_picture(pipe, tmp_path):
    def written(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    PICTURE.save(tmp_path / "whole.png")
    noise = Image.frombytes("RGB", (60, 60), random.Random(0).randbytes(10800))
    noise.save(tmp_path / "noise.png")
    whole = (tmp_path / "noise.png").read_bytes()
    for path, code in (
        (tmp_path / "absent.png", "image_not_found"),
        (tmp_path, "image_not_a_file"),
        (written("text.png", b"not a picture"), "image_format"),
        (written("empty.png", b""), "image_format"),
        (written("cut.png", whole[: len(whole) // 2]), "image_unreadable"),
        (written("postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "image_format"),
    ):
        for value in (path, str(path), [path]):
            error = refused(pipe, image=value)
            assert error.code == code, path.name
            assert path.name in error.message
    accepted(pipe, image=tmp_path / "whole.png")
    accepted(pipe, image=str(tmp_path / "whole.png"))


# ---------------------------------------------------------------- the rest


@pytest.mark.parametrize("value", ["pt", "PIL", "", None, 5, ["np"], "mp4"], ids=repr)
def test_output_types(pipe, value):
    error = refused(pipe, output_type=value)
    assert error.code == "output_type_unknown" and repr(value) in error.message
    assert all(name in error.hint for name in ("pil", "np", "mx", "latent"))


@pytest.mark.parametrize("value", [1.5, True, "7", {}, [1.5], [None], object()], ids=str)
def test_seeds_of_another_kind(pipe, value):
    assert refused(pipe, generator=value).code == "generator_type"


def test_seeds(pipe):
    for value in (0, 2**32 - 1, 2**40, np.int64(7), torch.Generator().manual_seed(7), [torch.Generator()], None):
        accepted(pipe, generator=value)


@pytest.mark.parametrize(
    "value",
    [np.zeros((1, 4, 2, 4, 6))[0], np.zeros((1, 4, 3, 4, 6)), np.zeros((2, 4, 2, 4, 6)), np.zeros((1, 4, 2, 6, 4)),
     np.zeros((1, 2, 4, 6, 4)), [[0.0]], 0, "noise"],
    ids=["4d", "frames", "videos", "sides swapped", "channels last", "list", "number", "text"],
)  # fmt: skip
def test_latents_of_another_shape(pipe, value):
    error = refused(pipe, latents=value)
    assert error.code == "latents_shape" and "(1, 4, 2, 4, 6)" in error.message


def test_latents(pipe):
    accepted(pipe, latents=np.zeros((1, 4, 2, 4, 6), np.float32))
    accepted(pipe, latents=mx.zeros((1, 4, 2, 4, 6)))


def test_a_tokenizer_of_another_model_is_noticed_before_loading(tiny_model, tmp_path, pipe):
    """An id past the end of the embedding table reads whatever lies there in memory."""
    shrunk = copied(tiny_model[1], tmp_path, "tokenizer/tokenizer_config.json", model_max_length=50)
    with pytest.raises(I2VError) as caught:
        I2VGenXLPipeline.from_pretrained(shrunk)("a cat", PICTURE, **GOOD)
    assert caught.value.code == "tokenizer_mismatch"


@pytest.mark.parametrize(
    ("prompt", "more", "code"),
    [
        (None, {}, "prompt_or_embeds"),
        ("a cat", {"prompt_embeds": embeds()}, "prompt_or_embeds"),
        ("a cat", {"negative_prompt": ["a", "b"]}, "lengths_differ"),
        (["a", "b", "c"], {"negative_prompt": ["a", "b"]}, "lengths_differ"),
        (5, {}, "prompt_type"),
        ("a cat", {"negative_prompt": 5}, "negative_prompt_type"),
        ("a cat", {"num_videos_per_prompt": 0}, "num_videos_per_prompt_out_of_range"),
        ("a cat", {"clip_skip": 4}, "clip_skip_out_of_range"),
    ],
)
def test_encode_prompt_checks_too(pipe, prompt, more, code):
    with pytest.raises(I2VError) as caught:
        pipe.encode_prompt(prompt, **more)
    assert caught.value.code == code


# ---------------------------------------------------------------- the model's own files


def copied(folder: Path, target: Path, file: str, **changes) -> Path:
    """A copy of the model, in which one JSON file has other values; None takes a value out."""
    target = target / "changed"
    shutil.copytree(folder, target)
    values = {**json.loads((target / file).read_text()), **changes}
    (target / file).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return target


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("feature_extractor/preprocessor_config.json", {"image_mean": None}),
        ("feature_extractor/preprocessor_config.json", {"crop_size": None}),
        ("feature_extractor/preprocessor_config.json", {"crop_size": {"height": 64, "width": 64}}),
        ("feature_extractor/preprocessor_config.json", {"image_std": [0, 0, 0]}),
        ("scheduler/scheduler_config.json", {"beta_schedule": "sigmoid"}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}),
        ("unet/config.json", {"attention_head_dim": 0}),
        ("unet/config.json", {"down_block_types": ["DownBlock3D"]}),
        ("vae/config.json", {"latent_channels": 8}),
        ("vae/config.json", {"scaling_factor": 0}),
        ("text_encoder/config.json", {"num_attention_heads": 5}),
        ("text_encoder/config.json", {"hidden_size": 32}),
    ],
    ids=lambda value: value if isinstance(value, str) else str(next(iter(value.items()))),
)
def test_a_model_that_cannot_work_is_refused_when_it_is_opened(tiny_model, tmp_path, file, changes):
    folder = copied(tiny_model[1], tmp_path, file, **changes)
    with pytest.raises(I2VError) as caught:
        I2VGenXLPipeline.from_pretrained(folder)
    assert caught.value.code in ("config_invalid", "weights_mismatch", "model_incomplete")
    assert caught.value.message.endswith(".")
