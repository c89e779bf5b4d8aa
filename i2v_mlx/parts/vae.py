"""The autoencoder between pixels and latents (arXiv 2112.10752; diffusers AutoencoderKL). It knows no time: a video is
its frames. Everything is float32; in half precision the picture suffers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from .. import device
from ..errors import I2VError
from ..layers.norms import GroupNorm
from ..layers.resnet import ResnetBlock2D, Upsample2D
from .vae_tiling import tiled

EPS = 1e-6

# Elements of a block of attention scores. Metal has no fused kernel for one head of 512: the scores exist, in 128 MB.
SCORE_ELEMENTS = 2**25

# Larger pictures do without Winograd's method: at 1280x704 its scratch memory is 6 GB, and the time that it saves is
# less than one denoising step's.
WINOGRAD_PIXELS = 400_000


@dataclass(frozen=True)
class VAEConfig:
    """``vae/config.json``. The defaults are the released model.

    Attributes:
        sample_size: side of a tile in pixels; larger pictures are tiled when tiling is on.
        scaling_factor: what the pipeline multiplies latents by. The released file has 0.18125, the original 0.18215.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    sample_size: int = 768
    scaling_factor: float = 0.18125

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> VAEConfig:
        """From config.json, whose missing values have the reference's defaults and not the released model's."""
        only = {
            "act_fn": "silu", "use_quant_conv": True, "use_post_quant_conv": True, "mid_block_add_attention": True,
            "shift_factor": None, "latents_mean": None, "latents_std": None,
        }  # fmt: skip
        for name, value in only.items():
            if values.get(name, value) != value:
                raise I2VError("config_invalid", f"The VAE's {name} is {values[name]!r}.", f"Known is {value!r}.")
        chosen: dict[str, Any] = {
            "block_out_channels": (64,), "layers_per_block": 1, "sample_size": 32, "scaling_factor": 0.18215,
        }  # fmt: skip
        known = {field.name for field in dataclasses.fields(cls)}
        chosen |= {name: value for name, value in values.items() if name in known}
        return cls(**chosen | {"block_out_channels": tuple(chosen["block_out_channels"])})

    def __post_init__(self) -> None:
        if not isinstance(self.scaling_factor, int | float) or not 0 < self.scaling_factor < 1e6:
            raise I2VError("config_invalid", f"The VAE's scaling_factor is {self.scaling_factor!r}.",
                           "Download the model again.")
        if any(channels % self.norm_num_groups for channels in self.block_out_channels):
            raise I2VError(
                "config_invalid",
                f"The VAE's channels {self.block_out_channels} do not divide into {self.norm_num_groups} groups.",
                "Download the model again.",
            )

    @property
    def scale(self) -> int:
        """Pixels per latent, along one side."""
        return 2 ** (len(self.block_out_channels) - 1)


class Downsample(nn.Module):
    """3x3 convolution with stride 2; the border of zeros is at the bottom and the right only."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv(mx.pad(x, [(0, 0), (0, 1), (0, 1), (0, 0)]))  # (B, H // 2, W // 2, C)


class Attention(nn.Module):
    """Self attention over all pixels, one head of full width, with a norm before and a residual around it."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.group_norm = GroupNorm(groups, channels, EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = [nn.Linear(channels, channels)]

    def __call__(self, x: mx.array) -> mx.array:
        B, H, W, C = x.shape
        h = self.group_norm(x).reshape(B, 1, H * W, C)  # one head
        q, k, v = self.to_q(h), self.to_k(h), self.to_v(h)
        at_once = max(1, SCORE_ELEMENTS // (B * H * W))
        parts = []
        for i in range(0, H * W, at_once):
            parts.append(mx.fast.scaled_dot_product_attention(q[:, :, i : i + at_once], k, v, scale=C**-0.5))
            if at_once < H * W:
                mx.eval(parts[-1])
        return x + self.to_out[0](mx.concatenate(parts, axis=2)).reshape(x.shape)


class MidBlock(nn.Module):
    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.resnets = [ResnetBlock2D(channels, channels, groups=groups, eps=EPS) for _ in range(2)]
        self.attentions = [Attention(channels, groups)]

    def layers(self) -> Sequence[nn.Module]:
        return self.resnets[0], self.attentions[0], self.resnets[1]


class DownBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, last: bool):
        super().__init__()
        self.resnets = _resnets(in_channels, out_channels, layers, groups)
        if not last:
            self.downsamplers = [Downsample(out_channels)]

    def layers(self) -> Sequence[nn.Module]:
        return *self.resnets, *self.get("downsamplers", [])


class UpBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, layers: int, groups: int, last: bool):
        super().__init__()
        self.resnets = _resnets(in_channels, out_channels, layers, groups)
        if not last:
            self.upsamplers = [Upsample2D(out_channels)]

    def layers(self) -> Sequence[nn.Module]:
        return *self.resnets, *self.get("upsamplers", [])


class Encoder(nn.Module):
    def __init__(self, config: VAEConfig):
        super().__init__()
        channels, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = [
            DownBlock(channels[max(i - 1, 0)], channels[i], config.layers_per_block, groups, i == len(channels) - 1)
            for i in range(len(channels))
        ]
        self.mid_block = MidBlock(channels[-1], groups)
        self.conv_norm_out = GroupNorm(groups, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def __call__(self, x: mx.array) -> mx.array:
        x = _one_by_one(self.conv_in(x), [*self.down_blocks, self.mid_block])
        return self.conv_out(self.conv_norm_out(x, silu=True))


class Decoder(nn.Module):
    def __init__(self, config: VAEConfig):
        super().__init__()
        channels, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = MidBlock(channels[0], groups)
        self.up_blocks = [
            UpBlock(channels[max(i - 1, 0)], channels[i], config.layers_per_block + 1, groups, i == len(channels) - 1)
            for i in range(len(channels))
        ]
        self.conv_norm_out = GroupNorm(groups, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def __call__(self, x: mx.array) -> mx.array:
        x = _one_by_one(self.conv_in(x), [self.mid_block, *self.up_blocks])
        return self.conv_out(self.conv_norm_out(x, silu=True))


class AutoencoderKL(nn.Module):
    """Pixels (B, H, W, 3) in [-1, 1] to latents (B, h, w, 4) of an eighth of the side, and back.

    Latents are the network's own: the caller multiplies by ``config.scaling_factor`` after `encode` and divides before
    `decode`. Pictures go through one by one, always; slicing, which asks for that, changes nothing.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Linear(2 * config.latent_channels, 2 * config.latent_channels)
        self.post_quant_conv = nn.Linear(config.latent_channels, config.latent_channels)
        self.use_tiling = False
        self.tile_sample_min_size = config.sample_size                  # pixels
        self.tile_latent_min_size = config.sample_size // config.scale  # latents
        self.tile_overlap_factor = 0.25

    def enable_slicing(self) -> None:
        """Nothing to do: pictures go through one by one always. Here for scripts of the reference."""

    def disable_slicing(self) -> None:
        """Nothing to do, see `enable_slicing`."""

    def enable_tiling(self) -> None:
        """Pictures with a side over ``sample_size`` in overlapping tiles: less memory, a slightly different result."""
        self.use_tiling = True

    def disable_tiling(self) -> None:
        self.use_tiling = False

    def encode(self, pixels: mx.array) -> tuple[mx.array, mx.array]:
        """The posterior of the latents.

        Args:
            pixels: (B, H, W, 3) in [-1, 1].

        Returns:
            Mean and standard deviation, each float32 (B, h, w, 4); a sample is mean + std * noise.
        """
        moments = self._in_turn(self._encode, pixels.astype(mx.float32), prod(pixels.shape[1:3]))
        mean, logvar = mx.split(moments, 2, axis=-1)
        return mean, mx.exp(0.5 * mx.clip(logvar, -30, 20))

    def decode(self, latents: mx.array) -> mx.array:
        """latents (B, h, w, 4) -> pixels float32 (B, H, W, 3), in [-1, 1] but for overshoot."""
        pixels = prod(latents.shape[1:3]) * self.config.scale**2
        return self._in_turn(self._decode, latents.astype(mx.float32), pixels)

    def _in_turn(self, function: Callable[[mx.array], mx.array], pictures: mx.array, pixels: int) -> mx.array:
        """`function` of each of the B pictures of so many pixels: bounded memory, and bytes that do not depend on B."""
        parts = []
        with nullcontext() if pixels <= WINOGRAD_PIXELS else device.direct_convolutions():
            for i in range(pictures.shape[0]):
                parts.append(function(pictures[i : i + 1]))
                mx.eval(parts[-1])
        return mx.concatenate(parts)

    def _encode(self, pixels: mx.array) -> mx.array:
        def moments(x: mx.array) -> mx.array:
            return self.quant_conv(self.encoder(x))

        tile = self.tile_sample_min_size
        if self.use_tiling and max(pixels.shape[1:3]) > tile:
            return tiled(moments, pixels, tile, self.tile_latent_min_size, self.tile_overlap_factor)
        return moments(pixels)

    def _decode(self, latents: mx.array) -> mx.array:
        def pixels(z: mx.array) -> mx.array:
            return self.decoder(self.post_quant_conv(z))

        tile = self.tile_latent_min_size
        if self.use_tiling and max(latents.shape[1:3]) > tile:
            return tiled(pixels, latents, tile, self.tile_sample_min_size, self.tile_overlap_factor)
        return pixels(latents)


def _resnets(in_channels: int, out_channels: int, layers: int, groups: int) -> list[ResnetBlock2D]:
    return [
        ResnetBlock2D(out_channels if i else in_channels, out_channels, groups=groups, eps=EPS) for i in range(layers)
    ]


def _one_by_one(x: mx.array, blocks: Sequence[DownBlock | MidBlock | UpBlock]) -> mx.array:
    """Evaluates after every layer: at full size an activation is 900 MB, and none must outlive its use."""
    for block in blocks:
        for layer in block.layers():
            x = layer(x)
            mx.eval(x)
    return x
