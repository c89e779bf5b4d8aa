"""Draft, Balanced and Best: how much work a video is worth. Standard library only: the app shows them too.

"Best" is the reference. The others make the same video, from the same seed, in fewer evaluations of the network; how
close they come is measured by benchmarks/quality.py. A model may bring its own, which `calibrate` has written.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import I2VError
from .parts.thinning import both_branches
from .request import Request, Sampling, check_steps

FILE = "presets.json"      # in a model's folder
FILE_BYTES = 2**16


@dataclass(frozen=True)
class Preset:
    """Attributes: `name`, lower case, and the Request fields of the same names."""

    name: str
    num_inference_steps: int = 50
    sampler: str = "ddim"
    grid: str = "model"
    guidance_refresh: int = 1
    key_pooling: bool = False
    weights: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """The Request fields that it sets."""
        values = dataclasses.asdict(self)
        del values["name"]
        return values

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.sampler, self.grid, self.guidance_refresh, self.key_pooling, self.weights)

    def apply(self, request: Request) -> Request:
        return dataclasses.replace(request, **self.fields)

    def matches(self, request: Request) -> bool:
        return all(getattr(request, name) == value for name, value in self.fields.items())

    def validate(self) -> None:
        check_steps(self.num_inference_steps)
        self.sampling.validate(self.num_inference_steps, 0)


PRESETS = (
    Preset("draft", 8, "forecast", "nested", guidance_refresh=4, key_pooling=True),
    Preset("balanced", 13, "forecast", "nested"),
    Preset("best"),
)
NAMES = tuple(preset.name for preset in PRESETS)


def presets(folder: Path | None = None) -> tuple[Preset, ...]:
    """Of the model in `folder`, in the order of NAMES; the general ones where it brings none.

    Raises:
        I2VError: ``presets_invalid`` if its file is damaged.
    """
    file = folder / FILE if folder is not None else None
    if file is None or not file.is_file():
        return PRESETS
    try:
        if file.stat().st_size > FILE_BYTES:
            raise ValueError("it is too large")
        own = json.loads(file.read_text("utf-8"))
        found = tuple(dataclasses.replace(preset, **_typed(own.get(preset.name, {}))) for preset in PRESETS)
        for preset in found:
            preset.validate()
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, I2VError) as error:
        raise I2VError("presets_invalid", f"The model's {FILE} cannot be used: {error}.",
                       "Delete it, or run `python -m i2v_mlx calibrate` again.") from error
    return found


def named(request: Request, folder: Path | None = None) -> str | None:
    """The name of the preset that the request has all values of."""
    return next((preset.name for preset in presets(folder) if preset.matches(request)), None)


def evaluations(request: Request) -> tuple[int, int]:
    """(steps that evaluate both branches of guidance, steps that evaluate one)."""
    steps = request.num_inference_steps
    both = sum(both_branches(steps, request.guidance_refresh)) if request.guidance_scale > 1 else 0
    return both, steps - both


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Goes through `Request.from_dict`, which knows the fields' types."""
    Request.from_dict(values)
    return values
