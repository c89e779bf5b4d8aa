"""The three buttons, Draft, Balanced and Best: the engine's presets, and the size at which a model begins."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from i2v_mlx import presets as engine
from i2v_mlx.errors import I2VError
from i2v_mlx.files import resource
from i2v_mlx.presets import Preset
from i2v_mlx.request import Request

BALANCED = 1                   # its place
_FIRST_SIZES = {"demo": (96, 96)}
_FIRST_SIZE = (704, 448)       # what a small Mac makes in minutes; the released model can do 1280 x 704
_FRAMES = 16


@lru_cache(maxsize=8)
def presets(model: str) -> tuple[Preset, ...]:
    """Draft, Balanced, Best for a model, in this order. They say how much work goes into a video, and not its size: so
    a draft is a draft of the same video."""
    folder = resource("demo") if model == "demo" else Path(model)
    try:
        return engine.presets(folder if folder.is_dir() else None)
    except I2VError:
        return engine.PRESETS          # the model's own are damaged; the engine says so where it matters


def label(preset: Preset) -> str:
    """As it stands on the button."""
    return preset.name.capitalize()


def first(model: str) -> Request:
    """What a model begins with: its usual size, balanced."""
    width, height = _FIRST_SIZES.get(model, _FIRST_SIZE)
    return presets(model)[BALANCED].apply(Request(model=model, width=width, height=height, num_frames=_FRAMES))
