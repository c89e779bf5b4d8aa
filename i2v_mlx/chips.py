"""What Apple's chips reach, as far as is known. Standard library only: the app estimates with it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """Attributes:
    tflops: float16 products per second that large matrix products really reach: 0.61 of what the GPU's cores could do
        (measured on an M3 Ultra), and for the M5 family what its matrix units have been seen to do.
    bandwidth: of the memory, GB/s.
    """

    tflops: float
    bandwidth: float


# Each with its most GPU cores.
CHIPS = {
    "M1": Chip(1.6, 68), "M1 Pro": Chip(3.2, 200), "M1 Max": Chip(6.3, 400), "M1 Ultra": Chip(12.7, 800),
    "M2": Chip(2.2, 100), "M2 Pro": Chip(4.1, 200), "M2 Max": Chip(8.3, 400), "M2 Ultra": Chip(16.6, 800),
    "M3": Chip(2.5, 100), "M3 Pro": Chip(4.5, 150), "M3 Max": Chip(10.0, 400), "M3 Ultra": Chip(17.4, 819),
    "M4": Chip(2.9, 120), "M4 Pro": Chip(5.6, 273), "M4 Max": Chip(11.2, 546),
    "M5": Chip(12.0, 153), "M5 Max": Chip(40.0, 546),
}  # fmt: skip
CPU = Chip(0.1, 20)
UNKNOWN = Chip(2.0, 100)


def find(name: str) -> Chip:
    """Of a name such as "Apple M4 Max", "m4-max" or "CPU (x86_64, 2 cores)"; the longest that is in it counts."""
    plain = name.replace("-", " ").lower()
    known = [chip for chip in CHIPS if chip.lower() in plain]
    if known:
        return CHIPS[max(known, key=len)]
    return CPU if "cpu" in plain else UNKNOWN
