"""Residual block, downsampler and upsampler, per frame (diffusers/models/resnet.py, downsampling.py, upsampling.py)."""

import mlx.core as mx
import mlx.nn as nn

from .chunks import equal_parts, in_turn
from .norms import GroupNorm


class ResnetBlock2D(nn.Module):
    """norm, SiLU, conv; add the time embedding; norm, SiLU, conv; add the input."""

    def __init__(
        self, in_channels: int, out_channels: int, temb_channels: int | None = None, groups: int = 32, eps: float = 1e-5
    ):
        super().__init__()
        self.norm1 = GroupNorm(groups, in_channels, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if temb_channels is not None:
            self.time_emb_proj = nn.Linear(temb_channels, out_channels)
        self.norm2 = GroupNorm(groups, out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.conv_shortcut = nn.Linear(in_channels, out_channels)  # a 1x1 convolution

    def __call__(self, x: mx.array, temb: mx.array | None = None, skip: mx.array | None = None) -> mx.array:
        """A few frames at a time when they are large: norms, joined skips and Winograd's scratch stay small.

        Args:
            x: (N, H, W, C) and skip: (N, H, W, C_in - C), joined to x's channels; without it C is C_in.
            temb: (B, D), SiLU applied, B divides N: the same for all frames of a video.

        Returns:
            (N, H, W, C_out)
        """
        N, H, W, _ = x.shape
        bias = None
        if temb is not None:
            bias = self.time_emb_proj(temb)  # (B, C_out)
            bias = mx.repeat(bias, N // bias.shape[0], axis=0)[:, None, None]  # (N, 1, 1, C_out)
        widest = H * W * max(self.norm1.weight.size, self.norm2.weight.size)

        def frames(part: mx.array, here: slice) -> mx.array:
            joined = part if skip is None else mx.concatenate([part, skip[here]], axis=-1)
            return self._frames(joined, None if bias is None else bias[here])

        return in_turn(frames, x, equal_parts(N, N * widest))

    def _frames(self, x: mx.array, bias: mx.array | None) -> mx.array:
        """x (n, H, W, C_in), bias (n, 1, 1, C_out) -> (n, H, W, C_out)"""
        h = self.conv1(self.norm1(x, silu=True))
        if bias is not None:
            h = h + bias
        h = self.conv2(self.norm2(h, silu=True))
        return (self.conv_shortcut(x) if "conv_shortcut" in self else x) + h


class Downsample2D(nn.Module):
    """3x3 convolution with stride 2. Odd sizes round up."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def __call__(self, x: mx.array) -> mx.array:
        return self.conv(x)  # (N, ceil(H/2), ceil(W/2), C)


class Upsample2D(nn.Module):
    """Nearest-neighbour enlargement, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def __call__(self, x: mx.array, size: tuple[int, int] | None = None) -> mx.array:
        """x (N, H, W, C) -> (N, *size, C); twice the size unless told."""
        return self.conv(nearest(x, size or (2 * x.shape[1], 2 * x.shape[2])))


def nearest(x: mx.array, size: tuple[int, int]) -> mx.array:
    """x (N, H, W, C) -> (N, *size, C), source index floor(i * in / out) as in torch."""
    N, H, W, C = x.shape
    if size == (2 * H, 2 * W):
        return mx.broadcast_to(x[:, :, None, :, None], (N, H, 2, W, 2, C)).reshape(N, 2 * H, 2 * W, C)
    rows, columns = (mx.arange(n_out) * n_in // n_out for n_in, n_out in zip((H, W), size, strict=True))
    return mx.take(mx.take(x, rows, axis=1), columns, axis=2)
