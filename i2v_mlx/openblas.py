"""On Linux, MLX's wheel brings the reference BLAS, 30 times slower than need be. If OpenBLAS is on the machine, its
symbols win when it is loaded globally before mlx.core is. On macOS MLX uses Metal and Accelerate: nothing to do."""

import ctypes
import sys


def load() -> bool:
    """True if OpenBLAS was found and loaded."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
