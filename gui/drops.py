"""What a drop or a paste means. Quick: looks at names and sizes; the pictures themselves are opened on a thread."""

from __future__ import annotations

import base64
import binascii
import itertools
import os
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QImage

from i2v_mlx import images
from i2v_mlx.errors import I2VError
from i2v_mlx.files import check_input

PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2",
                              ".ppm", ".heic", ".heif"))
VIDEO_SUFFIXES = frozenset((".mp4", ".mov"))
# Formats of image data, as browsers and other programs offer them, best first.
_DATA_FORMATS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/tiff": ".tif",
                 "image/gif": ".gif", "image/bmp": ".bmp"}
_LOOKED_AT = 2000              # files of a folder; a clip has far fewer


@dataclass(frozen=True)
class Pictures:
    """Picture files, in the order in which they were dropped; `ignored` others came with them."""

    paths: tuple[Path, ...]
    ignored: int = 0


@dataclass(frozen=True)
class PictureData:
    """A picture without a file: the bytes of one, with its suffix, or pixels. It has to be saved first."""

    data: bytes | QImage
    suffix: str = ".png"


@dataclass(frozen=True)
class Remote:
    """A picture on the web: needs consent."""

    url: str


@dataclass(frozen=True)
class Exported:
    """A video, or a folder of frames, that may hold a recipe."""

    path: Path


@dataclass(frozen=True)
class Refused:
    """Nothing that we can use; the error says why in one sentence."""

    error: I2VError


Drop = Pictures | PictureData | Remote | Exported | Refused


def accepts(mime: QMimeData) -> bool:
    """Quick, for the drag-enter event: whether `read` is worth a try."""
    return mime.hasUrls() or mime.hasImage() or _data_format(mime) is not None or _url_in_text(mime) is not None


def read(mime: QMimeData) -> Drop:
    """In the order: local files, pixels, image bytes, data: URL, http(s) URL."""
    files = [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()]
    if files:
        return read_files(files)
    if mime.hasImage():
        image = mime.imageData()
        if isinstance(image, QImage) and not image.isNull():
            return PictureData(image)
    name = _data_format(mime)
    if name is not None:
        return PictureData(bytes(mime.data(name).data()), _DATA_FORMATS[name])
    url = next((url.toString() for url in mime.urls()), None) or _url_in_text(mime)
    if url is None:
        return _refuse("drop_text", "That is not a picture.", "Drop an image file, or copy a picture and paste it.")
    return _data_url(url) if url.startswith("data:") else _web_url(url)


def read_files(paths: Sequence[Path]) -> Drop:
    """The same for files from the open panel or the Dock."""
    refusals: list[Refused] = []
    pictures: list[Path] = []
    for path in paths:
        drop = _file(path)
        if isinstance(drop, Exported) and len(paths) == 1:
            return drop
        if isinstance(drop, Pictures):
            pictures += drop.paths
        elif isinstance(drop, Refused):
            refusals.append(drop)
    if pictures:
        return Pictures(tuple(pictures), len(paths) - len(pictures))
    return refusals[0] if refusals else _refuse(
        "drop_videos", "These are several videos.", "Drop one, to see its settings.")


def _file(path: Path) -> Drop:
    suffix = path.suffix.lower()
    if path.is_dir():
        try:
            with os.scandir(path) as files:
                if any(re.fullmatch(r".*_0*1\.png", file.name) for file in itertools.islice(files, _LOOKED_AT)):
                    return Exported(path)
        except OSError as error:
            return _refuse("drop_unreadable", f"The folder {path.name} cannot be opened: {error.strerror}.",
                           "Check who may read it.")
        return _refuse("drop_folder", f"{path.name} is a folder.", "Drop the pictures that are in it.")
    if suffix in VIDEO_SUFFIXES:
        return Exported(path)
    if suffix not in PICTURE_SUFFIXES:
        return _refuse("drop_not_a_picture", f"{path.name} is not a picture.", "Drop a PNG, JPEG, WebP or TIFF file.")
    try:
        check_input(path, "image", images.MAX_FILE_BYTES)
    except I2VError as error:
        return Refused(error)
    return Pictures((path,))


def _data_format(mime: QMimeData) -> str | None:
    return next((name for name in _DATA_FORMATS if mime.hasFormat(name)), None)


def _url_in_text(mime: QMimeData) -> str | None:
    text = mime.text().strip() if mime.hasText() else ""
    return text if re.match(r"(https?://|data:image/)\S+$", text) else None


def _data_url(url: str) -> Drop:
    match = re.match(r"data:(image/[a-z+.-]+);base64,", url)
    if match is None or match[1] not in _DATA_FORMATS:
        return _refuse("drop_data_url", "That address holds no picture.", "Save the picture and drop the file.")
    try:
        data = base64.b64decode(urllib.parse.unquote(url[match.end():]), validate=True)
    except (binascii.Error, ValueError):
        return _refuse("drop_data_url", "The picture in that address is damaged.", "Save it and drop the file.")
    return PictureData(data, _DATA_FORMATS[match[1]])


def _web_url(url: str) -> Drop:
    parsed = QUrl(url)
    if parsed.scheme() in ("http", "https") and parsed.host():
        return Remote(url)
    return _refuse("drop_address", "Livestill cannot open that address.", "Save the picture and drop the file.")


def _refuse(code: str, message: str, hint: str) -> Refused:
    return Refused(I2VError(code, message, hint))
