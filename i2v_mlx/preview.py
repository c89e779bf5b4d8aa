"""Colours from latents by a linear map: pictures of a run while it denoises, for almost nothing."""

from __future__ import annotations

import base64
from typing import Any

import mlx.core as mx
import numpy as np
from PIL import Image

from . import images
from .i2vgen_xl.config import FIDELITIES
from .i2vgen_xl.pipeline import I2VGenXLPipeline

SIDE = 128                     # pixels of the pictures that the map is fitted to
MAX_BYTES = 4 * 2**20          # of all frames; larger ones are thinned out
_UNKNOWN = 1e-3                # directions in which the samples differ less than this, relatively, say nothing


class Colours:
    """The map from latents to colours of one VAE, fitted to a chart of smooth colours and to the run's own picture.

    Four channels and a constant to red, green and blue, by least squares against the mean colour of the pixels behind
    each latent. It needs no table of numbers and suits every VAE, that of the bundled model too.
    """

    def __init__(self, pipeline: I2VGenXLPipeline, picture: Image.Image):
        chart = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
        chart = chart.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = np.concatenate([images.vae_pixels(image, SIDE, SIDE) for image in (chart, picture)])  # (2, S, S, 3)
        mean, _ = pipeline.networks.get("vae").encode(mx.array(pixels))                                # (2, s, s, 4)
        factor = FIDELITIES[pipeline.fidelity].vae_scaling_factor or pipeline.vae_config.scaling_factor
        latents = np.array(mean * factor).reshape(-1, 4)
        pipeline.networks.release("vae")

        n = pipeline.latent_size
        colours = pixels.reshape(2, SIDE // n, n, SIDE // n, n, 3).mean((2, 4)).reshape(-1, 3)
        known = np.concatenate([latents, np.ones((len(latents), 1), latents.dtype)], axis=1)           # (N, 5)
        self.map = np.linalg.lstsq(known, colours, rcond=_UNKNOWN)[0]                                  # (5, 3)

    def encode(self, latents: Any) -> dict[str, Any]:
        """(1, 4, F, h, w) clean latents as `events.Step.preview`."""
        frames = self.frames(latents)
        thin = 1
        while frames[:, ::thin, ::thin].nbytes > MAX_BYTES:
            thin += 1
        frames = np.ascontiguousarray(frames[:, ::thin, ::thin])
        count, height, width, _ = frames.shape
        rgb = base64.b64encode(frames.tobytes()).decode("ascii")
        return {"width": width, "height": height, "frames": count, "rgb": rgb}

    def frames(self, latents: Any) -> np.ndarray:
        """(1, 4, F, h, w) clean latents -> (F, h, w, 3) uint8."""
        z = np.moveaxis(np.asarray(latents)[0], 0, -1)                                                 # (F, h, w, 4)
        colours = z @ self.map[:4] + self.map[4]
        return ((colours / 2 + 0.5) * 255).round().clip(0, 255).astype(np.uint8)

