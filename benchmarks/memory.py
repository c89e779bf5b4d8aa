"""How much memory MLX has at most in each stage of a run of the released model, and what a stage leaves behind.

    python benchmarks/memory.py                          the four sizes, and the smallest in 8 bits
    python benchmarks/memory.py --size 640x384 --bits 8
    python benchmarks/memory.py --size 512x320 --compute   with all products also on a CPU: an hour

The networks are the released ones with random weights, the pipeline is the one that people use, and it makes one
denoising step and one frame. The figures are MLX's own (`mx.get_peak_memory`).

On a GPU all is real. A CPU has no half-precision arithmetic, unfolds convolutions, stores attention scores and norms in
float32, which Metal does not. There, unless told to compute, products, attention, norms and the gates of feed-forwards
are left out: an array of the result's shape takes their place, and the scratch memory of Metal's kernels is allocated
with it. All else (activations, residuals, joined skips, the order in which arrays come and go) is real.
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
from i2v_mlx.layers import attention
from i2v_mlx.layers.norms import GroupNorm
from i2v_mlx.model_folder import ModelFolder
from i2v_mlx.weights import GROUP_SIZE, parameters

# (size, bits of the UNet's linear layers or None): bytes that a whole run may take at most
BOUNDS: dict[tuple[str, int | None], float | None] = {
    ("448x256", 8): 3.3e9, ("448x256", None): None, ("512x320", None): 4e9, ("768x448", None): None,
    ("1280x704", None): 6.5e9,
}  # fmt: skip
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
            if parameter.dtype == mx.uint32:  # quantised
                weights.append((key, mx.zeros(parameter.shape, mx.uint32)))
                mx.eval(weights[-1][1])
                continue
            scale = (3 / prod(parameter.shape[1:])) ** 0.5 if parameter.ndim > 1 else 0.3
            centre = 1.0 if parameter.ndim == 1 and key.endswith("weight") else 0.0
            x = mx.random.uniform(centre - scale, centre + scale, parameter.shape, self.dtype_of(name, dtype))
            mx.eval(x)  # one after the other, so that no float32 copy of the whole is ever there
            weights.append((key, x))
        module.load_weights(weights, strict=True)
        return module


# ---------------------------------------------------------------- what takes the place of products


def stand_in(shape: tuple[int, ...], x: mx.array) -> mx.array:
    """An array that is really there, needs x (laid out in a row, as kernels want it), is small and takes no time."""
    return mx.contiguous(mx.broadcast_to(mx.tanh(mx.contiguous(x).reshape(-1)[:1]), shape))


def no_linear(layer: nn.Linear, x: mx.array) -> mx.array:
    return stand_in((*x.shape[:-1], layer.weight.shape[0]), x)


def no_quantized(layer: nn.QuantizedLinear, x: mx.array) -> mx.array:
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


def no_norm(layer: nn.Module, x: mx.array, silu: bool = False) -> mx.array:
    return stand_in(x.shape, x)


def no_gate(value: mx.array, gate: mx.array) -> mx.array:
    """A compiled chain: on a GPU it writes its result and nothing else."""
    return stand_in(value.shape, mx.stack([stand_in((1,), x) for x in (value, gate)]))


@contextmanager
def without_products() -> Iterator[None]:
    with (
        patch.object(GroupNorm, "__call__", no_norm),
        patch.object(nn.LayerNorm, "__call__", no_norm),
        patch.object(attention, "_gated", no_gate),
        patch.object(nn.QuantizedLinear, "__call__", no_quantized),
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


def measure(size: str, frames: int, dtype: str, bits: int | None, real: bool) -> float:
    """Prints one run's stages; its peak in bytes, or infinity if a stage leaves something behind."""
    width, height = map(int, size.split("x"))
    quantization = {"quantization": {"bits": bits, "group_size": GROUP_SIZE}} if bits else None
    with tempfile.TemporaryDirectory() as name, nullcontext() if real else without_products():
        random_model.tokenizer(Path(name) / "vocabulary").save_pretrained(Path(name) / "tokenizer")
        folder = RandomModel(Path(name), "hub", quantization)
        pipeline = I2VGenXLPipeline(folder, getattr(mx, dtype))
        weights = folder.weight_bytes(pipeline.dtype)
        before = mx.get_active_memory()
        stages = run(pipeline, width, height, frames)

    print(f"{size}, {frames} frames, {dtype}{f', linear layers in {bits} bits' if bits else ''}")
    print(f"  {'GB':16}{'peak':>8}{'weights':>9}{'the rest':>9}{'left behind':>13}")
    for stage in stages:
        own = weights[stage.network]
        print(f"  {stage.network:16}{stage.peak / 1e9:8.2f}{own / 1e9:9.2f}{(stage.peak - before - own) / 1e9:9.2f}"
              f"{(stage.left - before) / 1e9:13.3f}")  # fmt: skip
    expected = memory.peak_bytes(
        weights, pipeline.unet_config, pipeline.vae_config, width, height, frames, pipeline.dtype.size, "gpu"
    )
    peak = max(stage.peak for stage in stages)
    print(f"  at the peak {peak / 1e9:.2f}; i2v_mlx/memory.py expects {expected / 1e9:.2f}", flush=True)
    left = [stage.network for stage in stages if stage.left - before > LEFT]
    if left:
        print(f"  something is left behind by {', '.join(left)}")
    return float("inf") if left else peak


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", metavar="WxH", help="default: all four")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--dtype", default="float16", choices=("float16", "float32"))
    parser.add_argument("--bits", type=int, choices=(8, 4), help="of the linear layers")
    parser.add_argument("--compute", action="store_true", help="with the products, on a CPU too")
    args = parser.parse_args()

    real = args.compute or device.on_gpu()
    how = "everything computed" if real else "products and norms left out, Metal's scratch memory counted"
    print(f"mlx {mx.__version__} on {device.name()}: {how}")
    wanted = [(args.size, args.bits)] if args.size else list(BOUNDS)
    faults = []
    for size, bits in wanted:
        peak = measure(size, args.frames, args.dtype, bits, real)
        bound = BOUNDS.get((size, bits)) or float("inf")
        if peak > bound and (args.frames, args.dtype) == (16, "float16"):
            faults.append(f"{size} takes more than {bound / 1e9:.1f} GB")
    print("\n".join(faults) or "within all bounds, and nothing of a stage is left after it")
    return bool(faults)


if __name__ == "__main__":
    raise SystemExit(main())
