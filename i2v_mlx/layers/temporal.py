"""What looks across frames: a stack of convolutions over time, and a transformer over time.

Both normalise over all frames of a video together. Neither knows a frame's position: order is seen only through the
zero padding of the convolutions and the ramp in the image latents.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from .attention import TransformerBlock
from .chunks import equal_parts, in_turn
from .norms import GroupNorm


class TemporalConvLayer(nn.Module):
    """Four times norm, SiLU, convolution over three frames; added to the input (diffusers/models/resnet.py).

    A (3, 1, 1) convolution of (B, F, H, W, C) is a (3, 1) convolution of its view (B, F, L, C).
    """

    def __init__(self, channels: int, groups: int = 32):
        super().__init__()

        def stage(dropout: list[nn.Module]) -> list[nn.Module]:
            conv = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
            return [GroupNorm(groups, channels), nn.Identity(), *dropout, conv]  # the identities are SiLU and dropout

        self.conv1 = stage([])
        self.conv2 = stage([nn.Identity()])
        self.conv3 = stage([nn.Identity()])
        self.conv4 = stage([nn.Identity()])

    def __call__(self, x: mx.array, frames: int) -> mx.array:
        """x (B*F, H, W, C) -> the same shape."""
        video = x.reshape(-1, frames, x.shape[1] * x.shape[2], x.shape[3])  # (B, F, L, C)
        h = video
        for stage in (self.conv1, self.conv2, self.conv3, self.conv4):
            h = stage[-1](stage[0](h, silu=True))
        return (video + h).reshape(x.shape)


class TransformerTemporalModel(nn.Module):
    """Every position attends to itself in all frames, twice, without positions (diffusers transformer_temporal.py)."""

    def __init__(self, channels: int, heads: int, head_dim: int, groups: int = 32):
        super().__init__()
        inner = heads * head_dim
        self.widest = 8 * inner    # in the feed-forward
        self.norm = GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner)
        self.transformer_blocks = [TransformerBlock(inner, heads, head_dim)]
        self.proj_out = nn.Linear(inner, channels)

    def __call__(self, x: mx.array, frames: int) -> mx.array:
        """x (B*F, H, W, C) -> the same shape."""
        video = x.reshape(-1, frames, x.shape[1] * x.shape[2], x.shape[3])  # (B, F, L, C)
        B, F, L, _ = video.shape
        at_once = equal_parts(L, B * F * L * self.widest)
        h = in_turn(lambda part, _: self._positions(part), self.norm(video), at_once, axis=2)
        return (video + h).reshape(x.shape)

    def _positions(self, x: mx.array) -> mx.array:
        """x (B, F, l, C) -> the same shape. After the norm a position knows of no other."""
        block = self.transformer_blocks[0]
        h = self.proj_in(x)
        h = h + block.attn1.across(block.norm1(h))
        h = h + block.attn2.across(block.norm2(h))
        h = h + block.ff(block.norm3(h))
        return self.proj_out(h)
