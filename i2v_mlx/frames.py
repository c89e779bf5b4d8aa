"""Videos in: the frames, the frame rate and the recipe of a file that `video` has written, in all five forms."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import ffmpeg, recipe
from .errors import I2VError
from .files import check_input
from .images import MAX_PIXELS, reading

DEFAULT_FPS = 8.0                # of a file that holds a single frame and no time
COMMENT, FPS = "Comment", "fps"  # text chunks of a png
DESCRIPTION = 0x010E             # EXIF ImageDescription
MAX_FILE_BYTES = 2**30
MAX_PIXEL_BYTES = 2**31          # of all frames

_CONTAINERS = ("mp4", "mov", "gif", "webp")


@dataclass(frozen=True)
class VideoInfo:
    """Size in pixels, frames, frames per second, and how they are coded: h264, hevc, prores, gif, webp or png."""

    width: int
    height: int
    frames: int
    fps: float
    codec: str


def container_of(path: Path | str) -> str:
    """mp4, mov, gif or webp by the suffix; png for a folder: a name without a suffix or with a slash at its end.

    Raises:
        I2VError: ``output_suffix_unknown``.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if str(path).endswith("/") or not suffix:
        return "png"
    if suffix in _CONTAINERS:
        return suffix
    raise I2VError("output_suffix_unknown", f"Livestill does not know the ending .{suffix}.",
                   "Use .mp4, .mov, .gif, .webp, or a name without an ending for a folder of .png.")


def probe(path: Path | str) -> VideoInfo:
    """Raises I2VError ``video_not_found``, ``video_not_a_file``, ``video_too_large``, ``video_unreadable``."""
    path, container = _open(path)
    if container in ("mp4", "mov"):
        stream = ffmpeg.probe(path)
        return VideoInfo(stream.width, stream.height, stream.frames, stream.fps, stream.codec)
    if container == "png":
        files = _pngs(path)
        with _image(files[0], "PNG") as image:
            return VideoInfo(*image.size, len(files), _png_fps(image), "png")
    with _image(path, container.upper()) as image:
        counts, fps = _timing(_durations(image), container)
        return VideoInfo(*image.size, sum(counts), fps, container)


def read_frames(path: Path | str) -> tuple[np.ndarray, float]:
    """(F, H, W, 3) uint8 and the frames per second.

    Raises:
        I2VError: as `probe`.
    """
    info = probe(path)
    if info.frames * info.width * info.height * 3 > MAX_PIXEL_BYTES:
        raise I2VError("video_too_large", f"{Path(path).name} has too many frames.", "Use a shorter or smaller video.")
    path, container = _open(path)
    if container in ("mp4", "mov"):
        return ffmpeg.decode(path, info.width, info.height), info.fps
    if container == "png":
        return np.stack([_png(file, (info.width, info.height)) for file in _pngs(path)]), info.fps
    frames: list[np.ndarray] = []
    with _image(path, container.upper()) as image:
        counts, _ = _timing(_durations(image), container)
        for index, count in enumerate(counts):
            image.seek(index)
            frames += [np.asarray(image.convert("RGB"))] * count
    return np.stack(frames), info.fps


def read_recipe(path: Path | str) -> dict[str, Any] | None:
    """The recipe in a file, or None if there is none.

    Raises:
        I2VError: as `probe` and `recipe.from_json`.
    """
    text = read_text(path)
    return recipe.from_json(text) if text is not None and recipe.is_recipe(text) else None


def read_text(path: Path | str) -> str | None:
    """The comment in a file, whoever has written it."""
    path, container = _open(path)
    if container in ("mp4", "mov"):
        return ffmpeg.read_comment(path)
    if container == "png":
        path = _pngs(path)[0]
    with _image(path, container.upper()) as image:
        if container == "webp":
            text = image.getexif().get(DESCRIPTION)
            # Pillow decodes what we wrote as UTF-8 byte by byte.
            return text.encode("latin-1").decode(errors="replace") if isinstance(text, str) else None
        text = image.info.get(COMMENT if container == "png" else "comment")
        return text.decode(errors="replace") if isinstance(text, bytes) else text


def _open(path: Path | str) -> tuple[Path, str]:
    path = Path(path)
    if path.is_dir():
        return path, "png"
    container = "png" if path.suffix.lower() == ".png" else container_of(path)
    check_input(path, "video", MAX_FILE_BYTES)
    return path, container


@contextmanager
def _image(path: Path, container: str) -> Iterator[Image.Image]:
    with reading("video", path.name), Image.open(path, formats=(container,)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise I2VError("video_too_large", f"{path.name} has too many pixels.", "Use a smaller video.")
        yield image


def _durations(image: Image.Image) -> list[int]:
    """Milliseconds of each stored frame."""
    durations = []
    for index in range(getattr(image, "n_frames", 1)):
        image.seek(index)
        image.load()
        durations.append(int(image.info.get("duration", 0)))
    return durations


def _timing(durations: list[int], container: str) -> tuple[list[int], float]:
    """How often each stored frame is shown, and the frame rate.

    A webp keeps repeated frames once, but longer. Times are rounded, to 10 ms in a gif and 1 ms in a webp: the roundest
    rate that explains all of them is the one that was meant.
    """
    counts = [1] * len(durations)
    if not all(durations):
        return counts, DEFAULT_FPS
    if container == "webp":
        counts = [round(duration / min(durations)) for duration in durations]
    rounding = 5 if container == "gif" else 0.5
    shown = list(zip(itertools.accumulate(counts), itertools.accumulate(durations), strict=True))
    if container == "gif" and len(shown) > 1:
        del shown[-1]  # ffmpeg gives the last frame the delay of the one before
    rate = 1000 * shown[-1][0] / shown[-1][1]
    candidates = [part(rate * 10**digits) / 10**digits for digits in range(4) for part in (math.floor, math.ceil)]
    explaining = (fps for fps in candidates
                  if fps and all(abs(1000 * frames / fps - time) <= rounding + 0.01 for frames, time in shown))
    return counts, next(explaining, rate)


def _pngs(path: Path) -> list[Path]:
    """The frames of a folder in order; a single png is its own only frame."""
    if path.is_file():
        return [path]
    numbered = [(int(match[1]), file) for file in path.iterdir()
                if (match := re.fullmatch(r".*_(\d{4,9})\.png", file.name)) and file.is_file()]
    if not numbered:
        raise I2VError("video_unreadable", f"{path.name} holds no numbered .png files.", "Choose another folder.")
    return [file for _, file in sorted(numbered)]


def _png(path: Path, size: tuple[int, int]) -> np.ndarray:
    with _image(path, "PNG") as image:
        if image.size != size:
            raise I2VError("video_unreadable", f"{path.name} differs in size from the first frame.")
        return np.asarray(image.convert("RGB"))


def _png_fps(image: Image.Image) -> float:
    try:
        fps = float(image.info.get(FPS, DEFAULT_FPS))
    except ValueError:
        return DEFAULT_FPS
    return fps if 0 < fps < 1000 else DEFAULT_FPS
