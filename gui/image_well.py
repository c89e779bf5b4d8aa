"""Where the still goes in: drop, paste or open; then the crop editor."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from . import icons, theme
from .actions import Actions
from .buttons import IconButton
from .crop_editor import LEAP, CropEditor
from .labels import TIMES, ElidedLabel, Label
from .session import Session

_HEIGHT = 184


class ImageWell(QWidget):
    """Follows the session's picture and the draft's crop. Dropping is the window's: all of it takes pictures."""

    def __init__(self, session: Session, actions: Actions, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self._target = False
        self.crop_editor = CropEditor()
        self.empty = _Empty()
        self.empty.clicked.connect(actions.open.trigger)
        self._stack = QStackedWidget()
        self._stack.setFixedHeight(_HEIGHT)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.crop_editor)
        self._name = ElidedLabel(quiet=True, mode=Qt.TextElideMode.ElideMiddle)
        self._pixels = Label(quiet=True)

        head = QHBoxLayout()
        head.setSpacing(0)
        head.addWidget(Label("Picture", bold=True), 1)
        for action in (actions.reset_crop, actions.open):
            head.addWidget(IconButton(action))
        foot = QHBoxLayout()
        foot.setSpacing(theme.GRID)
        foot.addWidget(self._name, 1)
        foot.addWidget(self._pixels)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID // 2)
        layout.addLayout(head)
        layout.addWidget(self._stack)
        layout.addLayout(foot)

        self.crop_editor.edited.connect(lambda box: session.draft.change("crop", crop=box))
        actions.larger_crop.triggered.connect(lambda: self.crop_editor.zoom(1.1))
        actions.smaller_crop.triggered.connect(lambda: self.crop_editor.zoom(1 / 1.1))
        for (right, down), action in actions.move_crop.items():
            action.triggered.connect(
                lambda _on=False, right=right, down=down: self.crop_editor.move_box(right, down, LEAP))
        session.picture.changed.connect(self._show_picture)
        session.draft.changed.connect(self._show_crop)
        self._show_picture()
        self._show_crop()

    def show_target(self, on: bool) -> None:
        """Something that can be dropped hovers over the window."""
        self._target = on
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        if self._target:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(self.palette().accent().color(), 3))
            painter.drawRoundedRect(QRectF(self._stack.geometry()).adjusted(-2, -2, 2, 2), theme.RADIUS, theme.RADIUS)

    def _show_picture(self) -> None:
        picture = self._session.picture
        self.crop_editor.show_picture(picture.image)
        self._stack.setCurrentWidget(self.crop_editor if picture.image is not None else self.empty)
        self.empty.set_loading(picture.loading)
        self._name.setText(Path(picture.path).name if picture.path else "")
        size = f"{picture.image.width()} {TIMES} {picture.image.height()}" if picture.image is not None else ""
        self._pixels.setText(size)

    def _show_crop(self, *_: object) -> None:
        request = self._session.draft.request
        self.crop_editor.show_crop(request.crop, request.width, request.height)


class _Empty(QAbstractButton):
    """A dashed frame that says what to do; a click opens the file panel."""

    def __init__(self) -> None:
        super().__init__()
        self.setText("Choose a picture")
        self.setAccessibleDescription("Pictures can also be dropped anywhere on the window, or pasted.")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._loading = False

    def set_loading(self, loading: bool) -> None:
        self._loading = loading
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        palette = self.palette()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        active = self.hasFocus() or self.underMouse()
        edge = palette.accent().color() if active else theme.faint(palette, 0.28)
        painter.setPen(QPen(edge, 1.5, Qt.PenStyle.DashLine))
        painter.setBrush(theme.faint(palette, 0.03))
        painter.drawRoundedRect(frame, theme.RADIUS, theme.RADIUS)
        middle = frame.center()
        icons.draw(painter, "photo", QRectF(middle.x() - 18, middle.y() - 44, 36, 36), theme.quiet(palette))
        painter.setPen(palette.windowText().color())
        line = QRectF(frame.left(), middle.y(), frame.width(), 22)
        painter.drawText(line, Qt.AlignmentFlag.AlignCenter, "Opening…" if self._loading else "Drop a picture here")
        painter.setPen(theme.quiet(palette))
        painter.drawText(line.translated(0, 22), Qt.AlignmentFlag.AlignCenter, "or paste, or click to choose")
