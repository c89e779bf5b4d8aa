"""Small pictures for lists, read on a thread and kept."""

from __future__ import annotations

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QImage, QImageReader, QPixmap

from .background import Background

_SIDE = 128                    # pixels: enough for 40 points on a screen with two or three pixels a point
_KEPT = 500


class Thumbnails(QObject):
    """Signals:
        ready(): one that was asked for has come.
    """

    ready = Signal()

    def __init__(self, background: Background, parent: QObject | None = None):
        super().__init__(parent)
        self._background = background
        self._pixmaps: dict[str, QPixmap] = {}

    def of(self, path: str) -> QPixmap:
        """A picture's thumbnail; a null pixmap until it has been read, or if it cannot be."""
        if path not in self._pixmaps:
            if len(self._pixmaps) >= _KEPT:
                self._pixmaps.pop(next(iter(self._pixmaps)))
            self._pixmaps[path] = QPixmap()
            self._background.run(lambda: _read(path), lambda image: self._take(path, image), lambda error: None)
        return self._pixmaps[path]

    def _take(self, path: str, image: QImage) -> None:
        self._pixmaps[path] = QPixmap.fromImage(image)
        self.ready.emit()


def _read(path: str) -> QImage:
    reader = QImageReader(path)
    reader.setAutoTransform(True)
    size = reader.size()
    if size.isValid():
        reader.setScaledSize(size.scaled(QSize(_SIDE, _SIDE), Qt.AspectRatioMode.KeepAspectRatioByExpanding))
    return reader.read()
