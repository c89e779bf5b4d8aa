"""The settings of the last time, for the next start."""

from __future__ import annotations

from pathlib import Path

from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import state_file
from .presets import first

FIRST_MODEL = "demo"           # the bundled one


def load(file: Path, model: str) -> Request:
    """What `save` has written; at the first start the Balanced preset of `model`, or of the bundled model.

    A damaged file is set aside.
    """
    try:
        values = state_file.read(file)
        if values is not None:
            return Request.from_dict(values)
    except (ValueError, I2VError):
        state_file.set_aside(file)
    return first(model or FIRST_MODEL)


def save(file: Path, request: Request) -> None:
    """Raises I2VError ``disk_full`` or ``output_unwritable``."""
    state_file.write(file, request.to_dict())
