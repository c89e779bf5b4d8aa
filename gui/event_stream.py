"""Bytes from the worker, cut anywhere, become events. Whatever is not a sound event is dropped and counted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from i2v_mlx.events import MAX_LINE_BYTES, Event, decode


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# Keyed by the annotation of the field in `events`, which are strings there. `decode` checks names, not types.
_FITS: dict[str, Callable[[Any], bool]] = {
    "int": _whole,
    "float": _number,
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "dict[str, Any]": lambda value: isinstance(value, dict),
    "dict[str, Any] | None": lambda value: value is None or isinstance(value, dict),
    "list[str]": lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
}


class EventStream:
    """Attributes:
        dropped: lines that were no events: garbage, too long, unknown, wrongly typed.
    """

    def __init__(self, on_dropped: Callable[[bytes], None] = lambda line: None):
        """`on_dropped` gets the first bytes of every dropped line, for the log."""
        self.dropped = 0
        self._on_dropped = on_dropped
        self._line = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[tuple[str, Event]]:
        """The (job, event) pairs whose lines end in `data`."""
        found = []
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._take(piece)
            line, too_long = bytes(self._line), self._too_long
            self._line.clear()
            self._too_long = False
            event = None if too_long else _sound(line)
            if event is not None:
                found.append(event)
            elif line.strip():
                self.dropped += 1
                self._on_dropped(line[:200])
        self._take(rest)
        return found

    def _take(self, piece: bytes) -> None:
        # A line that never ends must not fill the memory: its beginning is kept for the log, the rest is let go.
        if self._too_long:
            return
        self._line += piece
        if len(self._line) > MAX_LINE_BYTES:
            self._too_long = True
            del self._line[200:]


def _sound(line: bytes) -> tuple[str, Event] | None:
    pair = decode(line)
    if pair is None:
        return None
    event = pair[1]
    for field in dataclasses.fields(event):
        if not field.metadata.get("in_process") and not _FITS[str(field.type)](getattr(event, field.name)):
            return None
    return pair
