"""Group normalisation as GPU kernels of our own: x is read twice and written once, where the plain operations of
`norms` move it eight times and more.

Three dispatches, each one short pass: moments of slices of rows, per channel; their combination, per group; the write,
with affine and SiLU. All sums are float32 and of small differences, so that no digits cancel:

- A slice takes its first row as the origin of its sums. That row is one of the samples, so its square distance to the
  mean is at most the count times the variance, and a slice has at most `LONGEST_SLICE` rows.
- Slices are combined as by Chan, Golub and LeVeque (1979): squared deviations within, plus those of the means.
- Means are held relative to a value of the group, its first, and x is written relative to it as well: a mean of a
  thousand deviations costs nothing.

One text for Metal and for CUDA, written in Metal's words: to CUDA they are explained in a few lines. Kernels are given
their sizes in an array, so that a change of size compiles nothing. The tests run this very text on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import mlx.core as mx

THREADS = 256                           # of a threadgroup: eight simdgroups
ENOUGH_THREADS = 2**13                  # for one of the N: a GPU is busy with 16 of them, or has longest slices
SHORTEST_SLICE, LONGEST_SLICE = 8, 256  # rows


@dataclass(frozen=True)
class Kernel:
    """Attributes:
    source: the body of a Metal kernel; MLX writes the signature from the names.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    source: str


@dataclass(frozen=True)
class Dialect:
    """What a language needs to be told before a kernel's text: `header` before the function, `prologue` in it."""

    make: str  # the function of mx.fast
    header: str = ""
    prologue: str = ""


METAL = Dialect("metal_kernel")
CUDA = Dialect(
    "cuda_kernel",
    header="""
#define threadgroup __shared__
#define threadgroup_barrier(flags) __syncthreads()
""",
    prologue="""
    const uint3 threadgroup_position_in_grid = blockIdx;
    const uint3 thread_position_in_threadgroup = threadIdx;
    const uint3 thread_position_in_grid = make_uint3(
        blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y * blockDim.y + threadIdx.y, blockIdx.z);
""",
)

SIZES = """
    const int rows = sizes[0], channels = sizes[1], groups = sizes[2], slice_rows = sizes[3];
    const int slices = (rows + slice_rows - 1) / slice_rows;
    const int group_channels = channels / groups;
"""

# A thread has VEC neighbouring channels of a slice; its neighbour has the next ones, so that reads are coalesced.
THREAD = """
    const int columns = channels / VEC;
    const int i = thread_position_in_grid.x;
    const int n = thread_position_in_grid.y;
    if (i >= columns * slices) return;  // CUDA's grid ends with a whole threadgroup
    const int slice = i / columns;
    const int c = i % columns * VEC;
    const int first = slice * slice_rows;
    const int last = first + slice_rows < rows ? first + slice_rows : rows;
    const size_t start = size_t(n) * rows * channels;  // of the n-th in x
"""

# x (N, L, C) -> moments (N, slices, C, 2): mean less the group's first value, sum of squared distances to the mean.
MOMENTS = Kernel(
    "group_norm_moments",
    ("x", "sizes"),
    "moments",
    SIZES + THREAD + """
    float origin[VEC], sum[VEC], squares[VEC];
    for (int j = 0; j < VEC; j++) {
        origin[j] = float(x[start + size_t(first) * channels + c + j]);
        sum[j] = 0;
        squares[j] = 0;
    }
    for (int row = first; row < last; row++) {
        const size_t at = start + size_t(row) * channels + c;
        for (int j = 0; j < VEC; j++) {
            const float distance = float(x[at + j]) - origin[j];
            sum[j] += distance;
            squares[j] += distance * distance;
        }
    }
    const size_t to = 2 * ((size_t(n) * slices + slice) * channels + c);
    for (int j = 0; j < VEC; j++) {
        const float group_origin = float(x[start + (c + j) / group_channels * group_channels]);
        const float mean = sum[j] / float(last - first);
        const float deviation = squares[j] - sum[j] * mean;
        moments[to + 2 * j] = (origin[j] - group_origin) + mean;
        moments[to + 2 * j + 1] = deviation > 0 ? deviation : 0;
    }
""",
)  # fmt: skip

# moments -> statistics (N, groups, 2): mean less the group's first value, 1 / deviation. A threadgroup for each group.
STATISTICS = Kernel(
    "group_norm_statistics",
    ("moments", "sizes", "eps"),
    "statistics",
    SIZES + """
    threadgroup float sums[THREADS];
    const int lane = thread_position_in_threadgroup.x;
    const int group = threadgroup_position_in_grid.y;
    const int n = threadgroup_position_in_grid.z;
    const size_t start = 2 * (size_t(n) * slices * channels + group * group_channels);
    const int parts = slices * group_channels;
    const float count = float(rows) * float(group_channels);

    float mean = 0, variance = 0;
    for (int pass = 0; pass < 2; pass++) {  // the mean, then the squared deviations from it
        float sum = 0;
        for (int i = lane; i < parts; i += THREADS) {
            const int slice = i / group_channels;
            const size_t at = start + 2 * (size_t(slice) * channels + i % group_channels);
            const float n_rows = slice + 1 < slices ? slice_rows : rows - slice * slice_rows;
            const float distance = moments[at] - mean;
            sum += pass == 0 ? n_rows * distance : moments[at + 1] + n_rows * distance * distance;
        }
        sums[lane] = sum;
        for (int width = THREADS / 2; width > 0; width /= 2) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
            if (lane < width) sums[lane] += sums[lane + width];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        const float total = sums[0];
        threadgroup_barrier(mem_flags::mem_threadgroup);  // all have read it before the next pass writes
        if (pass == 0) mean = total / count;
        else variance = total / count;
    }
    if (lane == 0) {
        const size_t to = 2 * (size_t(n) * groups + group);
        statistics[to] = mean;
        statistics[to + 1] = 1 / sqrt(variance + eps[0]);
    }
""",
)  # fmt: skip

WRITE = Kernel(
    "group_norm_write",
    ("x", "statistics", "weight", "bias", "sizes"),
    "y",
    SIZES + THREAD + """
    float group_origin[VEC], mean[VEC], scale[VEC], offset[VEC];
    for (int j = 0; j < VEC; j++) {
        const int group = (c + j) / group_channels;
        const size_t at = 2 * (size_t(n) * groups + group);
        group_origin[j] = float(x[start + group * group_channels]);
        mean[j] = statistics[at];
        scale[j] = statistics[at + 1] * float(weight[c + j]);
        offset[j] = float(bias[c + j]);
    }
    for (int row = first; row < last; row++) {
        const size_t at = start + size_t(row) * channels + c;
        for (int j = 0; j < VEC; j++) {
            float value = (float(x[at + j]) - group_origin[j] - mean[j]) * scale[j] + offset[j];
            if (SILU) value = value / (1 + exp(-value));
            y[at + j] = T(value);
        }
    }
""",
)  # fmt: skip


def group_norm(
    x: mx.array, weight: mx.array, bias: mx.array, groups: int, eps: float, silu: bool,
    dispatch: Callable[..., mx.array] | None = None,
) -> mx.array:  # fmt: skip
    """x (N, L, C) -> the same shape and dtype. Statistics over L and a group's channels, for each of the N.

    Args:
        weight, bias: (C,), of one dtype.
        dispatch: runs a kernel: (kernel, inputs, template, grid, threadgroup, output_shape, output_dtype) -> output. On
            the GPU unless told.
    """
    dispatch = dispatch or _on_gpu
    N, L, C = x.shape
    vec = 4 if C % 4 == 0 else 1
    columns = C // vec
    slice_rows = min(max(-(-L * columns // ENOUGH_THREADS), SHORTEST_SLICE), LONGEST_SLICE)
    slices = -(-L // slice_rows)
    sizes = mx.array([L, C, groups, slice_rows], mx.int32)
    by_slice = {"grid": (columns * slices, N, 1), "threadgroup": (THREADS, 1, 1)}

    moments = dispatch(
        MOMENTS, inputs=[x, sizes], template=[("T", x.dtype), ("VEC", vec)],
        output_shape=(N, slices, C, 2), output_dtype=mx.float32, **by_slice,
    )  # fmt: skip
    statistics = dispatch(
        STATISTICS, inputs=[moments, sizes, mx.array([eps], mx.float32)], template=[("THREADS", THREADS)],
        output_shape=(N, groups, 2), output_dtype=mx.float32,
        grid=(THREADS, groups, N), threadgroup=(THREADS, 1, 1),
    )  # fmt: skip
    return dispatch(
        WRITE, inputs=[x, statistics, weight, bias, sizes],
        template=[("T", x.dtype), ("W", weight.dtype), ("VEC", vec), ("SILU", silu)],
        output_shape=x.shape, output_dtype=x.dtype, **by_slice,
    )  # fmt: skip


def _on_gpu(
    kernel: Kernel, inputs: list[mx.array], output_shape: tuple[int, ...], output_dtype: mx.Dtype, **launch: object
) -> mx.array:
    run = _compiled(kernel, METAL if mx.metal.is_available() else CUDA)
    return run(inputs=inputs, output_shapes=[output_shape], output_dtypes=[output_dtype], **launch)[0]


@cache
def _compiled(kernel: Kernel, dialect: Dialect) -> Callable[..., list[mx.array]]:
    return getattr(mx.fast, dialect.make)(
        name=kernel.name, input_names=list(kernel.inputs), output_names=[kernel.output],
        source=dialect.prologue + kernel.source, header=dialect.header,
    )  # fmt: skip
