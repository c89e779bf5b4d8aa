"""One undoable change of the draft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtGui import QUndoCommand

MERGE_WITHIN_S = 1.0
_MERGEABLE = 1
_NOT_MERGEABLE = -1            # Qt's value for a command that never merges

Fields = dict[str, Any]


class Change(QUndoCommand):
    """Fields of a request before and after. Quick changes of one field in a row (typing, dragging) become one."""

    def __init__(self, label: str, apply: Callable[[Fields], None], before: Fields, after: Fields, now: float):
        super().__init__(label)
        self._apply, self._before, self._after, self._now = apply, before, after, now

    def id(self) -> int:
        return _MERGEABLE if len(self._after) == 1 else _NOT_MERGEABLE

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, Change) or set(other._after) != set(self._after):
            return False
        if other._now - self._now > MERGE_WITHIN_S:
            return False
        self._after, self._now = other._after, other._now
        return True

    def redo(self) -> None:
        self._apply(self._after)

    def undo(self) -> None:
        self._apply(self._before)
