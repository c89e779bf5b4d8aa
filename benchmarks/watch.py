"""Networks that note, for every stage of a run, how long it took and how much memory MLX had."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from i2v_mlx.i2vgen_xl.networks import NETWORKS, Networks


@dataclass(frozen=True)
class Stage:
    """A network's work, from when its weights are there until it is let go.

    Attributes:
        loading, working: seconds.
        peak: bytes that MLX held at most, loading included.
        left: bytes that MLX holds afterwards.
    """

    network: str
    loading: float
    working: float
    peak: int
    left: int


class WatchedNetworks(Networks):
    """Attributes:
    stages: in the order in which they ended; the VAE has two in a run, the encoder's and the decoder's.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.stages: list[Stage] = []
        self._began: dict[str, tuple[float, float]] = {}  # network -> (seconds it took to load, when it was there)

    def get(self, name: str) -> Any:
        if name in self._began:
            return super().get(name)
        mx.reset_peak_memory()
        asked = time.perf_counter()
        network = super().get(name)
        there = time.perf_counter()
        self._began[name] = there - asked, there
        return network

    def release(self, *names: str) -> None:
        ended = {name: self._began.pop(name) for name in names or NETWORKS if name in self._began}
        now, peak = time.perf_counter(), mx.get_peak_memory()
        super().release(*names)
        for name, (loading, there) in ended.items():
            self.stages.append(Stage(name, loading, now - there, peak, mx.get_active_memory()))
