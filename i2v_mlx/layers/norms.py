"""Group normalisation (arXiv 1803.08494) with torch's grouping: a group is a run of neighbouring channels."""

from functools import partial

import mlx.core as mx
import mlx.nn as nn


class GroupNorm(nn.Module):
    """Normalises over all middle axes and the channels of each group.

    The shape decides what shares statistics: ``(B*F, H, W, C)`` normalises every frame by itself, ``(B, F, L, C)`` all
    frames of a video together.
    """

    def __init__(self, num_groups: int, dims: int, eps: float = 1e-5):
        super().__init__()
        self.num_groups = num_groups
        self.eps = eps
        self.weight = mx.ones((dims,))
        self.bias = mx.zeros((dims,))

    def __call__(self, x: mx.array, silu: bool = False) -> mx.array:
        """x (N, ..., C) -> the same shape and dtype; `silu` applies x * sigmoid(x) in the same pass."""
        rows = x.reshape(x.shape[0], -1, x.shape[-1])  # (N, L, C)
        # Per channel first, then over a group's channels: the long reduction keeps its vector axis.
        mean = self._group_mean(rows.astype(mx.float32).mean(axis=1, keepdims=True))
        variance = self._group_mean(_squared_distance(rows, mean).mean(axis=1, keepdims=True))
        scale = mx.rsqrt(variance + self.eps) * self.weight
        normalise = _normalise_silu if silu else _normalise
        return normalise(rows, mean, scale, self.bias).reshape(x.shape)

    def _group_mean(self, per_channel: mx.array) -> mx.array:
        """(N, 1, C) -> (N, 1, C): every channel gets the mean of its group."""
        N, _, C = per_channel.shape
        groups = per_channel.reshape(N, self.num_groups, C // self.num_groups)
        return mx.broadcast_to(groups.mean(axis=-1, keepdims=True), groups.shape).reshape(N, 1, C)


# Compiled, each is one pass over x with float32 inside and no float32 copy outside.


@partial(mx.compile, shapeless=True)
def _squared_distance(x: mx.array, mean: mx.array) -> mx.array:
    return mx.square(x.astype(mx.float32) - mean)


@partial(mx.compile, shapeless=True)
def _normalise(x: mx.array, mean: mx.array, scale: mx.array, bias: mx.array) -> mx.array:
    return ((x.astype(mx.float32) - mean) * scale + bias).astype(x.dtype)


@partial(mx.compile, shapeless=True)
def _normalise_silu(x: mx.array, mean: mx.array, scale: mx.array, bias: mx.array) -> mx.array:
    y = (x.astype(mx.float32) - mean) * scale + bias
    return (y * mx.sigmoid(y)).astype(x.dtype)
