"""One picture from the web, after the user agreed. The only place where the app opens a connection."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from i2v_mlx import __version__
from i2v_mlx.errors import I2VError
from i2v_mlx.files import atomic
from i2v_mlx.images import MAX_FILE_BYTES

TIMEOUT_S = 20.0               # of silence
LONGEST_S = 120.0              # in all: a server that trickles is not waited for
_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "image/bmp": ".bmp",
             "image/tiff": ".tif", "image/avif": ".avif"}


def fetch(url: str, folder: Path, go_on: Callable[[], None] = lambda: None) -> Path:
    """Gets the picture and returns its file in `folder`. Slow; `go_on` is called between the pieces and may raise.

    Raises I2VError ``fetch_failed``, ``fetch_not_a_picture`` or ``image_too_large``.
    """
    import http.client
    import urllib.error
    import urllib.request as web

    opener = web.OpenerDirector()      # a redirection must not lead to a file or an ftp server: no handlers for them
    for handler in (web.ProxyHandler, web.HTTPHandler, web.HTTPSHandler, web.HTTPRedirectHandler,
                    web.HTTPDefaultErrorHandler, web.HTTPErrorProcessor, web.UnknownHandler):
        opener.add_handler(handler())
    try:
        request = web.Request(url, headers={"User-Agent": f"Livestill/{__version__}", "Accept": "image/*"})
        with opener.open(request, timeout=TIMEOUT_S) as response:
            suffix = _suffix(response)
            data = _read(response, go_on)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise I2VError("fetch_failed", f"The picture could not be fetched: {getattr(error, 'reason', error)}.",
                       "Save it in your browser and drop the file.") from error
    if len(data) > MAX_FILE_BYTES:
        raise I2VError("image_too_large", "The picture at that address is too large.", "Use a smaller one.")
    return keep(data, suffix, folder)


def _read(response: Any, go_on: Callable[[], None]) -> bytes:
    data, end = bytearray(), time.monotonic() + LONGEST_S
    while len(data) <= MAX_FILE_BYTES and (piece := response.read1(2**16)):
        data += piece
        go_on()
        if time.monotonic() > end:
            raise TimeoutError("it takes too long")
    return bytes(data)


def keep(data: bytes, suffix: str, folder: Path) -> Path:
    """Writes the bytes of a picture to a file named after their hash, so that the same picture is one file."""
    path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}{suffix}"
    if not path.exists():
        with atomic(path) as part:
            part.write_bytes(data)
    return path


def _suffix(response: Any) -> str:
    kind = response.headers.get_content_type()
    if kind not in _SUFFIXES:
        raise I2VError("fetch_not_a_picture", f"There is no picture at that address, but {kind}.",
                       "Save the picture in your browser and drop the file.")
    return _SUFFIXES[kind]
