"""What one guided step costs without the work that is saved exactly: the same numbers, computed the plain way.

    python benchmarks/part_a.py

The plain step evaluates both branches of guidance from beginning to end, and before each everything that they are told
of prompt, picture and time. Each saving is undone by itself and all together, here and not in the engine. Steps take
turns; what is printed are ratios of medians to the engine's own step, so that more than one is time saved: by the
clock, and by the processor's time, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest import mock

import i2v_mlx  # noqa: F401  before mlx: it loads OpenBLAS

# isort: split
import mlx.core as mx
import numpy as np

from i2v_mlx import I2VGenXLPipeline
from i2v_mlx.events import Step
from i2v_mlx.i2vgen_xl.encoding import with_ramp
from i2v_mlx.i2vgen_xl.sampling import Guidance, Plan, denoise, from_reference
from i2v_mlx.i2vgen_xl.unet import Conditioning
from i2v_mlx.layers import activations, norms
from i2v_mlx.layers.spatial import Transformer2DModel
from i2v_mlx.request import Sampling

SCALE, FPS = 9.0, 16
SAVINGS = {
    "once": "what does not depend on the latents: once per video",
    "entrance": "what both branches share: once per step",
    "frames": "keys and values: one row for all frames",
    "norms": "norms: compiled",
}


@dataclass(frozen=True)
class Video:
    """What a step needs, of a model; all random.

    Attributes:
        text, embedding: (2, 77, D) and (2, D), first the negative prompt's.
        latents: (1, F, h, w, 4) of the picture.
        noise: (1, F, h, w, 4)
        steps: of the whole run.
    """

    pipeline: I2VGenXLPipeline
    text: mx.array
    embedding: mx.array
    latents: mx.array
    noise: mx.array
    steps: int

    @classmethod
    def draw(cls, pipeline: I2VGenXLPipeline, width: int, height: int, frames: int, steps: int) -> Video:
        size = pipeline.latent_size
        shape = (height // size, width // size, 4)
        dims = pipeline.unet_config.cross_attention_dim
        text, embedding, latents, noise = (
            mx.random.normal(shape, key=mx.random.key(i))
            for i, shape in enumerate([(2, 77, dims), (1, dims), (1, *shape), (1, frames, *shape)])
        )
        embedding = mx.concatenate([mx.zeros_like(embedding), embedding])
        return cls(pipeline, text, embedding, with_ramp(latents, frames), noise, steps)

    def condition(self, branch: int) -> Conditioning:
        here = slice(branch, branch + 1)
        conditioning = self.pipeline.unet.condition(self.text[here], self.embedding[here], self.latents)
        mx.eval(conditioning.arrays())
        return conditioning

    def plan(self) -> Plan:
        return Plan.make(self.pipeline.scheduler, self.steps, Sampling(), eta=0.0)

    def ours(self) -> Iterator[mx.array]:
        """The latents after each step, as the engine makes them."""
        guidance = Guidance(self.condition(1), self.condition(0), SCALE)
        for event in denoise(self.pipeline.unet, self.plan(), self.noise, [guidance], FPS, None):
            if isinstance(event, Step):
                yield from_reference(event.latents)

    def plain(self, undone: set[str]) -> Iterator[mx.array]:
        """The same without some of SAVINGS."""
        unet, plan, x_t = self.pipeline.unet, self.plan(), self.noise
        embeddings = unet.embed(mx.array(plan.timesteps), FPS)
        mx.eval(embeddings)
        with _undo(undone, x_t.shape[1]):
            conditions = [self.condition(branch) for branch in (0, 1)]
        for i, t in enumerate(plan.timesteps):
            with _undo(undone, x_t.shape[1]):
                branches, entrance = [], None
                for branch in (0, 1):
                    emb, conditioning = embeddings[i : i + 1], conditions[branch]
                    if "once" in undone:
                        emb, conditioning = unet.embed(mx.array([t]), FPS), self.condition(branch)
                    if entrance is None or "entrance" in undone:
                        entrance = unet.enter(x_t, emb, conditioning.detail)
                        mx.eval(entrance.arrays())
                    for v in unet.blocks(entrance, emb, conditioning):
                        mx.eval(v)
                    branches.append(v)
                negative, positive = branches
                x_t, _ = plan.sampler.step(negative + SCALE * (positive - negative), x_t, i)
                mx.eval(x_t)
            yield x_t

    def frames(self, x_0: mx.array) -> np.ndarray:
        """(F, H, W, 3) in [0, 1]"""
        pixels = self.pipeline.vae.decode(x_0[0] / self.pipeline.vae_config.scaling_factor)
        return np.asarray(mx.clip(pixels / 2 + 0.5, 0, 1))


@contextmanager
def _undo(undone: set[str], frames: int) -> Iterator[None]:
    key_value = Transformer2DModel.key_value

    def for_each_frame(self: Transformer2DModel, context: mx.array) -> tuple[mx.array, mx.array]:
        return key_value(self, mx.repeat(context, frames, axis=0))

    with ExitStack() as stack:
        if "frames" in undone:
            stack.enter_context(mock.patch.object(Transformer2DModel, "key_value", for_each_frame))
        if "norms" in undone:
            stack.enter_context(mock.patch.object(norms, "plain_group_norm", composed_group_norm))
        yield


def composed_group_norm(
    x: mx.array, weight: mx.array, bias: mx.array, groups: int, eps: float, silu: bool
) -> mx.array:
    """`norms.plain_group_norm` with MLX's operations one by one."""
    rows = x.astype(mx.float32)
    mean = norms._group_mean(rows.mean(axis=1, keepdims=True), groups)
    variance = norms._group_mean(mx.square(rows - mean).mean(axis=1, keepdims=True), groups)
    y = (rows - mean) * (mx.rsqrt(variance + eps) * weight) + bias
    return (activations.silu(y) if silu else y).astype(x.dtype)


def compare(video: Video, steps: int, repeats: int) -> None:
    """Prints the table."""
    ways = {"the engine": None, **{name: {name} for name in SAVINGS}, "all": set(SAVINGS)}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    first = {}
    for _ in range(repeats):
        runs = {name: video.ours() if undone is None else video.plain(undone) for name, undone in ways.items()}
        for step in range(steps):
            for name, run in runs.items():
                started = time.perf_counter(), time.process_time()
                x_t = next(run)
                if step == 0:  # includes what is done once
                    first[name] = x_t
                    continue
                wall[name].append(time.perf_counter() - started[0])
                busy[name].append(time.process_time() - started[1])
    print(f"  {'undone':56}clock  processor")
    for name in [*SAVINGS, "all"]:
        ratios = [median(times[name]) / median(times["the engine"]) for times in (wall, busy)]
        print(f"  {SAVINGS.get(name, 'all of these'):56}{ratios[0]:5.2f}{ratios[1]:11.2f}")
    ours, plain = (video.frames(first[name]) for name in ("the engine", "all"))
    print(f"  largest difference of a pixel after one step: {np.abs(ours - plain).max():.1e} of 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="the first so many of 50; the first of all is not counted")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    from random_model import HUNDRED_MILLION, write

    with tempfile.TemporaryDirectory() as name:
        write(Path(name), HUNDRED_MILLION)
        models = {"the demo model": ("demo", 96, 96, 16), "100 M random parameters": (name, 160, 96, 8)}
        for title, (model, width, height, frames) in models.items():
            pipeline = I2VGenXLPipeline.from_pretrained(model, keep_loaded=True)
            print(f"{title}, {width}x{height}, {frames} frames, {(args.steps - 1) * args.repeats} steps each in turn")
            compare(Video.draw(pipeline, width, height, frames, 50), args.steps, args.repeats)


if __name__ == "__main__":
    main()
