"""What the app and the engine wrote down, and a report to paste that names no prompt and no picture."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from . import theme
from .labels import Label, named
from .segmented import Segmented
from .session import Session

_TAIL_BYTES = 200_000


class LogViewer(QDialog):
    """The end of both logs, as they are when it is opened or another one is chosen."""

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self.setWindowTitle("Log")
        self.resize(800, 560)
        self.which = Segmented([("engine", "Engine"), ("app", "App")], "Log")
        self.which.value = "engine"
        self.which.picked.connect(self._read)
        self.text = named(QPlainTextEdit(readOnly=True, lineWrapMode=QPlainTextEdit.LineWrapMode.NoWrap), "Log")
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.copied = Label(quiet=True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = QPushButton("Copy Diagnostics")
        copy.setToolTip("Versions, machine and the last lines, without prompts and picture names")
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self._copy)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID)
        layout.setSpacing(theme.GRID)
        layout.addWidget(self.which, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.copied)
        layout.addWidget(buttons)
        self._read("engine")

    def _read(self, which: str) -> None:
        file = self._session.places.logs / f"{which}.log"
        self._session.background.run(lambda: _tail(file), self._show, lambda error: self._show(str(error)))

    def _show(self, text: str) -> None:
        self.text.setPlainText(text or "Nothing has been written yet.")
        self.text.verticalScrollBar().setValue(self.text.verticalScrollBar().maximum())

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self._session.diagnostics())
        self.copied.setText("Copied. It holds no prompts and no picture names.")


def _tail(file: Path) -> str:
    if not file.exists():
        return ""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - _TAIL_BYTES))
        return log.read().decode("utf-8", "replace")
