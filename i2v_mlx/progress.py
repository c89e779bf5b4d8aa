"""The progress line of a terminal: stage, step, time left. Quiet where nobody looks."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from .errors import printable
from .events import Block, Converting, Done, Event, Frame, Notice, Stage, Step

WORDS = {"load": "opening the model", "encode": "looking at the picture", "denoise": "denoising", "decode": "decoding",
         "write": "writing"}
BAR = 24


class ProgressLine:
    """Consumes the events of a run. Notices are printed; the line is rewritten in place, on a terminal only."""

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self._stage = ""
        self._step = 0
        self._steps = 0
        self._since = 0.0

    def show(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._erase()
            print(f"note: {printable(event.message)}", file=self.stream)
        elif isinstance(event, Stage):
            self._stage, self._since, self._step, self._steps = event.name, time.monotonic(), 0, 0
            self._draw(WORDS[event.name], None)
        elif isinstance(event, Converting):
            self._converting(event)
        elif isinstance(event, Step):
            self._step, self._steps = event.index, event.count
            self._count(event.index, event.count, "step")
        elif isinstance(event, Block) and self._steps:
            self._count(self._step + event.index / event.count, self._steps, "step")
        elif isinstance(event, Frame):
            self._count(event.index, event.count, "frame")
        elif isinstance(event, Done):
            self._erase()

    def close(self) -> None:
        """Leaves the cursor on a line of its own."""
        self._erase()

    def _converting(self, event: Converting) -> None:
        """It takes long enough to be told where nobody looks, too."""
        if event.index == 1 and not self.live:
            print("making the 8-bit copy of the model, once", file=self.stream)
        self._draw("waiting for another program, which makes the 8-bit copy" if event.index == 0 else
                   f"making the 8-bit copy, once: {event.part}", max(0, event.index - 1) / event.count)

    def _count(self, done: float, total: int, what: str) -> None:
        left = (time.monotonic() - self._since) / done * (total - done) if done else 0.0
        self._draw(f"{WORDS[self._stage]}, {what} {int(done)} of {total}, {clock(left)} left", done / total)

    def _draw(self, text: str, share: float | None) -> None:
        if not self.live:
            return
        bar = "" if share is None else f"[{'=' * round(share * BAR):<{BAR}}] "
        line = (bar + text)[: shutil.get_terminal_size().columns - 1]
        self.stream.write(f"\r\033[K{line}")
        self.stream.flush()

    def _erase(self) -> None:
        if self.live:
            self.stream.write("\r\033[K")
            self.stream.flush()


def clock(seconds: float) -> str:
    """90 -> 1:30"""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
