"""A few choices side by side, one of them chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QHBoxLayout, QSizePolicy, QWidget

from . import icons, theme

_HEIGHT = 28


class Segmented(QWidget):
    """Tab reaches the chosen one, the arrow keys the others.

    Signals:
        picked(str): the user chose this one. Setting `value` emits nothing.
    """

    picked = Signal(str)

    def __init__(self, choices: Sequence[tuple[str, str]], name: str, parent: QWidget | None = None, *,
                 pictures: Sequence[str] = ()):
        """`choices` are (value, label); `name` is for screen readers; `pictures` are icons to show for the labels."""
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, _Segment] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(0)
        for index, (value, label) in enumerate(choices):
            button = _Segment(label, pictures[index] if pictures else "", self)
            button.setAccessibleName(f"{name}: {label}")
            button.clicked.connect(lambda _checked, value=value: self.picked.emit(value))
            self._group.addButton(button)
            self._buttons[value] = button
            layout.addWidget(button)

    @property
    def value(self) -> str | None:
        return next((value for value, button in self._buttons.items() if button.isChecked()), None)

    @value.setter
    def value(self, value: str | None) -> None:
        self._group.setExclusive(False)          # so that none may be chosen
        for key, button in self._buttons.items():
            button.setChecked(key == value)
            reached = key == value or (value not in self._buttons and button is self._group.buttons()[0])
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus if reached else Qt.FocusPolicy.ClickFocus)
        self._group.setExclusive(True)

    def button(self, value: str) -> QAbstractButton:
        return self._buttons[value]

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.faint(self.palette(), 0.09))
        painter.drawRoundedRect(QRectF(self.rect()), 7, 7)


class _Segment(QAbstractButton):
    def __init__(self, label: str, picture: str, parent: QWidget):
        super().__init__(parent)
        self.setText(label)
        self._picture = picture
        if picture:
            self.setToolTip(label)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.MinimumExpanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        font = _bold(self.font())
        width = 16 if self._picture else QFontMetrics(font).horizontalAdvance(self.text())
        return QSize(width + 20, _HEIGHT - 4)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        palette = self.palette()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        pill = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        if self.isChecked():
            dark = theme.is_dark(palette)
            painter.setPen(theme.faint(palette, 0.10))
            painter.setBrush(palette.mid() if dark else palette.base())
            painter.drawRoundedRect(pill, 5.5, 5.5)
            painter.setFont(_bold(self.font()))
        if self.hasFocus():
            painter.setPen(palette.accent().color())
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(pill, 5.5, 5.5)
        color = palette.buttonText().color()
        if self._picture:
            place = QRectF(0, 0, 18, 18)
            place.moveCenter(pill.center())
            icons.draw(painter, self._picture, place, color)
        else:
            painter.setPen(color)
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())


def _bold(font: QFont) -> QFont:
    font = QFont(font)
    font.setWeight(QFont.Weight.DemiBold)
    return font
