"""What the network costs at a size: arithmetic and memory traffic, counted in its actual graph.

The graph is traced by MLX and never run, on weights that have shapes and no content, so that the cost of the largest
size is known in seconds on any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from math import prod
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from .chips import Chip
from .i2vgen_xl.config import UNetConfig
from .i2vgen_xl.unet import I2VGenXLUNet
from .parts.vae import AutoencoderKL, VAEConfig

KINDS = ("spatial convolutions", "temporal convolutions", "attention", "matrix products", "norms and elementwise",
         "joining and copying")
# Another arrangement of the same memory, for nothing.
VIEWS = {"Broadcast", "Reshape", "Transpose", "Flatten", "Unflatten", "Squeeze", "ExpandDims", "Split", "Slice",
         "StopGradient", "Depends"}
COPIES = {"Concatenate", "Gather", "GatherAxis", "Contiguous", "Copy", "AsStrided"}
PRODUCTS = {"Matmul", "AddMM", "QuantizedMatmul"}
# Metal's Winograd kernel does a 3x3 convolution in 1/5.06 of the multiplications, less what the tiles waste at edges.
WINOGRAD_SAVING = 4.5


@dataclass(frozen=True)
class Cost:
    """Of one kind of operation, or of all.

    Attributes:
        flops: multiplications and additions of the definition, each one operation.
        executed: the same as Metal does them, 3x3 convolutions by Winograd's method.
        bytes: to and from memory in float16, chains of elementwise operations as one, attention without its scores.
    """

    flops: float = 0.0
    executed: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.executed + other.executed, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.flops * times, self.executed * times, self.bytes * times)

    def seconds(self, chip: Chip) -> float:
        """The roofline: whichever takes longer, arithmetic or memory."""
        return max(self.executed / (chip.tflops * 1e12), self.bytes / (chip.bandwidth * 1e9))


@dataclass(frozen=True)
class Costs:
    """By kind, in the order of KINDS."""

    by_kind: dict[str, Cost]

    @property
    def total(self) -> Cost:
        return sum(self.by_kind.values(), Cost())

    def __add__(self, other: Costs) -> Costs:
        return Costs({kind: self.by_kind[kind] + other.by_kind[kind] for kind in KINDS})

    def __mul__(self, times: float) -> Costs:
        return Costs({kind: cost * times for kind, cost in self.by_kind.items()})

    def seconds(self, chip: Chip) -> float:
        """Kinds come one after the other."""
        return sum(cost.seconds(chip) for cost in self.by_kind.values())


def unet_costs(
    config: UNetConfig, frames: int, h: int, w: int, key_pooling: bool = False
) -> tuple[Costs, Costs]:
    """(what both branches of guidance share, what each branch does alone) of one step at h x w latents."""
    unet = _without_content(I2VGenXLUNet(config))
    emb = mx.zeros((1, 4 * config.block_out_channels[0]))
    x_t = mx.zeros((1, frames, h, w, config.in_channels))
    text = mx.zeros((1, 77, config.cross_attention_dim))
    context = unet.condition(text, text[:, 0], x_t)
    mx.eval(emb, context.arrays())    # else their graph would be part of the step's

    shared = trace(lambda x: unet.enter(x, emb, context.detail, key_pooling).arrays(), [x_t])

    def whole(x: mx.array) -> mx.array:
        *_, v = unet.blocks(unet.enter(x, emb, context.detail, key_pooling), emb, context, key_pooling=key_pooling)
        return v

    return shared, trace(whole, [x_t]) + shared * -1


def vae_costs(config: VAEConfig, h: int, w: int) -> tuple[Costs, Costs]:
    """(to encode a picture, to decode a frame), each of h x w latents.

    Counted at two sizes; but for attention, which grows with the square of the positions, all is in proportion.
    """
    vae = _without_content(AutoencoderKL(config))

    def through(part: Any, blocks: Iterable[Any]) -> Callable[[mx.array], mx.array]:
        def run(x: mx.array) -> mx.array:
            x = part.conv_in(x)
            for block in blocks:
                for layer in block.layers():
                    x = layer(x)
            return part.conv_out(part.conv_norm_out(x, silu=True))

        return run

    def at(part: Any, blocks: Iterable[Any], scale: int, channels: int) -> Costs:
        run = through(part, list(blocks))
        small, large = (trace(run, [mx.zeros((1, 64 * scale, columns * scale, channels))]) for columns in (64, 88))
        n, ratio = h * w / 64**2, 88 / 64    # cost(n) = a n + b n^2, known at 1 and at `ratio`
        b = (large + small * -ratio) * (1 / (ratio**2 - ratio))
        a = small + b * -1
        return a * n + b * n**2

    encoder, decoder = vae.encoder, vae.decoder
    return (at(encoder, [*encoder.down_blocks, encoder.mid_block], config.scale, config.in_channels),
            at(decoder, [decoder.mid_block, *decoder.up_blocks], 1, config.latent_channels))


def trace(function: Callable[..., Any], inputs: list[mx.array]) -> Costs:
    """The costs of what `function` would compute of arrays of these shapes. It must not evaluate anything."""
    graph, here = _Graph(), mx.default_device()
    mx.set_default_device(mx.cpu)    # so that it is the same graph on every machine
    mx.disable_compile()             # a compiled chain hides its operations
    try:
        mx.export_function(graph.add, function, *inputs)
    finally:
        mx.enable_compile()
        mx.set_default_device(here)
    return graph.costs()


@dataclass(frozen=True)
class _Operation:
    name: str
    inputs: list[str]
    outputs: list[str]


class _Graph:
    """MLX's account of a graph: operations on named arrays, in the order of evaluation."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.operations: list[_Operation] = []
        self.producer: dict[str, _Operation] = {}
        self.results: list[str] = []

    def add(self, record: dict[str, Any]) -> None:
        """What `mx.export_function` tells, piece by piece."""
        kind = record["type"]
        if kind == "inputs":
            self._know(record["inputs"])
        elif kind == "outputs":
            self.results = self._know(record["outputs"])
        elif kind == "primitive":
            operation = _Operation(record["name"], self._know(record["inputs"]), self._know(record["outputs"]))
            self.operations.append(operation)
            self.producer.update(dict.fromkeys(operation.outputs, operation))

    def _know(self, arrays: Iterable[tuple[str, tuple[int, ...], mx.Dtype]]) -> list[str]:
        for name, shape, _ in arrays:
            self.shapes[name] = tuple(shape)
        return [name for name, *_ in arrays]

    def costs(self) -> Costs:
        scores = self._scores()
        stored = {self._base(name) for name in self.results}
        for operation in self.operations:
            if not _fused(operation.name) and operation.name not in VIEWS:
                stored.update(self._base(name) for name in (*operation.inputs, *operation.outputs))
        by_kind = dict.fromkeys(KINDS, Cost())
        for operation in self.operations:
            if operation.name not in VIEWS:
                kind, cost = self._cost(operation, stored, scores)
                by_kind[kind] += cost
        return Costs(by_kind)

    def _cost(self, operation: _Operation, stored: set[str], scores: set[str]) -> tuple[str, Cost]:
        name = operation.name
        arrays = [*operation.inputs, *operation.outputs]
        if name == "Convolution":
            x, weight, y = (self.shapes[array] for array in arrays)
            flops = 2.0 * prod(y) * prod(weight[1:])
            executed = flops / (WINOGRAD_SAVING if _winograd(x, weight, y) else 1)
            kind = "temporal convolutions" if weight[1:3] == (3, 1) else "spatial convolutions"
            return kind, Cost(flops, executed, 2.0 * (prod(x) + prod(weight) + prod(y)))
        if name == "ScaledDotProductAttention":
            q, k = (self.shapes[array] for array in operation.inputs[:2])
            flops = 4.0 * prod(q) * k[2]
            return "attention", Cost(flops, flops, 2.0 * sum(prod(self.shapes[array]) for array in arrays))
        if name in PRODUCTS:
            result = operation.outputs[0]
            flops = 2.0 * prod(self.shapes[result]) * self.shapes[operation.inputs[0]][-1]
            moved = [array for array in (*operation.inputs[:2], result) if self._base(array) not in scores]
            kind = "attention" if len(self.shapes[result]) > 3 else "matrix products"
            return kind, Cost(flops, flops, 2.0 * sum(prod(self.shapes[array]) for array in moved))
        if name in COPIES:
            return "joining and copying", Cost(bytes=2.0 * sum(prod(self.shapes[array]) for array in arrays))
        read = [self._size(array) for array in operation.inputs if self._in_memory(self._base(array), stored - scores)]
        written = [self._size(array) for array in operation.outputs if array in stored - scores]
        return "norms and elementwise", Cost(bytes=2.0 * (sum(read) + sum(written)))

    def _base(self, name: str) -> str:
        """The array that a view shows."""
        while name in self.producer and self.producer[name].name in VIEWS:
            name = self.producer[name].inputs[0]
        return name

    def _in_memory(self, base: str, stored: set[str]) -> bool:
        producer = self.producer.get(base)
        return producer is None or base in stored

    def _size(self, name: str) -> int:
        """Elements; a broadcast is as large as what it shows."""
        return min(prod(self.shapes[name]), prod(self.shapes[self._base(name)]))

    def _scores(self) -> set[str]:
        """Attention scores before and after the softmax, which Metal's kernel never stores."""
        found: set[str] = set()
        for operation in self.operations:
            if operation.name != "Softmax":
                continue
            found.update(operation.outputs)
            name = self._base(operation.inputs[0])
            while name in self.producer:
                found.add(name)
                if self.producer[name].name in PRODUCTS:
                    break
                name = self._base(self.producer[name].inputs[0])
        return found


def _fused(name: str) -> bool:
    """Elementwise operations and reductions, which follow each other without going through memory."""
    return name not in VIEWS | COPIES | PRODUCTS | {"Convolution", "ScaledDotProductAttention"}


def _winograd(x: tuple[int, ...], weight: tuple[int, ...], y: tuple[int, ...]) -> bool:
    """When Metal chooses it (mlx/backend/metal/conv.cpp)."""
    N, H, W, C = x
    O = y[-1]
    return weight[1:3] == (3, 3) and y[1:3] == (H, W) and C % 32 == O % 32 == 0 and N * H * W >= 4096 and C + O >= 256


def _without_content(module: nn.Module) -> Any:
    """The same module on parameters that take no memory; each has another value, or MLX would take two for one."""
    number = count(1)

    def flat(parameter: mx.array) -> mx.array:
        return mx.broadcast_to(mx.full((1,), float(next(number))), parameter.shape)

    module.update(tree_map(flat, module.parameters()))
    return module
