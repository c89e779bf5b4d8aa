"""A run that was interrupted: the request and the latents after a step, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .errors import I2VError
from .events import Step
from .files import atomic, check_input, output_error
from .request import Request

VERSION = "1"
MAX_BYTES = 2**30


def save(path: Path, request: Request, step: Step) -> None:
    """Replaces `path`, whole or not at all. `step.latents` is (1, 4, F, h, w) float32: under 4 MB at 1280x704.

    Raises:
        I2VError: ``disk_full``, ``output_unwritable``.
    """
    metadata = {"version": VERSION, "request": json.dumps(request.to_dict()), "step": str(step.index)}
    try:
        with atomic(path) as part:
            save_file({"latents": np.ascontiguousarray(step.latents, np.float32)}, part, metadata)
    except SafetensorError as error:               # how its own writer says that the disk is full
        raise output_error(OSError(str(error)), path) from error
    except OSError as error:
        raise output_error(error, path) from error


def load(path: Path) -> tuple[Request, Step]:
    """What `save` has written, checked. Raises I2VError ``checkpoint_...``."""
    check_input(path, "checkpoint", MAX_BYTES)
    try:
        with safe_open(path, "numpy") as file:
            metadata, latents = file.metadata() or {}, file.get_tensor("latents")
        request = Request.from_dict(json.loads(metadata["request"]))
        step = Step(int(metadata["step"]), request.num_inference_steps, latents=latents)
    except (SafetensorError, OSError, KeyError, ValueError, I2VError) as error:
        raise _damaged() from error
    shape_fits = latents.ndim == 5 and latents.shape[:3] == (1, 4, request.num_frames)
    if metadata.get("version") != VERSION or not shape_fits or latents.dtype != np.float32:
        raise _damaged()
    if not 1 <= step.index <= step.count or not np.isfinite(latents).all():
        raise _damaged()
    return request, step


def _damaged() -> I2VError:
    return I2VError("checkpoint_damaged", "The place where the run stopped cannot be read.", "Run it again.")
