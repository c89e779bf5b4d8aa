"""The levels of the network (diffusers models/unets/unet_3d_blocks.py), each with or without transformers.

In a level, repeated: residual block and spatial transformer see one frame at a time, temporal convolution and temporal
transformer all of them. A block is a generator of its layers' outputs, so that each can be evaluated before the next is
begun: that bounds memory, and the time until a cancel is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from ..layers.attention import KeyValue
from ..layers.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from ..layers.spatial import Transformer2DModel
from ..layers.temporal import TemporalConvLayer, TransformerTemporalModel

Begun = tuple[mx.array, mx.array]  # see DownBlock.begin


@dataclass(frozen=True)
class FreeU:
    """Scales backbone features up and low frequencies of skips down in the two coarsest levels (arXiv 2309.11497)."""

    s1: float
    s2: float
    b1: float
    b2: float

    def stage(self, index: int) -> tuple[float, float] | None:
        """(b, s) of up block `index`, if it has any."""
        return {0: (self.b1, self.s1), 1: (self.b2, self.s2)}.get(index)


class DownBlock(nn.Module):
    def __init__(
        self, in_channels: int, channels: int, layers: int, temb_dims: int, context_dims: int, head_dim: int,
        groups: int, attention: bool, downsample: bool,
    ):  # fmt: skip
        super().__init__()
        self.resnets = [
            ResnetBlock2D(in_channels if i == 0 else channels, channels, temb_dims, groups) for i in range(layers)
        ]
        self.temp_convs = [TemporalConvLayer(channels, groups) for _ in range(layers)]
        _add_attention(self, attention * layers, channels, context_dims, head_dim, groups)
        if downsample:
            self.downsamplers = [Downsample2D(channels)]

    def key_values(self, context: mx.array) -> list[KeyValue]:
        return [attention.key_value(context) for attention in self.attentions]

    def begin(self, x: mx.array, emb: mx.array, frames: int, key_pooling: bool = False) -> Begun:
        """What a block with transformers computes before it meets the context for the first time."""
        x = self.temp_convs[0](self.resnets[0](x, emb), frames)
        return x, self.attentions[0].look_around(x, key_pooling)

    def __call__(
        self, x: mx.array, emb: mx.array, key_values: list[KeyValue], frames: int, skips: list[mx.array],
        begun: Begun | None = None, key_pooling: bool = False,
    ) -> Iterator[mx.array]:  # fmt: skip
        """x (B*F, H, W, C_in) -> ..., (B*F, H/2, W/2, C). Every output is pushed onto `skips`.

        With `begun`, what `begin` made of x is taken from there.
        """
        for i, (resnet, temp_conv) in enumerate(zip(self.resnets, self.temp_convs, strict=True)):
            if begun is not None and i == 0:
                x = self.temp_attentions[0](self.attentions[0].look_at(*begun, key_values[0]), frames)
            else:
                x = temp_conv(resnet(x, emb), frames)
                if self.attentions:
                    x = self.temp_attentions[i](self.attentions[i](x, key_values[i], key_pooling), frames)
            skips.append(x)
            yield x
        if "downsamplers" in self:
            x = self.downsamplers[0](x)
            skips.append(x)
            yield x

    @property
    def output_count(self) -> int:
        """How often `__call__` yields."""
        return len(self.resnets) + ("downsamplers" in self)


class MidBlock(nn.Module):
    def __init__(self, channels: int, temb_dims: int, context_dims: int, head_dim: int, groups: int):
        super().__init__()
        self.resnets = [ResnetBlock2D(channels, channels, temb_dims, groups) for _ in range(2)]
        self.temp_convs = [TemporalConvLayer(channels, groups) for _ in range(2)]
        _add_attention(self, 1, channels, context_dims, head_dim, groups)

    def key_values(self, context: mx.array) -> list[KeyValue]:
        return [self.attentions[0].key_value(context)]

    def __call__(self, x: mx.array, emb: mx.array, key_values: list[KeyValue], frames: int) -> Iterator[mx.array]:
        x = self.temp_convs[0](self.resnets[0](x, emb), frames)
        x = self.temp_attentions[0](self.attentions[0](x, key_values[0]), frames)
        yield x
        yield self.temp_convs[1](self.resnets[1](x, emb), frames)

    @property
    def output_count(self) -> int:
        return 2


class UpBlock(nn.Module):
    def __init__(
        self, skip_channels: int, in_channels: int, channels: int, layers: int, temb_dims: int, context_dims: int,
        head_dim: int, groups: int, attention: bool, upsample: bool,
    ):  # fmt: skip
        super().__init__()
        self.resnets = [
            ResnetBlock2D(
                (in_channels if i == 0 else channels) + (skip_channels if i == layers - 1 else channels),
                channels, temb_dims, groups,
            )
            for i in range(layers)
        ]  # fmt: skip
        self.temp_convs = [TemporalConvLayer(channels, groups) for _ in range(layers)]
        _add_attention(self, attention * layers, channels, context_dims, head_dim, groups)
        if upsample:
            self.upsamplers = [Upsample2D(channels)]

    def key_values(self, context: mx.array) -> list[KeyValue]:
        return [attention.key_value(context) for attention in self.attentions]

    def __call__(
        self, x: mx.array, emb: mx.array, key_values: list[KeyValue], frames: int, skips: list[mx.array],
        freeu: tuple[float, float] | None = None, key_pooling: bool = False,
    ) -> Iterator[mx.array]:  # fmt: skip
        """x (B*F, H, W, C_in) -> ..., (B*F, 2H, 2W, C). Every layer pops its skip."""
        for i, (resnet, temp_conv) in enumerate(zip(self.resnets, self.temp_convs, strict=True)):
            skip = skips.pop()
            if freeu:
                x, skip = _freeu(x, skip, *freeu)
            x = temp_conv(resnet(x, emb, skip), frames)
            if self.attentions:
                x = self.temp_attentions[i](self.attentions[i](x, key_values[i], key_pooling), frames)
            yield x
        if "upsamplers" in self:
            _, H, W, _ = skips[-1].shape
            yield self.upsamplers[0](x, (H, W))  # an odd size on the way down comes back as it was

    @property
    def output_count(self) -> int:
        return len(self.resnets) + ("upsamplers" in self)


def _add_attention(
    block: nn.Module, count: int, channels: int, context_dims: int, head_dim: int, groups: int
) -> None:
    heads = channels // head_dim
    block.attentions = [Transformer2DModel(channels, heads, head_dim, context_dims, groups) for _ in range(count)]
    block.temp_attentions = [TransformerTemporalModel(channels, heads, head_dim, groups) for _ in range(count)]


def _freeu(x: mx.array, skip: mx.array, b: float, s: float) -> tuple[mx.array, mx.array]:
    """Half of the backbone's channels times b; the skip's lowest 2 x 2 frequencies times s (diffusers)."""
    half = x.shape[-1] // 2
    x = mx.concatenate([b * x[..., :half], x[..., half:]], axis=-1)
    _, H, W, _ = skip.shape
    spectrum = mx.fft.fft2(skip.astype(mx.float32), axes=(1, 2))
    # Unshifted, the four bins around the centre are the frequencies -1 and 0.
    rows, columns = ((mx.arange(n) == 0) | (mx.arange(n) == n - 1) for n in (H, W))
    gain = mx.where(rows[:, None] & columns[None], s, 1.0)[..., None]
    filtered = mx.fft.ifft2(spectrum * gain, axes=(1, 2)).real
    return x, filtered.astype(skip.dtype)
