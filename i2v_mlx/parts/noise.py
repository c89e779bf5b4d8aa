"""Standard normal numbers as torch's CPU generator draws them, so that a seed means the same picture as in diffusers.

The generator is MT19937. Its floats are the low 24 bits of a word; 16 and more of them become normals in blocks by
Box-Muller (torch aten/src/ATen/native/cpu/DistributionTemplates.h, normal_fill), fewer come from doubles one pair at a
time (ATen/core/DistributionsHelper.h).
"""

from __future__ import annotations

import math

import numpy as np

BLOCK = 16


class TorchNoise:
    """A stream of normals. Two streams with the same seed, asked for the same shapes in turn, give the same numbers."""

    def __init__(self, seed: int):
        # RandomState is the constructor that seeds MT19937 with one word, as torch does.
        self._words = np.random.RandomState(seed % 2**32)._bit_generator
        self._spare: float | None = None

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Float32 array of `shape`, ``torch.randn(shape, generator=...)`` to 3.6e-7 of max(|x|, 1)."""
        n = math.prod(shape)
        values = self._blocks(n) if n >= BLOCK else np.array([self._one() for _ in range(n)], dtype=np.float32)
        return values.reshape(shape)

    def _blocks(self, n: int) -> np.ndarray:
        uniform = self._uniform(n)
        whole = n - n % BLOCK
        values = np.empty(n, dtype=np.float32)
        values[:whole] = _box_muller(uniform[:whole])
        if whole < n:  # the last 16 are drawn again
            values[-BLOCK:] = _box_muller(self._uniform(BLOCK))
        return values

    def _uniform(self, n: int) -> np.ndarray:
        words = self._words.random_raw(n).astype(np.uint32)
        return (words & np.uint32(2**24 - 1)).astype(np.float32) * np.float32(2**-24)

    def _one(self) -> float:
        if self._spare is not None:
            value, self._spare = self._spare, None
            return value
        u, v = (self._uniform_double() for _ in range(2))
        radius, angle = math.sqrt(-2 * math.log1p(-v)), 2 * math.pi * u
        self._spare = radius * math.sin(angle)
        return radius * math.cos(angle)

    def _uniform_double(self) -> float:
        high, low = (int(word) for word in self._words.random_raw(2))
        return ((high << 32 | low) & (2**53 - 1)) * 2.0**-53


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """Values j and j + 8 of each block make a pair of normals."""
    first, second = uniform.reshape(-1, 2, BLOCK // 2).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - first))
    angle = np.float32(2 * np.pi) * second
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


class NoiseSource:
    """The noise of a run with `count` videos, from one stream for all of them or from one stream each.

    A single seed draws as the reference does with one global generator: one array for all videos at a time. With a list
    every video has the noise that it would have alone.
    """

    def __init__(self, seeds: int | list[int], count: int):
        self.count = count
        self._streams = [TorchNoise(seed) for seed in (seeds if isinstance(seeds, list) else [seeds])]

    @property
    def shared(self) -> bool:
        """Whether one stream serves all videos."""
        return len(self._streams) == 1

    def draw(self, shape: tuple[int, ...], count: int | None = None) -> np.ndarray:
        """(count, *shape) float32; `count` other than the number of videos only from a shared stream."""
        if self.shared:
            return self._streams[0].normal((count or self.count, *shape))
        return np.stack([stream.normal(shape) for stream in self._streams])
