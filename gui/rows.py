"""What the delegates of the queue and the library paint alike."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QPainter, QPainterPath, QPalette, QPixmap
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem

from . import icons, theme


def paint_selection(painter: QPainter, option: QStyleOptionViewItem, area: QRectF) -> None:
    """Selected, or under the mouse; with a ring where the keyboard is."""
    palette, state = QGuiApplication.palette(), option.state                 # type: ignore[attr-defined]
    selected = bool(state & QStyle.StateFlag.State_Selected)
    if not selected and not state & QStyle.StateFlag.State_MouseOver:
        return
    wash = QColor(palette.accent().color()) if selected else theme.faint(palette, 0.05)
    if selected:
        wash.setAlphaF(0.18)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(wash)
    painter.drawRoundedRect(area, theme.RADIUS, theme.RADIUS)
    if state & QStyle.StateFlag.State_HasFocus:
        painter.setPen(palette.accent().color())
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area.adjusted(0.5, 0.5, -0.5, -0.5), theme.RADIUS, theme.RADIUS)


def paint_picture(painter: QPainter, rect: QRectF, picture: QPixmap, palette: QPalette) -> None:
    """Rounded, cut to fill the place; a placeholder where there is no picture."""
    outline = QPainterPath()
    outline.addRoundedRect(rect, 5, 5)
    if picture.isNull():
        painter.fillPath(outline, theme.faint(palette, 0.08))
        side = min(rect.width(), rect.height()) / 2
        place = QRectF(0, 0, side, side)
        place.moveCenter(rect.center())
        icons.draw(painter, "photo", place, theme.faint(palette, 0.35))
        return
    size = rect.size().scaled(QSizeF(picture.size()), Qt.AspectRatioMode.KeepAspectRatio)
    part = QRectF(0, 0, size.width(), size.height())
    part.moveCenter(QRectF(picture.rect()).center())
    painter.save()
    painter.setClipPath(outline, Qt.ClipOperation.IntersectClip)
    painter.drawPixmap(rect, picture, part)
    painter.restore()


def paint_line(painter: QPainter, rect: QRectF, text: str, font: QFont) -> None:
    """One line, cut with an ellipsis."""
    painter.setFont(font)
    shown = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideRight, rect.width())
    where = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
    painter.drawText(rect, where, shown)
