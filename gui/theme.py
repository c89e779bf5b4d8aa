"""Light and dark, live. Colours come from the palette; only what no palette role says is mixed here."""

from __future__ import annotations

import sys

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from i2v_mlx.files import resource

GRID = 8                          # every margin, gap and height is a multiple of it, or of its half
RADIUS = 8

_Role = QPalette.ColorRole
_LIGHT = {
    _Role.Window: "#f4f4f6", _Role.WindowText: "#1c1c1f", _Role.Base: "#ffffff", _Role.AlternateBase: "#ececf0",
    _Role.Text: "#1c1c1f", _Role.Button: "#fcfcfd", _Role.ButtonText: "#1c1c1f", _Role.PlaceholderText: "#6b6b73",
    _Role.Mid: "#c9c9d0", _Role.ToolTipBase: "#ffffff", _Role.ToolTipText: "#1c1c1f", _Role.BrightText: "#ffffff",
    _Role.Highlight: "#3a62e0", _Role.HighlightedText: "#ffffff", _Role.Accent: "#3a62e0", _Role.Link: "#2f55cc",
}
_DARK = {
    _Role.Window: "#1d1d20", _Role.WindowText: "#f1f1f4", _Role.Base: "#29292d", _Role.AlternateBase: "#232327",
    _Role.Text: "#f1f1f4", _Role.Button: "#37373c", _Role.ButtonText: "#f1f1f4", _Role.PlaceholderText: "#a0a0a9",
    _Role.Mid: "#4b4b52", _Role.ToolTipBase: "#37373c", _Role.ToolTipText: "#f1f1f4", _Role.BrightText: "#ffffff",
    _Role.Highlight: "#5580f5", _Role.HighlightedText: "#ffffff", _Role.Accent: "#5580f5", _Role.Link: "#8aa8ff",
}
_SCHEMES = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark}


def apply(app: QApplication, appearance: str) -> None:
    """"system", "light" or "dark". A Mac has its own palettes; elsewhere the two above stand in for them."""
    hints = app.styleHints()
    hints.setColorScheme(_SCHEMES.get(appearance, Qt.ColorScheme.Unknown))
    if sys.platform != "darwin":
        dark = appearance == "dark" or (appearance == "system" and hints.colorScheme() == Qt.ColorScheme.Dark)
        app.setPalette(_palette(_DARK if dark else _LIGHT))
    # A style sheet keeps the colours it was parsed with: it is set anew after the palette.
    app.setStyleSheet(_sheet())


def is_dark(palette: QPalette) -> bool:
    return palette.window().color().lightnessF() < 0.5


def faint(palette: QPalette, strength: float = 0.08) -> QColor:
    """The text colour, mostly transparent: hairlines, tracks, the stage behind a picture."""
    color = QColor(palette.color(_Role.WindowText))
    color.setAlphaF(strength)
    return color


def quiet(palette: QPalette) -> QColor:
    """For words of the second rank; readable on the window (4.5 to 1)."""
    return palette.color(_Role.PlaceholderText)


def warning(palette: QPalette) -> QColor:
    return QColor("#ffb454" if is_dark(palette) else "#a85a00")


def set_small(widget: QWidget, points: float = 1.0, bold: bool = False) -> None:
    """The system's font, `points` smaller."""
    font = QFont(widget.font())
    font.setPointSizeF(font.pointSizeF() - points)
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    widget.setFont(font)


def _sheet() -> str:
    """linux.qss holds only what the native style of a Mac does by itself."""
    names = ["style.qss"] if sys.platform == "darwin" else ["linux.qss", "style.qss"]
    sheet = "".join(resource(name).read_text(encoding="utf-8") for name in names)
    return sheet.replace("@icons", resource("icons").as_posix())


def _palette(colors: dict[QPalette.ColorRole, str]) -> QPalette:
    palette = QPalette(QColor(colors[_Role.Button]), QColor(colors[_Role.Window]))
    for role, name in colors.items():
        palette.setColor(role, QColor(name))
    for role in (_Role.WindowText, _Role.Text, _Role.ButtonText):
        off = QColor(colors[_Role.WindowText])
        off.setAlphaF(0.36)
        palette.setColor(QPalette.ColorGroup.Disabled, role, off)
    palette.setColor(QPalette.ColorGroup.Disabled, _Role.Accent, QColor(colors[_Role.Mid]))
    return palette
