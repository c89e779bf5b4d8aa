"""The picture with what the model will see of it: the video's crop, and the square that CLIP looks at."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from . import crop, theme
from .crop import Box

LEAP = 10                     # small steps, with Shift and in the menu
_NUDGE = 0.01                 # of the picture: the small step of an arrow key
_ZOOM = 1.05                  # for a key or a notch of the wheel
_GRAB = 14                    # pixels around a corner
_MOVES = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, -1), Qt.Key.Key_Down: (0, 1)}


class CropEditor(QWidget):
    """Drag the box, or a corner of it; wheel, pinch, + and - for its size; arrow keys move it.

    Signals:
        edited(Box): the user wants this crop.
    """

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAccessibleName("Crop of the picture")
        self.setAccessibleDescription("Arrow keys move the crop, plus and minus change its size.")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self._image: QImage | None = None
        self._scaled = QPixmap()
        self._crop: Box | None = None
        self._video = (16, 9)
        self._drag: tuple[QPointF, Box, bool] | None = None      # where it began, the box then, by a corner

    def show_picture(self, image: QImage | None) -> None:
        self._image = image
        self._scaled = QPixmap()
        self.update()

    def show_crop(self, box: Box | None, width: int, height: int) -> None:
        """The crop of the request, and the size of the video."""
        self._crop, self._video = box, (width, height)
        self.update()

    def zoom(self, factor: float) -> None:
        """A larger or smaller box about the same middle."""
        if self._image is not None:
            self.edited.emit(crop.scaled(self._box(), factor))

    def move_box(self, right: int, down: int, steps: int = 1) -> None:
        """The box moves by so many small steps."""
        if self._image is not None:
            self.edited.emit(crop.moved(self._box(), right * steps * _NUDGE, down * steps * _NUDGE))

    def sizeHint(self) -> QSize:
        return QSize(256, 184)

    # geometry

    def _size(self) -> tuple[int, int]:
        assert self._image is not None
        return self._image.width(), self._image.height()

    def _box(self) -> Box:
        return crop.video_box(self._size(), self._crop, *self._video)

    def _frame(self) -> QRectF:
        """Where the picture is painted."""
        size = QSize(*self._size()).scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        area = QRectF(0, 0, size.width(), size.height())
        area.moveCenter(QRectF(self.rect()).center())
        return area

    def _rect(self, box: Box) -> QRectF:
        frame = self._frame()
        left, top, right, bottom = box
        return QRectF(QPointF(frame.left() + left * frame.width(), frame.top() + top * frame.height()),
                      QPointF(frame.left() + right * frame.width(), frame.top() + bottom * frame.height()))

    def _at_corner(self, point: QPointF) -> bool:
        rect = self._rect(self._box())
        corners = (rect.topLeft(), rect.topRight(), rect.bottomLeft(), rect.bottomRight())
        return any((corner - point).manhattanLength() < _GRAB for corner in corners)

    # input

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._image is not None and event.button() == Qt.MouseButton.LeftButton:
            self._drag = (event.position(), self._box(), self._at_corner(event.position()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._image is None:
            return
        if self._drag is None:
            self.setCursor(Qt.CursorShape.SizeFDiagCursor if self._at_corner(event.position())
                           else Qt.CursorShape.OpenHandCursor)
            return
        start, box, by_corner = self._drag
        if by_corner:
            middle = self._rect(box).center()
            before, after = (start - middle).manhattanLength(), (event.position() - middle).manhattanLength()
            self.edited.emit(crop.scaled(box, max(after, 1.0) / max(before, 1.0)))
        else:
            frame, by = self._frame(), event.position() - start
            self.edited.emit(crop.moved(box, by.x() / frame.width(), by.y() / frame.height()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._drag = None

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.zoom(_ZOOM ** (event.angleDelta().y() / 120))
        event.accept()

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QNativeGestureEvent) and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture:
            self.zoom(1 + event.value())
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self._image is None:
            super().keyPressEvent(event)
        elif (by := _MOVES.get(Qt.Key(event.key()))) is not None:
            self.move_box(*by, LEAP if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1)
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(_ZOOM)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom(1 / _ZOOM)
        else:
            super().keyPressEvent(event)

    # painting

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._scaled = QPixmap()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        if self._image is None:
            return
        frame = self._frame()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        outline = QPainterPath()
        outline.addRoundedRect(frame, 6, 6)
        painter.setClipPath(outline)
        painter.drawPixmap(frame, self._picture(frame), QRectF(self._picture(frame).rect()))

        video = self._rect(self._box())
        outside = QPainterPath()
        outside.addRect(frame)
        inside = QPainterPath()
        inside.addRect(video)
        painter.fillPath(outside - inside, QColor(0, 0, 0, 140))

        square = self._rect(crop.clip_box(self._size(), self._crop)).adjusted(1, 1, -1, -1)
        for color, offset in ((QColor(0, 0, 0, 120), 4.0), (QColor(255, 255, 255, 220), 0.0)):
            pen = QPen(color, 1, Qt.PenStyle.CustomDashLine)
            pen.setDashPattern([4, 4])
            pen.setDashOffset(offset)
            painter.setPen(pen)
            painter.drawRect(square)
        painter.setPen(QPen(QColor(255, 255, 255, 230), 1.5))
        painter.drawRect(video.adjusted(0.75, 0.75, -0.75, -0.75))
        self._draw_corners(painter, video)
        self._tag(painter, video, "video", Qt.AlignmentFlag.AlignLeft)
        self._tag(painter, square, "model sees", Qt.AlignmentFlag.AlignRight)
        painter.setClipping(False)
        if self.hasFocus():
            painter.setPen(QPen(self.palette().accent().color(), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(frame.adjusted(1, 1, -1, -1), 6, 6)

    def _picture(self, frame: QRectF) -> QPixmap:
        """The picture at the size of the screen: a photo of 50 megapixels is scaled once and not at every paint."""
        if self._scaled.isNull() and self._image is not None:
            ratio = self.devicePixelRatioF()
            size = (frame.size() * ratio).toSize()
            near = self._image.scaled(size * 2)                   # quick and coarse first: smooth alone takes long
            self._scaled = QPixmap.fromImage(near.scaled(size, mode=Qt.TransformationMode.SmoothTransformation))
        return self._scaled

    def _draw_corners(self, painter: QPainter, rect: QRectF) -> None:
        painter.setPen(QPen(Qt.GlobalColor.white, 3, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
        inner, length = rect.adjusted(1.5, 1.5, -1.5, -1.5), 12
        for corner, x, y in ((inner.topLeft(), 1, 1), (inner.topRight(), -1, 1), (inner.bottomLeft(), 1, -1),
                             (inner.bottomRight(), -1, -1)):
            painter.drawLine(corner - QPointF(1.5 * x, 0), corner + QPointF(length * x, 0))
            painter.drawLine(corner - QPointF(0, 1.5 * y), corner + QPointF(0, length * y))

    def _tag(self, painter: QPainter, rect: QRectF, text: str, side: Qt.AlignmentFlag) -> None:
        font = QFont(self.font())
        font.setPointSizeF(8)
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        width = painter.fontMetrics().horizontalAdvance(text) + 8
        if rect.width() < width + 24:
            return
        left = rect.left() + 6 if side == Qt.AlignmentFlag.AlignLeft else rect.right() - width - 6
        tag = QRectF(left, rect.bottom() - 22, width, 16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(0, 0, 0, 150))
        painter.drawRoundedRect(tag, theme.RADIUS / 2, theme.RADIUS / 2)
        painter.setPen(Qt.GlobalColor.white)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawText(tag, Qt.AlignmentFlag.AlignCenter, text)
