"""What a clip's folder holds. Slow: for threads."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from i2v_mlx import frames, recipe
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

SHOWN_BYTES = 200 * 2**20      # of frames held to be played
THUMBNAIL_SIDE = 256           # pixels


@dataclass(frozen=True)
class Contents:
    """Attributes:
        frames: (F, H, W, 3) uint8; if all of them would take more than SHOWN_BYTES, reduced by a whole factor.
        fps: frame rate of the clip.
        recipe: as it is in the files; None if there is none.
        request: of the recipe; its picture is a name without a folder.
        thumbnail: PNG.
    """

    folder: Path
    frames: np.ndarray
    fps: float
    recipe: dict[str, Any]
    request: Request
    thumbnail: bytes
    created: float


def read(folder: Path) -> Contents:
    """Raises I2VError ``video_...`` or ``recipe_...`` if it is not a clip of ours."""
    found = frames.read_recipe(folder)
    if found is None:
        raise I2VError("recipe_missing", f"There are no settings in {folder.name}.", "It may be from another program.")
    pixels, fps = frames.read_frames(folder)
    return Contents(folder, _shown(pixels), fps, found, Request.from_dict(found["request"]), _thumbnail(pixels[0]),
                    folder.stat().st_mtime)


def recipe_json(contents: Contents) -> str:
    return recipe.to_json(contents.recipe)


def _shown(pixels: np.ndarray) -> np.ndarray:
    factor = math.ceil(math.sqrt(pixels.nbytes / SHOWN_BYTES))
    if factor <= 1:
        return pixels
    return np.stack([np.asarray(Image.fromarray(frame).reduce(factor)) for frame in pixels])


def _thumbnail(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
