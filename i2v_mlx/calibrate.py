"""``python -m i2v_mlx calibrate``: which timesteps, how seldom both branches, and which weights suit a model best.

A few pictures are made the reference's way. Then grids for fewer steps are tried on them, the general ones and ones
that follow how the model's own prediction of the clean video turned, and patterns of guidance. On each, step by step,
the weights are fitted with which the sum of all that the network has said comes closest to the reference's own next
latents, from where the steps before have really led. What ends closest to the reference, in the picture and in the
motion, becomes the model's Draft and Balanced (arXiv 2603.00763 and 2506.10177 place steps by a measured trajectory,
too; a handful of numbers a step leaves nothing to learn by heart). It takes about 330 evaluations of the network for
each picture.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from . import __version__, files, hub, presets
from .events import Step
from .i2vgen_xl.pipeline import I2VGenXLPipeline
from .parts.ddim import DDIM
from .parts.forecast import BEFORE, add_up, fit
from .parts.thinning import both_branches
from .parts.time_grid import distinct, nested
from .presets import Preset
from .request import PREDICTIONS, REFERENCE_STEPS, Request, check_frames, check_size, listed_timesteps

# Pictures of resources/examples with what happens; the quality report uses others.
EXAMPLES = (("cat.jpg", "the camera zooms in", 1), ("harbour.jpg", "the camera pans to the left", 2),
            ("balloons.jpg", "the camera tilts up", 3))
BLENDS = (0.6, 0.7, 0.8)
TURNS = (0.5, 1.0)             # steps where the prediction turns, by this power of how fast it does
# (steps, guidance_refresh) within the evaluations of a preset: 13 and 27
PATTERNS = {"draft": ((6, 1), (7, 2), (8, 4)), "balanced": ((12, 1), (16, 3))}


@dataclass(frozen=True)
class Trace:
    """A reference run.

    Attributes:
        start: the noise it began with (1, 4, F, h, w).
        latents, clean: (T, F, h, w, 4) after every step, and the predictions of the end in every step.
    """

    start: np.ndarray
    latents: np.ndarray
    clean: np.ndarray


class Calibration:
    """Tries ways to sample on the same pictures, noise and model.

    Attributes:
        evaluations: of the network, so far.
    """

    def __init__(self, pipeline: I2VGenXLPipeline, width: int, height: int, frames: int):
        self.pipeline = pipeline
        self.size = {"width": width, "height": height, "num_frames": frames}
        self.evaluations = 0
        self._fitted: dict[Preset, tuple[Preset, float]] = {}
        self.reference = pipeline.scheduler.timesteps(REFERENCE_STEPS)
        self.traces = [self._trace(example) for example in EXAMPLES]

    def presets(self) -> dict[str, Preset]:
        return {name: self.best(name, patterns)[0] for name, patterns in PATTERNS.items()}

    def best(self, name: str, patterns: Sequence[tuple[int, int]]) -> tuple[Preset, float]:
        """First the grid, with both branches in all steps of the first pattern, then the pattern."""
        steps = patterns[0][0]
        make = min(self._grids(), key=lambda grid: self.fitted(_preset(name, grid(steps), 1))[1])
        candidates = [self.fitted(_preset(name, make(n), refresh)) for n, refresh in patterns]
        return min(candidates, key=lambda candidate: candidate[1])

    def fitted(self, preset: Preset) -> tuple[Preset, float]:
        """With weights, and how far from the reference it then ends: the product of the errors of latents and of
        motion, over all pictures."""
        if preset not in self._fitted:
            self._fitted[preset] = self._fit(preset)
        return self._fitted[preset]

    def _fit(self, preset: Preset) -> tuple[Preset, float]:
        timesteps = listed_timesteps(preset.grid) or []
        weights: list[list[float]] = []
        xs = [_channels_last(trace.start) for trace in self.traces]
        done: list[Step] = []    # the last of every picture
        for i, after in enumerate([*timesteps[1:], None]):
            # For the steps to come x as it is: no matter yet, but a run keeps the predictions that they may want.
            ahead = [[1.0, *[0.0] * min(k + 1, PREDICTIONS)] for k in range(i, len(timesteps))]
            tried = replace(preset, weights=_text([*weights, *ahead]))
            known, steps = [], []
            for k, (example, trace) in enumerate(zip(EXAMPLES, self.traces, strict=True)):
                before = done[k] if done else None
                steps.append(next(self._steps(example, trace.start, tried, before)))
                said = before.history if before else {}
                known.append([xs[k], _channels_last(steps[k].clean_latents),
                              *(np.array(said[name])[0] for name in BEFORE if name in said)])  # fmt: skip
            at = -1 if after is None else self.reference.index(after) - 1
            targets = [trace.latents[at] for trace in self.traces]
            weights.append([float(f"{weight:.6g}") for weight in fit(known, targets)])
            xs = [add_up(weights[-1], arrays) for arrays in known]
            done = [replace(step, latents=x.transpose(3, 0, 1, 2)[None]) for step, x in zip(steps, xs, strict=True)]
        errors = np.zeros(2)
        for x, target in zip(xs, targets, strict=True):
            errors += ((x - target) ** 2).sum(), (np.diff(x - target, axis=0) ** 2).sum()
        return replace(preset, weights=_text(weights)), float(errors.prod())

    def _grids(self) -> list[Callable[[int], list[int]]]:
        """From a number of steps to that many of the reference's timesteps."""
        schedule, predictions = self.pipeline.scheduler, [trace.clean for trace in self.traces]
        grids: list[Callable[[int], list[int]]] = [partial(nested, schedule, blend=blend) for blend in BLENDS]
        return grids + [partial(turning, schedule, predictions, power=power) for power in TURNS]

    def _trace(self, example: tuple[str, str, int]) -> Trace:
        side = self.pipeline.latent_size
        shape = 1, 4, self.size["num_frames"], self.size["height"] // side, self.size["width"] // side
        start = np.random.default_rng(example[2]).standard_normal(shape, np.float32)
        steps = list(self._steps(example, start, Preset("reference", REFERENCE_STEPS)))
        latents, clean = (
            np.stack([_channels_last(getattr(step, name)) for step in steps]) for name in ("latents", "clean_latents")
        )
        return Trace(start, latents, clean)

    def _steps(
        self, example: tuple[str, str, int], start: np.ndarray, preset: Preset, resume: Step | None = None
    ) -> Iterator[Step]:
        name, prompt, seed = example
        inputs = self.pipeline.check_inputs(
            prompt=prompt, image=files.resource("examples") / name, **self.size, target_fps=16,
            num_inference_steps=preset.num_inference_steps, guidance_scale=9.0, negative_prompt=None, eta=0.0,
            num_videos_per_prompt=1, decode_chunk_size=1, generator=seed, latents=start, prompt_embeds=None,
            negative_prompt_embeds=None, clip_skip=1, sampling=preset.sampling,
        )  # fmt: skip
        both = both_branches(preset.num_inference_steps, preset.guidance_refresh)
        for event in self.pipeline.run(inputs, decode=False, resume=resume):
            if isinstance(event, Step):
                self.evaluations += 1 + both[event.index - 1]
                _say(f"{self.evaluations} evaluations of the network")
                yield event


def _channels_last(x: Any) -> np.ndarray:
    """(1, 4, F, h, w) -> (F, h, w, 4)"""
    return np.array(x)[0].transpose(1, 2, 3, 0)


def _text(weights: list[list[float]]) -> str:
    return "/".join(",".join(f"{weight:.6g}" for weight in step) for step in weights)


def turning(schedule: DDIM, predictions: list[np.ndarray], steps: int, power: float) -> list[int]:
    """Of the reference's timesteps those between which the prediction of the clean video has changed equally, after
    every change was raised to `power`: 1 follows it, less evens it out.

    Args:
        predictions: of several runs of REFERENCE_STEPS, each (T, ...).
    """
    grid = schedule.timesteps(REFERENCE_STEPS)
    change = np.zeros(len(grid) - 1)
    for run in predictions:
        jumps = np.sqrt(((run[1:] - run[:-1]).reshape(len(run) - 1, -1) ** 2).sum(axis=1))
        change += jumps / jumps.sum()
    way = np.concatenate([[0.0], np.cumsum(np.maximum(change, 1e-3 * change.mean()) ** power)])
    last = len(grid) - 1
    nearest = np.interp(np.linspace(0, way[-1], steps), way, np.arange(len(grid))).round().astype(int)
    return [grid[last - k] for k in distinct(last - nearest, last, 0)]


def run(model: str, width: int, height: int, frames: int) -> int:
    """The command: writes presets.json into the model's folder."""
    check_size(width, height)
    check_frames(frames)
    pipeline = I2VGenXLPipeline.from_pretrained(hub.resolve(model), keep_loaded=True)
    target = pipeline.folder.path / presets.FILE
    files.check_output(target)
    found = Calibration(pipeline, width, height, frames).presets()
    _say("", end="\n")
    values: dict[str, Any] = {name: preset.fields for name, preset in found.items()}
    values["made"] = {"by": f"Livestill {__version__}, calibrate", "fingerprint": pipeline.folder.fingerprint(),
                      "width": width, "height": height, "frames": frames}
    try:
        with files.atomic(target) as part:
            part.write_text(json.dumps(values, indent=1) + "\n")
    except OSError as error:
        raise files.output_error(error, target) from error
    for name, preset in found.items():
        both, single = presets.evaluations(preset.apply(Request()))
        print(f"{name}: {2 * both + single} evaluations of the network, timesteps {preset.grid}, "
              f"guidance refresh {preset.guidance_refresh}")
    print(target)
    return 0


def _preset(name: str, grid: list[int], refresh: int) -> Preset:
    general = next(preset for preset in presets.PRESETS if preset.name == name)
    return replace(general, num_inference_steps=len(grid), grid=",".join(map(str, grid)), guidance_refresh=refresh)


def _say(text: str, end: str = "") -> None:
    if sys.stderr.isatty():
        print(f"\r{text}", end=end, file=sys.stderr, flush=True)
