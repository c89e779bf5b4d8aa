"""How much memory MLX has at most in each stage of a run of the released model, and what a stage leaves behind.

    python benchmarks/memory.py
    python benchmarks/memory.py --size 1280x704 --frames 16
    python benchmarks/memory.py --compute          with all products also on a CPU: an hour

The networks are the released ones with random weights, the pipeline is the one that people use, and it makes one
denoising step and one frame. The figures are MLX's own (`mx.get_peak_memory`).

On a GPU all is real. A CPU has no half-precision products, and unfolds convolutions and stores attention scores, which
Metal does not. There, unless told to compute, products and attention are left out: an array of the result's shape takes
their place, and the scratch memory of Metal's kernels is allocated with it. All else (norms, activations, residuals,
joined skips, the order in which arrays come and go) is real.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import random_model  # first: it finds the tests' modules
from released import CONFIGS
from tiny import sound_picture
from watch import Stage, WatchedNetworks

import mlx.core as mx  # isort: skip
import mlx.nn as nn  # isort: skip

from i2v_mlx import I2VGenXLPipeline, device, memory
from i2v_mlx.events import Frame
from i2v_mlx.model_folder import ModelFolder
from i2v_mlx.weights import parameters

BOUND = 5e9            # of denoising with the defaults below
LEFT = 32 * 2**20      # what a stage may leave: embeddings and latents
FUSED = (64, 72, 80, 96, 128)  # widths of a head for which Metal stores no scores


class RandomModel(ModelFolder):
    """The released model without files: weights are drawn when a network is loaded."""

    def config(self, name: str) -> dict[str, Any]:
        return CONFIGS[name]

    def load_part(self, name: str, dtype: mx.Dtype) -> nn.Module:
        module = self.build(name)
        weights = []
        for key, parameter in parameters(module).items():
            scale = (3 / prod(parameter.shape[1:])) ** 0.5 if parameter.ndim > 1 else 0.3
            centre = 1.0 if parameter.ndim == 1 and key.endswith("weight") else 0.0
            x = mx.random.uniform(centre - scale, centre + scale, parameter.shape, self.dtype_of(name, dtype))
            mx.eval(x)  # one after the other, so that no float32 copy of the whole is ever there
            weights.append((key, x))
        module.load_weights(weights, strict=True)
        return module


# ---------------------------------------------------------------- what takes the place of products


def stand_in(shape: tuple[int, ...], x: mx.array) -> mx.array:
    """An array that is really there, needs x (laid out in a row, as kernels want it) and takes no time."""
    return mx.contiguous(mx.broadcast_to(mx.contiguous(x).reshape(-1)[:1], shape))


def no_linear(layer: nn.Linear, x: mx.array) -> mx.array:
    return stand_in((*x.shape[:-1], layer.weight.shape[0]), x)


def no_conv(layer: nn.Conv2d, x: mx.array) -> mx.array:
    """Metal's scratch: none for an implicit product; a Winograd convolution copies its input padded, and has its input,
    its output and its weights transformed (mlx/backend/metal/conv.cpp)."""
    N, H, W, C = x.shape
    O, kh, kw, _ = layer.weight.shape
    (sh, sw), (ph, pw) = layer.stride, layer.padding
    shape = N, (H + 2 * ph - kh) // sh + 1, (W + 2 * pw - kw) // sw + 1, O
    winograd = os.environ.get("MLX_CONV_WINOGRAD") != "0" and (kh, kw, sh, sw) == (3, 3, 1, 1)
    if winograd and C % 32 == O % 32 == 0 and N * H * W >= 4096 and C + O >= 256:
        tiles = N * -(-H // 6) * -(-W // 6)
        padded = N * (6 * -(-H // 6) + 2) * (6 * -(-W // 6) + 2) * C
        x = stand_in((padded + 64 * (tiles * (C + O) + C * O),), x)
    return stand_in(shape, x)


def no_attention(q: mx.array, k: mx.array, v: mx.array, *, scale: float, mask: Any = None) -> mx.array:
    together = mx.stack([stand_in((1,), x) for x in (q, k, v)])
    if q.shape[-1] not in FUSED:
        together = mx.softmax(stand_in((*q.shape[:-1], k.shape[2]), together), axis=-1)
    return stand_in(q.shape, together)


@contextmanager
def without_products() -> Iterator[None]:
    with (
        patch.object(nn.Linear, "__call__", no_linear),
        patch.object(nn.Conv2d, "__call__", no_conv),
        patch.object(mx.fast, "scaled_dot_product_attention", no_attention),
    ):
        yield


# ---------------------------------------------------------------- a run


def run(pipeline: I2VGenXLPipeline, width: int, height: int, frames: int) -> list[Stage]:
    """One denoising step with guidance and one decoded frame."""
    networks = WatchedNetworks(pipeline.folder, pipeline.dtype, False)
    pipeline.networks = networks
    inputs = pipeline.check_inputs(
        prompt="a cat runs", image=sound_picture(width, height), height=height, width=width, target_fps=16,
        num_frames=frames, num_inference_steps=1, guidance_scale=9.0, negative_prompt=None, eta=0.0,
        num_videos_per_prompt=1, decode_chunk_size=1, generator=0, latents=None, prompt_embeds=None,
        negative_prompt_embeds=None, clip_skip=1,
    )  # fmt: skip
    events = pipeline.run(inputs)
    for event in events:
        if isinstance(event, Frame):
            break  # the others are as large
    events.close()
    return networks.stages


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="512x320", metavar="WxH")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--dtype", default="float16", choices=("float16", "float32"))
    parser.add_argument("--compute", action="store_true", help="with the products, on a CPU too")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))

    real = args.compute or device.on_gpu()
    with tempfile.TemporaryDirectory() as name, nullcontext() if real else without_products():
        random_model.tokenizer(Path(name) / "vocabulary").save_pretrained(Path(name) / "tokenizer")
        pipeline = I2VGenXLPipeline(RandomModel(Path(name), "hub"), getattr(mx, args.dtype))
        weights = pipeline.folder.weight_bytes(pipeline.dtype)
        before = mx.get_active_memory()
        stages = run(pipeline, width, height, args.frames)

    how = "everything computed" if real else "products left out, Metal's scratch memory counted"
    print(f"{args.size}, {args.frames} frames, {args.dtype}, mlx {mx.__version__} on {device.name()}: {how}")
    print(f"  {'GB':16}{'peak':>8}{'weights':>9}{'the rest':>9}{'left behind':>13}")
    for stage in stages:
        own = weights[stage.network]
        print(f"  {stage.network:16}{stage.peak / 1e9:8.2f}{own / 1e9:9.2f}{(stage.peak - before - own) / 1e9:9.2f}"
              f"{(stage.left - before) / 1e9:13.3f}")  # fmt: skip
    h, w = height // pipeline.latent_size, width // pipeline.latent_size
    for what, guess in (
        ("unet", memory.unet_bytes(pipeline.unet_config, args.frames, h, w, pipeline.dtype.size, "gpu")),
        ("vae", memory.vae_bytes(pipeline.vae_config, width, height, "gpu")),
    ):
        print(f"  i2v_mlx/memory.py expects {guess / 1e9:.2f} GB for the rest of {what}")

    faults = [f"{stage.network} leaves {stage.left - before} bytes" for stage in stages if stage.left - before > LEFT]
    denoising = max(stage.peak for stage in stages if stage.network == "unet")
    if (width * height * args.frames, args.dtype) == (512 * 320 * 16, "float16") and denoising > BOUND:
        faults.append(f"denoising takes {denoising / 1e9:.2f} GB, more than {BOUND / 1e9:.0f}")
    print("\n".join(faults) or "  nothing of a stage is left after it")
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())
