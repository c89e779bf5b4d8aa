"""What Metal would copy in an evaluation of the network, held: no copy comes unnoticed (see benchmarks/copies.py)."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from copies import Array, by_layer, copies

from i2v_mlx.i2vgen_xl.config import UNetConfig
from i2v_mlx.layers.attention import Attention
from i2v_mlx.layers.norms import GroupNorm

X = (4, 64, 512)  # of the small functions below


def attention(x):
    q = x.reshape(-1, 64, 8, 64).swapaxes(1, 2)
    return mx.fast.scaled_dot_product_attention(q, q, q, scale=1.0)


CONV = mx.zeros((512, 3, 1, 512))
WEIGHT = mx.zeros((512, 512))
NORM = GroupNorm(32, 64)
FREE = {
    "split": lambda x: mx.split(x, 2, axis=-1)[0] + 1,
    "axes that stay neighbours": lambda x: x.reshape(2, 2, 64, 8, 64).swapaxes(2, 3)[:, 0].reshape(2, 8, -1, 64),
    "heads for attention and back": lambda x: attention(x).swapaxes(1, 2).reshape(X),
    "a transposed factor": lambda x: x @ WEIGHT.T,
    "a transposed term": lambda x: x.swapaxes(0, 1) + x.swapaxes(0, 1),
    "part of a whole": lambda x: attention(x[:2]),
    "a view for a convolution": lambda x: mx.conv2d(x.reshape(1, 4, 64, 512), CONV, padding=(1, 0)),
}  # fmt: skip
COPYING = {
    "reshape": lambda x: x.swapaxes(0, 1).reshape(-1, 512),
    "reshape ": lambda x: mx.broadcast_to(x[:, :, None], (4, 64, 2, 512)).reshape(4, 128, 512),
    "join": lambda x: mx.concatenate([x, x], axis=-1),
    "convolution's input": lambda x: mx.conv2d(x.reshape(1, 4, 64, 512).swapaxes(1, 2), CONV, padding=(1, 0)),
    "matrix product's input": lambda x: x[..., ::2] @ mx.zeros((256, 8)),
    "attention's input": lambda x: mx.fast.scaled_dot_product_attention(
        x.reshape(4, 8, 64, 64).swapaxes(2, 3), *[x.reshape(4, 8, 64, 64)] * 2, scale=1.0
    ),
    "group norm's input": lambda x: NORM(x.swapaxes(1, 2)),
    "layer norm's input": lambda x: nn.LayerNorm(64, affine=False)(x.swapaxes(1, 2)),
    "conversion": lambda x: x.astype(mx.float16),
    "gather": lambda x: x[mx.array([0, 3, 2])],
}


@pytest.mark.parametrize("name", FREE)
def test_views_are_seen_as_free(name):
    assert kinds(FREE[name]) == Counter()


@pytest.mark.parametrize("name", COPYING)
def test_copies_are_seen(name):
    assert set(kinds(COPYING[name])) == {name.strip()}


def kinds(function) -> Counter[str]:
    x = mx.zeros(X)
    return Counter({kind: n for (kind, _), n in copies(function, x).items() if kind != "float32"})


def test_reshaping_finds_views_as_mlx_does():
    """And as numpy does."""
    base = np.zeros((2, 3, 4, 5, 6), np.int8)
    views = [base, base.transpose(0, 2, 1, 3, 4), base[:, :, 1], base.transpose(3, 4, 0, 1, 2), base[:1, :, ::2]]
    found = set()
    for view in views:
        for shape in [(-1,), (6, -1), (-1, 6), (2, 3, -1), (view.shape[0], -1), (*view.shape[:2], -1, 1)]:
            if view.size % -np.prod(shape):
                continue
            theirs = view.reshape(shape)
            ours = Array(view.shape, view.strides).reshaped(theirs.shape)
            assert (ours is not None) == np.shares_memory(theirs, view)
            found.add(ours is not None)
            if ours is not None:
                lengths = zip(theirs.shape, ours.strides, theirs.strides, strict=True)
                assert all(length == 1 or a == b for length, a, b in lengths)
    assert found == {True, False}


def test_self_attention_of_a_video_copies_nothing():
    layer = Attention(320, 5, 64)
    mx.eval(layer.parameters())
    x = mx.zeros((1, 16, 640, 320))
    found = copies(layer.across, x)
    assert not {kind for kind, _ in found} - {"float32"}


@pytest.fixture(scope="module")
def released():
    """512x320, 16 frames."""
    return dict(by_layer(UNetConfig(), 16, 40, 64))


def test_an_evaluation_copies_only_what_it_must(released):
    kinds = Counter(kind for found in released.values() for kind, _ in found.elements())
    assert set(kinds) == {"join", "reshape", "conversion"}
    # The three upsamplers' enlarged inputs; and where temporal transformers are computed in parts, a part's positions
    # are gathered from all frames: five parts at the entrance, four and two of each of five at the finer levels.
    assert kinds["reshape"] == 3 + 5 + 5 * 4 + 5 * 2
    assert kinds["conversion"] == 2                    # latents to half precision, the prediction back
    assert released["entrance"][("conversion", 16 * 40 * 64 * 4)] == 1
    assert released["layer 29"] == Counter({("conversion", 16 * 40 * 64 * 4): 1})


def test_what_is_joined(released):
    """The skips; and, at the finer levels, what is computed in parts to keep memory and single dispatches small."""
    joined = {name: sum(size * n for (kind, size), n in found.items() if kind == "join")
              for name, found in released.items()}  # fmt: skip
    skips = {14: (40, 2560), 15: (40, 2560), 16: (40, 2560), 18: (160, 2560), 19: (160, 2560), 20: (160, 1920)}
    coarse = {layer: joined[f"layer {layer}"] for layer in range(6, 22) if joined[f"layer {layer}"]}
    assert coarse == {layer: 16 * positions * channels for layer, (positions, channels) in skips.items()}
    assert sum(joined.values()) < 35 * 16 * 40 * 64 * 320  # of the finest level's activation
