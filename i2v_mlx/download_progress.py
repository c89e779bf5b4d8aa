"""What a download says: to people on stderr, to the app as lines of JSON on stdout.

A terminal gets one line, rewritten; a pipe gets a line every second, of which the app shows the last.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .download import Event, Finished, Progress, Start
from .errors import I2VError
from .progress import clock
from .transfer import Checking, Waiting

BAR = 24


def follow(events: Iterator[Event], as_json: bool = False) -> Path:
    """Runs a download to its end and returns the folder."""
    lines: DownloadLine | JsonLines = JsonLines() if as_json else DownloadLine()
    try:
        for event in events:
            lines.show(event)
            if isinstance(event, Finished):
                return Path(event.folder)
    finally:
        lines.close()
    raise RuntimeError("a download ended without a model")


class DownloadLine:
    """For people."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._pause = 0.2 if self._live else 1.0
        self._next = 0.0

    def show(self, event: Event) -> None:
        if isinstance(event, Progress):
            if time.monotonic() >= self._next or event.bytes == event.total:
                self._next = time.monotonic() + self._pause
                self._draw(progress_text(event), event.bytes / event.total)
        elif isinstance(event, Start):
            for line in start_lines(event):
                self._print(line)
        elif isinstance(event, Waiting):
            self._print(f"{event.reason}; next try in {event.seconds:.0f} s")
        elif isinstance(event, Checking):
            self._draw(f"checking {event.file}", None)
        elif not event.fetched:
            self._print("The model is here already, and whole.")

    def close(self) -> None:
        """Leaves the cursor on a line of its own."""
        if self._live:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _draw(self, text: str, share: float | None) -> None:
        if not self._live:
            print(text, file=self._stream, flush=True)
            return
        bar = "" if share is None else f"[{'=' * round(share * BAR):<{BAR}}] "
        self._stream.write(f"\r\033[K{(bar + text)[: shutil.get_terminal_size().columns - 1]}")
        self._stream.flush()

    def _print(self, line: str) -> None:
        self.close()
        print(line, file=self._stream, flush=True)


class JsonLines:
    """For programs: ``{"event": "progress", ...}``, the fields of the events, at most ten times a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, event: Event) -> None:
        if isinstance(event, Progress) and event.bytes < event.total:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + 0.1
        print(json.dumps({"event": type(event).__name__.lower(), **dataclasses.asdict(event)}), flush=True)

    def close(self) -> None:
        """Nothing to tidy up."""


def tell_failure(error: I2VError) -> None:
    """The last line of a download that failed, for programs."""
    print(json.dumps({"event": "failed", "code": error.code, "message": error.message, "hint": error.hint}), flush=True)


def start_lines(start: Start) -> list[str]:
    """What to know before 5 GB are fetched."""
    here = f", {amount(start.have_bytes)} of it here already" if start.have_bytes else ""
    lines = [f"{start.repo}: {amount(start.bytes)}{here}; {amount(start.free_bytes)} free", f"Folder: {start.folder}",
             f"Licence: {start.licence}"]
    return [*lines, start.note] if start.note else lines


def progress_text(progress: Progress) -> str:
    """"2.10 GB of 4.98 GB, 45.2 MB/s, 1:04 left"."""
    text = f"{amount(progress.bytes)} of {amount(progress.total)}"
    if progress.seconds_left is None:
        return text
    return f"{text}, {amount(progress.bytes_per_second)}/s, {clock(progress.seconds_left)} left"


def amount(size: float) -> str:
    """2100000000 -> 2.10 GB"""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
