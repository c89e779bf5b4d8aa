"""A picture in overlapping tiles, cross-faded (diffusers AutoencoderKL, tiled_encode and tiled_decode).

Each tile has its own norm statistics and attention, so the result is close to that of one piece but not equal.
"""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np


def tiled(function: Callable[[mx.array], mx.array], x: mx.array, tile: int, result: int, overlap: float) -> mx.array:
    """Runs `function` on tiles of x (B, H, W, C), which becomes (B, H', W', C') in the ratio of `result` to `tile`.

    Args:
        tile: side of a tile of x; the last ones are smaller.
        result: side of what a whole tile becomes.
        overlap: part of a tile that it shares with the next.
    """
    stride = int(tile * (1 - overlap))
    extent = int(result * overlap)
    kept = result - extent
    rows = []
    above: list[mx.array] = []
    for top in range(0, x.shape[1], stride):
        row: list[mx.array] = []
        for left in range(0, x.shape[2], stride):
            piece = function(x[:, top : top + tile, left : left + tile])
            # Tiles fade into neighbours that have been faded themselves, as in the reference.
            if above:
                piece = _fade(above[len(row)], piece, extent, axis=1)
            if row:
                piece = _fade(row[-1], piece, extent, axis=2)
            mx.eval(piece)
            row.append(piece)
        rows.append(mx.concatenate([piece[:, :kept, :kept] for piece in row], axis=2))
        above = row
    return mx.concatenate(rows, axis=1)


def _fade(before: mx.array, after: mx.array, extent: int, axis: int) -> mx.array:
    """The start of `after` comes in, linearly, over the end of `before`. Shape of `after`."""
    length = before.shape[axis]
    extent = min(length, after.shape[axis], extent)
    weight = mx.array((np.arange(extent) / extent).astype(np.float32))
    weight = weight[:, None, None] if axis == 1 else weight[:, None]
    end = mx.split(before, [length - extent], axis)[1]
    start, rest = mx.split(after, [extent], axis)
    return mx.concatenate([end * (1 - weight) + start * weight, rest], axis)
