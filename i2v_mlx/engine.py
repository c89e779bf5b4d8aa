"""A request becomes a file: check, load, encode, denoise, decode, write. The command line and the worker run this."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from . import device, eight_bit, hub, images, memory, presets, recipe, video
from .errors import I2VError
from .events import Accepted, Done, Event, Frame, Stage, Step
from .i2vgen_xl.inputs import Inputs
from .i2vgen_xl.pipeline import I2VGenXLPipeline
from .request import Request

PLAYBACK_FPS = 8.0            # as the original writes its videos, whatever target_fps is
OWN_SIZE_MODELS = ("demo",)   # asked for no size, these make their own; the released model makes 1280x704


class Engine:
    """Runs requests one after the other.

    Between them a model stays open, what its encoders said last is kept, and the UNet stays loaded where there is
    memory for it beside the VAE.
    """

    def __init__(self) -> None:
        self._pipeline: tuple[tuple[str, str], I2VGenXLPipeline] | None = None

    def open(self, model: str, fidelity: str = "diffusers") -> I2VGenXLPipeline:
        """The pipeline for a model that is on this machine. Fetches nothing. Raises I2VError ``model_*``."""
        key = (model, fidelity)
        if self._pipeline is None or self._pipeline[0] != key:
            self._pipeline = None
            folder = hub.resolve(model, download=False)
            self._pipeline = key, I2VGenXLPipeline.from_pretrained(folder, fidelity=fidelity)
        return self._pipeline[1]

    def own_size(self, model: str) -> tuple[int, int]:
        """(width, height) for a request that names none."""
        if model not in OWN_SIZE_MODELS:
            return Request.width, Request.height
        pipeline = self.open(model)
        side = pipeline.unet_config.sample_size * pipeline.latent_size
        return side, side

    def preset(self, model: str, name: str) -> presets.Preset:
        """The model's preset of that name. Raises I2VError ``model_*``, ``presets_invalid``."""
        whole = hub.repository(model) if hub.is_eight_bit(model) else model  # the copy may not have been made
        own = presets.presets(self.open(whole).folder.path)
        return next(preset for preset in own if preset.name == name)

    def run(
        self, request: Request, output: str | Path, playback_fps: float = PLAYBACK_FPS,
        decode_chunk_size: int | None = 1, resume: Step | None = None,
    ) -> Generator[Event, None, None]:  # fmt: skip
        """Yields what happens; the last event is Done, and then `output` is there. To stop iterating is to cancel.

        Everything is checked before anything heavy. After an error or a cancel there is no file.

        Args:
            output: its suffix says what it becomes, see `video.open_writer`.
            decode_chunk_size: frames that are decoded before they are written; no effect on the result.
            resume: a step of an earlier run of the same request to carry on from.

        Raises:
            I2VError: naming what is wrong and what to do.
        """
        started = time.perf_counter()
        request.validate()
        video.check_target(output, playback_fps)
        picture = images.load(request.image)
        if request.crop is not None:
            picture = images.crop(picture, request.crop)
        yield Stage("load")
        if hub.is_eight_bit(request.model):
            yield from eight_bit.make(request.model)
        pipeline = self.open(request.model, request.fidelity)
        inputs = _inputs(pipeline, request, picture, decode_chunk_size)
        peak = memory.check(pipeline, request.width, request.height, request.num_frames)
        preset = presets.named(request, pipeline.folder.path)
        pipeline.networks.staying = {"unet"} if memory.unet_may_stay(pipeline, request.width, request.height) else set()
        pipeline.networks.release()
        made = recipe.make(request, _identity(pipeline), playback_fps, preset)
        text = recipe.to_json(made)
        yield Accepted(request.to_dict(), peak)

        mx.reset_peak_memory()
        try:
            yield from self._produce(pipeline, inputs, request, Path(output), playback_fps, text, resume)
        except (RuntimeError, MemoryError) as error:  # what MLX raises when the GPU or its memory gives up
            raise I2VError("device_failed", f"The {device.name()} gave up: {str(error)[:300]}",
                           "Try a smaller size or fewer frames, and close other programs.") from error
        yield Done(str(output), time.perf_counter() - started, mx.get_peak_memory(), made)

    def _produce(
        self, pipeline: I2VGenXLPipeline, inputs: Inputs, request: Request, output: Path, playback_fps: float,
        recipe_json: str, resume: Step | None,
    ) -> Iterator[Event]:  # fmt: skip
        """Frames go into the file as they are decoded; the file gets its name when the block around it ends well."""
        with ExitStack() as open_files:
            writer = None
            for event in pipeline.run(inputs, resume=resume):
                yield event
                if isinstance(event, Frame):
                    if writer is None:
                        size = request.width, request.height
                        writer = open_files.enter_context(video.open_writer(output, *size, playback_fps, recipe_json))
                    writer.write(to_uint8(event.pixels))
            yield Stage("write")


def to_uint8(pixels: Any) -> np.ndarray:
    """Floats in [0, 1] -> uint8, rounded."""
    return (np.asarray(pixels) * 255).round().astype(np.uint8)


def takes(request: Request, count: int) -> list[Request]:
    """The request `count` times, each with the next seed."""
    return [replace(request, seed=(request.seed + i) % 2**32) for i in range(count)]


def _identity(pipeline: I2VGenXLPipeline) -> dict[str, Any]:
    """Which weights made a video, for its recipe."""
    return {"fingerprint": pipeline.folder.fingerprint(), "dtype": str(pipeline.dtype).removeprefix("mlx.core."),
            "bits": pipeline.folder.bits}


def _inputs(pipeline: I2VGenXLPipeline, request: Request, picture: Any, decode_chunk_size: int | None) -> Inputs:
    return pipeline.check_inputs(
        prompt=request.prompt, image=picture, height=request.height, width=request.width,
        target_fps=request.target_fps, num_frames=request.num_frames,
        num_inference_steps=request.num_inference_steps, guidance_scale=request.guidance_scale,
        negative_prompt=request.negative_prompt, eta=request.eta, num_videos_per_prompt=1,
        decode_chunk_size=decode_chunk_size, generator=request.seed, latents=None, prompt_embeds=None,
        negative_prompt_embeds=None, clip_skip=request.clip_skip, sampling=request.sampling,
    )  # fmt: skip
