"""One window. A second start hands its files to the first and ends.

A lock file names the owner (a dead owner's lock is taken over), and a folder that the owner watches is the letter box.
No socket is needed, which keeps the promise that there are none.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from PySide6.QtCore import QFileSystemWatcher, QLockFile, QObject, Signal

from i2v_mlx.files import atomic

MAX_LETTER_BYTES = 2**20


class SingleInstance(QObject):
    """Signals:
        raised(list[str]): another start wants the window in front, and these files opened.
    """

    raised = Signal(list)

    def __init__(self, folder: Path, parent: QObject | None = None):
        super().__init__(parent)
        self._letters = folder / "letters"
        self._letters.mkdir(parents=True, exist_ok=True)
        self._lock = QLockFile(str(folder / "livestill.lock"))
        self._lock.setStaleLockTime(0)     # a running owner keeps it for days; one that is dead is noticed anyway
        self._watcher: QFileSystemWatcher | None = None

    def acquire(self) -> bool:
        """True: we are the only one. False: there is another one; call `hand_over`."""
        if not self._lock.tryLock(0):
            return False
        for letter in self._letters.glob("*.json"):
            letter.unlink(missing_ok=True)             # to an owner that is gone
        self._watcher = QFileSystemWatcher([str(self._letters)], self)
        self._watcher.directoryChanged.connect(self._read)
        return True

    def hand_over(self, paths: list[str]) -> None:
        """Asks the first instance to show itself and to open these files."""
        with atomic(self._letters / f"{secrets.token_hex(8)}.json") as part:
            part.write_text(json.dumps([str(Path(path).absolute()) for path in paths]), encoding="utf-8")

    def release(self) -> None:
        """Lets another one start."""
        self._watcher = None
        self._lock.unlock()

    def _read(self) -> None:
        for letter in sorted(self._letters.glob("[0-9a-f]*.json")):
            try:
                with letter.open("rb") as file:
                    paths = json.loads(file.read(MAX_LETTER_BYTES))
            except (OSError, ValueError):
                paths = []
            letter.unlink(missing_ok=True)
            if isinstance(paths, list):
                self.raised.emit([path for path in paths if isinstance(path, str)])
