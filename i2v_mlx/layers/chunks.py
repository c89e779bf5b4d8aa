"""Large arrays in parts, so that what a layer needs besides its input and its output stays small."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

# Elements of the largest intermediate array of a part: 64 MB in float16, and still enough work for the largest GPU.
CHUNK_ELEMENTS = 2**25


def in_turn(function: Callable[[mx.array, slice], mx.array], x: mx.array, at_once: int, axis: int = 0) -> mx.array:
    """`function` of `at_once` of x along an axis at a time, joined along it.

    MLX evaluates a wide graph breadth first: it would begin all parts, and hold the temporaries of all. So each depends
    on the one before; that costs nothing.

    Args:
        function: of a part of x and of where it lies.
    """
    parts: list[mx.array] = []
    for i in range(0, x.shape[axis], at_once):
        here = slice(i, i + at_once)
        part = x[(slice(None),) * axis + (here,)]
        if parts:
            (part,) = mx.depends([part], [parts[-1]])
        parts.append(function(part, here))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=axis)


def equal_parts(count: int, elements: int) -> int:
    """How many of `count` at once, in parts of equal size, where all of them have so many elements."""
    return -(-count // -(-elements // CHUNK_ELEMENTS))
