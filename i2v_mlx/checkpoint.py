"""A run that was interrupted: the request, and latents and history after a step, in one safetensors file."""

from __future__ import annotations

import json
import re
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
    """Replaces `path`, whole or not at all. `step.latents` is (1, 4, F, h, w) float32, and every array of its
    history is as large: under 4 MB each at 1280x704, and up to four of them for a sampler that looks back.

    Raises:
        I2VError: ``disk_full``, ``output_unwritable``.
    """
    metadata = {"version": VERSION, "request": json.dumps(request.to_dict()), "step": str(step.index)}
    try:
        with atomic(path) as part:
            arrays = {"latents": step.latents, **step.history}
            save_file({name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items()}, part, metadata)
    except SafetensorError as error:               # how its own writer says that the disk is full
        number = re.search(r"\(os error (\d+)\)", str(error))
        raise output_error(OSError(int(number[1]) if number else None, str(error)), path) from error
    except OSError as error:
        raise output_error(error, path) from error


def load(path: Path) -> tuple[Request, Step]:
    """What `save` has written, checked. Raises I2VError ``checkpoint_...``."""
    check_input(path, "checkpoint", MAX_BYTES)
    try:
        with safe_open(path, "numpy") as file:
            metadata, history = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        latents = history.pop("latents")
        request = Request.from_dict(json.loads(metadata["request"]))
        step = Step(int(metadata["step"]), request.num_inference_steps, latents=latents, history=history)
    except (SafetensorError, OSError, KeyError, ValueError, I2VError) as error:
        raise _damaged() from error
    shape_fits = latents.ndim == 5 and latents.shape[:3] == (1, 4, request.num_frames)
    if metadata.get("version") != VERSION or not shape_fits or latents.dtype != np.float32:
        raise _damaged()
    if not 1 <= step.index <= step.count or not np.isfinite(latents).all():
        raise _damaged()
    B, C, F, h, w = latents.shape
    for array in history.values():
        if array.shape != (B, F, h, w, C) or array.dtype != np.float32 or not np.isfinite(array).all():
            raise _damaged()
    return request, step


def _damaged() -> I2VError:
    return I2VError("checkpoint_damaged", "The place where the run stopped cannot be read.", "Run it again.")
