"""What this machine is, and whether MLX computes on it what we rely on: what a new owner runs first."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import mlx.core as mx

from . import __version__, device, ffmpeg, hub, openblas, selftest
from .errors import I2VError

PACKAGES = ("mlx", "numpy", "pillow", "safetensors", "transformers", "huggingface_hub", "imageio-ffmpeg")


def run() -> int:
    """Prints a report; 0 if everything works, 1 if something does not."""
    print(f"Livestill {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES))
    print(f"device   {device.name()}, networks in {str(device.compute_dtype()).removeprefix('mlx.core.')}")
    print(f"memory   {device.memory_bytes() / 2**30:.1f} GB can be used")
    if sys.platform.startswith("linux") and not device.on_gpu():
        found = "OpenBLAS" if openblas.load() else "reference BLAS, 30 times slower: install libopenblas0-pthread"
        print(f"blas     {found}")
    healthy = _line("ffmpeg", lambda: ffmpeg.executable())
    _line("model", lambda: str(hub.resolve("i2vgen-xl")))  # no fault if it is not there yet
    _line("demo", lambda: str(hub.resolve("demo")))
    healthy &= selftest.report(mx.default_device())
    print("everything works" if healthy else "something does not work; see the lines marked FAILED")
    return 0 if healthy else 1


def _line(title: str, find) -> bool:
    try:
        print(f"{title:8} {find()}")
    except I2VError as error:
        print(f"{title:8} {error.message} {error.hint}".rstrip())
        return False
    return True
