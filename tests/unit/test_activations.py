"""SiLU and GELU against float64, and what they leave to MLX's slow CPU functions: nothing."""

from __future__ import annotations

import math

import mlx.core as mx
import numpy as np
import pytest

from i2v_mlx.layers.activations import gelu, silu

X = np.concatenate([np.linspace(-12, 12, 200_001), [-1e4, -100, -60, -0.0, 0, 1e-20, 60, 100, 1e4]]).astype(np.float32)
erf = np.vectorize(math.erf)


def right(name: str) -> np.ndarray:
    x = X.astype(np.float64)
    with np.errstate(over="ignore"):
        return x / (1 + np.exp(-x)) if name == "silu" else 0.5 * x * (1 + erf(x / math.sqrt(2)))


@pytest.mark.parametrize("function", [silu, gelu])
def test_against_float64(function):
    got = np.array(function(mx.array(X)))
    assert np.isfinite(got).all()
    assert (np.abs(got - right(function.__name__)) <= 4e-7 * np.maximum(1, np.abs(X))).all()


@pytest.mark.parametrize("function", [silu, gelu])
def test_not_a_number_stays_one(function):
    assert np.isnan(np.array(function(mx.array([float("nan"), 1.0])))[0])


@pytest.mark.parametrize("function", [silu, gelu])
def test_no_function_that_a_cpu_computes_one_by_one(function):
    names: list[str] = []

    def note(event) -> None:
        if event["type"] == "primitive":
            names.append(event["name"])

    if mx.default_device().type == mx.gpu:
        pytest.skip("a GPU has them in hardware")
    mx.disable_compile()    # a compiled chain hides its operations
    try:
        mx.export_function(note, function, mx.array(X))
    finally:
        mx.enable_compile()
    assert names and not {"Sigmoid", "Exp", "Erf", "Tanh"} & set(names)
