"""One ffmpeg: the binary that imageio-ffmpeg brings, as a child process. Never a shell, never a bare file name."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from .errors import I2VError
from .files import disk_full, free_bytes, output_error

STALL_SECONDS = 120   # to take one frame; ffmpeg hangs if it needs longer
FINISH_SECONDS = 900  # to encode what it holds back
_TAIL_BYTES = 4000


def executable() -> str:
    """Raises I2VError ``ffmpeg_missing``."""
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise _missing() from error


class Encoder:
    """ffmpeg that takes raw RGB frames on its stdin and writes `part`. End it with `finish` or `abort`."""

    def __init__(self, part: Path, width: int, height: int, fps: Fraction, arguments: list[str], comment: str | None):
        self._part = part
        self._stalled = False
        self._tail = b""
        source = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}",
                  "-framerate", str(fps), "-i", "pipe:0"]
        self._metadata = part.with_name(f"{part.stem}.metadata")
        try:
            if comment is not None:  # a file and not an argument: those end at 128 kB, and everybody sees them in ps
                self._metadata.write_text(f";FFMETADATA1\ncomment={_escape(comment)}\n", encoding="utf-8")
                source += ["-f", "ffmetadata", "-i", _url(self._metadata), "-map_metadata", "1"]
            self._process = _start([*source, *arguments, "-y", _url(part)])
        except BaseException:
            self._metadata.unlink(missing_ok=True)
            raise
        self._reader = threading.Thread(target=self._read_errors, daemon=True)  # a full pipe would block ffmpeg
        self._reader.start()

    def write(self, frame: np.ndarray) -> None:
        """`frame` is (H, W, 3) uint8."""
        assert self._process.stdin is not None
        try:
            with self._watched():
                self._process.stdin.write(frame.tobytes())
        except OSError as error:  # it ended too early
            raise self._failure() from error

    def finish(self) -> None:
        """Returns when the file is written."""
        assert self._process.stdin is not None
        with suppress(OSError), self._watched():
            self._process.stdin.close()
        try:
            self._process.wait(FINISH_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._stalled = True
            raise self._failure() from error
        if self._process.returncode != 0:
            raise self._failure()
        self._close()

    def abort(self) -> None:
        """Kills ffmpeg; safe at any time, also twice."""
        self._process.kill()
        self._close()

    def _close(self) -> None:
        assert self._process.stdin is not None and self._process.stderr is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        self._process.stderr.close()
        self._metadata.unlink(missing_ok=True)

    def _failure(self) -> I2VError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self.abort()
        code, text = self._process.returncode, self._tail.decode(errors="replace").strip()
        # Without space it may also be ended by a signal and say nothing.
        full = code == -signal.SIGXFSZ or re.search("No space left|File too large|Disk quota", text)
        if full:
            return disk_full(self._part)
        if free_bytes(self._part) < 2**20:
            return output_error(OSError(), self._part)  # full, or not there any more
        reason = f"did nothing for {STALL_SECONDS} s" if self._stalled else f"ended with code {code}"
        return I2VError("encoder_failed", f"ffmpeg {reason}. {text}".strip(), "Try another format, for example .webp.")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        while block := self._process.stderr.read1(65536):  # type: ignore[attr-defined]
            self._tail = (self._tail + block)[-_TAIL_BYTES:]

    @contextmanager
    def _watched(self) -> Iterator[None]:
        timer = threading.Timer(STALL_SECONDS, self._stall)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stall(self) -> None:
        self._stalled = True
        self._process.kill()


@dataclass(frozen=True)
class Stream:
    """The video stream of a file."""

    codec: str
    width: int
    height: int
    frames: int
    fps: float


def probe(path: Path) -> Stream:
    """Read from the container; nothing is decoded. Raises I2VError ``video_unreadable``."""
    text = _read(path, "-c", "copy", "-f", "framecrc").decode(errors="replace")
    header = dict(re.findall(r"^#(\w+) 0: (.+)$", text, re.M))
    packets = _packets(text)
    try:
        time_base = Fraction(header["tb"])
        width, height = map(int, header["dimensions"].split("x"))
        seconds = time_base * sum(int(packet.split(",")[3]) for packet in packets)
        return Stream(header["codec_id"], width, height, len(packets), float(len(packets) / seconds))
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise _unreadable(path, "it has no video") from error


def count_frames(path: Path) -> int:
    """Decodes the whole file."""
    return len(_packets(_read(path, "-f", "framecrc").decode()))


def decode(path: Path, width: int, height: int) -> np.ndarray:
    """(F, height, width, 3) uint8."""
    pixels = _read(path, "-vf", "scale=flags=accurate_rnd+full_chroma_int,format=rgb24", "-f", "rawvideo")
    if len(pixels) % (width * height * 3):
        raise _unreadable(path, "its frames differ in size")
    return np.frombuffer(bytearray(pixels), np.uint8).reshape(-1, height, width, 3)


def read_comment(path: Path) -> str | None:
    """The file's comment, not that of a stream or a chapter: those stand in sections at the end."""
    text = _run(path, ["-f", "ffmetadata"]).decode(errors="replace")
    lines = re.findall(r"((?:\\.|[^\\\n])*)\n", text, re.S)  # a backslash takes the next character in, even a new line
    head = itertools.takewhile(lambda line: not line.startswith("["), lines)
    comment = next((line.removeprefix("comment=") for line in head if line.startswith("comment=")), None)
    return None if comment is None else re.sub(r"\\(.)", r"\1", comment, flags=re.S)


def _escape(text: str) -> str:
    return re.sub(r"([=;#\\\n])", r"\\\1", text)


def _url(path: Path) -> str:
    """Else a name could be an option (-x.mp4) or a protocol (tcp:x.mp4)."""
    return f"file:{path.absolute()}"


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # in a session of its own: Ctrl-C reaches us, and we decide
            [executable(), "-hide_banner", "-v", "error", "-nostdin", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    except OSError as error:
        raise _missing() from error


def _read(path: Path, *output: str) -> bytes:
    return _run(path, ["-map", "0:v:0", "-fps_mode", "passthrough", *output])


def _run(path: Path, output: list[str]) -> bytes:
    """What ffmpeg makes of `path`. The demuxer is given and only files are opened: a playlist could name anything."""
    source = ["-protocol_whitelist", "file,pipe", "-noautorotate", "-f", "mov", "-i", _url(path)]
    try:
        result = subprocess.run(
            [executable(), "-hide_banner", "-v", "error", "-nostdin", "-xerror", *source, *output, "pipe:1"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=FINISH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _unreadable(path, "ffmpeg did not get to its end") from error
    except OSError as error:
        raise _missing() from error
    if result.returncode != 0:
        text = result.stderr[-_TAIL_BYTES:].decode(errors="replace").strip()
        raise _unreadable(path, _first_reason(text) or f"ffmpeg ended with code {result.returncode}")
    return result.stdout


def _first_reason(text: str) -> str:
    """ffmpeg's first complaint, without the addresses; those that follow are its consequences."""
    line = text.split("\n", 1)[0]
    return re.sub(r"\[[^]]* @ 0x[0-9a-f]+\] ", "", line).strip().rstrip(".")


def _packets(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _unreadable(path: Path, reason: str) -> I2VError:
    return I2VError("video_unreadable", f"{path.name} cannot be read: {reason}.", "Choose another file.")


def _missing() -> I2VError:
    return I2VError("ffmpeg_missing", "ffmpeg, which writes mp4, mov and gif, is missing or does not start.",
                    "Run pip install --force-reinstall imageio-ffmpeg, or write .webp or a folder of .png.")
