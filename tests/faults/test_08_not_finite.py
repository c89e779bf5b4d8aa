"""Numbers that are none: the run stops at that step, says what happened, and leaves no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driver import Place, copy_model
from safetensors.numpy import load_file, save_file

from i2v_mlx import checkpoint
from i2v_mlx.events import Done, Frame, Step

UNET, VAE = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
TEXT, IMAGE = "text_encoder/model.safetensors", "image_encoder/model.safetensors"


def spoilt(folder: Path, file: str, change: Callable[[dict[str, np.ndarray]], None]) -> str:
    """A copy of the demo model with other weights."""
    model = copy_model(folder)
    tensors = load_file(model / file)
    change(tensors)
    save_file(tensors, model / file)
    return str(model)


def large(name: str, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    """Numbers that float32 holds, and whose sums it does not."""
    def change(tensors: dict[str, np.ndarray]) -> None:
        key = next(key for key in tensors if key.endswith(name))
        tensors[key] = np.full(tensors[key].shape, value, np.float32)

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("file", [UNET, VAE, TEXT, IMAGE])
def test_weights(place, tmp_path, file, value):
    """Refused when they are loaded, by the name of the tensor."""
    def plant(tensors: dict[str, np.ndarray]) -> None:
        tensors[sorted(tensors)[3]].flat[0] = value

    failed = place.worker().fails(place.request(model=spoilt(tmp_path / "model", file, plant)), "a")
    assert failed.code == "weights_not_finite" and "tensor" in failed.message and failed.checkpoint is None
    place.check(next_run=file == UNET)


@pytest.mark.parametrize("value", [3e38, -3e38])
def test_latents_that_overflow_at_the_first_step(place, tmp_path, value):
    model = spoilt(tmp_path / "model", UNET, large("conv_out.weight", value))
    worker = place.worker()
    worker.generate(place.request(model=model), "a")
    events = worker.follow("a")
    assert events[-1].code == "latents_not_finite" and "step 1" in events[-1].message and "doctor" in events[-1].hint
    assert not any(isinstance(event, Step) for event in events) and events[-1].checkpoint is None
    place.check()


def test_latents_that_are_flat(place, tmp_path):
    """A GPU that fails may answer zeros: carried on from zeros, a network of zeros stays there."""
    def silence(tensors: dict[str, np.ndarray]) -> None:
        for name in ("conv_out.weight", "conv_out.bias"):
            tensors[name] = np.zeros_like(tensors[name])

    model = spoilt(tmp_path / "model", UNET, silence)
    request = place.request(model=model)
    checkpoint.save(place.out / "a.safetensors", request, Step(1, 3, latents=np.zeros((1, 4, 2, *_latents(place)),
                                                                                     np.float32)))
    worker = place.worker()
    worker.resume("a")
    events = worker.follow("a")
    assert events[-1].code == "latents_not_finite"
    assert "constant" in events[-1].message and "step 2" in events[-1].message
    place.check(kept=["a.safetensors"])


def _latents(place: Place) -> tuple[int, int]:
    """Height and width of the latents of a request."""
    worker = place.worker()
    assert isinstance(worker.run(place.request(), "size"), Done)
    place.remove("clip")
    preview = next(event.preview for _, event in worker.said if isinstance(event, Step))
    worker.close()
    return preview["height"], preview["width"]


def test_frames_that_overflow(place, tmp_path):
    """The VAE's fault shows after the last step: it is named so, and the steps are not lost."""
    model = spoilt(tmp_path / "model", VAE, large("decoder.conv_out.weight", 3e38))
    worker = place.worker()
    worker.generate(place.request(model=model), "a")
    events = worker.follow("a")
    assert events[-1].code == "frames_not_finite" and "frame 1" in events[-1].message
    assert not any(isinstance(event, Frame) for event in events) and events[-1].checkpoint
    place.check(kept=["a.safetensors"])


@pytest.mark.parametrize("file", [TEXT, IMAGE])
def test_conditions_that_overflow(place, tmp_path, file):
    """What an encoder gets wrong is seen at the first step at the latest."""
    name = "final_layer_norm.weight" if file == TEXT else "visual_projection.weight"
    model = spoilt(tmp_path / "model", file, large(name, 3e38))
    failed = place.worker().fails(place.request(model=model), "a")
    assert failed.code == "latents_not_finite" and "step 1" in failed.message
    place.check(next_run=False)


def test_a_checkpoint_of_nothing(place):
    """What is carried on has to be numbers, too."""
    latents = np.full((1, 4, 2, 8, 8), np.nan, np.float32)
    checkpoint.save(place.out / "a.safetensors", place.request(), Step(1, 3, latents=latents))
    worker = place.worker()
    worker.resume("a")
    assert worker.follow("a")[-1].code == "checkpoint_damaged"
    place.check(kept=["a.safetensors"], next_run=False)
