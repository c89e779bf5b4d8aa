"""Frames out: mp4, mov, gif, webp or a folder of png, each with its recipe, and under its name only when whole."""

from __future__ import annotations

import itertools
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from . import ffmpeg
from .errors import I2VError
from .files import atomic, check_output, output_error
from .frames import COMMENT, DESCRIPTION, FPS, container_of, probe, read_text
from .request import check_number

FPS_RANGE = (1.0, 120.0)
GIF_MAX_FPS = 50.0  # delays are hundredths of a second, and browsers slow down those below two
CODECS = {"mp4": ("h264", "hevc"), "mov": ("prores",), "gif": ("gif",), "webp": ("webp",), "png": ("png",)}

# Without these, ffmpeg converts with the matrix of standard definition and says so nowhere, and colours shift.
_BT709 = ("scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format={},"
          "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709")
_PLAYABLE = ["-movflags", "+faststart+use_metadata_tags"]
_ARGUMENTS = {
    "h264": ["-vf", _BT709.format("yuv420p"), "-c:v", "libx264", "-crf", "14", "-preset", "slow", *_PLAYABLE],
    "hevc": ["-vf", _BT709.format("yuv420p"), "-c:v", "libx265", "-crf", "18", "-tag:v", "hvc1",
             "-x265-params", "log-level=error", *_PLAYABLE],
    "prores": ["-vf", _BT709.format("yuv422p10le"), "-c:v", "prores_ks", "-profile:v", "3", "-vendor", "apl0",
               *_PLAYABLE],
    "gif": ["-filter_complex", "split[a][b];[a]palettegen=stats_mode=diff[p];"
            "[b][p]paletteuse=dither=sierra2_4a:diff_mode=rectangle", "-loop", "0"],
}


class Writer:
    """Takes the frames of one video; made by `open_writer`."""

    def __init__(self, encoder: _Encoder, path: Path, width: int, height: int):
        self._encoder, self._path, self._shape = encoder, path, (height, width, 3)
        self.frames = 0

    def write(self, frame: np.ndarray) -> None:
        """`frame` is (H, W, 3) uint8. Raises I2VError ``disk_full``, ``output_unwritable``, ``encoder_failed``."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"a frame of {frame.shape} {frame.dtype} instead of {self._shape} uint8")
        with _writing(self._path):
            self._encoder.write(frame)
        self.frames += 1


def check_target(path: Path | str, fps: float, codec: str | None = None) -> None:
    """Raises I2VError if no video of that kind can be written to `path`: called before the heavy work.

    Args:
        codec: ``hevc`` for an mp4 that is not H.264; None for the usual one.
    """
    container = container_of(path)
    if codec is not None and codec not in CODECS[container]:
        raise I2VError("codec_unknown", f".{container} cannot hold {codec}.", f"Use {' or '.join(CODECS[container])}.")
    check_number("playback_fps", float(fps), FPS_RANGE[0], GIF_MAX_FPS if container == "gif" else FPS_RANGE[1])
    check_output(path, folder=container == "png")
    if container in ("mp4", "mov", "gif"):
        ffmpeg.executable()


@contextmanager
def open_writer(
    path: Path | str, width: int, height: int, fps: float, recipe_json: str | None, codec: str | None = None
) -> Iterator[Writer]:
    """A `Writer`. When the block ends well the file is checked and gets its name; else nothing stays of it.

    An odd width or height loses its last column or row in mp4 and mov, which need even ones.

    Args:
        path: the suffix decides on the form, see `frames.container_of`.
        recipe_json: what `recipe.to_json` gives.

    Raises:
        I2VError: as `check_target`, ``frames_missing``, ``disk_full``, ``output_unwritable``, ``encoder_failed``.
    """
    check_target(path, fps, codec)
    container, path = container_of(path), Path(path)
    with atomic(path) as part:
        with _writing(path):
            encoder = _encoder(part, path.name, width, height, fps, recipe_json, codec or CODECS[container][0])
        writer = Writer(encoder, path, width, height)
        try:
            yield writer
            if not writer.frames:
                raise I2VError("frames_missing", "There are no frames to write.")
            with _writing(path):
                encoder.finish()
        except BaseException:
            encoder.abort()
            raise
        _verify(part, container, writer.frames, fps, recipe_json)


def write_video(
    path: Path | str, frames: Sequence[np.ndarray] | np.ndarray, fps: float, recipe_json: str | None,
    codec: str | None = None, boomerang: bool = False, repeats: int = 1,
) -> None:
    """Writes (F, H, W, 3) uint8 frames, see `open_writer`.

    Args:
        boomerang: forth and back: the inner frames follow once more, in reverse.
        repeats: how often the whole is written, for players that do not loop.
    """
    if len(frames) == 0:
        raise I2VError("frames_missing", "There are no frames to write.")
    order = list(range(len(frames)))
    if boomerang:
        order += order[-2:0:-1]
    height, width = frames[0].shape[:2]
    with open_writer(path, width, height, fps, recipe_json, codec) as writer:
        for index in order * repeats:
            writer.write(frames[index])


def export_to_video(
    video_frames: Iterable[Any], output_video_path: str | None = None, fps: int = 10, quality: float = 5.0,
    bitrate: int | None = None, macro_block_size: int | None = 16,
) -> str:
    """diffusers' ``export_to_video`` by name and arguments; returns the path, of a new temporary file if there is none.

    Args:
        video_frames: PIL images, or arrays (H, W, 3), uint8 or float in [0, 1].
        quality, bitrate, macro_block_size: taken so that a diffusers script runs, and without effect: the quality is
            always high, and no frame is ever resized.
    """
    return _export(video_frames, output_video_path, ".mp4", fps)


def export_to_gif(image: Iterable[Any], output_gif_path: str | None = None, fps: int = 10) -> str:
    """diffusers' ``export_to_gif`` by name and arguments; see `export_to_video`."""
    return _export(image, output_gif_path, ".gif", fps)


def _export(frames: Iterable[Any], path: str | None, suffix: str, fps: float) -> str:
    if path is None:
        path = str(Path(tempfile.gettempdir()) / f"livestill-{secrets.token_hex(8)}{suffix}")
    write_video(path, [_to_uint8(frame) for frame in frames], fps, recipe_json=None)
    return str(path)


def _to_uint8(frame: Any) -> np.ndarray:
    pixels = np.asarray(frame.convert("RGB") if isinstance(frame, Image.Image) else frame)
    return pixels if pixels.dtype == np.uint8 else (pixels * 255).round().clip(0, 255).astype(np.uint8)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error


def _verify(part: Path, container: str, frames: int, fps: float, recipe_json: str | None) -> None:
    """Opens what was written, as anybody would."""
    try:
        info = probe(part)
        found = ffmpeg.count_frames(part) if container in ("mp4", "mov") else info.frames
        seconds = info.frames / info.fps
        text = read_text(part)
    except I2VError as error:
        raise I2VError("encoder_failed", f"The video was written but cannot be read. {error.message}",
                       "Try another format, for example .webp.") from error
    # A webp keeps frames that look the same once, but longer; if that is all of them, as a picture without a duration.
    complete = found == frames or container == "webp"
    in_time = abs(seconds - frames / fps) < 0.02 or (container in ("webp", "gif") and found == 1)
    if not complete or not in_time:
        raise I2VError("encoder_failed", f"The video was written with {found} of {frames} frames, in {seconds:.2f} s.",
                       "Try another format.")
    if text != recipe_json:
        raise I2VError("encoder_failed", "The video was written without its recipe.", "Try another format.")


class _Encoder(Protocol):
    """Where frames go. `abort` is safe at any time."""

    def write(self, frame: np.ndarray) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


def _encoder(
    part: Path, name: str, width: int, height: int, fps: float, recipe_json: str | None, codec: str
) -> _Encoder:
    if codec == "webp":
        return _Webp(part, fps, recipe_json)
    if codec == "png":
        return _Pngs(part, name, fps, recipe_json)
    return _Ffmpeg(part, width, height, fps, recipe_json, codec)


class _Ffmpeg:
    def __init__(self, part: Path, width: int, height: int, fps: float, recipe_json: str | None, codec: str):
        self._part, self._gif = part, codec == "gif"
        self._recipe = recipe_json
        self._size = (width, height) if self._gif else (width // 2 * 2, height // 2 * 2)
        rate = Fraction(fps).limit_denominator(1000)
        self._encoder = ffmpeg.Encoder(part, *self._size, rate, _ARGUMENTS[codec], None if self._gif else recipe_json)

    def write(self, frame: np.ndarray) -> None:
        width, height = self._size
        self._encoder.write(frame[:height, :width])

    def finish(self) -> None:
        self._encoder.finish()
        if self._gif and self._recipe is not None:
            _add_gif_comment(self._part, self._recipe)

    def abort(self) -> None:
        self._encoder.abort()


class _Webp:
    """By Pillow, which needs all frames at once."""

    def __init__(self, part: Path, fps: float, recipe_json: str | None):
        self._part, self._fps, self._recipe = part, fps, recipe_json
        self._frames: list[Image.Image] = []

    def write(self, frame: np.ndarray) -> None:
        self._frames.append(Image.fromarray(frame))

    def finish(self) -> None:
        times = [round(1000 * index / self._fps) for index in range(len(self._frames) + 1)]  # ms
        exif = Image.Exif()
        if self._recipe is not None:
            exif[DESCRIPTION] = self._recipe.encode()
        self._frames[0].save(
            self._part, "WEBP", save_all=True, append_images=self._frames[1:], quality=85, method=4, loop=0,
            duration=[end - start for start, end in itertools.pairwise(times)], exif=exif)

    def abort(self) -> None:
        self._frames.clear()


class _Pngs:
    def __init__(self, part: Path, name: str, fps: float, recipe_json: str | None):
        self._part, self._name, self._count = part, name, 0
        self._text = PngInfo()
        self._text.add_text(FPS, str(float(fps)))
        if recipe_json is not None:
            self._text.add_itxt(COMMENT, recipe_json)

    def write(self, frame: np.ndarray) -> None:
        self._count += 1
        self._part.mkdir(exist_ok=True)
        Image.fromarray(frame).save(self._part / f"{self._name}_{self._count:04d}.png", pnginfo=self._text)

    def finish(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _add_gif_comment(path: Path, text: str) -> None:
    """ffmpeg writes no comment into a gif: a comment extension (GIF89a, section 24) goes in before the first frame."""
    data, comment = path.read_bytes() if path.exists() else b"", text.encode()
    if not data.startswith(b"GIF89a") or len(data) < 14:
        raise I2VError("encoder_failed", "ffmpeg has written something that is not a gif.", "Try another format.")
    start = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)  # header, global palette
    if data[start:].startswith(b"\x21\xff\x0bNETSCAPE2.0"):  # the loop count has to stay first
        start += 19
    blocks = [comment[i:i + 255] for i in range(0, len(comment), 255)]
    extension = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\x00"
    path.write_bytes(data[:start] + extension + data[start:])
