"""The source picture as pixels, loaded off the main thread by the engine's own reader."""

from __future__ import annotations

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
        loading: `image` is still that of another path.

    Signals:
        changed(): `image` is another one.
        failed(I2VError): the file cannot be used; `image` is None.
    """

    changed = Signal()
    failed = Signal(object)

    def __init__(self, background: Background, parent: QObject | None = None):
        super().__init__(parent)
        self.path = ""
        self.image: QImage | None = None
        self.loading = False
        self._background = background
        self._loads = 0

    def load(self, path: str) -> None:
        """Begins to load; an earlier load that is not finished is forgotten. An empty path clears."""
        self._loads += 1
        this_load = self._loads
        self.path = path
        self.loading = bool(path)
        if not path:
            self._show(this_load, None)
            return
        self._background.run(lambda: to_qimage(np.asarray(images.load(path))),
                             lambda image: self._show(this_load, image),
                             lambda error: self._fail(this_load, error))

    def _show(self, load: int, image: QImage | None) -> None:
        if load == self._loads:
            self.loading = False
            self.image = image
            self.changed.emit()

    def _fail(self, load: int, error: I2VError) -> None:
        if load == self._loads:
            self._show(load, None)
            self.failed.emit(error)
