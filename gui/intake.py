"""What was dropped, pasted or opened becomes a picture of the draft, jobs, or the settings of an exported clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QMimeData, QObject, Signal
from PySide6.QtGui import QColorSpace, QImage, QImageReader, QImageWriter

from i2v_mlx import frames, recipe
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import drops, fetch, problems
from .background import Background
from .drops import Drop, Exported, PictureData, Pictures, Refused, Remote

_MAY_HOLD_RECIPE = (".png", ".gif", ".webp")
_SYSTEM_FORMATS = (".heic", ".heif")       # Qt opens them on a Mac, Pillow nowhere


class Intake(QObject):
    """Signals:
        picture(str): the path of a picture for the draft.
        pictures(list[str]): several: a job each.
        settings(Request, image_found: bool): of an exported clip; without its picture, `image` is a bare name.
        consent_needed(str): a picture would have to be fetched from this address.
        problem(Problem), notice(str).
    """

    picture = Signal(str)
    pictures = Signal(list)
    settings = Signal(object, bool)
    consent_needed = Signal(str)
    problem = Signal(object)
    notice = Signal(str)

    def __init__(self, folder: Path, background: Background, known: Callable[[str], list[Path]] = lambda name: [],
                 parent: QObject | None = None):
        """`folder` keeps pictures that have no file of their own; `known` says where pictures of a name have been."""
        super().__init__(parent)
        self._folder, self._background, self._known = folder, background, known

    def drop(self, mime: QMimeData) -> None:
        """A drop or a paste."""
        self._take(drops.read(mime))

    def open_files(self, paths: Sequence[str]) -> None:
        """Files from the open panel, the Dock or the command line; perhaps none."""
        if paths:
            self._take(drops.read_files([Path(path).absolute() for path in paths]))

    def fetch(self, url: str) -> None:
        """Gets a picture from the web, after the user agreed."""
        self._background.run(lambda: fetch.fetch(url, self._folder, self._background.stop_if_closed), self._kept,
                             self._fail)

    def _take(self, drop: Drop) -> None:
        if isinstance(drop, Refused):
            self._fail(drop.error)
        elif isinstance(drop, Pictures):
            if drop.ignored:
                self.notice.emit(f"{drop.ignored} of the files are no pictures and were left out.")
            self._take_pictures(drop.paths)
        elif isinstance(drop, PictureData):
            self._background.run(lambda: _keep(drop, self._folder), self._kept, self._fail)
        elif isinstance(drop, Remote):
            self.consent_needed.emit(drop.url)
        elif isinstance(drop, Exported):
            self._background.run(lambda: _settings(drop.path), lambda found: self._recall(drop.path, found), self._fail)

    def _take_pictures(self, paths: tuple[Path, ...]) -> None:
        if any(path.suffix.lower() in _SYSTEM_FORMATS for path in paths):
            self._background.run(lambda: tuple(_readable(path, self._folder) for path in paths), self._take_pictures,
                                 self._fail)
        elif len(paths) > 1:
            self.pictures.emit([str(path) for path in paths])
        elif paths[0].suffix.lower() in _MAY_HOLD_RECIPE:
            self._background.run(lambda: _settings_of_picture(paths[0]), lambda found: self._recall(paths[0], found),
                                 self._fail)
        else:
            self._kept(paths[0])

    def _recall(self, path: Path, found: _Settings | None) -> None:
        if found is not None and not found.complete and (places := self._known(Path(found.request.image).name)):
            self._background.run(lambda: found.among(places), self._tell, self._fail)
        elif found is not None:
            self._tell(found)
        elif path.suffix.lower() in drops.PICTURE_SUFFIXES:
            self._kept(path)
        else:
            self._fail(I2VError("video_without_recipe", f"There are no settings in {path.name}.",
                                "It was not made with Livestill, or its settings were removed."))

    def _tell(self, found: _Settings) -> None:
        self.settings.emit(found.request, found.complete)

    def _kept(self, path: Path) -> None:
        self.picture.emit(str(path))

    def _fail(self, error: I2VError) -> None:
        self.problem.emit(problems.of_error(error))


def _keep(drop: PictureData, folder: Path) -> Path:
    data = _png(drop.data) if isinstance(drop.data, QImage) else drop.data
    return fetch.keep(data, drop.suffix, folder)


def _png(image: QImage) -> bytes:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(buffer, QByteArray(b"png")).write(image):
        raise I2VError("image_unreadable", "The picture could not be taken over.", "Save it and drop the file.")
    return bytes(data.data())


def _readable(path: Path, folder: Path) -> Path:
    """The same picture as a file that the engine can read, if it is one that only the system can."""
    if path.suffix.lower() not in _SYSTEM_FORMATS:
        return path
    reader = QImageReader(str(path))
    reader.setAutoTransform(True)
    image = reader.read()
    if image.isNull():
        raise I2VError("image_format", f"{path.name} cannot be opened on this system.", "Save it as PNG or JPEG.")
    if image.colorSpace().isValid():
        image.convertToColorSpace(QColorSpace(QColorSpace.NamedColorSpace.SRgb))
    return fetch.keep(_png(image), ".png", folder)


@dataclass(frozen=True)
class _Settings:
    """Of an exported file; `complete` if the picture was found, else `request.image` is a bare name."""

    recipe: dict[str, Any]
    request: Request
    complete: bool

    def among(self, places: list[Path]) -> _Settings:
        """With the picture, if it is one of these files. Slow: it hashes them."""
        found = (with_picture(self.recipe, place) for place in places)
        return next((settings for settings in found if settings.complete), self)


def _settings(path: Path) -> _Settings | None:
    """None if there is no recipe."""
    found = frames.read_recipe(path)
    return None if found is None else with_picture(found, path)


def _settings_of_picture(path: Path) -> _Settings | None:
    try:
        return _settings(path)
    except I2VError as error:
        if error.code.startswith("video_"):
            return None                # a damaged picture: whoever loads it says so
        raise


def with_picture(found: dict[str, Any], near: Path) -> _Settings:
    """The settings of a recipe, with its picture if that is near a file. Slow: it hashes the candidates."""
    request = Request.from_dict(found["request"])
    try:
        image = recipe.find_image(found, near)
    except I2VError:
        return _Settings(found, request, complete=False)
    return _Settings(found, Request.from_dict({**request.to_dict(), "image": str(image)}), complete=True)
