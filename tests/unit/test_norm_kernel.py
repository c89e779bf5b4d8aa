"""The group norm kernel: its very text, run on a CPU (see gpu_emulator.py), and on this machine's GPU if it has one."""

from __future__ import annotations

import logging
import math

import mlx.core as mx
import numpy as np
import pytest
from gpu_emulator import COMPILER, Emulator

from i2v_mlx import device
from i2v_mlx.layers import norm_kernel, norms
from i2v_mlx.layers.norm_kernel import CUDA, METAL, SHORTEST_SLICE, STATISTICS, THREADS, Kernel, group_norm
from i2v_mlx.layers.norms import GroupNorm, kernel_problem, plain_group_norm

EPS = 1e-5
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++ to compile the kernel's text with")

# (N, L, C), groups
SHAPES = [
    ((1, 1, 4), 2),             # one row, arrays so small that Metal passes them as constants
    ((2, SHORTEST_SLICE + 1, 32), 32),  # a slice of one row, groups of one channel
    ((3, 7, 5), 1),             # odd channels, one group
    ((2, 67, 96), 32),          # groups of three channels, threads of four
    ((1, 33, 1280), 1),         # a group over all channels
    ((2, 40, 320), 32),         # the network's first level, per frame
    ((1, 640, 320), 32),        # the same, across frames
    ((1, 130, 1920), 32),       # a level with its skip
    ((1, 5000, 128), 32),       # slices longer than the shortest
]  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(params=["metal", "cuda", *["gpu"] * device.on_gpu()])
def dispatch(request, folder):
    """Metal's text and CUDA's on the CPU; and as it is, where there is a GPU."""
    if request.param == "gpu":
        return None
    if COMPILER is None:
        pytest.skip("no g++ to compile the kernel's text with")
    return Emulator(folder, {"metal": METAL, "cuda": CUDA}[request.param])


def arguments(shape, groups, silu, mean=1.0, deviation=2.0, dtype=mx.float32):
    """What `group_norm` and `plain_group_norm` take."""
    draw = np.random.default_rng(sum(shape))
    C = shape[-1]
    x = mean + deviation * draw.normal(size=shape)
    weight, bias = 1 + 0.2 * draw.normal(size=C), 0.2 * draw.normal(size=C)
    x, weight, bias = (mx.array(a.astype(np.float32)).astype(dtype) for a in (x, weight, bias))
    return x, weight, bias, groups, EPS, silu


def in_double(x, weight, bias, groups, eps, silu):
    x, weight, bias = (np.asarray(a.astype(mx.float32), np.float64) for a in (x, weight, bias))
    N, L, C = x.shape
    grouped = x.reshape(N, L, groups, C // groups)
    mean, variance = (f((1, 3), keepdims=True) for f in (grouped.mean, grouped.var))
    y = ((grouped - mean) / np.sqrt(variance + eps)).reshape(x.shape) * weight + bias
    return y / (1 + np.exp(-y)) if silu else y


def errors(ours, right):
    """(root mean square in deviations of `right`, largest in deviations or, where it is larger, in the value itself):
    a float32 of 8 deviations is rounded by 3e-7 of one, whoever computes it."""
    ours, right = np.asarray(ours, np.float64), np.asarray(right, np.float64)
    assert ours.shape == right.shape
    deviation = right.std() or 1
    difference = np.abs(ours - right)
    return math.sqrt((difference**2).mean()) / deviation, (difference / np.maximum(deviation, np.abs(right))).max()


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_against_the_plain_path_and_double_precision(shape, groups, silu, dispatch):
    given = arguments(shape, groups, silu)
    y = group_norm(*given, dispatch)
    assert y.shape == shape and y.dtype == mx.float32
    assert errors(y, plain_group_norm(*given))[0] < 1e-6
    rms, largest = errors(y, in_double(*given))
    assert rms < 2e-7 and largest < 1e-6


@pytest.mark.parametrize(("mean", "deviation"), [(1e3, 1.0), (1e4, 0.1), (-300, 1e-3), (0.0, 1e4), (0.0, 1e-4)])
def test_no_digits_are_lost_to_a_large_mean(mean, deviation, dispatch):
    given = arguments((1, 3000, 64), 32, True, mean, deviation)
    rms, largest = errors(group_norm(*given, dispatch), in_double(*given))
    assert rms < 2e-7 and largest < 1e-6


def test_first_values_that_are_far_out(dispatch):
    """The first row is the origin of all sums: the worst that it can be, and groups and channels that lie far apart."""
    x, *rest = arguments((2, 600, 64), 16, False)
    values = np.array(x)
    values[:, 0] += 500
    values += np.arange(64) * 100.0
    given = mx.array(values), *rest
    rms, largest = errors(group_norm(*given, dispatch), in_double(*given))
    assert rms < 1e-6 and largest < 2e-6


def test_constant_input_is_the_bias(dispatch):
    x, weight, bias, *rest = arguments((2, 50, 64), 32, False)
    y = group_norm(mx.full(x.shape, 3.7), weight, bias, *rest, dispatch)
    assert (np.asarray(y) == np.asarray(bias)).all()


def test_what_is_not_finite_stays_in_its_group(dispatch):
    x, *rest = arguments((2, 50, 64), 32, True)
    values = np.array(x)
    values[1, 20, 6] = np.inf
    spoilt = ~np.isfinite(np.asarray(group_norm(mx.array(values), *rest, dispatch)))
    expected = np.zeros(spoilt.shape, bool)
    expected[1, :, 6:8] = True  # 32 groups of two channels
    assert (spoilt == expected).all()


@pytest.mark.parametrize("weights", [mx.float16, mx.float32])
@pytest.mark.parametrize("mean", [1.0, 200.0])
def test_half_precision_is_rounded_once(weights, mean, dispatch):
    x, weight, bias, *rest = arguments((2, 70, 320), 32, True, mean, dtype=mx.float16)
    given = x, weight.astype(weights), bias.astype(weights), *rest
    y = group_norm(*given, dispatch)
    assert y.dtype == mx.float16
    right = in_double(*given)
    step = np.spacing(np.abs(right).astype(np.float16)).astype(np.float64)
    assert (np.abs(np.asarray(y, np.float64) - right) < 0.51 * step + 1e-6).all()


# ---------------------------------------------------------------- threads, and what the host asks for


@needs_compiler
@pytest.mark.parametrize("dialect", [METAL, CUDA])
def test_the_order_of_threads_does_not_matter(dialect, folder):
    given = arguments((2, 67, 96), 32, True)
    first, last = (group_norm(*given, Emulator(folder, dialect, descending)) for descending in (False, True))
    assert (np.asarray(first) == np.asarray(last)).all()


@needs_compiler
@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_barrier_is_needed(which, folder):
    """And the emulator would notice if one were missing."""
    barrier = "threadgroup_barrier(mem_flags::mem_threadgroup);"
    assert STATISTICS.source.count(barrier) == 3

    def without(text):
        parts = text.split(barrier)
        return text if len(parts) == 1 else barrier.join(parts[: which + 1]) + barrier.join(parts[which + 1 :])

    given = arguments((1, 67, 96), 32, False)
    orders = [group_norm(*given, Emulator(folder, METAL, descending, without)) for descending in (False, True)]
    assert not all(errors(y, in_double(*given))[0] < 1e-3 for y in orders)


@needs_compiler
def test_the_emulator_sees_threads_beyond_the_grid(folder):
    """CUDA's last threadgroup is whole; without the check its threads would write past the end."""
    def unchecked(text):
        return text.replace("if (i >= columns * slices) return;", "")

    given = arguments((1, 9, 12), 3, False)
    with pytest.raises(AssertionError, match="beyond"):
        group_norm(*given, Emulator(folder, CUDA, edit=unchecked))
    group_norm(*given, Emulator(folder, METAL, edit=unchecked))  # Metal's is cut off


@needs_compiler
@pytest.mark.parametrize(("shape", "groups"), SHAPES)
def test_launches_are_what_metal_allows(shape, groups, folder):
    emulator = Emulator(folder)
    x, weight, *rest = arguments(shape, groups, True)
    group_norm(x, weight, *rest, emulator)
    N, L, C = shape
    moments, statistics, write = emulator.launches
    assert moments["grid"] == write["grid"] and statistics["grid"] == (THREADS, groups, N)
    assert statistics["threadgroup"][0] == statistics["template"]["THREADS"] == THREADS
    assert THREADS % 32 == 0 and THREADS & (THREADS - 1) == 0  # whole simdgroups; the tree halves
    assert 4 * THREADS <= 32768                                # bytes of threadgroup memory
    for launch in emulator.launches:
        assert math.prod(launch["threadgroup"]) <= 1024
        assert max(launch["grid"]) < 2**31 and max(launch["grid"][1:]) <= 65535  # the latter are CUDA's
    length, channels, _, slice_rows = np.asarray(moments["inputs"][1])
    assert (length, channels) == (L, C)
    assert SHORTEST_SLICE <= slice_rows <= norm_kernel.LONGEST_SLICE
    assert moments["output_shape"] == (N, -(-L // slice_rows), C, 2)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_mlx_takes_what_it_is_asked(dtype, monkeypatch):
    """Metal's library itself, as far as it goes without a GPU."""
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    x, weight, bias, *rest = arguments((2, 67, 96), 32, True, dtype=dtype)
    records = []
    mx.export_function(records.append, lambda x: group_norm(x, weight, bias, *rest), x)
    kernels = [record for record in records if record.get("name") == "CustomKernel"]
    assert [kernel["outputs"][0][1:] for kernel in kernels] == [
        ((2, 9, 96, 2), mx.float32), ((2, 32, 2), mx.float32), ((2, 67, 96), dtype),
    ]  # fmt: skip
    assert [kernel["arguments"][2:8] for kernel in kernels] == [
        [9 * 24, 2, 1, THREADS, 1, 1], [THREADS, 32, 2, THREADS, 1, 1], [9 * 24, 2, 1, THREADS, 1, 1],
    ]  # fmt: skip


def test_at_the_released_size_a_thread_has_little_to_do():
    """1280x704: no dispatch of more than a few milliseconds, none with too few threads to fill a GPU."""
    for shape in [(16, 14080, 320), (1, 225280, 320), (1, 225280, 960), (16, 220, 1280), (1, 3520, 1280)]:
        launches = []

        def record(kernel, output_shape, output_dtype, launches=launches, **launch):
            launches.append(launch)
            return mx.zeros((1,), output_dtype)

        x = mx.broadcast_to(mx.array(0, mx.float16), shape)  # holds no memory
        group_norm(x, mx.ones((shape[2],)), mx.ones((shape[2],)), 32, EPS, True, record)
        elements = math.prod(shape)
        for launch in (launches[0], launches[2]):
            assert elements / math.prod(launch["grid"][:2]) <= 4 * norm_kernel.LONGEST_SLICE
            assert math.prod(launch["grid"][:2]) >= 8192


# ---------------------------------------------------------------- the layer


@pytest.fixture
def pretend_gpu(monkeypatch, folder):
    """A GPU of either make, of which MLX's functions answer through the emulator."""

    def pretend(dialect, make):
        monkeypatch.setattr(device, "on_gpu", lambda: True)
        monkeypatch.setattr(mx.metal, "is_available", lambda: dialect is METAL)
        monkeypatch.setattr(mx.fast, dialect.make, make)
        other = CUDA if dialect is METAL else METAL
        monkeypatch.delattr(mx.fast, other.make)

    kernel_problem.cache_clear()
    norm_kernel._compiled.cache_clear()
    yield pretend
    kernel_problem.cache_clear()
    norm_kernel._compiled.cache_clear()


def maker(emulator, made, scale=1.0):
    """Stands in for mx.fast.metal_kernel and mx.fast.cuda_kernel."""

    def make(*, name, input_names, output_names, source, header):
        assert isinstance(input_names, list) and isinstance(output_names, list)
        made.append(name)
        [output] = output_names
        text = source.removeprefix(emulator.dialect.prologue)
        assert source == emulator.dialect.prologue + text and header == emulator.dialect.header

        def run(*, inputs, template, grid, threadgroup, output_shapes, output_dtypes):
            [shape], [dtype] = output_shapes, output_dtypes
            kernel = Kernel(name, tuple(input_names), output, text)
            return [scale * emulator(kernel, inputs, shape, dtype, template, grid, threadgroup)]

        return run

    return make


@needs_compiler
@pytest.mark.parametrize("dialect", [METAL, CUDA])
@pytest.mark.parametrize("shape", [(2, 5, 6, 64), (1, 4, 30, 64), (2, 64)])
def test_the_layer_uses_it_on_a_gpu(dialect, shape, pretend_gpu, folder, caplog):
    layer = GroupNorm(16, 64)
    x = mx.array(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    plain = np.asarray(layer(x, silu=True))
    made = []
    emulator = Emulator(folder, dialect)
    pretend_gpu(dialect, maker(emulator, made))
    for _ in range(2):
        y = layer(x, silu=True)
        assert y.shape == x.shape and errors(y, plain)[0] < 1e-6
    assert made == ["group_norm_moments", "group_norm_statistics", "group_norm_write"]  # once
    assert len(emulator.launches) == 3 * 3                                              # the trial and two layers
    assert not caplog.records


@needs_compiler
def test_wrong_numbers_lead_to_the_plain_path(pretend_gpu, folder, caplog):
    emulator = Emulator(folder)
    pretend_gpu(METAL, maker(emulator, [], scale=1.01))
    falls_back(caplog, "off by")
    assert len(emulator.launches) == 3  # the trial


@pytest.mark.parametrize("failure", [RuntimeError("Unable to build metal library\nline 3"), ValueError(""), OSError(5)])
def test_a_failure_leads_to_the_plain_path(failure, pretend_gpu, caplog):
    def fails(**_):
        raise failure

    pretend_gpu(METAL, fails)
    falls_back(caplog, str(failure).partition("\n")[0] or "ValueError")


def falls_back(caplog, reason):
    layer, x = GroupNorm(4, 16), mx.random.normal((2, 9, 16), key=mx.random.key(0))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            y = layer(x)
    assert (np.asarray(y) == np.asarray(plain_group_norm(x, layer.weight, layer.bias, 4, layer.eps, False))).all()
    [line] = caplog.messages
    assert reason in line and "\n" not in line


def test_a_cpu_never_tries(monkeypatch):
    monkeypatch.setattr(norms, "kernel_problem", lambda *_: pytest.fail("tried"))
    monkeypatch.setattr(device, "on_gpu", lambda: False)
    GroupNorm(4, 16)(mx.ones((1, 3, 16)))
