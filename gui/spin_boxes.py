"""What a style sheet cannot say about spin boxes."""

from __future__ import annotations

import sys
from typing import TypeVar

from PySide6.QtWidgets import QAbstractSpinBox

S = TypeVar("S", bound=QAbstractSpinBox)


def shaped(spin: S) -> S:
    """Takes no drops: a picture that falls on it is for the window, not its path for the number. Off the Mac with room
    left of the number, where the padding of the style sheet does not reach."""
    spin.lineEdit().setAcceptDrops(False)
    if sys.platform != "darwin":
        spin.lineEdit().setTextMargins(5, 0, 0, 0)
    return spin


def narrow(spin: S, width: int) -> S:
    """Without steppers; the keys still step. Off the Mac the style sheet hides them: a styled box that has none loses
    its text in Qt."""
    if sys.platform == "darwin":
        spin.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    spin.setProperty("bare", True)
    spin.setMinimumWidth(width)
    return shaped(spin)
