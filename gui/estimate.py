"""How long a clip will take and how much memory it needs, before Generate is pressed; learned on this machine."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2v_mlx import chips
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import quantities, state_file, work

KEPT_RUNS = 200
_RECENT = 15                   # runs that count: the machine and the program change
_NEAR = 2.0                    # runs within this factor in pixels x frames tell more than others


@dataclass(frozen=True)
class Estimate:
    """Attributes:
        seconds: for the whole job; `learned` says that runs on this machine stand behind it.
        memory_bytes: at the peak.
        fits: the memory is enough.
        alternatives: for a request that does not fit: up to three that do, as (sentence, request).
    """

    seconds: float
    learned: bool
    memory_bytes: int
    fits: bool
    alternatives: tuple[tuple[str, Request], ...] = ()

    def __str__(self) -> str:
        """For example "about 3 min, 7 GB", or what does not fit."""
        memory = quantities.size(self.memory_bytes)
        if not self.fits:
            return f"needs {memory}, more than this machine has"
        guess = "" if self.learned else " (a first guess)"
        return f"about {quantities.duration(self.seconds)}{guess}, {memory}"


@dataclass(frozen=True)
class _Costs:
    """What a model needs. The engine counts it in its graph and its arrays (`i2v_mlx.cost`, `i2v_mlx.memory`), which
    this process must not load; these are fits to its figures, and a test holds them against each other.

    Attributes:
        tflop, tflop_square: of an evaluation, per million pixels of all frames; and the part of that which grows with
            the frame, per million pixels of one.
        weights: bytes of the UNet.
        denoise: bytes, per million pixels of all frames.
        decode, decode_large, decode_cpu: bytes, per million pixels of one frame: on a GPU, there above _LARGE, and on a
            CPU.
    """

    tflop: float
    tflop_square: float
    weights: float
    denoise: float
    decode: float
    decode_large: float
    decode_cpu: float


_RELEASED = _Costs(tflop=3.5, tflop_square=1.7, weights=2.8e9, denoise=0.45e9, decode=12.3e9, decode_large=5.1e9,
                   decode_cpu=21.5e9)
# Its layers are so small that they reach a quarter of a speed.
_DEMO = _Costs(tflop=0.2, tflop_square=0.01, weights=0.02e9, denoise=0.17e9, decode=1.6e9, decode_large=1.6e9,
               decode_cpu=2.7e9)
_LARGE = 0.4                   # million pixels: above, frames are decoded without Winograd's scratch
_FLOAT32 = 2.0                 # times as much of the UNet on a CPU, which computes in it
_POOLED_FROM = 0.58            # million pixels of a frame: above, averaged keys take most of what grows with the frame
_POOLED = 0.3
_OTHER = 4.0                   # loading, encoding, decoding and writing take about as long as that many evaluations
_START_SECONDS = 3.0


class Estimator:
    """Seconds per evaluation as a function of pixels and frames, per model: the median of measured over expected.

    Attributes:
        memory_bytes: of this machine; 0 while unknown: then everything fits.
        device: name of the chip, for the first guess.
        notice: an I2VError if the file was damaged and set aside.
    """

    def __init__(self, file: Path):
        """`file` holds what was learned."""
        self.memory_bytes = 0
        self.device = ""
        self.notice: I2VError | None = None
        self._file = file
        self._runs: list[dict[str, Any]] = []
        try:
            runs = state_file.read(file) or []
            self._runs = [run for run in runs if _sound(run)]
        except (ValueError, TypeError):
            self.notice = state_file.damaged("What was learned about this machine's speed", state_file.set_aside(file))

    def estimate(self, request: Request) -> Estimate:
        """Quick: called at every change of the settings."""
        plain = self._estimate(request)
        return plain if plain.fits else dataclasses.replace(plain, alternatives=self.alternatives(request))

    def alternatives(self, request: Request) -> tuple[tuple[str, Request], ...]:
        """Up to three smaller requests that fit, as (sentence, request): a smaller size first."""
        found = []
        for scale in (0.875, 0.75, 0.625, 0.5, 0.375, 0.25):
            smaller = _scaled(request, scale)
            if self._estimate(smaller).fits:
                found.append((f"{smaller.width} x {smaller.height} pixels", smaller))
                break
        for frames in (12, 8, 4):
            shorter = dataclasses.replace(request, num_frames=frames)
            if frames < request.num_frames and self._estimate(shorter).fits:
                found.append((f"{frames} frames", shorter))
                break
        for scale in (0.875, 0.75, 0.625, 0.5):
            both = _scaled(dataclasses.replace(request, num_frames=max(1, request.num_frames // 2)), scale)
            if self._estimate(both).fits:
                found.append((f"{both.num_frames} frames of {both.width} x {both.height} pixels", both))
                break
        return tuple(found)

    def after_seconds(self, request: Request) -> float:
        """What decoding and writing will take."""
        return self._evaluation(request) * self._ratio("pace", request) * _OTHER * self._ratio("other", request)

    def learn(self, request: Request, step_seconds: list[float], other_seconds: float, peak_bytes: int) -> None:
        """A job is done: its steps took this long, and everything else that long. `peak_bytes` is 0 if unknown."""
        parts = work.of_steps(request)
        if len(step_seconds) != len(parts):
            return
        pace = statistics.median(seconds / part for seconds, part in zip(step_seconds, parts, strict=True))
        run = {"model": request.model, "size": _size(request), "pace": pace / self._evaluation(request),
               "other": max(0.0, other_seconds) / (_START_SECONDS + _OTHER * pace),
               "memory": peak_bytes / self._memory(request) if peak_bytes > 0 else 1.0}
        self._runs = [*self._runs, run][-KEPT_RUNS:]
        state_file.write(self._file, self._runs)

    def _estimate(self, request: Request) -> Estimate:
        pace = self._evaluation(request) * self._ratio("pace", request)
        other = (_START_SECONDS + _OTHER * pace) * self._ratio("other", request)
        memory = round(self._memory(request) * self._ratio("memory", request))
        learned = any(run["model"] == request.model for run in self._runs)
        fits = not self.memory_bytes or memory <= self.memory_bytes
        return Estimate(sum(work.of_steps(request)) * pace + other, learned, memory, fits)

    def _evaluation(self, request: Request) -> float:
        """Seconds that one evaluation takes by the table."""
        costs = _costs(request)
        frame = request.width * request.height / 1e6
        square = costs.tflop_square * frame * (_POOLED if request.key_pooling and frame >= _POOLED_FROM else 1.0)
        return _size(request) * (costs.tflop + square) / chips.find(self.device).tflops

    def _memory(self, request: Request) -> float:
        """Bytes at the peak, by the table."""
        costs, frame = _costs(request), request.width * request.height / 1e6
        denoise = costs.weights + costs.denoise * _size(request)
        if "CPU" in self.device:
            return max(_FLOAT32 * denoise, costs.decode_cpu * frame)
        return max(denoise, frame * (costs.decode if frame <= _LARGE else costs.decode_large))

    def _ratio(self, what: str, request: Request) -> float:
        runs = [run for run in self._runs if run["model"] == request.model]
        size = _size(request)
        near = [run for run in runs if size / _NEAR <= run["size"] <= size * _NEAR]
        return statistics.median([run[what] for run in (near or runs)[-_RECENT:]] or [1.0])


def _costs(request: Request) -> _Costs:
    return _DEMO if request.model == "demo" else _RELEASED


def _size(request: Request) -> float:
    """Millions of pixels in all frames."""
    return request.width * request.height * request.num_frames / 1e6


def _scaled(request: Request, scale: float) -> Request:
    width, height = (max(16, round(side * scale / 8) * 8) for side in (request.width, request.height))
    return dataclasses.replace(request, width=width, height=height)


def _sound(run: Any) -> bool:
    numbers = ("size", "pace", "other", "memory")
    return (isinstance(run, dict) and isinstance(run.get("model"), str)
            and all(isinstance(run.get(key), int | float) and run[key] >= 0 for key in numbers))
