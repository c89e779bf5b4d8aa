"""Numbers (timestep, fps) as vectors (arXiv 1706.03762, section 3.5; diffusers/models/embeddings.py)."""

import math

import mlx.core as mx
import mlx.nn as nn


def sinusoidal(values: mx.array, dims: int) -> mx.array:
    """values (N,) -> (N, dims) float32: cosines in the first half, sines in the second."""
    half = dims // 2
    frequencies = mx.exp(-math.log(10000) / half * mx.arange(half, dtype=mx.float32))
    angles = values.astype(mx.float32)[:, None] * frequencies
    return mx.concatenate([mx.cos(angles), mx.sin(angles)], axis=-1)


class TimestepEmbedding(nn.Module):
    def __init__(self, dims: int, inner: int):
        super().__init__()
        self.linear_1 = nn.Linear(dims, inner)
        self.linear_2 = nn.Linear(inner, inner)

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear_2(nn.silu(self.linear_1(x)))
