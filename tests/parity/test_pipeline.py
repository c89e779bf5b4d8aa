"""The whole pipeline against diffusers', from the same seed, nothing passed between them: 1e-3 on the frames."""

import numpy as np
import pytest
import torch
from tiny import build, seeded, sound_picture

from i2v_mlx import I2VGenXLPipeline

FRAMES = 1e-3
SEED = 7
CALL = {"height": 48, "width": 64, "num_frames": 3, "num_inference_steps": 4, "guidance_scale": 9.0}


@pytest.fixture(scope="module")
def pipes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    theirs = build(folder)
    return theirs, I2VGenXLPipeline.from_pretrained(folder)


def both(pipes, prompt="a cat runs in the sea", image=None, **call):
    """(ours, theirs): frames (B, F, H, W, 3), or latents (B, 4, F, h, w)."""
    theirs, ours = pipes
    call = {**CALL, **call}
    image = image or sound_picture(call["width"], call["height"])
    torch_call = {
        name: torch.tensor(value) if isinstance(value, np.ndarray) else value for name, value in call.items()
    }
    output_type = call.pop("output_type", "np")
    torch_call["output_type"] = output_type
    seeded(SEED)
    expected = theirs(prompt, image, **torch_call).frames
    result = ours(prompt, image, generator=SEED, output_type=output_type, **call).frames
    return np.asarray(result), np.asarray(expected)


def assert_same(pipes, *args, bound=FRAMES, **call):
    ours, theirs = both(pipes, *args, **call)
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all() and theirs.std() > 0.01
    assert np.abs(ours - theirs).max() < bound, f"differs by {np.abs(ours - theirs).max():.2e}"
    return ours


@pytest.mark.parametrize(
    "call",
    [
        {},
        {"guidance_scale": 1.0},
        {"height": 40, "width": 56},
        {"height": 72, "width": 40},
        {"num_frames": 1},
        {"num_videos_per_prompt": 2},
        {"eta": 0.7},
        {"eta": 0.7, "num_videos_per_prompt": 2},
        {"clip_skip": None},
        {"clip_skip": 1},
        {"clip_skip": 2},
        {"target_fps": 8},
        {"negative_prompt": "blurry still"},
        {"prompt": "very long " * 100},
        {"prompt": "\N{CAT FACE} caf\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"decode_chunk_size": None},
        {"decode_chunk_size": 2},
        {"cross_attention_kwargs": {"scale": 0.5}},
        {"num_inference_steps": 1},
        {"num_inference_steps": 7},
    ],
    ids=lambda call: " ".join(f"{name}={str(value)[:12]}" for name, value in call.items()) or "default",
)
def test_call(pipes, call):
    assert_same(pipes, **call)


def test_several_prompts(pipes):
    pictures = [sound_picture(64, 48, seed) for seed in (1, 2)]
    assert_same(pipes, ["a cat", "the sea"], pictures, negative_prompt=["blurry", "still"])


def test_latents_as_output(pipes):
    ours, theirs = both(pipes, output_type="latent")
    assert np.abs(ours - theirs).max() / theirs.std() < FRAMES


def test_given_latents(pipes):
    latents = np.random.default_rng(3).normal(size=(1, 4, 3, 6, 8)).astype(np.float32)
    changed = assert_same(pipes, latents=latents)
    assert np.abs(changed - assert_same(pipes)).max() > 0.01


def test_given_embeddings(pipes):
    draw = np.random.default_rng(3).normal
    embeds = {name: draw(size=(1, 77, 24)).astype(np.float32) for name in ("prompt_embeds", "negative_prompt_embeds")}
    assert_same(pipes, None, **embeds)


def test_encode_prompt(pipes):
    theirs, ours = pipes
    theirs._guidance_scale = 9.0
    expected = theirs.encode_prompt("a cat", "cpu", 2, "blurry", clip_skip=1)
    result = ours.encode_prompt("a cat", 2, "blurry", clip_skip=1)
    for one, other in zip(result, expected, strict=True):
        assert np.abs(np.asarray(one) - other.detach().numpy()).max() < 1e-4


def test_freeu(pipes):
    theirs, ours = pipes
    plain = assert_same(pipes)
    numbers = {"s1": 0.9, "s2": 0.2, "b1": 1.2, "b2": 1.4}
    theirs.enable_freeu(**numbers)
    ours.enable_freeu(**numbers)
    try:
        assert np.abs(assert_same(pipes) - plain).max() > 0.01
    finally:
        theirs.disable_freeu()
        ours.disable_freeu()
    assert np.array_equal(assert_same(pipes), plain)


@pytest.mark.parametrize("feature", ["tiling", "slicing"])
def test_vae_tiling_and_slicing(pipes, feature):
    theirs, ours = pipes
    plain = assert_same(pipes, height=72, width=40)
    getattr(theirs.vae, f"enable_{feature}")()
    getattr(ours, f"enable_vae_{feature}")()
    try:
        changed = assert_same(pipes, height=72, width=40)
    finally:
        getattr(theirs.vae, f"disable_{feature}")()
        getattr(ours, f"disable_vae_{feature}")()
    assert np.array_equal(changed, plain) == (feature == "slicing")
