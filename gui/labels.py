"""Labels that show words as they are. Prompts and file names are never markup."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QGuiApplication, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from . import theme

W = TypeVar("W", bound=QWidget)
TIMES = "\N{MULTIPLICATION SIGN}"


class Label(QLabel):
    """Plain text. `quiet` is for words of the second rank: small, in the quiet colour."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, quiet: bool = False, bold: bool = False):
        super().__init__(text, parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        if quiet or bold:
            theme.set_small(self, 1 if quiet else 0, bold)
        if quiet:
            self.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self._warns = False

    def set_warning(self, warns: bool) -> None:
        """In the colour of a warning, which no palette role has."""
        self._warns = warns
        palette = QPalette()
        if warns:
            palette.setColor(self.foregroundRole(), theme.warning(QGuiApplication.palette()))
        self.setPalette(palette)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ApplicationPaletteChange and self._warns:
            self.set_warning(True)


class ElidedLabel(Label):
    """One line that is cut with an ellipsis where it does not fit; the whole text is the tool tip then."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, quiet: bool = False, bold: bool = False,
                 mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight):
        super().__init__(text, parent, quiet=quiet, bold=bold)
        self._mode = mode
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, super().minimumSizeHint().height())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            hidden = self._shown() != self.text()
            self.setToolTip(as_tool_tip(self.text()) if hidden else "")
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(self.rect(), int(self.alignment()) | Qt.TextFlag.TextSingleLine, self._shown())

    def _shown(self) -> str:
        return self.fontMetrics().elidedText(self.text(), self._mode, self.width())


def named(widget: W, name: str, hint: str = "") -> W:
    """The widget, with a name for screen readers and a tool tip."""
    widget.setAccessibleName(name)
    widget.setToolTip(hint)
    return widget


def as_tool_tip(text: str) -> str:
    """Tool tips guess whether they are markup; this one is not."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<span>{escaped}</span>" if escaped != text else text


def with_tilde(path: Path) -> str:
    """A folder as people know it, without the name of the user."""
    return f"~/{path.relative_to(Path.home()).as_posix()}" if path.is_relative_to(Path.home()) else str(path)
