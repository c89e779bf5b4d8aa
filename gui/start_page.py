"""The centre of the window before there is a picture: what to do, and the card of the full model."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPen
from PySide6.QtSvgWidgets import QSvgWidget
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from i2v_mlx.files import resource

from . import theme
from .actions import Actions
from .buttons import ActionButton
from .labels import Label
from .model_card import ModelCard
from .session import Session


class StartPage(QWidget):
    """A drop target as large as the clip will be."""

    def __init__(self, session: Session, actions: Actions, card: ModelCard, parent: QWidget | None = None):
        super().__init__(parent)
        self._card = card
        picture = QSvgWidget(str(resource("icon.svg")))
        picture.setFixedSize(96, 96)
        title = Label("Drop a photo, say what should move")
        font = QFont(title.font())
        font.setPointSizeF(font.pointSizeF() + 7)
        font.setWeight(QFont.Weight.DemiBold)
        title.setFont(font)
        words = Label("JPEG, PNG, WebP, TIFF, or a clip exported from here. Nothing leaves this machine.")
        words.setForegroundRole(words.palette().ColorRole.PlaceholderText)
        for label in (title, words):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.setSpacing(theme.GRID)
        buttons.addStretch(1)
        self.choose = ActionButton(actions.open, "Choose a picture…")
        buttons.addWidget(self.choose)
        buttons.addWidget(ActionButton(actions.paste))
        buttons.addStretch(1)
        card.setFixedWidth(416)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * theme.GRID, 2 * theme.GRID, 3 * theme.GRID, 2 * theme.GRID)
        layout.setSpacing(theme.GRID)
        layout.addStretch(2)
        layout.addWidget(picture, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(title)
        layout.addWidget(words)
        layout.addSpacing(theme.GRID)
        layout.addLayout(buttons)
        layout.addSpacing(3 * theme.GRID)
        middle = QHBoxLayout()             # aligned to the middle, a card would not get the height of its wrapped words
        middle.addStretch(1)
        middle.addWidget(card)
        middle.addStretch(1)
        layout.addLayout(middle)
        layout.addStretch(3)
        session.engine_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self._card.setVisible(self._card.needed)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.faint(self.palette(), 0.22), 1.5, Qt.PenStyle.DashLine))
        painter.setBrush(theme.faint(self.palette(), 0.025))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 1.5 * theme.RADIUS, 1.5 * theme.RADIUS)
