"""I2VGen-XL (arXiv 2311.04145) in MLX: a picture and a prompt become a video.

    from i2v_mlx import I2VGenXLPipeline, export_to_video
    pipe = I2VGenXLPipeline.from_pretrained("demo")
    frames = pipe("pan left", image, height=..., width=...).frames[0]
"""

from __future__ import annotations

import importlib
from typing import Any

from . import openblas

__version__ = "0.1.0"

openblas.load()  # before anything imports mlx

# Names are looked up when they are used: the app shares request and events without importing mlx.
_PUBLIC = {
    "I2VGenXLPipeline": "i2vgen_xl.pipeline",
    "I2VGenXLPipelineOutput": "i2vgen_xl.pipeline",
    "I2VError": "errors",
    "Request": "request",
    "export_to_gif": "video",
    "export_to_video": "video",
    "convert_weights": "convert",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
