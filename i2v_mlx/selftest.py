"""Every MLX operation that we rely on, at a size that takes the path of a run, against numpy in double precision.

GPU kernels have been wrong on single chips and systems before, without an error: a wrong number is all one sees.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from . import device
from .i2vgen_xl.unet import adaptive_average_pool
from .layers.attention import attend
from .layers.norms import GroupNorm, kernel_problem
from .layers.resnet import nearest
from .layers.temporal import TemporalConvLayer

# Largest difference, in standard deviations of the right answer. Winograd convolutions lose most in half precision.
BOUNDS = {"float32": 1e-3, "float16": 5e-2}

Check = Callable[[mx.Dtype], tuple[mx.array, np.ndarray]]


def report(on: mx.Device) -> bool:
    """Prints a line for each operation; True if all are right. float16 is tried on a GPU only."""
    dtypes = [mx.float32, mx.float16] if device.on_gpu() else [mx.float32]
    good = True
    for dtype in dtypes:
        kind = str(dtype).removeprefix("mlx.core.")
        for name, check in CHECKS.items():
            started = time.perf_counter()
            try:
                ours, right = check(dtype)
                error = float(np.abs(np.asarray(ours.astype(mx.float32)) - right).max() / right.std())
                passed = error < BOUNDS[kind]
                result = f"{error:.1e}"
            except RuntimeError as problem:
                passed, result = False, str(problem)[:80]
            good &= passed
            verdict = "ok    " if passed else "FAILED"
            spent = 1000 * (time.perf_counter() - started)
            print(f"{verdict} {on.type.name} {kind} {name}: {result} ({spent:.0f} ms)")
        print(f"       {on.type.name} {kind} group norm: {_norms_by(dtype)}")
    return good


def _norms_by(dtype: mx.Dtype) -> str:
    """Which of its two ways a group norm goes; either is right."""
    if not device.on_gpu():
        return "plain operations; its kernel is for GPUs"
    for silu in (False, True):
        if problem := kernel_problem(dtype, dtype, silu):
            return f"plain operations, slower than its kernel: {problem}"
    return "its kernel, equal to plain operations"


def _draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Values that float16 holds exactly, so that both sides start from the same."""
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float16)
    return values.astype(np.float64)


def _matmul(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    a, b, c = _draw(512, 640), _draw(640, 320, seed=1), _draw(320, seed=2)
    return mx.addmm(_mx(c, dtype), _mx(a, dtype), _mx(b, dtype)), a @ b + c


def _quantized_matmul(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    x, weight = _draw(64, 320), _draw(128, 320, seed=1)
    packed, scales, biases = mx.quantize(_mx(weight, mx.float32), group_size=64, bits=8)
    rounded = np.asarray(mx.dequantize(packed, scales, biases, group_size=64, bits=8), np.float64)
    scales, biases = scales.astype(dtype), biases.astype(dtype)
    y = mx.quantized_matmul(_mx(x, dtype), packed, scales, biases, transpose=True, group_size=64, bits=8)
    return y, x @ rounded.T


def _conv(kernel: tuple[int, int], stride: int, size: tuple[int, int, int], channels: int) -> Check:
    """A convolution with zero padding, against shifted matrix products."""

    def check(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
        kh, kw = kernel
        x, weight = _draw(*size, channels), _draw(channels, kh, kw, channels, seed=1) / math.sqrt(kh * kw * channels)
        weight = weight.astype(np.float16).astype(np.float64)
        padding = (kh // 2, kw // 2)
        y = mx.conv2d(_mx(x, dtype), _mx(weight, dtype), stride=stride, padding=padding)
        padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
        _, H, W, _ = y.shape
        right = sum(
            padded[:, i : i + stride * H : stride, j : j + stride * W : stride][:, :H, :W] @ weight[:, i, j].T
            for i in range(kh)
            for j in range(kw)
        )
        return y, np.asarray(right)

    return check


def _conv_without_winograd(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    with device.direct_convolutions():
        y, right = _conv((3, 3), 1, (4, 40, 64), 128)(dtype)
        mx.eval(y)
    return y, right


def _attention(queries: int, keys: int, heads: int, dims: int, batch: int = 1) -> Check:
    def check(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
        q, k, v = (_draw(batch, heads, n, dims, seed=i) for i, n in enumerate((queries, keys, keys)))
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(dims)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        right = weights / weights.sum(-1, keepdims=True) @ v
        return attend(*(_mx(a, dtype) for a in (q, k, v))), right.swapaxes(1, 2).reshape(batch, queries, -1)

    return check


def _causal_attention(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    q, k, v = (_draw(1, 4, 77, 64, seed=i) for i in range(3))
    scores = q @ k.swapaxes(-1, -2) / 8 + np.triu(np.full((77, 77), -np.inf), 1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = mx.fast.scaled_dot_product_attention(*(_mx(a, dtype) for a in (q, k, v)), scale=1 / 8, mask="causal")
    return y, weights / weights.sum(-1, keepdims=True) @ v


def _layer_norm(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    x, weight, bias = 5 + _draw(256, 1280), _draw(1280, seed=1), _draw(1280, seed=2)
    right = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias
    return mx.fast.layer_norm(_mx(x, dtype), _mx(weight, dtype), _mx(bias, dtype), 1e-5), right


def _group_norm(shape: tuple[int, ...]) -> Check:
    def check(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
        x = 5 + _draw(*shape)
        grouped = x.reshape(shape[0], -1, 32, shape[-1] // 32)
        mean, variance = (f((1, 3), keepdims=True) for f in (grouped.mean, grouped.var))
        right = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(shape)
        return GroupNorm(32, shape[-1])(_mx(x, dtype), silu=True), right / (1 + np.exp(-right))

    return check


def _activations(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    x = _draw(64, 1024)
    erf = np.vectorize(math.erf)(x / math.sqrt(2))
    right = np.concatenate([x / (1 + np.exp(-x)), x * (1 + erf) / 2])
    return mx.concatenate([nn.silu(_mx(x, dtype)), nn.gelu(_mx(x, dtype))]), right


def _upsample(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    x = _draw(4, 11, 20, 64)
    return nearest(_mx(x, dtype), (21, 39)), x[:, np.arange(21) * 11 // 21][:, :, np.arange(39) * 20 // 39]


def _pool(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    x = _draw(1, 40, 64, 32)
    right = np.stack([
        np.stack([x[:, i * 40 // 32 : -(-(i + 1) * 40 // 32), 2 * j : 2 * j + 2].mean((1, 2)) for j in range(32)], 1)
        for i in range(32)
    ], 1)  # fmt: skip
    return adaptive_average_pool(_mx(x, dtype), 32), right


def _fourier(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    x = _draw(2, 10, 16, 32)
    y = mx.fft.ifft2(mx.fft.fft2(_mx(x, mx.float32), axes=(1, 2)) * 0.5, axes=(1, 2)).real
    return y.astype(dtype), x / 2


def _temporal_conv(dtype: mx.Dtype) -> tuple[mx.array, np.ndarray]:
    layer = TemporalConvLayer(64)
    layer.set_dtype(dtype)
    x = _draw(4, 8, 8, 64)
    return layer(_mx(x, dtype), 4), np.asarray(_in_double(layer, x))


def _in_double(layer: TemporalConvLayer, x: np.ndarray) -> np.ndarray:
    h = x.reshape(1, 4, 64, 64)
    for stage in (layer.conv1, layer.conv2, layer.conv3, layer.conv4):
        grouped = h.reshape(1, -1, 32, 2)
        mean, variance = (f((1, 3), keepdims=True) for f in (grouped.mean, grouped.var))
        h = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(h.shape)
        h = h / (1 + np.exp(-h))
        weight = np.asarray(stage[-1].weight.astype(mx.float32), np.float64)
        bias = np.asarray(stage[-1].bias.astype(mx.float32), np.float64)
        padded = np.pad(h, ((0, 0), (1, 1), (0, 0), (0, 0)))
        h = sum(padded[:, k : k + 4] @ weight[:, k, 0].T for k in range(3)) + bias
    return (x.reshape(1, 4, 64, 64) + h).reshape(x.shape)


def _mx(x: np.ndarray, dtype: mx.Dtype) -> mx.array:
    return mx.array(x.astype(np.float32)).astype(dtype)


CHECKS: dict[str, Check] = {
    "matrix product": _matmul,
    "8-bit matrix product": _quantized_matmul,
    "3x3 convolution (Winograd on Metal)": _conv((3, 3), 1, (4, 40, 64), 128),
    "3x3 convolution, Winograd off": _conv_without_winograd,
    "3x3 convolution, small": _conv((3, 3), 1, (2, 5, 8), 64),
    "3x3 convolution, stride 2": _conv((3, 3), 2, (2, 20, 33), 64),
    "3x3 convolution, 4 channels": _conv((3, 3), 1, (2, 40, 64), 4),
    "(3, 1) convolution over frames": _conv((3, 1), 1, (1, 16, 640), 64),
    "temporal convolution layer": _temporal_conv,
    "spatial attention, 5 heads of 64": _attention(640, 640, 5, 64, batch=2),
    "cross attention to 145 tokens": _attention(1024, 145, 5, 64),
    "temporal attention, 16 frames": _attention(16, 16, 5, 64, batch=640),
    "attention, heads of 80 (CLIP vision)": _attention(257, 257, 4, 80),
    "attention, one head of 512 (VAE)": _attention(640, 640, 1, 512),
    "causal attention (CLIP text)": _causal_attention,
    "layer norm": _layer_norm,
    "group norm per frame": _group_norm((4, 20, 32, 320)),
    "group norm across frames": _group_norm((1, 16, 640, 320)),
    "SiLU and GELU": _activations,
    "nearest upsampling to odd sizes": _upsample,
    "adaptive pooling": _pool,
    "Fourier transform": _fourier,
}
