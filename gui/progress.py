"""How far the current job is, and how long it will still take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from i2v_mlx.events import STAGES, Accepted, Block, Converting, Done, Event, Frame, Stage, Step

# Share of the whole that each stage has on the bar. Denoising is what people wait for.
_SHARES = {"load": 0.04, "encode": 0.02, "denoise": 0.86, "decode": 0.07, "write": 0.01}
_RECENT_STEPS = 9


@dataclass
class Progress:
    """Fed with the events of one job; never goes backwards.

    Attributes:
        stage: one of events.STAGES, or "" before the first.
        part, parts: of the model, of which an 8-bit copy is made while it is loaded; a part of 0 is waited for.
        step, steps: denoising steps done, of how many.
        work: how much each step is, see `work.of_steps`; all are alike by default.
        block, blocks: network blocks done within the current step.
        frame, frames: frames decoded.
        peak_bytes: the engine's own estimate of peak memory.
        step_seconds: measured, one for each step.
        after_seconds: expected for decoding and writing; from the estimate.
    """

    steps: int = 0
    after_seconds: float = 0.0
    work: list[float] = field(default_factory=list)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    stage: str = ""
    part: int = 0
    parts: int = 0
    step: int = 0
    block: int = 0
    blocks: int = 0
    frame: int = 0
    frames: int = 0
    peak_bytes: int = 0
    step_seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._began = self._step_ended = self.clock()
        self._shown = 0.0
        self._paces: list[float] = []          # seconds for a unit of work

    def feed(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, Accepted):
            self.peak_bytes = event.peak_bytes
        elif isinstance(event, Stage) and event.name in STAGES:
            if STAGES.index(event.name) > (STAGES.index(self.stage) if self.stage else -1):
                self.stage = event.name
                self._step_ended = self.clock()
        elif isinstance(event, Converting) and 0 <= event.index <= event.count:
            self.part, self.parts = event.index, event.count
        elif isinstance(event, Block) and 0 < event.index <= event.count:
            self.block, self.blocks = event.index, event.count
        elif isinstance(event, Step) and self.step < event.index <= event.count:
            self.step, self.steps, self.block = event.index, event.count, 0
            now = self.clock()
            self.step_seconds.append(event.seconds or now - self._step_ended)
            self._paces.append(self.step_seconds[-1] / self._work_of(event.index - 1))
            self._step_ended = now
        elif isinstance(event, Frame) and self.frame < event.index <= event.count:
            self.frame, self.frames = event.index, event.count
        elif isinstance(event, Done):
            self._shown = 1.0

    @property
    def elapsed(self) -> float:
        """Seconds since the job began."""
        return self.clock() - self._began

    @property
    def fraction(self) -> float:
        """0 to 1, over all stages."""
        if self.stage:
            before = sum(_SHARES[name] for name in STAGES[:STAGES.index(self.stage)])
            self._shown = max(self._shown, before + _SHARES[self.stage] * self._within())
        return self._shown

    @property
    def seconds_left(self) -> float | None:
        """From the median of the last measured steps, once one is done; None before."""
        if not self.step_seconds:
            return None
        if self.stage in ("decode", "write"):
            return max(0.0, self.after_seconds - (self.clock() - self._step_ended))
        pace = statistics.median(self._paces[-_RECENT_STEPS:])
        left = [pace * self._work_of(index) for index in range(self.step, self.steps)]
        running = min(left[0] if left else 0.0, self.clock() - self._step_ended)
        return max(0.0, sum(left) - running) + self.after_seconds

    def _work_of(self, index: int) -> float:
        return self.work[index] if index < len(self.work) else 1.0

    def _within(self) -> float:
        if self.stage == "denoise" and self.steps:
            works = [self._work_of(index) for index in range(self.steps)]
            part = self.block / self.blocks * works[self.step] if self.blocks and self.step < self.steps else 0.0
            return (sum(works[:self.step]) + part) / sum(works)
        return self.frame / self.frames if self.stage == "decode" and self.frames else 0.0
