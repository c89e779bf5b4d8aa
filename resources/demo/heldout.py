"""Pictures that training has not seen: cuts of photographs (`heldout/LICENCES.md`) and drawn scenes of another seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scenes
from PIL import Image

FOLDER = Path(__file__).resolve().parent / "heldout"
SCENES_SEED = 777  # training draws its scenes from 1 and from 1000 on


def pictures() -> dict[str, np.ndarray]:
    """Ten photographs and ten drawn scenes in turn, by name, (96, 96, 3) uint8."""
    rng, found = np.random.default_rng(SCENES_SEED), {}
    for k, path in enumerate(sorted(FOLDER.glob("*.jpg"))):
        found[path.stem] = np.asarray(Image.open(path).convert("RGB"))
        found[f"drawn-{k}"] = scenes.seen(scenes.drawn_canvas(rng, k))
    return found
