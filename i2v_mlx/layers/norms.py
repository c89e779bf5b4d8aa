"""Group normalisation (arXiv 1803.08494) with torch's grouping: a group is a run of neighbouring channels."""

import logging
from functools import cache, partial

import mlx.core as mx
import mlx.nn as nn

from .. import device
from .activations import silu as silu_of
from .norm_kernel import group_norm

# Largest difference to the plain operations, in deviations of the output, at which the kernel is trusted.
KERNEL_BOUNDS = {mx.float32: 1e-4, mx.float16: 1e-2, mx.bfloat16: 1e-1}


class GroupNorm(nn.Module):
    """Normalises over all middle axes and the channels of each group.

    The shape decides what shares statistics: ``(B*F, H, W, C)`` normalises every frame by itself, ``(B, F, L, C)`` all
    frames of a video together. On a GPU it is a kernel of our own, see `norm_kernel`, once that has proved right there.
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
        kernel = device.on_gpu() and kernel_problem(x.dtype, self.weight.dtype, silu) is None
        normalise = group_norm if kernel else plain_group_norm
        return normalise(rows, self.weight, self.bias, self.num_groups, self.eps, silu).reshape(x.shape)


@cache
def kernel_problem(dtype: mx.Dtype, weight_dtype: mx.Dtype, silu: bool) -> str | None:
    """What is wrong with the kernel on this GPU, or None. Tried once in a process, on a few thousand numbers."""
    x = 3 + 2 * mx.random.normal((2, 67, 96), key=mx.random.key(0))
    weight, bias = (mx.random.normal((96,), key=mx.random.key(i)).astype(weight_dtype) for i in (1, 2))
    arguments = (x.astype(dtype), weight, bias, 32, 1e-5, silu)
    try:
        right = plain_group_norm(*arguments).astype(mx.float32)
        error = float(mx.abs(group_norm(*arguments).astype(mx.float32) - right).max() / mx.std(right))
    except Exception as failure:  # noqa: BLE001 - whatever a compiler or a driver says, the plain operations are there
        found = str(failure).strip().partition("\n")[0][:200] or type(failure).__name__
    else:
        if error < KERNEL_BOUNDS[dtype]:  # not if it is NaN
            return None
        found = f"off by {error:.1e} deviations"
    logging.getLogger(__name__).warning("The group norm kernel is not used (%s): %s", dtype, found)
    return found


def plain_group_norm(
    x: mx.array, weight: mx.array, bias: mx.array, groups: int, eps: float, silu: bool
) -> mx.array:
    """`group_norm` of MLX's own operations: for a CPU, and what the kernel is held against."""
    # Per channel first, then over a group's channels: the long reduction keeps its vector axis.
    mean = _group_mean(x.astype(mx.float32).mean(axis=1, keepdims=True), groups)
    variance = _group_mean(_squared_distance(x, mean).mean(axis=1, keepdims=True), groups)
    scale = mx.rsqrt(variance + eps) * weight
    normalise = _normalise_silu if silu else _normalise
    return normalise(x, mean, scale, bias)


def _group_mean(per_channel: mx.array, groups: int) -> mx.array:
    """(N, 1, C) -> (N, 1, C): every channel gets the mean of its group."""
    N, _, C = per_channel.shape
    grouped = per_channel.reshape(N, groups, C // groups)
    return mx.broadcast_to(grouped.mean(axis=-1, keepdims=True), grouped.shape).reshape(N, 1, C)


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
    return silu_of(y).astype(x.dtype)
