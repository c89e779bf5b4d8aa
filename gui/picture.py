"""The source picture as pixels, loaded off the main thread by the engine's own reader."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from i2v_mlx import images
from i2v_mlx.errors import I2VError

from .background import Background
from .pixels import to_qimage


class Picture(QObject):
    """Follows `Draft.request.image`.

    Attributes:
        path: of the picture; "" for none.
        image: upright, sRGB, full size; None while there is none.
        loading: another picture is being read.

    Signals:
        changed(): `image` is another one, or `loading` has changed.
        opened(str): a picture that was offered is sound, and `image` is it.
        failed(I2VError): a file cannot be used. What was offered leaves everything as it was; for the draft's own
            picture `image` is None now.
    """

    changed = Signal()
    opened = Signal(str)
    failed = Signal(object)

    def __init__(self, background: Background, parent: QObject | None = None):
        super().__init__(parent)
        self.path = ""
        self.image: QImage | None = None
        self.loading = False
        self._background = background
        self._loads = 0

    def offer(self, path: str) -> None:
        """Begins to read a picture that replaces this one if it is sound; `opened` or `failed` follows."""
        self._read(path, lambda image: self._open(path, image), lambda: None)

    def load(self, path: str) -> None:
        """Begins to read the draft's picture, unless it is here. An empty path clears."""
        if path != self.path or self.image is None or self.loading:
            self.path = path
            if path:
                self._read(path, self._show, lambda: self._show(None))
            else:
                self._loads += 1
                self._show(None)

    def _read(self, path: str, done: Callable[[QImage], None], undone: Callable[[], None]) -> None:
        """What is still being read is forgotten."""
        self._loads += 1
        this_load = self._loads
        self.loading = True
        self.changed.emit()

        def fail(error: I2VError) -> None:
            if this_load == self._loads:
                self.loading = False
                undone()
                self.changed.emit()
                self.failed.emit(error)

        self._background.run(lambda: to_qimage(np.asarray(images.load(path))),
                             lambda image: done(image) if this_load == self._loads else None, fail)

    def _open(self, path: str, image: QImage) -> None:
        self.path, self.image, self.loading = path, image, False
        self.opened.emit(path)
        self.changed.emit()

    def _show(self, image: QImage | None) -> None:
        self.image, self.loading = image, False
        self.changed.emit()
