"""Copies that Metal makes in one evaluation of the network, found in its graph; nothing is computed.

    python benchmarks/copies.py
    python benchmarks/copies.py --size 512x320 --frames 16

MLX's arrays are views: transposing, splitting and most reshaping move nothing, and whether an operation then copies
depends on the strides that reach it. This follows the strides through the graph by MLX 0.32's own rules
(mlx/backend/common, mlx/backend/metal), as if the graph ran on Metal.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any
from unittest import mock

import mlx.core as mx
from mlx.utils import tree_map

from i2v_mlx import device
from i2v_mlx.i2vgen_xl.config import UNetConfig
from i2v_mlx.i2vgen_xl.unet import I2VGenXLUNet
from i2v_mlx.layers import norms

SMALL = 2**16  # elements; what is smaller takes microseconds

VIEWS = {"Transpose", "Broadcast", "Slice", "Split", "StopGradient", "Depends"}
RESHAPES = {"Reshape", "Flatten", "Unflatten", "Squeeze", "ExpandDims"}
JOINS = {"Concatenate": "join", "Gather": "gather", "GatherAxis": "gather", "Pad": "pad", "AsType": "conversion"}


@dataclass(frozen=True)
class Array:
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def dense(cls, shape: tuple[int, ...]) -> Array:
        return cls(shape, tuple(prod(shape[i + 1 :]) for i in range(len(shape))))

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def row_contiguous(self) -> bool:
        return self._along(zip(self.shape[::-1], self.strides[::-1], strict=True))

    @property
    def contiguous(self) -> bool:
        """Without holes and repetitions, in any order of the axes."""
        return self._along(sorted(zip(self.shape, self.strides, strict=True), key=lambda axis: axis[1]))

    @staticmethod
    def _along(axes: Any) -> bool:
        expected = 1
        for length, stride in axes:
            if length > 1 and stride != expected:
                return False
            expected *= length
        return True

    def reshaped(self, shape: tuple[int, ...]) -> Array | None:
        """The view of this shape; None if there is none."""
        if self.row_contiguous:
            return Array.dense(shape)
        runs: list[list[int]] = []  # axes that follow each other in memory, as one: [length, stride]
        for length, stride in zip(self.shape, self.strides, strict=True):
            if length == 1:
                continue
            if runs and runs[-1][1] == length * stride:
                runs[-1] = [runs[-1][0] * length, stride]
            else:
                runs.append([length, stride])
        strides, j = [], 0
        for length in shape:
            if length == 1:
                strides.append(strides[-1] if strides else 1)
            elif j < len(runs) and runs[j][0] % length == 0:
                runs[j][0] //= length
                strides.append(runs[j][0] * runs[j][1])
                j += runs[j][0] == 1
            else:
                return None
        return Array(shape, tuple(strides))


class Graph:
    """Attributes:
    copies: (kind, elements) of every copy, and of every array that MLX's operations compute in float32.
    """

    def __init__(self) -> None:
        self.copies: list[tuple[str, int]] = []
        self._arrays: dict[str, Array] = {}

    def add(self, record: dict[str, Any]) -> None:
        """What `mx.export_function` tells, piece by piece."""
        if record["type"] == "inputs":
            self._arrays |= {name: Array.dense(tuple(shape)) for name, shape, _ in record["inputs"]}
        elif record["type"] == "constants":
            self._arrays |= {name: Array.dense(tuple(array.shape)) for name, array in record["constants"]}
        elif record["type"] == "primitive":
            inputs = [self._arrays[name] for name, *_ in record["inputs"]]
            for name, shape, dtype in record["outputs"]:
                self._arrays[name] = self._output(record["name"], record["arguments"], inputs, tuple(shape))
                if dtype == mx.float32 and record["name"] not in (*VIEWS, *RESHAPES, "CustomKernel", "AsType"):
                    self._copied("float32", self._arrays[name])

    def _output(self, name: str, arguments: list[Any], inputs: list[Array], shape: tuple[int, ...]) -> Array:
        first = inputs[0] if inputs else Array.dense(shape)
        if name == "Transpose":
            return Array(shape, tuple(first.strides[axis] for axis in arguments[0]))
        if name == "Broadcast":
            new = len(shape) - len(first.shape)
            strides = (0,) * new + first.strides
            lengths = (1,) * new + first.shape
            same = (length == wanted for length, wanted in zip(lengths, shape, strict=True))
            return Array(shape, tuple(stride * kept for stride, kept in zip(strides, same, strict=True)))
        if name in RESHAPES:
            view = first.reshaped(shape)
            return view or self._copied("reshape", Array.dense(shape))
        if name == "Slice":
            return Array(shape, tuple(stride * step for stride, step in zip(first.strides, arguments[2], strict=True)))
        if name in VIEWS:
            return Array(shape, first.strides)
        if name == "CustomKernel":
            return self._kernel(arguments[0], inputs, shape)
        if name in ("Matmul", "AddMM"):
            for factor in inputs[:2]:
                self._need("matrix product's input", factor, 1 in factor.strides[-2:])
        elif name == "Convolution":
            self._need("convolution's input", first, first.row_contiguous)
        elif name in JOINS:
            self._copied(JOINS[name], Array.dense(shape))
        elif name not in ("Reduce", "Softmax") and all(array.contiguous or array.size == 1 for array in inputs):
            layouts = {array.strides for array in inputs if array.shape == shape and array.size > 1}
            if len(layouts) == 1:  # elementwise, all in the same order: the result as well
                return Array(shape, layouts.pop())
        return Array.dense(shape)

    def _kernel(self, name: str, inputs: list[Array], shape: tuple[int, ...]) -> Array:
        if "attention" in name:
            _, heads, L, D = shape
            for array in inputs:
                self._need("attention's input", array, array.strides[-1] == 1)
            if L > 8:  # Metal's kernel writes positions before heads
                return Array(shape, (L * heads * D, D, heads * D, 1))
            self._need("attention's input", inputs[0], inputs[0].row_contiguous)
        elif "layer_norm" in name:
            x = inputs[0]
            self._need("layer norm's input", x, x.contiguous and x.strides[-1] == 1)
        else:
            for array in inputs:
                self._need("group norm's input", array, array.row_contiguous)
        return Array.dense(shape)

    def _need(self, kind: str, array: Array, as_it_is: bool) -> None:
        if not as_it_is:
            self._copied(kind, array)

    def _copied(self, kind: str, array: Array) -> Array:
        self.copies.append((kind, array.size))
        return array


def copies(function: Callable[..., Any], *inputs: mx.array) -> Counter[tuple[str, int]]:
    """(kind, elements) of the copies that `function` makes on Metal, and how often. It must not evaluate anything."""
    graph = Graph()
    with _as_on_metal():
        mx.export_function(graph.add, function, *inputs)
    return Counter((kind, size) for kind, size in graph.copies if size >= SMALL)


@contextmanager
def _as_on_metal() -> Iterator[None]:
    """A CPU would compose attention and norms of smaller operations; here they are kernels, of which only the names
    matter."""

    def kernel(name: str, *inputs: mx.array) -> mx.array:
        names = [f"in{i}" for i in range(len(inputs))]
        make = mx.fast.metal_kernel(name=name, input_names=names, output_names=["out"], source="")
        return make(inputs=list(inputs), grid=(1, 1, 1), threadgroup=(1, 1, 1), output_shapes=[inputs[0].shape],
                    output_dtypes=[inputs[0].dtype])[0]  # fmt: skip

    with (
        mock.patch.object(mx.fast, "scaled_dot_product_attention", lambda q, k, v, **_: kernel("attention", q, k, v)),
        mock.patch.object(mx.fast, "layer_norm", lambda x, *_: kernel("layer_norm", x)),
        mock.patch.object(device, "on_gpu", lambda: True),
        mock.patch.object(mx.metal, "is_available", lambda: True),
        mock.patch.object(norms, "kernel_problem", lambda *_: None),
    ):
        yield


def by_layer(config: UNetConfig, frames: int, h: int, w: int) -> Iterator[tuple[str, Counter[tuple[str, int]]]]:
    """The copies of one evaluation at h x w latents, of the entrance and of each layer."""
    number = count(1)
    unet = I2VGenXLUNet(config)
    unet.set_dtype(mx.float16)
    # Weights without content; each has another value, or MLX would take two for one.
    unet.update(tree_map(lambda p: mx.broadcast_to(mx.full((1,), next(number), p.dtype), p.shape), unet.parameters()))
    emb = mx.zeros((1, 4 * config.block_out_channels[0]), mx.float16)
    x_t = mx.zeros((1, frames, h, w, config.in_channels))
    text = mx.zeros((1, 77, config.cross_attention_dim))
    conditioning = unet.condition(text, text[:, 0], x_t)
    mx.eval(emb, conditioning.arrays(), unet.parameters())  # else their graph would be part of the step's

    before = copies(lambda x: unet.enter(x, emb, conditioning.detail).arrays(), x_t)
    yield "entrance", before
    for layer in range(1, unet.block_count + 1):

        def begun(x: mx.array, layer: int = layer) -> mx.array:
            outputs = unet.blocks(unet.enter(x, emb, conditioning.detail), emb, conditioning)
            return [next(outputs) for _ in range(layer)][-1]

        now = copies(begun, x_t)
        yield f"layer {layer}", now - before
        before = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x704", metavar="WxH")
    parser.add_argument("--frames", type=int, default=16)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    total: Counter[str] = Counter()
    for name, found in by_layer(UNetConfig(), args.frames, height // 8, width // 8):
        print(name if found else f"{name}: none")
        for (kind, size), times in sorted(found.items()):
            print(f"  {times} x {kind}, {size / 2**20:.1f} M elements")
            total[kind] += times * size
    print("all")
    for kind, size in total.most_common():
        print(f"  {kind}: {2 * size / 2**30:.2f} GB written in float16")


if __name__ == "__main__":
    main()
