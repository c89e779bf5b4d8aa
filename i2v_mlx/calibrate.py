"""``python -m i2v_mlx calibrate``: which timesteps, and how seldom both branches, suit a model best.

A few pictures are made the reference's way. Then grids for fewer steps are tried on them, the general ones and ones
that follow how the model's own prediction of the clean video turned, and patterns of guidance; what comes closest to
the reference, in the picture and in the motion, becomes the model's Draft and Balanced (as in arXiv 2603.00763 and
2506.10177, which place steps by a measured trajectory). It takes about 400 evaluations of the network for each picture.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import __version__, files, hub, presets
from .events import Step
from .i2vgen_xl.pipeline import I2VGenXLPipeline
from .parts.ddim import DDIM
from .parts.thinning import both_branches
from .parts.time_grid import REFERENCE_STEPS, distinct, nested
from .presets import Preset
from .request import Request, Sampling, check_frames, check_size

# Pictures of resources/examples with what happens; the quality report uses others.
EXAMPLES = (("cat.jpg", "the camera zooms in", 1), ("harbour.jpg", "the camera pans to the left", 2),
            ("balloons.jpg", "the camera tilts up", 3))
BLENDS = (0.6, 0.7, 0.8)
TURNS = (0.5, 1.0)             # steps where the prediction turns, by this power of how fast it does
# (steps, guidance_refresh) within the evaluations of a preset: 13 and 27
PATTERNS = {"draft": ((8, 4), (6, 1), (7, 2)), "balanced": ((13, 1), (16, 3))}


@dataclass(frozen=True)
class Trace:
    """A reference run: its final latents (4, F, h, w) and its predictions of them at every step (T, 4, F, h, w)."""

    latents: np.ndarray
    clean: np.ndarray


class Calibration:
    """Tries ways to sample on the same pictures, seeds and model.

    Attributes:
        evaluations: of the network, so far.
    """

    def __init__(self, pipeline: I2VGenXLPipeline, width: int, height: int, frames: int):
        self.pipeline = pipeline
        self.size = {"width": width, "height": height, "num_frames": frames}
        self.evaluations = 0
        self._distances: dict[Preset, float] = {}
        self.traces = [self._run(example, Preset("reference", REFERENCE_STEPS)) for example in EXAMPLES]

    def presets(self) -> dict[str, Preset]:
        """The best found: first the grid, with both branches in all steps, then the pattern."""
        found = {}
        for name, patterns in PATTERNS.items():
            steps = patterns[0][0]
            make = min(self._grids(), key=lambda grid: self.distance(_preset(name, grid(steps), 1)))
            candidates = [_preset(name, make(n), refresh) for n, refresh in patterns]
            found[name] = min(candidates, key=self.distance)
        return found

    def distance(self, preset: Preset) -> float:
        """From the reference: the product of the errors of latents and of motion, over all pictures."""
        if preset not in self._distances:
            self._distances[preset] = self._measured(preset)
        return self._distances[preset]

    def _measured(self, preset: Preset) -> float:
        errors = np.zeros(2)
        for example, trace in zip(EXAMPLES, self.traces, strict=True):
            off = self._run(example, preset).latents - trace.latents
            errors += (off**2).sum(), (np.diff(off, axis=1) ** 2).sum()
        return float(errors.prod())

    def _grids(self) -> list[Any]:
        """Functions from the number of steps to timesteps."""
        schedule = self.pipeline.scheduler
        general = [lambda n, blend=blend: nested(schedule, n, blend) for blend in BLENDS]
        own = [lambda n, power=power: turning(schedule, [trace.clean for trace in self.traces], n, power)
               for power in TURNS]
        return general + own

    def _run(self, example: tuple[str, str, int], preset: Preset) -> Trace:
        name, prompt, seed = example
        inputs = self.pipeline.check_inputs(
            prompt=prompt, image=files.resource("examples") / name, **self.size, target_fps=16,
            num_inference_steps=preset.num_inference_steps, guidance_scale=9.0, negative_prompt=None, eta=0.0,
            num_videos_per_prompt=1, decode_chunk_size=1, generator=seed, latents=None, prompt_embeds=None,
            negative_prompt_embeds=None, clip_skip=1,
            sampling=Sampling(preset.sampler, preset.grid, preset.guidance_refresh, preset.key_pooling),
        )  # fmt: skip
        steps = [event for event in self.pipeline.run(inputs, decode=False) if isinstance(event, Step)]
        self.evaluations += len(steps) + sum(both_branches(len(steps), preset.guidance_refresh))
        _say(f"{self.evaluations} evaluations of the network")
        return Trace(np.array(steps[-1].latents)[0], np.stack([np.array(step.clean_latents)[0] for step in steps]))


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
