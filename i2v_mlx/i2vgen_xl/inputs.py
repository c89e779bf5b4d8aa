"""The arguments of a call, checked before anything heavy happens and brought into one form."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from PIL import Image

from .. import images
from ..errors import I2VError
from ..request import (
    CLIP_SKIP_RANGE,
    FPS_RANGE,
    GUIDANCE_RANGE,
    SEED_LIMIT,
    Sampling,
    check_frames,
    check_number,
    check_size,
    check_steps,
)

Array = mx.array | np.ndarray
Picture = str | Path | Image.Image | np.ndarray
OUTPUT_TYPES = ("pil", "np", "mx", "latent")


@dataclass(frozen=True)
class Prompts:
    """P texts, or the embeddings (P, 77, D) that were given instead; the same for what to be led away from."""

    positive: list[str] | Array
    negative: list[str] | Array

    @property
    def count(self) -> int:
        """P"""
        return len(self.positive)

    @property
    def texts(self) -> list[str]:
        """What of it is text."""
        return [text for side in (self.positive, self.negative) if isinstance(side, list) for text in side]


@dataclass(frozen=True)
class Inputs:
    """P prompts with one picture each, `videos` of each: B = P * videos, all videos of a prompt next to each other.

    Attributes:
        images: P pictures, RGB.
        seeds: one for all videos, or a list with one for each.
        latents: (B, 4, F, h, w) to start from instead of noise.
    """

    prompts: Prompts
    images: list[Image.Image]
    height: int
    width: int
    target_fps: int
    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    eta: float
    videos: int
    decode_chunk_size: int | None
    seeds: int | list[int]
    latents: Array | None
    clip_skip: int | None
    sampling: Sampling

    @property
    def guided(self) -> bool:
        return self.guidance_scale > 1

    @property
    def count(self) -> int:
        """B"""
        return len(self.images) * self.videos


def check(
    *, prompt: Any, image: Any, height: int, width: int, target_fps: int, num_frames: int, num_inference_steps: int,
    guidance_scale: float, negative_prompt: Any, eta: float, num_videos_per_prompt: int,
    decode_chunk_size: int | None, generator: Any, latents: Array | None, prompt_embeds: Array | None,
    negative_prompt_embeds: Array | None, clip_skip: int | None, sampling: Sampling, latent_size: int,
    text_shape: tuple[int, int],
) -> Inputs:  # fmt: skip
    """The arguments of `I2VGenXLPipeline.__call__` as `Inputs`.

    Args:
        latent_size: pixels to a latent.
        text_shape: (77, D) of a prompt's embeddings.

    Raises:
        I2VError: naming the argument that is wrong and what to give instead.
    """
    check_size(width, height)
    check_frames(num_frames)
    check_steps(num_inference_steps)
    check_number("target_fps", target_fps, *FPS_RANGE)
    check_number("guidance_scale", guidance_scale, *GUIDANCE_RANGE)
    check_number("eta", eta, 0.0, 1.0)
    sampling.validate(num_inference_steps, eta)
    check_number("num_videos_per_prompt", num_videos_per_prompt, 1, 64)
    if decode_chunk_size is not None:
        check_number("decode_chunk_size", decode_chunk_size, 1, 10_000)
    if clip_skip is not None:
        check_number("clip_skip", clip_skip, *CLIP_SKIP_RANGE)

    prompts = check_prompts(prompt, negative_prompt, prompt_embeds, negative_prompt_embeds, text_shape)
    P = prompts.count

    pictures = [images.load(picture) for picture in _pictures(image)]
    if len(pictures) == 1:
        pictures *= P
    if len(pictures) != P:
        raise _lengths("image", len(pictures), P)

    B = P * num_videos_per_prompt
    if latents is not None:
        shape = (B, 4, num_frames, height // latent_size, width // latent_size)
        if not hasattr(latents, "shape") or tuple(latents.shape) != shape:
            raise I2VError("latents_shape", f"The latents are {_shape(latents)}, not {shape}.",
                           "Give (videos, 4, frames, height, width) of latents, or none.")
    return Inputs(
        prompts, pictures, height, width, target_fps, num_frames, num_inference_steps, float(guidance_scale),
        float(eta), num_videos_per_prompt, decode_chunk_size, _seeds(generator, B), latents, clip_skip,
        sampling,
    )  # fmt: skip


def check_prompts(
    prompt: Any, negative_prompt: Any, prompt_embeds: Any, negative_prompt_embeds: Any, text_shape: tuple[int, int]
) -> Prompts:
    """One of prompt and prompt_embeds, at most one of the negative two, as many of these as of those."""
    if (prompt is None) == (prompt_embeds is None):
        both = "both" if prompt is not None else "neither"
        raise I2VError("prompt_or_embeds", f"There is {both} of prompt and prompt_embeds.", "Give one of the two.")
    if negative_prompt is not None and negative_prompt_embeds is not None:
        raise I2VError("prompt_or_embeds", "There are both negative_prompt and negative_prompt_embeds.",
                       "Give one of the two.")
    positive = texts("prompt", prompt) if prompt_embeds is None else prompt_embeds
    if prompt_embeds is not None:
        check_embeds("prompt_embeds", prompt_embeds, text_shape)
    P = len(positive)
    if negative_prompt_embeds is None:
        negative = texts("negative_prompt", "" if negative_prompt is None else negative_prompt)
        negative = negative * P if len(negative) == 1 else negative
        name = "negative_prompt"
    else:
        check_embeds("negative_prompt_embeds", negative_prompt_embeds, text_shape)
        negative, name = negative_prompt_embeds, "negative_prompt_embeds"
    if len(negative) != P:
        raise _lengths(name, len(negative), P)
    return Prompts(positive, negative)


def check_output_type(output_type: str) -> None:
    if output_type not in OUTPUT_TYPES:
        raise I2VError("output_type_unknown", f"There is no output_type {output_type!r}.",
                       f"Use one of {', '.join(OUTPUT_TYPES)}.")


def texts(name: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if not texts or not all(isinstance(text, str) for text in texts):
        raise I2VError(f"{name}_type", f"{name} is a {type(value).__name__}.", "Give a text or a list of texts.")
    return texts


def _pictures(image: Any) -> list[Picture]:
    pictures = list(image) if isinstance(image, list | tuple) else [image]
    if image is None or not pictures:
        raise I2VError("image_missing", "There is no picture.", "Give image: a path, a PIL image or an array.")
    for picture in pictures:
        if not isinstance(picture, str | Path | Image.Image | np.ndarray):
            raise I2VError("image_type", f"A picture is a {type(picture).__name__}.",
                           "Give a path, a PIL image or a numpy array.")
    return pictures


def check_embeds(name: str, embeds: Any, text_shape: tuple[int, int]) -> None:
    """Raises I2VError unless `embeds` is a finite array (P, 77, D) of floats."""
    advice = f"Give a numpy or MLX array (prompts, {text_shape[0]}, {text_shape[1]}), as encode_prompt returns it."
    if not isinstance(embeds, mx.array | np.ndarray) or embeds.ndim != 3 or tuple(embeds.shape[1:]) != text_shape \
            or embeds.shape[0] == 0:
        raise I2VError("embeds_shape", f"{name} is {_shape(embeds)}.", advice)
    floats = np.issubdtype(embeds.dtype, np.floating) if isinstance(embeds, np.ndarray) else \
        mx.issubdtype(embeds.dtype, mx.floating)
    if not floats or not mx.isfinite(mx.array(embeds)).all().item():
        raise I2VError("embeds_not_finite", f"{name} holds values that are not finite numbers.", advice)


def _seeds(generator: Any, B: int) -> int | list[int]:
    if generator is None:
        return secrets.randbelow(SEED_LIMIT)
    if not isinstance(generator, list | tuple):
        return _seed(generator)
    if len(generator) != B:
        raise _lengths("generator", len(generator), B)
    return [_seed(one) for one in generator]


def _seed(generator: Any) -> int:
    if isinstance(generator, int | np.integer) and not isinstance(generator, bool):
        return int(generator)
    if hasattr(generator, "initial_seed"):  # a torch.Generator of a diffusers script
        return int(generator.initial_seed())
    raise I2VError("generator_type", f"generator is a {type(generator).__name__}.", "Give a whole number, the seed.")


def _lengths(name: str, given: int, wanted: int) -> I2VError:
    what = "videos" if name == "generator" else "prompts"
    return I2VError("lengths_differ", f"{name} has {given} entries for {wanted} {what}.",
                    "Give one for all, or one for each." if name != "generator" else "Give one seed, or one for each.")


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if hasattr(value, "shape") else f"a {type(value).__name__}"
