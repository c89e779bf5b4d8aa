"""The clip, as large as it goes. Frames loop here while they denoise and when they are done; a still before that."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFont,
    QFontMetricsF,
    QImage,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QApplication, QSizePolicy, QWidget

from . import crop, theme
from .actions import Actions
from .session import Session

_STAGES = {"": "Starting", "load": "Loading the model", "encode": "Reading the picture and the words",
           "denoise": "Denoising", "decode": "Decoding the frames", "write": "Saving"}

_MUCH = 3                      # times its size: a preview, or a clip of the demo model


def stage_text(stage: str) -> str:
    """A stage of events.STAGES in words."""
    return _STAGES.get(stage, stage)


class ClipView(QWidget):
    """Shows `Player.image`. A click plays or pauses, dragging takes the clip out as a file.

    Signals:
        drag_wanted(): the user began to drag the clip.
        menu_wanted(QPoint): a context menu, at this place of the screen.
    """

    drag_wanted = Signal()
    menu_wanted = Signal(object)

    def __init__(self, session: Session, actions: Actions, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._player = session, session.player
        self._pressed: QPointF | None = None
        self._still_image: QImage | None = None
        self._still_is: tuple | None = None            # what `_still_image` was made from
        self.setAccessibleName("Clip")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.addActions(actions.viewer_keys)
        for signal in (self._player.position_changed, self._player.frames_changed, self._player.changed,
                       session.progress_changed, session.shown_changed, session.picture.changed, session.draft.changed):
            signal.connect(self._show)
        self._show()

    def sizeHint(self) -> QSize:
        return QSize(704, 448)

    def minimumSizeHint(self) -> QSize:
        return QSize(320, 200)

    def _show(self, *_: object) -> None:
        self.update()
        count = self._player.count
        what = "Preview of the clip" if self._player.is_preview else "Clip"
        place = f"{what}, frame {self._player.position + 1} of {count}"
        self.setAccessibleDescription(place if count else "No clip yet")

    # input

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed = event.position() if event.button() == Qt.MouseButton.LeftButton else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed is not None:
            far = (event.position() - self._pressed).manhattanLength() >= QApplication.startDragDistance()
            if far:
                self._pressed = None
                self.drag_wanted.emit()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._pressed is not None:
            self._pressed = None
            self._player.toggle()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu_wanted.emit(event.globalPos())

    # painting

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        stage = QRectF(self.rect())
        outline = QPainterPath()
        outline.addRoundedRect(stage, theme.RADIUS, theme.RADIUS)
        painter.fillPath(outline, theme.faint(self.palette(), 0.06))
        painter.setClipPath(outline)
        image = self._player.image() if self._player.count or self._session.progress else self._still()
        if image is not None:
            size = image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
            area = QRectF(0, 0, size.width(), size.height())
            area.moveCenter(stage.center())
            painter.drawImage(area, _smooth(image) if area.width() > _MUCH * image.width() else image)
            self._draw_words(painter, area)
        if self.hasFocus():
            painter.setPen(QPen(self.palette().accent().color(), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(stage.adjusted(1, 1, -1, -1), theme.RADIUS, theme.RADIUS)

    def _still(self) -> QImage | None:
        """The picture of the draft as the video will crop it: what Generate will begin with."""
        picture, request = self._session.picture.image, self._session.draft.request
        if picture is None:
            return None
        ratio = self.devicePixelRatioF()
        wanted = (picture.cacheKey(), request.crop, request.width, request.height, self.size(), ratio)
        if self._still_is != wanted:
            size = (picture.width(), picture.height())
            left, top, right, bottom = crop.video_box(size, request.crop, request.width, request.height)
            part = QRectF(QPointF(left * size[0], top * size[1]), QPointF(right * size[0], bottom * size[1]))
            room = QSize(request.width, request.height).scaled(self.size() * ratio, Qt.AspectRatioMode.KeepAspectRatio)
            near = QImage(room * 2, QImage.Format.Format_RGB32)  # quick and coarse first: smooth alone takes long
            with QPainter(near) as painter:
                painter.drawImage(QRectF(near.rect()), picture, part)
            self._still_image = near.scaled(room, mode=Qt.TransformationMode.SmoothTransformation)
            self._still_is = wanted
        return self._still_image

    def _draw_words(self, painter: QPainter, area: QRectF) -> None:
        progress, player = self._session.progress, self._player
        corner = area.topLeft() + QPointF(12, 12)
        if player.side == "source" and player.count:
            _pill(painter, corner, "The still", self.font())
        elif player.is_preview and progress is not None and progress.stage == "denoise":
            _pill(painter, corner, f"Forming · step {progress.step} of {progress.steps}", self.font())
        elif player.is_preview and progress is not None:
            _pill(painter, corner, stage_text(progress.stage), self.font())
        elif player.count == 0 and progress is not None:
            _pill(painter, corner, f"{stage_text(progress.stage)}…", self.font())


def _smooth(image: QImage) -> QImage:
    """A small frame is doubled twice: linear steps on top of each other leave no diamonds, at little cost."""
    for _ in range(2):
        image = image.scaled(image.size() * 2, mode=Qt.TransformationMode.SmoothTransformation)
    return image


def _pill(painter: QPainter, corner: QPointF, text: str, font: QFont) -> None:
    font = QFont(font)
    font.setWeight(QFont.Weight.DemiBold)
    metrics = QFontMetricsF(font)
    rect = QRectF(corner.x(), corner.y(), metrics.horizontalAdvance(text) + 24, 28)
    painter.setFont(font)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(12, 12, 16, 170))
    painter.drawRoundedRect(rect, 14, 14)
    painter.setPen(Qt.GlobalColor.white)
    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
