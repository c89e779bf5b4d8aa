"""The Mac does not fall asleep while a video is made."""

from __future__ import annotations

import sys

from PySide6.QtCore import QObject, QProcess


def command(pid: int) -> list[str]:
    """What keeps this system awake as long as the process `pid` lives; nothing on systems without it."""
    return ["caffeinate", "-i", "-w", str(pid)] if sys.platform == "darwin" else []


class KeepAwake(QObject):
    """Between `begin` and `end` the system does not sleep of itself."""

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._process: QProcess | None = None

    def begin(self, pid: int) -> None:
        self.end()
        arguments = command(pid)
        if arguments:
            self._process = QProcess(self)
            self._process.start(arguments[0], arguments[1:])

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.waitForFinished(1000)
            self._process.deleteLater()
            self._process = None
