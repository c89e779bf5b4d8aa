"""Monochrome icons in the text colour of the moment: they follow light, dark, disabled and checked by themselves."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QIconEngine, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer

from i2v_mlx.files import resource


@cache
def _drawing(name: str) -> bytes:
    return resource(f"icons/{name}.svg").read_bytes()


def draw(painter: QPainter, name: str, rect: QRectF, color: QColor) -> None:
    """Paints an icon; the drawings are black, which becomes `color`."""
    svg = _drawing(name).replace(b"#000", color.name().encode())
    painter.save()
    painter.setOpacity(painter.opacity() * color.alphaF())
    QSvgRenderer(QByteArray(svg)).render(painter, rect)
    painter.restore()


def icon(name: str) -> QIcon:
    """The drawing ``resources/icons/<name>.svg`` as an icon for buttons."""
    return QIcon(_Engine(name))


class _Engine(QIconEngine):
    def __init__(self, name: str):
        super().__init__()
        self._name = name

    def clone(self) -> QIconEngine:
        return _Engine(self._name)

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        palette = QGuiApplication.palette()
        disabled = mode == QIcon.Mode.Disabled
        group = QPalette.ColorGroup.Disabled if disabled else QPalette.ColorGroup.Active
        role = QPalette.ColorRole.Accent if state == QIcon.State.On and not disabled else QPalette.ColorRole.ButtonText
        draw(painter, self._name, QRectF(rect), palette.color(group, role))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        with QPainter(pixmap) as painter:
            self.paint(painter, QRect(QPoint(), size), mode, state)
        return pixmap

    def scaledPixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State, scale: float) -> QPixmap:
        return self.pixmap(size, mode, state)
