"""What the worker writes to stderr: kept in a rotating file, the end of it in memory."""

from __future__ import annotations

import logging
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 2**20
KEPT_FILES = 3
_LONGEST_LINE = 2000


class EngineLog:
    """Attributes:
        tail: the last lines of the worker that runs now, or ran last.
    """

    def __init__(self, file: Path | None):
        """Without a file only `tail` is kept."""
        self.tail: deque[str] = deque(maxlen=60)
        self._rest = b""
        self._handler: logging.Handler = logging.NullHandler()
        if file is not None:
            self._handler = RotatingFileHandler(file, maxBytes=MAX_BYTES, backupCount=KEPT_FILES, encoding="utf-8",
                                                delay=True)
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))

    def feed(self, data: bytes) -> None:
        """Bytes of stderr, cut anywhere."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self.write(line.decode("utf-8", "replace"))

    def end(self) -> None:
        """The worker has ended: its last line may lack a newline."""
        if self._rest:
            self.write(self._rest.decode("utf-8", "replace"))
        self._rest = b""

    def write(self, line: str) -> None:
        """One line; control characters are escaped, so that nobody can paint over the log."""
        line = line[:_LONGEST_LINE].rstrip()
        shown = "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in line)
        if shown:
            self.tail.append(shown)
            self._handler.handle(logging.LogRecord("engine", logging.INFO, "", 0, shown, None, None))

    def reason(self) -> str:
        """The most telling line: that of the exception a traceback ends with, or simply the last one."""
        for line in reversed(self.tail):
            name, colon, _ = line.partition(":")
            if colon and name.replace(".", "").isidentifier() and name.endswith(("Error", "Exception")):
                return line
        return self.tail[-1] if self.tail else ""

    def close(self) -> None:
        self._handler.close()
