"""Parts one after the other: the same result, and not the temporaries of all."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from i2v_mlx.layers import chunks


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
def test_parts_are_joined_where_they_were(axis, at_once):
    x = mx.random.normal((6, 6, 6), key=mx.random.key(0))
    seen = []

    def function(part: mx.array, here: slice) -> mx.array:
        seen.append(part.shape[axis])
        assert np.array_equal(np.array(part), np.array(x)[(slice(None),) * axis + (here,)])
        return 2 * part

    got = chunks.in_turn(function, x, at_once, axis)
    assert np.array_equal(np.array(got), 2 * np.array(x))
    assert seen == [min(at_once, 6 - i) for i in range(0, 6, at_once)]


def test_not_all_parts_have_their_temporaries_at_once():
    """A few can, as MLX frees an array only when the operations that are under way are over."""
    x = mx.ones((24, 1000))
    mx.eval(x)

    def large(part: mx.array, _here: slice) -> mx.array:
        wide = mx.broadcast_to(part[:, :, None], (1, 1000, 1000)) * mx.arange(1000)
        return mx.cumsum(wide, axis=-1).max(axis=-1)

    def peak(y: mx.array) -> int:
        mx.reset_peak_memory()
        mx.eval(y)
        return mx.get_peak_memory()

    everything = mx.concatenate([large(x[i : i + 1], slice(0)) for i in range(24)])
    assert peak(chunks.in_turn(large, x, 1)) < 0.6 * peak(everything)


@pytest.mark.parametrize(("count", "elements", "expected"), [
    (16, 2**25, 16), (16, 2**25 + 1, 8), (16, 3 * 2**25, 6), (5, 10 * 2**25, 1), (7, 1, 7),
])  # fmt: skip
def test_equal_parts(count, elements, expected):
    assert chunks.equal_parts(count, elements) == expected
