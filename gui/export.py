"""A clip of the library becomes a file for others."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from i2v_mlx import frames, recipe, video
from i2v_mlx.errors import I2VError
from i2v_mlx.files import output_error

from .background import Background
from .library import Clip
from .settings import Preferences

_LONGEST_NAME = 60             # bytes


@dataclass(frozen=True)
class Kind:
    """Attributes: `id` for the preferences, `label` for menus, `suffix` with its dot ("" for a folder), `codec`."""

    id: str
    label: str
    suffix: str
    codec: str | None = None


KINDS: tuple[Kind, ...] = (
    Kind("mp4", "MP4 (H.264)", ".mp4", "h264"),
    Kind("hevc", "MP4 (HEVC)", ".mp4", "hevc"),
    Kind("prores", "ProRes 422 HQ", ".mov", "prores"),
    Kind("gif", "GIF", ".gif"),
    Kind("webp", "WebP", ".webp"),
    Kind("png", "PNG sequence", ""),
)

LOOPING = ("gif", "webp", "png")       # these loop by themselves, or are no film


@dataclass(frozen=True)
class ExportOptions:
    """Attributes: `fps` includes the speed at which the clip is shown; `repeats` is for files that do not loop."""

    kind: str = "mp4"
    fps: float = 8.0
    boomerang: bool = False
    repeats: int = 1
    hide_prompts: bool = False


def as_last(preferences: Preferences, fps: float, boomerang: bool) -> ExportOptions:
    """The kind of the last export, moving as the clip is shown now."""
    repeats = 1 if preferences.last_export in LOOPING else preferences.last_repeats
    return ExportOptions(preferences.last_export, fps, boomerang, repeats, preferences.hide_prompts)


class _Stopped(Exception):
    """The user has cancelled the export."""


class Exporter(QObject):
    """One export at a time, on a thread.

    Attributes:
        busy: one is running.

    Signals:
        progressed(float): 0 to 1.
        done(Path), failed(I2VError), cancelled(): one of them ends every export.
    """

    progressed = Signal(float)
    done = Signal(object)
    failed = Signal(object)
    cancelled = Signal()

    def __init__(self, background: Background, parent: QObject | None = None):
        super().__init__(parent)
        self.busy = False
        self._background = background
        self._stop = threading.Event()

    def start(self, clip: Clip, target: Path, options: ExportOptions) -> None:
        """Begins. Nothing is under the name `target` until it is whole. Raises RuntimeError while one is busy."""
        if self.busy:
            raise RuntimeError("an export runs already")
        self.busy = True
        self._stop.clear()

        def work() -> Path | None:
            try:
                write(clip, target, options, self._progress)
            except _Stopped:
                return None
            return target

        self._background.run(work, self._end, self._fail)

    def cancel(self) -> None:
        """Stops within a frame; nothing stays of the file."""
        self._stop.set()

    def _progress(self, fraction: float) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._background.post(self.progressed.emit, fraction)

    def _end(self, path: Path | None) -> None:
        self.busy = False
        if path is None:
            self.cancelled.emit()
        else:
            self.done.emit(path)

    def _fail(self, error: I2VError) -> None:
        self.busy = False
        self.failed.emit(error)


def write(clip: Clip, target: Path, options: ExportOptions, progress: Callable[[float], None]) -> None:
    """Writes the file; `progress` gets the share that is done and may raise to stop. Raises I2VError. Slow."""
    chosen = kind(options.kind)
    video.check_target(target, options.fps, chosen.codec)
    pixels, _ = frames.read_frames(clip.folder)
    order = list(range(len(pixels)))
    if options.boomerang:
        order += order[-2:0:-1]
    order *= options.repeats
    height, width = pixels.shape[1:3]
    try:
        with video.open_writer(target, width, height, options.fps, _recipe(clip, options), chosen.codec) as writer:
            for done, index in enumerate(order):
                progress(done / len(order))
                writer.write(pixels[index])
    except OSError as error:
        raise output_error(error, target) from error


def kind(name: str) -> Kind:
    """The kind with this id; mp4 for an unknown one."""
    return next((found for found in KINDS if found.id == name), KINDS[0])


def suggested_name(clip: Clip, options: ExportOptions) -> str:
    """A file name made of the picture's name and the seed, safe on every system, with the kind's ending."""
    name = unicodedata.normalize("NFC", Path(clip.request.image).stem)
    name = "".join(c if c.isalnum() or c in " -_" else " " for c in name)
    name = " ".join(name.encode()[:_LONGEST_NAME].decode(errors="ignore").split()).strip("-_ ")
    return f"{name or 'clip'}-{clip.request.seed}{kind(options.kind).suffix}"


def _recipe(clip: Clip, options: ExportOptions) -> str:
    values = json.loads(clip.recipe)
    values["playback_fps"] = options.fps
    if options.hide_prompts:
        values["request"] |= {"prompt": "", "negative_prompt": ""}
    return recipe.to_json(values)
