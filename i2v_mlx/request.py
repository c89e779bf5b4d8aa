"""Everything that changes a pixel, in one value. Standard library only: the app builds it, the engine runs it.

Field names are those of diffusers' ``I2VGenXLPipeline.__call__``. The same request with the same model makes the same
bytes.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from .errors import I2VError

Fidelity = Literal["diffusers", "original"]
SAMPLERS = ("ddim", "forecast", "dpm++2m", "unipc", "euler")
GRIDS = ("model", "nested", "blended", "leading", "trailing")

SIDE_RANGE = (16, 4096)      # pixels
FRAMES_RANGE = (1, 128)
REFERENCE_STEPS = 50         # the reference's own number, of which a nested grid takes some
STEPS_RANGE = (1, 999)       # 1000 steps would start at an index that the schedule does not have
FPS_RANGE = (1, 120)
GUIDANCE_RANGE = (0.0, 100.0)
REFRESH_RANGE = (1, 999)
TIED = frozenset({"num_inference_steps", "sampler", "grid"})    # listed timesteps and weights are for one of each
WEIGHT_LIMIT = 1000.0
PREDICTIONS = 4              # of the network that a weighted step adds up, its own and those before
CLIP_SKIP_RANGE = (0, 1000)  # the text encoder knows how many layers it has
SEED_LIMIT = 2**32           # torch's CPU generator uses the low 32 bits


@dataclass(frozen=True)
class Sampling:
    """How the network's predictions become a video. The defaults are the reference's.

    Attributes:
        sampler: one of SAMPLERS. "ddim" and "euler" are of first order; "forecast" follows DDIM's 50 steps with fewer
            evaluations (see `parts.forecast`); the others are of second order.
        weights: for "forecast" on listed timesteps: how each step adds up what the network has said, fitted to a model
            by `calibrate`, as "0.4,0.6/0.2,0.9,-0.1" for two steps; empty for the general way.
        grid: at which timesteps, one of GRIDS: as the model's files say, "nested" or "blended" (see
            `parts.time_grid`), "leading" or "trailing"; or the timesteps themselves, as "981,712,205,1".
        guidance_refresh: in the second half of the steps the unconditional branch is evaluated in every n-th only; 1
            for all.
        key_pooling: self attentions over very many positions look at keys averaged over 2 x 2 of them.
    """

    sampler: str = "ddim"
    grid: str = "model"
    guidance_refresh: int = 1
    key_pooling: bool = False
    weights: str = ""

    def validate(self, steps: int, eta: float) -> None:
        """Raises I2VError ``sampler_unknown``, ``grid_unknown``, ``guidance_refresh_out_of_range``, ``eta_...``,
        ``weights_invalid``, and ``num_inference_steps_out_of_range`` if the grid has not that many timesteps."""
        if self.sampler not in SAMPLERS:
            raise I2VError("sampler_unknown", f"There is no sampler {self.sampler!r}.",
                           f"Use one of {', '.join(SAMPLERS)}.")
        listed = listed_timesteps(self.grid)
        if listed is not None and len(listed) != steps:
            raise I2VError("num_inference_steps_out_of_range",
                           f"The grid names {len(listed)} timesteps for {steps} steps.", f"Use {len(listed)} steps.")
        if self.grid == "nested" and steps > REFERENCE_STEPS:
            raise I2VError("num_inference_steps_out_of_range", f"{steps} steps do not fit the nested grid.",
                           f"Use 1 to {REFERENCE_STEPS}, or another sampler.")
        check_number("guidance_refresh", self.guidance_refresh, *REFRESH_RANGE)
        if self.weights:
            given = listed_weights(self.weights)
            if self.sampler != "forecast" or listed is None or len(given) != steps:
                raise I2VError("weights_invalid", f"Weights of {len(given)} steps of listed timesteps do not fit.",
                               "They belong to the sampler forecast and to the timesteps they were made with.")
        if eta > 0 and self.sampler != "ddim":
            raise I2VError("eta_out_of_range", f"The sampler {self.sampler} takes no fresh noise; eta is {eta}.",
                           "Use eta 0, or the sampler ddim.")


@dataclass(frozen=True)
class Request:
    """One video.

    Attributes:
        image: path of the picture.
        crop: part of the upright picture to use, as fractions (left, top, right, bottom); None for all of it.
            The centre crop to the video's shape comes after it.
        target_fps: how fast things move, a condition of the model. It does not set the file's frame rate.
        clip_skip: layers of the text encoder left out at its end; None for none.
        sampler, grid, guidance_refresh, key_pooling, weights: see `Sampling`.
        fidelity: which reference to follow where the two disagree (DESIGN, "Fidelity").
    """

    image: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    model: str = "i2vgen-xl"
    width: int = 1280
    height: int = 704
    num_frames: int = 16
    num_inference_steps: int = 50
    guidance_scale: float = 9.0
    target_fps: int = 16
    seed: int = 0
    eta: float = 0.0
    sampler: str = "ddim"
    grid: str = "model"
    guidance_refresh: int = 1
    key_pooling: bool = False
    weights: str = ""
    clip_skip: int | None = 1
    fidelity: Fidelity = "diffusers"
    crop: tuple[float, float, float, float] | None = None

    def validate(self) -> None:
        """Raises I2VError if a field is out of its range. Looks at no file."""
        if not self.image:
            raise I2VError("image_missing", "There is no picture.", "Give the path of an image file.")
        check_size(self.width, self.height)
        check_frames(self.num_frames)
        check_steps(self.num_inference_steps)
        check_number("target_fps", self.target_fps, *FPS_RANGE)
        check_number("guidance_scale", self.guidance_scale, *GUIDANCE_RANGE)
        check_number("eta", self.eta, 0.0, 1.0)
        self.sampling.validate(self.num_inference_steps, self.eta)
        if self.clip_skip is not None:
            check_number("clip_skip", self.clip_skip, *CLIP_SKIP_RANGE)
        check_number("seed", self.seed, 0, SEED_LIMIT - 1)
        if self.fidelity not in ("diffusers", "original"):
            raise I2VError("fidelity_unknown", f"There is no fidelity {self.fidelity!r}.", "Use diffusers or original.")
        if self.crop is not None:
            left, top, right, bottom = self.crop
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise I2VError("crop_invalid", f"The crop {self.crop} is not inside the picture.",
                               "Give left, top, right and bottom as fractions from 0 to 1.")

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.sampler, self.grid, self.guidance_refresh, self.key_pooling, self.weights)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, every field."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Request:
        """The reverse of `to_dict`. Fields that are not there keep their default; unknown ones are refused by name."""
        if not isinstance(values, dict):
            raise I2VError("request_invalid", "The settings are not a JSON object.")
        known = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise I2VError("request_invalid", f"Unknown settings: {', '.join(unknown)}.",
                           "They may come from a newer version of Livestill.")
        checked = {name: _typed(name, value) for name, value in values.items()}
        return cls(**checked)


def listed_timesteps(grid: str) -> list[int] | None:
    """Of a grid such as "981,712,205,1"; None for one of GRIDS. Raises I2VError ``grid_unknown``."""
    if grid in GRIDS:
        return None
    parts = grid.split(",")
    listed = [int(part) for part in parts if part.isdecimal() and len(part) <= 4]
    if len(listed) == len(parts) and all(a > b for a, b in pairwise(listed)):
        return listed
    raise I2VError("grid_unknown", f"There is no grid {grid[:80]!r}.",
                   f"Use one of {', '.join(GRIDS)}, or falling timesteps such as 981,712,205,1.")


def unlisted(sampler: str) -> dict[str, str]:
    """`grid` and `weights` for any number of steps. Listed timesteps, and the weights fitted to them, are for one."""
    return {"grid": {"ddim": "model", "forecast": "nested"}.get(sampler, "blended"), "weights": ""}


def listed_weights(weights: str) -> list[list[float]]:
    """"0.4,0.6/0.2,0.9,-0.1" -> one list a step: of x, of the prediction in that step, of those before it.

    Raises I2VError ``weights_invalid``.
    """
    try:
        steps = [[float(number) for number in step.split(",")] for step in weights.split("/")]
    except ValueError:
        steps = []
    sound = all(abs(number) <= WEIGHT_LIMIT for step in steps for number in step)  # NaN is not
    if steps and sound and all(2 <= len(step) <= min(i + 2, 1 + PREDICTIONS) for i, step in enumerate(steps)):
        return steps
    raise I2VError("weights_invalid", f"The weights {weights[:80]!r} cannot be used.",
                   f"Give 2 to {1 + PREDICTIONS} numbers a step, as in 0.4,0.6/0.2,0.9,-0.1.")


def check_size(width: Any, height: Any) -> None:
    """Raises I2VError unless both sides are multiples of 8 in range."""
    for name, side in (("width", width), ("height", height)):
        check_number(name, side, *SIDE_RANGE)
        if side % 8:
            nearest = max(SIDE_RANGE[0], round(side / 8) * 8)
            raise I2VError("size_not_multiple_of_8", f"The {name} is {side}, which is not a multiple of 8.",
                           f"Use {nearest}.")


def check_frames(num_frames: Any) -> None:
    check_number("num_frames", num_frames, *FRAMES_RANGE)


def check_steps(num_inference_steps: Any) -> None:
    check_number("num_inference_steps", num_inference_steps, *STEPS_RANGE)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raises I2VError ``<name>_out_of_range`` unless low <= value <= high; an integer range wants an integer."""
    whole = isinstance(low, int)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:  # NaN is not in a range
        kind = "a whole number" if whole else "a number"
        raise I2VError(f"{name}_out_of_range", f"{name} is {value!r}.", f"Use {kind} from {low} to {high}.")


def _typed(name: str, value: Any) -> Any:
    """Guards against JSON of the wrong kind, so that a damaged recipe is an error and not a surprise later."""
    if name == "crop":
        if value is None:
            return None
        if isinstance(value, list | tuple) and len(value) == 4 and all(_is_number(v) for v in value):
            return tuple(float(v) for v in value)
    elif name == "key_pooling":
        if isinstance(value, bool):
            return value
    elif name == "clip_skip":
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
    elif name in ("image", "prompt", "negative_prompt", "model", "sampler", "grid", "weights", "fidelity"):
        if isinstance(value, str):
            return value
    elif name in ("guidance_scale", "eta"):
        if _is_number(value):
            return float(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    raise I2VError("request_invalid", f"The setting {name} has the value {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
