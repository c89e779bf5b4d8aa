"""The source picture as pixels, loaded off the main thread by the engine's own reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        loading: one is being read.

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
        self._background = background
        self._load = self._offer = 0           # numbers of what is being read, or was last; of each the last one counts
        self._reading: set[int] = set()

    @property
    def opening(self) -> bool:
        """Another picture may be about to take the place of this one."""
        return self._offer in self._reading

    @property
    def loading(self) -> bool:
        return bool({self._load, self._offer} & self._reading)

    def offer(self, path: str) -> None:
        """Begins to read a picture that replaces this one if it is sound; `opened` or `failed` follows."""
        self._offer = number = self._next()
        self._read(number, path, lambda image: self._open(number, path, image),
                   lambda error: self._fail(error) if number == self._offer else None)

    def load(self, path: str) -> None:
        """Begins to read the draft's picture, unless it is here. An empty path clears."""
        if path == self.path and (self.image is not None or not path):
            return
        self.path = path
        self._load = number = self._next()
        if path:
            self._read(number, path, lambda image: self._show(image) if number == self._load else None,
                       lambda error: self._lose(error) if number == self._load else None)
        else:
            self._show(None)

    def _next(self) -> int:
        return max(self._load, self._offer) + 1

    def _read(self, number: int, path: str, done: Callable[[QImage], None], failed: Callable[[I2VError], None]) -> None:
        self._reading.add(number)
        self.changed.emit()

        def end(tell: Callable[[Any], None], result: Any) -> None:
            self._reading.discard(number)
            tell(result)

        self._background.run(lambda: to_qimage(np.asarray(images.load(path))), lambda image: end(done, image),
                             lambda error: end(failed, error))

    def _open(self, number: int, path: str, image: QImage) -> None:
        if number == self._offer:
            self.path, self.image, self._load = path, image, self._next()
            self.opened.emit(path)
            self.changed.emit()

    def _show(self, image: QImage | None) -> None:
        self.image = image
        self.changed.emit()

    def _lose(self, error: I2VError) -> None:
        self.image = None
        self._fail(error)

    def _fail(self, error: I2VError) -> None:
        self.changed.emit()
        self.failed.emit(error)
