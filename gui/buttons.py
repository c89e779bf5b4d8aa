"""Buttons that stand for an action of the menus: same name, same state, same shortcut in the tool tip."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QPushButton, QToolButton, QWidget

from .icons import icon


class IconButton(QToolButton):
    """The action's icon, without a frame."""

    def __init__(self, action: QAction, size: int = 18, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAutoRaise(True)
        self.setIconSize(QSize(size, size))
        self.setDefaultAction(action)
        self._describe()
        action.changed.connect(self._describe)

    def _describe(self) -> None:
        self.setToolTip(described(self.defaultAction()))


class ActionButton(QPushButton):
    """The action's words, or other ones; `primary` is for the one button that everything leads to."""

    def __init__(self, action: QAction, text: str = "", primary: bool = False, parent: QWidget | None = None):
        super().__init__(parent)
        self._action, self._text = action, text
        self.setProperty("primary", primary)
        self.clicked.connect(action.trigger)
        action.changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        self.setText(self._text or self._action.text())
        self.setEnabled(self._action.isEnabled())
        self.setToolTip(described(self._action))


class FlatButton(QToolButton):
    """An icon without a frame, for what is no action; `text` is its name and tool tip."""

    def __init__(self, text: str, picture: str, checkable: bool = False, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAutoRaise(True)
        self.setText(text)
        self.setToolTip(text)
        self.setIcon(icon(picture))
        self.setCheckable(checkable)


class MenuButton(QToolButton):
    """A word that opens a menu; `name` says to a screen reader what it is about."""

    def __init__(self, text: str, name: str, menu: QMenu, parent: QWidget | None = None):
        super().__init__(parent)
        self.setAutoRaise(True)
        self.setText(f"{text} \N{BLACK DOWN-POINTING SMALL TRIANGLE}")
        self.setAccessibleName(name)
        self.setToolTip(name)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setProperty("menu", True)               # the style sheet takes the native arrow away
        self.setMenu(menu)


def described(action: QAction) -> str:
    """"Play (Space)"."""
    keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    name = action.text().replace("&", "").rstrip("…")
    return f"{name} ({keys})" if keys else name
