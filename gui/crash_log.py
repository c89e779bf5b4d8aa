"""Logs, exceptions in slots, and crashes of the app itself."""

from __future__ import annotations

import faulthandler
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QMessageLogContext, QObject, QtMsgType, Signal, qInstallMessageHandler

from i2v_mlx.errors import I2VError

MAX_BYTES = 2**20
_LEVELS = {QtMsgType.QtDebugMsg: logging.DEBUG, QtMsgType.QtInfoMsg: logging.INFO,
           QtMsgType.QtWarningMsg: logging.WARNING, QtMsgType.QtCriticalMsg: logging.ERROR,
           QtMsgType.QtFatalMsg: logging.CRITICAL}


class CrashLog(QObject):
    """Takes over sys.excepthook, faulthandler and Qt's messages.

    Attributes:
        app_log: the file to which everything goes.
        previous: what the last run left behind when it crashed; "" normally. It is told once.

    Signals:
        raised(I2VError): an exception nobody caught; it is in the log, the app goes on.
    """

    raised = Signal(object)

    def __init__(self, folder: Path, parent: QObject | None = None):
        super().__init__(parent)
        folder.mkdir(parents=True, exist_ok=True)
        self.app_log = folder / "app.log"
        crash = folder / "crash.log"
        self.previous = crash.read_text(encoding="utf-8", errors="replace") if crash.exists() else ""
        if self.previous:
            crash.replace(folder / "crash.previous.log")
        self._crash = crash.open("w", encoding="utf-8")
        faulthandler.enable(self._crash)

        self._log = logging.getLogger("livestill")
        self._handler = RotatingFileHandler(self.app_log, maxBytes=MAX_BYTES, backupCount=2, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._log.addHandler(self._handler)
        self._log.setLevel(logging.INFO)

        self._excepthook, sys.excepthook = sys.excepthook, self._caught
        qInstallMessageHandler(self._qt_says)

    def close(self) -> None:
        """Gives the hooks back. A run that gets here did not crash."""
        sys.excepthook = self._excepthook
        qInstallMessageHandler(None)
        faulthandler.disable()
        self._crash.close()
        self._log.removeHandler(self._handler)
        self._handler.close()

    def _caught(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._excepthook(kind, error, where)
            return
        self._log.error("not caught", exc_info=(kind, error, where))
        if not isinstance(error, I2VError):
            error = I2VError("unexpected", f"Something unexpected happened: {kind.__name__}: {error}.",
                             "Nothing is lost; the log says more.")
        self.raised.emit(error)

    def _qt_says(self, kind: QtMsgType, context: QMessageLogContext, message: str) -> None:
        self._log.log(_LEVELS.get(kind, logging.INFO), "Qt: %s", message)
