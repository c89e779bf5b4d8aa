"""How much memory a run will take, before it is started, and what fits if it does not.

An estimate from the sizes of the largest arrays, stage by stage; the factors are measured (benchmarks/memory.py).
"""

from __future__ import annotations

from . import device
from .errors import I2VError
from .i2vgen_xl.config import UNetConfig
from .i2vgen_xl.pipeline import I2VGenXLPipeline
from .layers.chunks import CHUNK_ELEMENTS
from .parts.vae import WINOGRAD_PIXELS, VAEConfig

SIZES = ((1280, 704), (1024, 576), (768, 448), (640, 384), (512, 320), (448, 256), (320, 192), (256, 144))

# Float32 arrays as large as the widest input of a residual block that are alive at once, Winograd's scratch included; a
# CPU unfolds 3x3 convolutions instead.
RESNET_COPIES = {"gpu": 6, "cpu": 12}
# The same for the VAE's widest activation; with Winograd's scratch on a GPU, and without for large pictures.
VAE_COPIES = {"gpu": 12, "cpu": 21}
VAE_COPIES_DIRECT = {"gpu": 5, "cpu": 21}
# Arrays as large as a chunk of a feed-forward's inner layer that are alive at once.
FEED_FORWARD_COPIES = 5.2


def check(pipeline: I2VGenXLPipeline, width: int, height: int, frames: int) -> int:
    """The estimated peak in bytes. Raises I2VError ``memory_too_small`` naming sizes that fit."""
    available = device.memory_bytes()
    peak = estimate(pipeline, width, height, frames)
    if peak <= available:
        return peak
    fitting = [f"{w}x{h}" for w, h in SIZES if w * h < width * height and estimate(pipeline, w, h, frames) <= available]
    hint = f"Sizes that fit: {', '.join(fitting[:3])}." if fitting else "Use fewer frames or a quantised model."
    raise I2VError("memory_too_small", f"{width}x{height} with {frames} frames needs about {peak / 2**30:.1f} GB; "
                   f"{available / 2**30:.1f} GB can be used.", hint)


def estimate(pipeline: I2VGenXLPipeline, width: int, height: int, frames: int) -> int:
    """Peak bytes of a run, all networks included if the pipeline keeps them."""
    weights = pipeline.weight_bytes
    configs, item = (pipeline.unet_config, pipeline.vae_config), pipeline.dtype.size
    kind = "gpu" if device.on_gpu() else "cpu"
    if not pipeline.networks.keep:
        return peak_bytes(weights, *configs, width, height, frames, item, kind)
    work = peak_bytes(dict.fromkeys(weights, 0), *configs, width, height, frames, item, kind)
    return sum(weights.values()) + work


def unet_may_stay(pipeline: I2VGenXLPipeline, width: int, height: int) -> bool:
    """Whether half of the memory holds the UNet beside what decodes, so that the next video need not load it."""
    weights = pipeline.weight_bytes
    decode = vae_bytes(pipeline.vae_config, width, height, "gpu" if device.on_gpu() else "cpu")
    others = max(weights["text_encoder"], weights["image_encoder"], weights["vae"] + decode)
    return weights["unet"] + others <= device.memory_bytes() / 2


def peak_bytes(
    weights: dict[str, int], unet: UNetConfig, vae: VAEConfig, width: int, height: int, frames: int, item: int,
    kind: str,
) -> int:  # fmt: skip
    """Of the hungriest stage; each has only its own network in memory.

    Args:
        weights: bytes of each part.
        item: bytes of a number in the UNet.
        kind: "gpu" or "cpu".
    """
    denoise = unet_bytes(unet, frames, height // vae.scale, width // vae.scale, item, kind)
    decode = vae_bytes(vae, width, height, kind)
    return max(weights["text_encoder"], weights["image_encoder"], weights["unet"] + denoise, weights["vae"] + decode)


def unet_bytes(config: UNetConfig, frames: int, h: int, w: int, item: int, kind: str) -> int:
    """At the entrance a feed-forward; at the exit all skips and the widest residual block, at the finest level."""
    channels = config.block_out_channels
    skips = 0
    rows, columns = h, w
    for level, C in enumerate(channels):
        positions = frames * rows * columns
        entering = channels[max(level - 1, 0)]
        skips += positions * (entering + config.layers_per_block * C) * item
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    positions = frames * h * w
    widest = positions * (channels[min(1, len(channels) - 1)] + channels[0])
    inner = min(CHUNK_ELEMENTS, positions * 8 * max(channels[0], 8 * config.head_dim))
    return int(max(FEED_FORWARD_COPIES * inner * item, skips + widest * (item + 4 * RESNET_COPIES[kind])))


def vae_bytes(config: VAEConfig, width: int, height: int, kind: str) -> int:
    """One frame at full size, in the widest channels that are used there."""
    channels = config.block_out_channels
    copies = (VAE_COPIES if width * height <= WINOGRAD_PIXELS else VAE_COPIES_DIRECT)[kind]
    return width * height * channels[min(1, len(channels) - 1)] * 4 * copies
