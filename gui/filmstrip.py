"""All frames side by side. It is a slider: click or drag to scrub, arrow keys to step."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, QSignalBlocker, QSize, Qt, QTimer
from PySide6.QtGui import QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from . import theme
from .actions import Actions
from .player import Player

_HEIGHT = 48
_GAP = 2
_AT_ONCE = 8                  # thumbnails made in one go, so that the event loop goes on turning


class Filmstrip(QSlider):
    """Follows a player. With more frames than fit, every cell stands for several."""

    def __init__(self, player: Player, actions: Actions, parent: QWidget | None = None):
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._player = player
        self._thumbnails: dict[int, QPixmap] = {}
        self._todo: list[int] = []
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._make_some)
        self.setAccessibleName("Frames of the clip")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.addActions(actions.viewer_keys)
        player.frames_changed.connect(self._rebuild)
        player.position_changed.connect(self._follow)
        self.valueChanged.connect(self._seek)
        self._rebuild()

    def sizeHint(self) -> QSize:
        return QSize(400, _HEIGHT)

    minimumSizeHint = sizeHint

    def _cells(self) -> int:
        """How many thumbnails there is room for."""
        return min(self._player.count, max(1, (self.width() + _GAP) // (24 + _GAP)))

    def _cell(self, index: int) -> QRectF:
        width = (self.width() + _GAP) / max(1, self._cells())
        return QRectF(index * width, 4, width - _GAP, self.height() - 8)

    def _frame_of(self, cell: int) -> int:
        return cell * self._player.count // max(1, self._cells())

    def _rebuild(self) -> None:
        with QSignalBlocker(self):
            self.setRange(0, max(0, self._player.count - 1))
            self.setValue(self._player.position)
        self.setEnabled(self._player.count > 1)
        self._todo = list(range(self._cells())) if self._player.count else []
        if not self._todo:
            self._thumbnails.clear()
        self._timer.start()
        self.update()

    def _make_some(self) -> None:
        for cell in self._todo[:_AT_ONCE]:
            image = self._player.frame_image(self._frame_of(cell))
            if image is None:
                continue
            ratio = self.devicePixelRatioF()
            size = (self._cell(cell).size() * ratio).toSize()
            if image.width() > 4 * size.width():
                image = image.scaled(size * 4, Qt.AspectRatioMode.KeepAspectRatioByExpanding)     # coarse and quick
            image = image.scaled(size, Qt.AspectRatioMode.KeepAspectRatioByExpanding,
                                 Qt.TransformationMode.SmoothTransformation)
            left, top = (image.width() - size.width()) // 2, (image.height() - size.height()) // 2
            self._thumbnails[cell] = QPixmap.fromImage(image.copy(left, top, size.width(), size.height()))
        self._todo = self._todo[_AT_ONCE:]
        if not self._todo:
            self._timer.stop()
        self.update()

    def _follow(self, position: int) -> None:
        with QSignalBlocker(self):
            self.setValue(position)
        self.update()

    def _seek(self, position: int) -> None:
        self._player.seek(position)

    def _scrub(self, x: float) -> None:
        count = self._player.count
        if count:
            self.setValue(min(max(int(x / self.width() * count), 0), count - 1))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._player.pause()
        self._scrub(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._scrub(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._rebuild()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        palette = self.palette()
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        outline = QPainterPath()
        outline.addRoundedRect(QRectF(self.rect()).adjusted(0, 4, 0, -4), theme.RADIUS / 2, theme.RADIUS / 2)
        painter.setClipPath(outline)
        if not self._player.count:
            painter.fillPath(outline, theme.faint(palette, 0.05))
        current = None
        for cell in range(self._cells() if self._player.count else 0):
            rect = self._cell(cell)
            if cell in self._thumbnails:
                picture = self._thumbnails[cell]
                painter.drawPixmap(rect, picture, QRectF(picture.rect()))
            else:
                painter.fillRect(rect, theme.faint(palette, 0.08))
            if self._frame_of(cell) <= self._player.position:
                current = rect
        painter.setClipping(False)
        if current is not None:
            painter.setPen(QPen(palette.accent().color(), 3))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(current.adjusted(0.5, -2, -0.5, 2), 4, 4)
        if self.hasFocus():
            painter.setPen(QPen(palette.accent().color(), 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
