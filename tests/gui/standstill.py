"""How long the event loop stood still at most: for a slot that computes, and for one that sleeps or waits."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtCore import QTimer

LIMIT_S = 0.050
_WAITING = Path("/proc/thread-self/schedstat")


class Standstill:
    """Between `with` and its end a timer ticks every millisecond; `worst` is the longest time between two ticks.

    What the thread spent ready to run, while other programs had the processor, is taken off, so that a busy machine is
    not mistaken for a slow slot: Linux counts it. Elsewhere only the thread's own computing is seen.
    """

    def __init__(self) -> None:
        self.worst, self.ticks = 0.0, 0
        self._last = 0.0
        self._timer = QTimer(interval=1)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> Standstill:
        self._last = _now()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tick()
        self._timer.stop()

    def _tick(self) -> None:
        now = _now()
        self.worst, self.ticks, self._last = max(self.worst, now - self._last), self.ticks + 1, now


def _now() -> float:
    try:
        return time.monotonic() - int(_WAITING.read_text().split()[1]) / 1e9
    except OSError:
        return time.thread_time()


def turns(run: object, tries: int = 3) -> float:
    """`run` is called with a `Standstill` up to three times, until it stays below the limit; returns the best worst.

    What holds up the loop does so every time; a hiccup of the machine does not.
    """
    found = []
    for _ in range(tries):
        with Standstill() as still:
            run()                           # type: ignore[operator]
        found.append(still.worst)
        assert still.ticks > 5
        if still.worst < LIMIT_S:
            break
    return min(found)
