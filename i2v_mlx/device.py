"""What machine this is and what that means for precision and memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import mlx.core as mx

WINOGRAD = "MLX_CONV_WINOGRAD"
CACHE_SHARE = 8        # freed buffers kept for reuse: at most this fraction of the memory


def on_gpu() -> bool:
    return mx.default_device().type == mx.gpu


def compute_dtype() -> mx.Dtype:
    """float16 on a GPU; float32 on a CPU, which has no half precision arithmetic.

    Never bfloat16: Metal's Winograd convolutions lose 25 times more in it than in float16.
    """
    return mx.float16 if on_gpu() else mx.float32


def name() -> str:
    """For people: the chip, or the processor."""
    if on_gpu():
        return str(mx.device_info().get("device_name", "GPU"))
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def memory_bytes() -> int:
    """What a run may use: on Metal the recommended working set, else the machine's memory."""
    if on_gpu():
        recommended = mx.device_info().get("max_recommended_working_set_size")
        if recommended:
            return int(recommended)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def set_limits() -> None:
    """Holds MLX to `memory_bytes`. Without it up to ten command buffers run ahead and keep their temporaries."""
    memory = memory_bytes()
    mx.set_memory_limit(memory)
    mx.set_cache_limit(memory // CACHE_SHARE)


@contextmanager
def direct_convolutions() -> Iterator[None]:
    """Metal's 3x3 convolutions without Winograd's method: more arithmetic, and none of its scratch memory, which is
    three to four times the input. What is evaluated inside counts; MLX looks at the variable at every dispatch."""
    before = os.environ.get(WINOGRAD)
    os.environ[WINOGRAD] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[WINOGRAD]
        else:
            os.environ[WINOGRAD] = before
