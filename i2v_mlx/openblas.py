"""On Linux, MLX's wheel brings the reference BLAS, 30 times slower than need be. If OpenBLAS is on the machine, its
symbols win when it is loaded globally before mlx.core is. On macOS MLX uses Metal and Accelerate: nothing to do."""

import ctypes
import os
import sys

# Its threads look for work for 2^n cycles, then they sleep. Most of a step is MLX's own, in one thread: at the usual 26
# they would only hold a processor busy, and on a busy machine a run takes twice as long.
PATIENCE = "4"


def load() -> bool:
    """True if OpenBLAS was found and loaded."""
    if not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", PATIENCE)
    try:
        ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True
