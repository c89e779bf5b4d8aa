"""A progress bar that takes little room."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QProgressBar, QSizePolicy, QWidget

from . import theme


class ThinBar(QProgressBar):
    """From 0 to 1000, six pixels high; screen readers get its value as of any other."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setRange(0, 1000)
        self.setTextVisible(False)
        self.setAccessibleName("Progress")
        self.setFixedHeight(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        track = QRectF(self.rect())
        painter.setBrush(theme.faint(self.palette(), 0.12))
        painter.drawRoundedRect(track, 3, 3)
        done = self.value() / max(1, self.maximum())
        if done > 0:
            painter.setBrush(self.palette().accent())
            painter.drawRoundedRect(QRectF(0, 0, max(6.0, track.width() * done), track.height()), 3, 3)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        self.update()
