"""The denoising loop: from noise to clean latents, guided by prompt and picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import mlx.core as mx

from ..errors import I2VError
from ..events import Block, Step
from ..parts.ddim import DDIM, DDIMSampler
from ..parts.dpm_solver import DPMSolver
from ..parts.euler import Euler
from ..parts.forecast import Forecast
from ..parts.noise import NoiseSource
from ..parts.thinning import both_branches
from ..parts.time_grid import reference_timesteps, timesteps
from ..parts.unipc import UniPC
from ..request import Sampling, listed_weights
from .blocks import FreeU
from .unet import Conditioning, I2VGenXLUNet

DIFFERENCE = "difference"    # of the branches of guidance, in a step's history


class Sampler(Protocol):
    """Attributes:
    history: what later steps need of earlier ones, float32; empty at the start of a run.
    """

    history: dict[str, mx.array]

    def step(
        self, prediction: mx.array, x_t: mx.array, i: int, noise: mx.array | None = None
    ) -> tuple[mx.array, mx.array]: ...


@dataclass(frozen=True)
class Plan:
    """How a run samples: which timesteps, how it gets from one to the next, and where both branches are evaluated."""

    timesteps: list[int]
    sampler: Sampler
    both: list[bool]

    @classmethod
    def make(cls, schedule: DDIM, steps: int, sampling: Sampling, eta: float) -> Plan:
        """Raises I2VError ``num_inference_steps_out_of_range`` if the steps do not fit the grid."""
        grid = timesteps(schedule, steps, sampling.grid)
        makers: dict[str, Callable[[], Sampler]] = {
            "ddim": lambda: DDIMSampler(schedule, grid, eta),
            "forecast": lambda: Forecast(
                schedule, grid, reference_timesteps(schedule),
                listed_weights(sampling.weights) if sampling.weights else None,
            ),
            "dpm++2m": lambda: DPMSolver(schedule, grid),
            "unipc": lambda: UniPC(schedule, grid),
            "euler": lambda: Euler(schedule, grid),
        }
        return cls(grid, makers[sampling.sampler](), both_branches(steps, sampling.guidance_refresh))


@dataclass(frozen=True)
class Guidance:
    """The conditions of one video, and what to be led away from (arXiv 2207.12598)."""

    positive: Conditioning
    negative: Conditioning | None
    scale: float


def denoise(
    unet: I2VGenXLUNet, plan: Plan, x_t: mx.array, guidances: list[Guidance], fps: int, noise: NoiseSource | None,
    freeu: FreeU | None = None, key_pooling: bool = False, steps_done: int = 0, history: dict[str, Any] | None = None,
) -> Iterator[Block | Step]:  # fmt: skip
    """Yields after every block and every step.

    The videos take turns within a step, and so do the two branches of a video, after what they share: half the memory,
    and no slower.

    Args:
        x_t: (B, F, h, w, 4) float32 at the first timestep, or after `steps_done` steps of an earlier run.
        guidances: one for each of the B videos.
        noise: for every step's fresh noise; None where eta is 0.
        history: of the step before, where a run goes on.

    Raises:
        I2VError: ``latents_not_finite`` at the step where it happens.
    """
    steps = len(plan.timesteps)
    embeddings = unet.embed(mx.array(plan.timesteps), fps)  # (steps, 4 C_0)
    mx.eval(embeddings)
    thinned = not all(plan.both) and any(g.negative is not None for g in guidances)
    sampler = plan.sampler
    sampler.history = {name: mx.array(array) for name, array in (history or {}).items()}
    held = sampler.history.pop(DIFFERENCE, None)

    for i in range(steps):
        z = noise.draw(_frames_first(x_t)).swapaxes(1, 2) if noise is not None else None  # for steps of the past too
        if i < steps_done:
            continue
        started = time.perf_counter()
        both = plan.both[i] or held is None
        block_count = sum(1 + unet.block_count * (2 if both and g.negative is not None else 1) for g in guidances)
        done = 0
        predictions, differences = [], []
        emb = embeddings[i : i + 1]
        for b, guidance in enumerate(guidances):
            entrance = unet.enter(x_t[b : b + 1], emb, guidance.positive.detail, key_pooling)
            mx.eval(entrance.arrays())
            done += 1
            yield Block(done, block_count)
            branches = []
            for conditioning in (guidance.negative if both else None, guidance.positive):
                if conditioning is None:
                    continue
                for v in unet.blocks(entrance, emb, conditioning, freeu, key_pooling):
                    mx.eval(v)
                    done += 1
                    yield Block(done, block_count)
                branches.append(v)  # the last output of all
            negative, positive = branches[0], branches[-1]
            if guidance.negative is None or held is None or both:
                predictions.append(negative + guidance.scale * (positive - negative))
                differences.append(positive - negative)
            else:
                predictions.append(positive + (guidance.scale - 1) * held[b : b + 1])

        if thinned and both:
            held = mx.concatenate(differences)
        fresh = None if z is None else from_reference(mx.array(z))
        x_t, x_0 = sampler.step(mx.concatenate(predictions), x_t, i, fresh)
        carried = {**sampler.history, **({DIFFERENCE: held} if thinned else {})}
        mx.eval(x_t, x_0, carried)
        check_finite(x_t, i + 1)
        latents, clean = to_reference(x_t), to_reference(x_0)
        mx.eval(latents, clean)
        yield Step(i + 1, steps, time.perf_counter() - started, latents=latents, clean_latents=clean, history=carried)


def check_finite(x_t: mx.array, step: int) -> None:
    """A GPU that fails may answer with NaN or with one constant; neither is worth the rest of the run."""
    if not mx.isfinite(x_t).all().item():
        what = "numbers that are not finite"
    elif float(mx.std(x_t)) < 1e-6:
        what = "a constant picture"
    else:
        return
    raise I2VError("latents_not_finite", f"The network produced {what} at step {step}.",
                   "Run `python -m i2v_mlx doctor`; if it passes, the weights may be damaged: fetch them again.")


def to_reference(x: mx.array) -> mx.array:
    """(B, F, h, w, 4) -> (B, 4, F, h, w), contiguous."""
    return mx.contiguous(x.transpose(0, 4, 1, 2, 3))


def from_reference(x: mx.array) -> mx.array:
    """(B, 4, F, h, w) -> (B, F, h, w, 4) float32, contiguous."""
    return mx.contiguous(x.astype(mx.float32).transpose(0, 2, 3, 4, 1))


def _frames_first(x: mx.array) -> tuple[int, int, int, int]:
    """The reference draws a step's noise with frames before channels: (F, 4, h, w) for each video."""
    _, F, h, w, C = x.shape
    return F, C, h, w
