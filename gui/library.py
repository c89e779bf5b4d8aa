"""The clips made so far, with all that is needed to make them again. SQLite; survives restarts."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QFile, QObject, Signal

from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import state_file

VERSION = 1
TITLE_LENGTH = 60

_SCHEMA = """
CREATE TABLE clips (
    id INTEGER PRIMARY KEY, folder TEXT NOT NULL UNIQUE, request TEXT NOT NULL, recipe TEXT NOT NULL,
    prompt TEXT NOT NULL, fps REAL NOT NULL, created REAL NOT NULL, thumbnail BLOB NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0
)"""
_COLUMNS = "id, folder, request, recipe, fps, created, thumbnail, favourite, missing"


@dataclass(frozen=True)
class Clip:
    """Attributes:
        folder: the lossless PNG frames, the recipe in each.
        request: what made it; `recipe` is the JSON that is inside the files.
        fps: frame rate at which it was made to be shown.
        created: seconds since the epoch.
        thumbnail: PNG, at most 256 pixels on a side.
        missing: the folder is not there any more (moved, or its disk is not plugged in).
    """

    id: int
    folder: Path
    request: Request
    recipe: str
    fps: float
    created: float
    thumbnail: bytes
    favourite: bool = False
    missing: bool = False

    @property
    def title(self) -> str:
        """The beginning of the prompt, or the picture's name."""
        words = " ".join(self.request.prompt.split())
        if len(words) > TITLE_LENGTH:
            words = words[:TITLE_LENGTH].rsplit(" ", 1)[0] + "…"
        return words or Path(self.request.image).stem


class Library(QObject):
    """Attributes:
        notice: an I2VError if a damaged file was set aside at start; `unknown_folders` then lists every clip.

    Signals:
        changed(): re-read `clips`.
    """

    changed = Signal()

    def __init__(self, file: Path, clips_folder: Path, parent: QObject | None = None):
        super().__init__(parent)
        self.notice: I2VError | None = None
        self._clips_folder = clips_folder
        try:
            self._database = _open(file)
        except sqlite3.DatabaseError:
            for suffix in ("-wal", "-shm"):
                Path(f"{file}{suffix}").unlink(missing_ok=True)
            self.notice = state_file.damaged("The library", state_file.set_aside(file))
            self._database = _open(file)

    def clips(self, search: str = "", favourites: bool = False) -> list[Clip]:
        """Newest first; `search` looks in the prompts."""
        like = "%" + search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        rows = self._database.execute(
            rf"SELECT {_COLUMNS} FROM clips WHERE prompt LIKE ? ESCAPE '\' AND favourite >= ? "
            "ORDER BY created DESC, id DESC", (like, int(favourites)))
        return [clip for row in rows if (clip := _clip(row)) is not None]

    def get(self, clip: int) -> Clip | None:
        row = self._database.execute(f"SELECT {_COLUMNS} FROM clips WHERE id = ?", (clip,)).fetchone()
        return None if row is None else _clip(row)

    def add(self, folder: Path, recipe: str, request: Request, fps: float, thumbnail: bytes, created: float) -> Clip:
        """A finished clip; a folder that is known already gets a new entry. Raises I2VError ``library_unwritable``."""
        values = (str(folder), json.dumps(request.to_dict()), recipe, request.prompt, fps, created, thumbnail)
        cursor = self._write("INSERT OR REPLACE INTO clips (folder, request, recipe, prompt, fps, created, thumbnail) "
                             "VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self.changed.emit()
        return Clip(cursor.lastrowid or 0, folder, request, recipe, fps, created, thumbnail)

    def set_favourite(self, clip: int, favourite: bool) -> None:
        self._write("UPDATE clips SET favourite = ? WHERE id = ?", (int(favourite), clip))
        self.changed.emit()

    def check_missing(self) -> None:
        """Looks which folders are still there; `changed` follows if that differs."""
        differs = False
        for clip in self.clips():
            missing = not clip.folder.is_dir()
            if missing != clip.missing:
                self._write("UPDATE clips SET missing = ? WHERE id = ?", (int(missing), clip.id))
                differs = True
        if differs:
            self.changed.emit()

    def unknown_folders(self) -> list[Path]:
        """Folders beside the clips that are in no entry: how a lost library is found again."""
        known = {folder for (folder,) in self._database.execute("SELECT folder FROM clips")}
        try:
            folders = sorted(path for path in self._clips_folder.iterdir() if path.is_dir())
        except OSError:
            return []
        return [path for path in folders if str(path) not in known and not path.name.startswith(".")]

    def delete(self, clip: int) -> None:
        """Moves the folder to the bin, then forgets the clip. Raises I2VError ``bin_failed``; then nothing is lost."""
        found = self.get(clip)
        if found is None:
            return
        if found.folder.exists() and not _to_bin(found.folder):
            raise I2VError("bin_failed", f"{found.folder.name} could not be moved to the bin.",
                           "Delete the folder by hand; the library will notice.")
        self._write("DELETE FROM clips WHERE id = ?", (clip,))
        self.changed.emit()

    def close(self) -> None:
        self._database.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            with self._database:
                return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise I2VError("library_unwritable", f"The library cannot be written: {error}.",
                           "The clip itself is safe in its folder.") from error


def _open(file: Path) -> sqlite3.Connection:
    """Raises sqlite3.DatabaseError if the file is damaged or of a newer version."""
    database = sqlite3.connect(file)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with database:
                database.execute(_SCHEMA)
                database.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise sqlite3.DatabaseError("of a newer version")
        with closing(database.execute("PRAGMA quick_check")) as check:
            if check.fetchone() != ("ok",):
                raise sqlite3.DatabaseError("damaged")
        database.execute(f"SELECT {_COLUMNS} FROM clips LIMIT 1").fetchone()
        with suppress(sqlite3.OperationalError):       # some network disks cannot
            database.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _clip(row: tuple) -> Clip | None:
    """None for a row that this version cannot read; it stays in the file."""
    number, folder, request, recipe, fps, created, thumbnail, favourite, missing = row
    try:
        values = Request.from_dict(json.loads(request))
    except (ValueError, I2VError):
        return None
    return Clip(number, Path(folder), values, recipe, fps, created, thumbnail, bool(favourite), bool(missing))


def _to_bin(folder: Path) -> bool:
    moved = QFile.moveToTrash(str(folder))
    return bool(moved[0] if isinstance(moved, tuple) else moved)
