"""The pictures that come with a step."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

MAX_BYTES = 64 * 2**20


def decode(preview: dict[str, Any] | None) -> np.ndarray | None:
    """(F, h, w, 3) uint8 from `events.Step.preview`; None if there is none, or none that fits its own size."""
    if preview is None:
        return None
    rgb = preview.get("rgb")
    shape = [side for key in ("frames", "height", "width") if isinstance(side := preview.get(key), int) and side > 0]
    if not isinstance(rgb, str) or len(rgb) > MAX_BYTES or len(shape) != 3:
        return None
    try:
        return np.frombuffer(base64.b64decode(rgb, validate=True), np.uint8).reshape(*shape, 3)
    except (binascii.Error, ValueError):
        return None
