"""Pooled keys: the same as averaging keys and values by hand, only where there are many, and never by default."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from i2v_mlx.layers import spatial
from i2v_mlx.layers.spatial import Transformer2DModel


@pytest.fixture
def layer():
    mx.random.seed(0)
    made = Transformer2DModel(16, 2, 8, 12, groups=4)
    mx.eval(made.parameters())
    return made


@pytest.mark.parametrize(("H", "W"), [(6, 8), (5, 7), (2, 2)])
def test_keys_and_values_are_averaged(layer, monkeypatch, H, W):
    monkeypatch.setattr(spatial, "POOLED_FROM", 1)
    x = mx.random.normal((2, H, W, 16), key=mx.random.key(1))
    block = layer.transformer_blocks[0]
    h = layer.proj_in(layer.norm(x).reshape(2, H * W, 16))
    y = block.norm1(h)

    def averaged(z: mx.array) -> mx.array:
        grid = np.array(z).reshape(2, H, W, 16)
        corners = [(i, j) for i in range(0, H - 1, 2) for j in range(0, W - 1, 2)]
        return mx.array(np.stack([grid[:, i : i + 2, j : j + 2].mean(axis=(1, 2)) for i, j in corners], axis=1))

    def split(z: mx.array) -> mx.array:
        return z.reshape(2, -1, 2, 8).swapaxes(1, 2)

    attention = block.attn1
    q, k, v = split(attention.to_q(y)), split(averaged(attention.to_k(y))), split(averaged(attention.to_v(y)))
    o = mx.softmax(q @ k.swapaxes(2, 3) / 8**0.5, axis=-1) @ v
    expected = h + attention.to_out[0](o.swapaxes(1, 2).reshape(2, H * W, 16))
    assert np.allclose(layer.look_around(x, key_pooling=True), expected, atol=1e-5)


def test_only_where_there_are_many(layer):
    x = mx.random.normal((1, 10, 10, 16), key=mx.random.key(1))
    assert mx.array_equal(layer.look_around(x, key_pooling=True), layer.look_around(x))
    assert spatial.POOLED_FROM == 9000


def test_not_by_default(layer, monkeypatch):
    monkeypatch.setattr(spatial, "POOLED_FROM", 1)
    x = mx.random.normal((1, 10, 10, 16), key=mx.random.key(1))
    assert not np.allclose(layer.look_around(x, key_pooling=True), layer.look_around(x), atol=1e-3)
