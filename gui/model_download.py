"""The released model: what it is, where it goes, and the command of the engine that fetches it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QProcess, Signal

from i2v_mlx.files import resource

from . import quantities

NAME = "i2vgen-xl"
EIGHT_BIT = "i2vgen-xl-8bit"        # its copy in 8 bits, which the engine makes when it is first used
TITLE = "I2VGen-XL"
COMMAND = "python -m i2v_mlx download"


@dataclass(frozen=True)
class Facts:
    """Attributes: `licence` and `note` in the words of resources/models.json."""

    bytes: int
    licence: str
    note: str


@cache
def facts() -> Facts:
    """Of the released model."""
    entry = json.loads(resource("models.json").read_text(encoding="utf-8"))[NAME]
    return Facts(entry["bytes"], entry["licence"], entry.get("note", ""))


def folder() -> Path:
    """The hub library's cache, by its own rules: the model may be there already, from another program."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def free_bytes() -> int:
    """On the disk of that folder, which need not exist yet."""
    place = folder()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


class ModelDownload(QObject):
    """Runs the engine's download command. Nothing else in the app fetches a model, and only when asked.

    Attributes:
        folder: where the model goes.
        have_bytes: of it here already, from an earlier try; 0 while that is not known.
        fraction: of the bytes that are here; None while that is not known.
        line: how far it is, or why it ended, in words.

    Signals:
        changed(): `running`, `fraction` or `line` is another one.
        ended(bool): whether the model is there now.
    """

    changed = Signal()
    ended = Signal(bool)

    def __init__(self, command: list[str] | None = None, parent: QObject | None = None):
        super().__init__(parent)
        frozen = getattr(sys, "frozen", False)
        how = ["--download"] if frozen else ["-m", "i2v_mlx", "download", "--json"]
        self._command = command or [sys.executable, *how]
        self._process: QProcess | None = None
        self._rest = b""
        self._explained = False        # `line` says why it ended
        self.folder = folder()
        self.have_bytes = 0
        self.fraction: float | None = None
        self.line = ""

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Begins, or carries on where an earlier one stopped."""
        if self._process is not None:
            return
        self._process = process = QProcess(self)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._log)
        process.errorOccurred.connect(self._failed)
        process.finished.connect(self._finished)
        self._rest, self.fraction, self.line, self._explained = b"", None, "Looking what is to be fetched…", False
        process.start(self._command[0], self._command[1:])
        self.changed.emit()

    def cancel(self) -> None:
        """What was fetched stays."""
        if self._process is not None:
            self.line, self._explained = "Stopped. What was fetched is kept.", True
            self._process.kill()

    def close(self) -> None:
        """Before the app ends."""
        if self._process is not None:
            self._process.finished.disconnect(self._finished)
            self._process.errorOccurred.disconnect(self._failed)
            self._process.kill()
            self._process.waitForFinished(2000)
            self._process = None

    def _read(self) -> None:
        if self._process is None:
            return
        *lines, self._rest = (self._rest + bytes(self._process.readAllStandardOutput().data())).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                self._take(event)
        self.changed.emit()

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind == "start":
            self.folder, self.have_bytes = Path(event["folder"]), event["have_bytes"]
            self.line = f"{quantities.size(event['bytes'] - self.have_bytes)} are to be fetched."
        elif kind == "progress":
            here, total, left = event["bytes"], event["total"], event["seconds_left"]
            self.fraction, self.have_bytes = here / total if total else None, here
            self.line = f"{quantities.size(here)} of {quantities.size(total)}"
            if left is not None:
                speed = quantities.size(event["bytes_per_second"])
                self.line += f", {speed} a second, {quantities.duration(left)} left"
        elif kind == "checking":
            self.line = f"Checking {event['file']}…"
        elif kind == "waiting":
            self.line = f"{event['reason']}; trying again"
        elif kind == "failed":
            self.line, self._explained = f"{event['message']} {event['hint']}".strip(), True
        elif kind == "finished":
            self.line, self._explained = "The model is here.", True

    def _log(self) -> None:
        if self._process is not None:
            for line in bytes(self._process.readAllStandardError().data()).decode("utf-8", "replace").splitlines():
                logging.getLogger("livestill").info("download: %s", line)

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.line, self._explained = "The download could not be started.", True
            self._end(False)

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        self._log()
        if not self._explained:
            self.line = "The download stopped unexpectedly. What was fetched is kept; Help > Show Log says more."
        self._end(code == 0 and status == QProcess.ExitStatus.NormalExit)

    def _end(self, done: bool) -> None:
        if self._process is not None:
            self._process.deleteLater()
            self._process = None
        self.changed.emit()
        self.ended.emit(done)
