"""The denoising loop: from noise to clean latents, guided by prompt and picture."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx

from ..errors import I2VError
from ..events import Block, Step
from ..parts.ddim import DDIM
from ..parts.noise import NoiseSource
from .blocks import FreeU
from .unet import Conditioning, I2VGenXLUNet


@dataclass(frozen=True)
class Guidance:
    """The conditions of one video, and what to be led away from (arXiv 2207.12598)."""

    positive: Conditioning
    negative: Conditioning | None
    scale: float


def denoise(
    unet: I2VGenXLUNet, scheduler: DDIM, x_t: mx.array, guidances: list[Guidance], fps: int, steps: int,
    eta: float, noise: NoiseSource, freeu: FreeU | None = None, steps_done: int = 0,
) -> Iterator[Block | Step]:  # fmt: skip
    """Yields after every block and every step.

    The videos take turns within a step, and so do the two branches of a video, after what they share: half the memory,
    and no slower.

    Args:
        x_t: (B, F, h, w, 4) float32 at the first timestep, or after `steps_done` steps of an earlier run.
        guidances: one for each of the B videos.

    Raises:
        I2VError: ``latents_not_finite`` at the step where it happens.
    """
    timesteps = scheduler.timesteps(steps)
    embeddings = unet.embed(mx.array(timesteps), fps)  # (steps, 4 C_0)
    mx.eval(embeddings)
    block_count = sum(1 + unet.block_count * (1 if g.negative is None else 2) for g in guidances)

    for i, t in enumerate(timesteps):
        z = noise.draw(_frames_first(x_t)).swapaxes(1, 2) if eta > 0 else None  # drawn for steps of the past too
        if i < steps_done:
            continue
        started = time.perf_counter()
        done = 0
        predictions = []
        emb = embeddings[i : i + 1]
        for b, guidance in enumerate(guidances):
            entrance = unet.enter(x_t[b : b + 1], emb, guidance.positive.detail)
            done += 1
            yield Block(done, block_count)
            branches = []
            for conditioning in (guidance.negative, guidance.positive):
                if conditioning is None:
                    continue
                for v in unet.blocks(entrance, emb, conditioning, freeu):
                    done += 1
                    yield Block(done, block_count)
                    if v is not None:
                        branches.append(v)
            negative, positive = branches[0], branches[-1]
            predictions.append(negative + guidance.scale * (positive - negative))

        fresh = None if z is None else from_reference(mx.array(z))
        x_t, x_0 = scheduler.step(mx.concatenate(predictions), x_t, t, steps, eta, fresh)
        mx.eval(x_t, x_0)
        check_finite(x_t, i + 1)
        latents, clean = to_reference(x_t), to_reference(x_0)
        mx.eval(latents, clean)
        yield Step(i + 1, steps, time.perf_counter() - started, latents=latents, clean_latents=clean)


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
