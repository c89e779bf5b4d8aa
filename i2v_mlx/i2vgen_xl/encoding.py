"""What the encoders say about prompt and picture, and what the network is told of it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np

from ..errors import I2VError
from ..parts.clip_vision import CLIPVisionConfig
from ..parts.noise import NoiseSource
from .sampling import Guidance
from .unet import I2VGenXLUNet


@dataclass(frozen=True)
class Encoded:
    """P prompts, each with its picture.

    Attributes:
        text, negative_text: (P, 77, D); negative_text is None without guidance.
        image_embeddings: (P, D) from CLIP, not normalised.
        mean, std: (P, h, w, 4), the VAE's posterior of each picture.
    """

    text: mx.array
    negative_text: mx.array | None
    image_embeddings: mx.array
    mean: mx.array
    std: mx.array

    def image_latents(self, noise: NoiseSource, videos: int) -> mx.array:
        """(P * videos, h, w, 4), samples of the posterior. With a shared stream the videos of a picture have one sample
        between them, as in the reference."""
        P, h, w, C = self.mean.shape
        mean, std = self.mean, self.std
        if noise.shared:
            epsilon = mx.array(noise.draw((C, h, w), P)).transpose(0, 2, 3, 1)
            return mx.repeat(mean + std * epsilon, videos, axis=0)
        epsilon = mx.array(noise.draw((C, h, w))).transpose(0, 2, 3, 1)
        return mx.repeat(mean, videos, axis=0) + mx.repeat(std, videos, axis=0) * epsilon

    def guidance(
        self, unet: I2VGenXLUNet, p: int, image_latents: mx.array, scale: float, image_gain: float
    ) -> Guidance:
        """The conditions of a video of prompt p. Both branches see the picture's latents (1, F, h, w, 4); only the
        positive one its CLIP vector, the other has zeros."""
        here = slice(p, p + 1)
        embeddings = self.image_embeddings[here]
        positive = unet.condition(self.text[here], embeddings, image_latents, image_gain)
        negative = None
        if self.negative_text is not None and scale > 1:
            negative = unet.condition(self.negative_text[here], mx.zeros_like(embeddings), image_latents, image_gain)
        mx.eval([conditioning.arrays() for conditioning in (positive, negative) if conditioning])
        return Guidance(positive, negative, scale)


class Memory:
    """What the encoders said last, by what they were asked: another take of a prompt and picture needs none of them."""

    SIZE = 16    # a megabyte or two in all

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[Any, ...], list[mx.array]] = OrderedDict()

    def recall(self, key: tuple[Any, ...], encode: Callable[[], list[mx.array]]) -> list[mx.array]:
        """The answer to `key`, which has to say everything that matters; `encode` is run where it is not known."""
        if key not in self._answers:
            answer = encode()
            mx.eval(answer)
            self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self.SIZE:
            self._answers.popitem(last=False)
        return self._answers[key]


def digest(array: np.ndarray) -> str:
    """Of shape and content."""
    return hashlib.sha256(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def with_ramp(z_0: mx.array, frames: int) -> mx.array:
    """(B, h, w, 4) -> (B, F, h, w, 4): the picture's latents, then for frame i the constant i / (F - 1)."""
    B, h, w, C = z_0.shape
    if frames == 1:
        return z_0[:, None]
    ramp = mx.arange(1, frames, dtype=mx.float32) / (frames - 1)
    constant = mx.broadcast_to(ramp[:, None, None, None], (B, frames - 1, h, w, C))
    return mx.concatenate([z_0[:, None], constant], axis=1)


def clip_pixels_config(extractor: dict[str, Any], image_encoder: dict[str, Any]) -> dict[str, Any]:
    """Of preprocessor_config.json what CLIP's pixels need: size, which has to be the encoder's, mean and deviation."""
    try:
        crop = extractor["crop_size"]
        size = crop["width"] if isinstance(crop, dict) else crop
        mean, std = ([float(value) for value in extractor[name]] for name in ("image_mean", "image_std"))
        if not isinstance(size, int) or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError("impossible values")
        if size != CLIPVisionConfig.from_dict(image_encoder).image_size:
            raise ValueError(f"crop_size is {size}, but the image encoder takes another size")
    except (KeyError, TypeError, ValueError) as error:
        raise I2VError("config_invalid", f"The preprocessor_config.json cannot be used: {error}.") from error
    return {"image_size": size, "mean": mean, "std": std}
