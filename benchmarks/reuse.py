"""Does it pay to reuse the network's deep features in late steps, or are fewer steps the better bargain?

    python benchmarks/reuse.py --clips 6

In every other step of the second half only the finest level is computed, and what comes from the levels below is taken
from earlier steps, extrapolated along log-SNR (DeepCache, arXiv 2312.00858, with a linear forecast). It is compared at
equal work with plain DPM-Solver++ of fewer steps, on the clips of quality.py. Work is counted in the actual graphs.
The product does not do this: on the demo model it is nearly free of error and saves next to nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import quality  # first: it loads OpenBLAS before anything imports mlx

import mlx.core as mx  # isort: skip
import numpy as np

from i2v_mlx import I2VGenXLPipeline, cost
from i2v_mlx.i2vgen_xl.unet import Conditioning, Entrance, I2VGenXLUNet
from i2v_mlx.parts.schedule import Level
from i2v_mlx.parts.thinning import both_branches
from i2v_mlx.parts.time_grid import timesteps
from i2v_mlx.request import Sampling

PLAIN = (8, 10, 12, 14, 16, 20)
REUSING = (12, 16, 20, 24)
REFRESH = 3


def cached(steps: int) -> set[int]:
    """Every other step of the second half; not where both branches are measured against each other, nor the last."""
    both = both_branches(steps, REFRESH)
    late = range(steps // 2 + 2, steps - 1)
    found: set[int] = set()
    for i in late:
        if not both[i] and i - 1 not in found:
            found.add(i)
    return found


class Reusing:
    """Stands in for a UNet in the denoising loop."""

    def __init__(self, unet: I2VGenXLUNet, log_snr: list[float], steps: set[int]):
        self.unet = unet
        self.log_snr = log_snr
        self.cached = steps
        self.step = -1
        self.deep: dict[int, list[tuple[float, mx.array]]] = {}    # by branch: the last two

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unet, name)

    def enter(self, *arguments: Any) -> Entrance:
        self.step += 1
        return self.unet.enter(*arguments)

    def blocks(self, entrance: Entrance, emb: mx.array, conditioning: Conditioning, *_: Any) -> Iterator[mx.array]:
        known = self.deep.setdefault(id(conditioning), [])
        if self.step in self.cached and known:
            yield from shallow(self.unet, entrance, emb, conditioning, self._forecast(known))
            return
        last = self.unet.block_count - 2 - self.unet.up_blocks[-1].output_count
        for i, x in enumerate(self.unet.blocks(entrance, emb, conditioning)):
            if i == last:
                mx.eval(x)
                known[:] = [*known[-1:], (self.log_snr[self.step], x)]
            yield x

    def _forecast(self, known: list[tuple[float, mx.array]]) -> mx.array:
        (b, y) = known[-1]
        if len(known) == 1:
            return y
        a, x = known[0]
        ratio = min(1.5, (self.log_snr[self.step] - b) / (b - a))
        return y + ratio * (y - x)


def shallow(
    unet: I2VGenXLUNet, entrance: Entrance, emb: mx.array, conditioning: Conditioning, deep: mx.array
) -> Iterator[mx.array]:  # fmt: skip
    """The finest level alone: its way down, then `deep` in place of all levels below, then its way up."""
    B, F, h, w = entrance.shape
    skips = list(entrance.skips)
    down, layers = unet.down_blocks[0], len(unet.down_blocks[0].resnets)
    if entrance.blocks == 0:
        run = down(entrance.x, emb, conditioning.down[0], F, skips, entrance.begun)
        for _ in range(layers):
            mx.eval(next(run))
    del skips[1 + layers :]
    for x in unet.up_blocks[-1](deep, emb, conditioning.up[-1], F, skips):
        yield x
    yield unet.conv_out(unet.conv_norm_out(x, silu=True)).reshape(B, F, h, w, -1).astype(mx.float32)


def work(unet: I2VGenXLUNet, side: int) -> tuple[float, float]:
    """(what the branches share, the finest level of one branch), as shares of an evaluation."""
    shared, alone = cost.unet_costs(unet.config, quality.FRAMES, side, side)
    x_t = mx.zeros((1, quality.FRAMES, side, side, 4))
    emb = mx.zeros((1, 4 * unet.config.block_out_channels[0]))
    text = mx.zeros((1, 77, unet.config.cross_attention_dim))
    context = unet.condition(text, text[:, 0], x_t)
    entrance = unet.enter(x_t, emb, context.detail)
    deep = mx.zeros((quality.FRAMES, side, side, unet.config.block_out_channels[1]))
    mx.eval(entrance.arrays(), context.arrays(), emb)
    level = cost.trace(lambda x: list(shallow(unet, entrance, emb, context, x))[-1], [deep])
    whole = (shared + alone).total.flops
    return shared.total.flops / whole, level.total.flops / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=6)
    args = parser.parse_args()
    pipe = I2VGenXLPipeline.from_pretrained("demo", keep_loaded=True)
    unet = pipe.networks.get("unet")
    share, level = work(unet, quality.SIZE // pipe.latent_size)

    def latents(clip: quality.Clip, steps: int, sampling: Sampling, reuse: bool) -> np.ndarray:
        pipe.sampling = sampling
        if reuse:
            grid = timesteps(pipe.scheduler, steps, sampling.grid)
            snr = [Level.at(float(pipe.scheduler.alpha_bar[t])).log_snr for t in grid]
            pipe.networks._loaded["unet"] = Reusing(unet, snr, cached(steps))
        result = pipe(
            quality.PROMPTS[clip.move], quality.picture_of(clip), height=quality.SIZE, width=quality.SIZE,
            num_frames=quality.FRAMES, num_inference_steps=steps, generator=clip.seed, output_type="latent",
        )  # fmt: skip
        pipe.networks._loaded["unet"] = unet
        return np.array(result.frames)[0]

    fast = Sampling("dpm++2m", "blended", REFRESH)
    ways = [(n, False) for n in PLAIN] + [(n, True) for n in REUSING]
    errors = {way: np.zeros(2) for way in ways}
    own = np.zeros(2)

    def off(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([((a - b) ** 2).sum(), ((np.diff(a, axis=1) - np.diff(b, axis=1)) ** 2).sum()])

    for clip in quality.clips(args.clips):
        reference = latents(clip, 50, Sampling(), False)
        own += off(latents(clip, 100, Sampling(), False), reference)
        for way in ways:
            errors[way] += off(latents(clip, way[0], fast, way[1]), reference)

    print(f"{args.clips} clips; errors as multiples of the reference's distance to 100 steps")
    print(f"{'steps':>6}{'of them shallow':>17}{'evaluations':>13}{'latents':>9}{'motion':>8}")
    for steps, reuse in sorted(ways, key=lambda way: way[1]):
        skipped = cached(steps) if reuse else set()
        spent = sum(
            share + (2 if both else 1) * (level if i in skipped else 1 - share)
            for i, both in enumerate(both_branches(steps, REFRESH))
        )
        latent, motion = (errors[steps, reuse] / own) ** 0.5
        print(f"{steps:6}{len(skipped):17}{spent:13.1f}{latent:9.2f}{motion:8.2f}")


if __name__ == "__main__":
    main()
