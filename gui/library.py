"""The clips made so far, with all that is needed to make them again. SQLite; survives restarts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QFile, QObject, Signal

from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import state_file

VERSION = 1
TITLE_LENGTH = 60
_PATIENCE_S = 0.5              # for another program that has the file; the window waits

# Thumbnails have a table of their own: in one with the rest, every list would have to read past them.
_SCHEMA = """
CREATE TABLE clips (
    id INTEGER PRIMARY KEY, folder TEXT NOT NULL UNIQUE, request TEXT NOT NULL, recipe TEXT NOT NULL,
    prompt TEXT NOT NULL, image TEXT NOT NULL, seed INTEGER NOT NULL, fps REAL NOT NULL, created REAL NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE thumbnails (clip INTEGER PRIMARY KEY, png BLOB NOT NULL);
"""
_COLUMNS = "id, folder, request, recipe, fps, created, favourite, missing"
_LISTED = "id, prompt, image, seed, created, favourite, missing"


@dataclass(frozen=True)
class Entry:
    """A clip as lists show it: thousands of them are read in no time.

    Attributes:
        image: path of the picture that it was made from.
        created: seconds since the epoch.
        missing: the folder is not there any more (moved, or its disk is not plugged in).
    """

    id: int
    prompt: str
    image: str
    seed: int
    created: float
    favourite: bool
    missing: bool

    @property
    def title(self) -> str:
        """The beginning of the prompt, or the picture's name."""
        words = " ".join(self.prompt[:2 * TITLE_LENGTH].split())
        if len(words) > TITLE_LENGTH:
            words = words[:TITLE_LENGTH].rsplit(" ", 1)[0] + "…"
        return words or Path(self.image).stem


@dataclass(frozen=True)
class Clip:
    """A clip with all that is needed to make it again.

    Attributes:
        folder: the lossless PNG frames, the recipe in each.
        request: what made it; `recipe` is the JSON that is inside the files.
        fps: frame rate at which it was made to be shown.
        created, favourite, missing: see `Entry`.
    """

    id: int
    folder: Path
    request: Request
    recipe: str
    fps: float
    created: float
    favourite: bool = False
    missing: bool = False


class Library(QObject):
    """Attributes:
        notice: an I2VError if the file was damaged and set aside, or cannot be used; the clips on the disk are then
            unknown to the library, see `on_disk`.

    Signals:
        changed(): re-read `clips`.
    """

    changed = Signal()

    def __init__(self, file: Path, parent: QObject | None = None):
        super().__init__(parent)
        self.notice: I2VError | None = None
        self._database = self._opened(file)

    def _opened(self, file: Path) -> sqlite3.Connection:
        """Without a file that can be used, a library that lasts until the app ends."""
        try:
            return _open(file)
        except sqlite3.OperationalError as error:      # locked, or not ours to read: no reason to move it
            self.notice = I2VError("library_unavailable", f"The library could not be opened: {error}.",
                                   "It is left as it is. Your clips are in their folder.")
        except sqlite3.DatabaseError:
            aside = state_file.set_aside(file)
            self.notice = state_file.damaged("The library", aside)
            if aside != file:
                for log in ("-wal", "-shm"):           # they hold its last changes
                    with suppress(OSError):
                        Path(f"{file}{log}").rename(f"{aside}{log}")
                with suppress(sqlite3.DatabaseError):
                    return _open(file)
        return _open(Path(":memory:"))

    def entries(self, search: str = "", favourites: bool = False) -> list[Entry]:
        """Newest first; `search` looks in the prompts."""
        like = "%" + search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        rows = self._database.execute(
            rf"SELECT {_LISTED} FROM clips WHERE prompt LIKE ? ESCAPE '\' AND favourite >= ? "
            "ORDER BY created DESC, id DESC", (like, int(favourites)))
        return [Entry(number, prompt, image, seed, created, bool(favourite), bool(missing))
                for number, prompt, image, seed, created, favourite, missing in rows]

    def clips(self) -> list[Clip]:
        """All that this version can read, newest first."""
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM clips ORDER BY created DESC, id DESC")
        return [clip for row in rows if (clip := _clip(row)) is not None]

    def get(self, clip: int) -> Clip | None:
        """None if it is not here, or of a newer version."""
        row = self._database.execute(f"SELECT {_COLUMNS} FROM clips WHERE id = ?", (clip,)).fetchone()
        return None if row is None else _clip(row)

    def thumbnail(self, clip: int) -> bytes:
        """PNG, at most 256 pixels on a side; empty for a clip that is not here."""
        row = self._database.execute("SELECT png FROM thumbnails WHERE clip = ?", (clip,)).fetchone()
        return b"" if row is None else row[0]

    def pictures(self, name: str) -> list[Path]:
        """Where pictures of this name were when clips were made from them, the latest first."""
        rows = self._database.execute("SELECT DISTINCT image FROM clips WHERE image LIKE ? ORDER BY created DESC",
                                      (f"%{name}",))
        return [path for (image,) in rows if (path := Path(image)).name == name and path.is_absolute()]

    def folders(self) -> dict[Path, bool]:
        """The folder of every entry, and whether it is noted as missing."""
        rows = self._database.execute("SELECT folder, missing FROM clips")
        return {Path(folder): bool(missing) for folder, missing in rows}

    def add(self, folder: Path, recipe: str, request: Request, fps: float, thumbnail: bytes, created: float) -> Clip:
        """A finished clip; a folder that is known already gets a new entry. Raises I2VError ``library_unwritable``."""
        with self._writing():
            self._database.execute("DELETE FROM thumbnails WHERE clip IN (SELECT id FROM clips WHERE folder = ?)",
                                   (str(folder),))
            cursor = self._database.execute(
                "INSERT OR REPLACE INTO clips (folder, request, recipe, prompt, image, seed, fps, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (str(folder), json.dumps(request.to_dict()), recipe,
                                                    request.prompt, request.image, request.seed, fps, created))
            number = cursor.lastrowid or 0
            self._database.execute("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", (number, thumbnail))
        self.changed.emit()
        return Clip(number, folder, request, recipe, fps, created)

    def set_favourite(self, clip: int, favourite: bool) -> None:
        with self._writing():
            self._database.execute("UPDATE clips SET favourite = ? WHERE id = ?", (int(favourite), clip))
        self.changed.emit()

    def set_missing(self, missing: Collection[Path]) -> None:
        """These folders are not there now, all others are; `changed` follows if that is news."""
        news = [(int(folder in missing), str(folder)) for folder, noted in self.folders().items()
                if noted != (folder in missing)]
        if news:
            with self._writing():
                self._database.executemany("UPDATE clips SET missing = ? WHERE folder = ?", news)
            self.changed.emit()

    def delete(self, clip: int) -> None:
        """Moves the folder to the bin, then forgets the clip. Raises I2VError ``bin_failed``; then nothing is lost."""
        found = self.get(clip)
        if found is None:
            return
        if found.folder.exists() and not _to_bin(found.folder):
            raise I2VError("bin_failed", f"{found.folder.name} could not be moved to the bin.",
                           "Delete the folder by hand; the library will notice.")
        with self._writing():
            self._database.execute("DELETE FROM clips WHERE id = ?", (clip,))
            self._database.execute("DELETE FROM thumbnails WHERE clip = ?", (clip,))
        self.changed.emit()

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._database:
                yield
        except sqlite3.Error as error:
            raise I2VError("library_unwritable", f"The library cannot be written: {error}.",
                           "The clip itself is safe in its folder.") from error


@dataclass(frozen=True)
class OnDisk:
    """Attributes:
        missing: folders of the library that are not there.
        unknown: folders beside the clips that are in no entry: how a lost library is found again.
    """

    missing: frozenset[Path]
    unknown: tuple[Path, ...]


def on_disk(known: Collection[Path], clips_folder: Path) -> OnDisk:
    """Looks. Slow where a disk is: for threads."""
    missing = frozenset(folder for folder in known if not folder.is_dir())
    try:
        there = sorted(path for path in clips_folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        there = []
    return OnDisk(missing, tuple(path for path in there if path not in known))


def _open(file: Path) -> sqlite3.Connection:
    """Raises sqlite3.OperationalError if it cannot be used now, another DatabaseError if it is damaged or newer."""
    database = sqlite3.connect(file, timeout=_PATIENCE_S)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with database:
                database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT")
        elif version != VERSION:
            raise sqlite3.DatabaseError("of a newer version")
        with closing(database.execute("PRAGMA quick_check")) as check:
            if check.fetchone() != ("ok",):
                raise sqlite3.DatabaseError("damaged")
        _check_tables(database)
        with suppress(sqlite3.OperationalError):       # some network disks cannot
            database.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _check_tables(database: sqlite3.Connection) -> None:
    for columns, table in ((_COLUMNS, "clips"), (_LISTED, "clips"), ("clip, png", "thumbnails")):
        try:
            database.execute(f"SELECT {columns} FROM {table} LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            raise sqlite3.DatabaseError("without what has to be in it") from error


def _clip(row: tuple) -> Clip | None:
    """None for a row that this version cannot read; it stays in the file."""
    number, folder, request, recipe, fps, created, favourite, missing = row
    try:
        values = Request.from_dict(json.loads(request))
    except (ValueError, I2VError):
        return None
    return Clip(number, Path(folder), values, recipe, fps, created, bool(favourite), bool(missing))


def _to_bin(folder: Path) -> bool:
    moved = QFile.moveToTrash(str(folder))
    return bool(moved[0] if isinstance(moved, tuple) else moved)
