"""What the middle of the window shows: the job as it denoises, its clip when it is done, or a clip of the library."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal

from i2v_mlx import images
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import clip_frames, export, problems
from .background import Background
from .clip_frames import Contents
from .export import ExportOptions
from .jobs import Job
from .library import Clip, Library, OnDisk, on_disk
from .pixels import to_qimage
from .player import Player
from .runner import Runner


class Stage(QObject):
    """Feeds the player, and brings finished clips into the library.

    Attributes:
        clip: the clip of the library that is shown; None for a job in progress, or nothing.
        watching: the job in progress is shown as soon as it has pictures; not so while the user looks at another clip.

    Signals:
        shown_changed(): `clip` is another one, or its entry has changed.
        job_done(Job, Clip): the clip of a finished job is in the library.
        problem(Problem), notice(str).
    """

    shown_changed = Signal()
    job_done = Signal(object, object)
    problem = Signal(object)
    notice = Signal(str)

    def __init__(self, runner: Runner, library: Library, clips_folder: Path, player: Player, background: Background,
                 parent: QObject | None = None):
        super().__init__(parent)
        self.clip: Clip | None = None
        self.watching = True
        self._runner, self._library, self._player, self._background = runner, library, player, background
        self._clips_folder = clips_folder
        self._job: Job | None = None               # the one that runs
        self._preview: np.ndarray | None = None    # its last pictures
        self._source_of: Request | None = None     # whose still the player has, or will have
        self._being_shared: set[int] = set()
        runner.started.connect(self._started)
        runner.previewed.connect(self._previewed)
        runner.written.connect(self._written)
        runner.stopped.connect(self._stopped)
        library.changed.connect(self._library_changed)

    def show_clip(self, clip: int) -> None:
        """Plays a clip of the library."""
        found = self._library.get(clip)
        if found is None:
            self.problem.emit(problems.of_error(I2VError(
                "clip_unknown", "This clip was made with a newer version of Livestill.", "Update Livestill.")))
        else:
            self.watching = False
            self._background.run(lambda: clip_frames.read(found.folder), lambda contents: self._show(found, contents),
                                 self._missing)

    def watch(self) -> None:
        """Back to the job in progress."""
        self.watching = True
        if self._preview is not None:
            self._show_preview(self._preview)

    def watch_next(self) -> None:
        """Generate was pressed: what was shown gives way to the still until there are pictures."""
        self.watching = True
        self._preview = None
        self._set_clip(None)
        self._player.clear()

    def set_source(self, request: Request) -> None:
        """The still that the clip is compared with, cropped as the video is."""
        if request != self._source_of and request.image:
            self._source_of = request
            self._background.run(lambda: _still(request), lambda image: self._have_source(request, image),
                                 lambda error: self._have_source(request, None))

    def find_clips(self) -> None:
        """Takes clips on the disk that the library does not know (it was lost, or the app ended too early) into it, and
        notes which ones are gone."""
        known, folder = self._library.folders().keys(), self._clips_folder
        self._background.run(lambda: on_disk(known, folder), self._compare, lambda error: None)

    def drag_file(self, clip: int, folder: Path, hide_prompts: bool) -> Path | None:
        """An mp4 of the clip to drag out, if it is ready; otherwise it is begun, for the next time."""
        found = self._library.get(clip)
        if found is None:
            return None
        options = ExportOptions(fps=found.fps, hide_prompts=hide_prompts)
        kept_in = folder / (found.folder.name + (" without prompts" if hide_prompts else ""))
        target = kept_in / export.suggested_name(found, options)
        if target.exists():
            return target
        if clip not in self._being_shared:
            self._being_shared.add(clip)
            self._background.run(lambda: self._share(found, target, options),
                                 lambda _: self._being_shared.discard(clip), lambda _: self._being_shared.discard(clip))
        return None

    def _share(self, clip: Clip, target: Path, options: ExportOptions) -> None:
        """On a thread."""
        target.parent.mkdir(parents=True, exist_ok=True)
        export.write(clip, target, options, self._background.stop_if_closed)

    # the job in progress

    def _started(self, job: Job) -> None:
        self._job, self._preview = job, None
        if self.watching:
            self.set_source(job.request)

    def _previewed(self, frames: np.ndarray) -> None:
        self._preview = frames
        if self.watching:
            self._show_preview(frames)

    def _show_preview(self, frames: np.ndarray) -> None:
        self._set_clip(None)
        self._player.show_preview(frames)

    def _written(self, job: Job) -> None:
        self._job = None
        folder = self._runner.clip_folder(job)
        self._background.run(lambda: clip_frames.read(folder), lambda contents: self._done(job, contents),
                             self._missing)

    def _stopped(self, job: Job) -> None:
        self._job = None
        if job.state == "cancelled" and self.watching and self._player.is_preview:
            self._preview = None
            self._player.clear()

    def _done(self, job: Job, contents: Contents) -> None:
        clip = self._adopt(contents, job.request)
        if clip is None:
            return
        self._runner.have_clip(job, clip.id)
        if self.watching and (self._job is None or self._preview is None):
            self._show(clip, contents)
        self.job_done.emit(job, clip)

    def _compare(self, there: OnDisk) -> None:
        try:
            self._library.set_missing(there.missing)
        except I2VError as error:
            self.problem.emit(problems.of_error(error))
        for folder in there.unknown:
            self._background.run(partial(clip_frames.read, folder), self._found, lambda error: None)

    def _found(self, contents: Contents) -> None:
        if contents.folder not in self._library.folders():         # the clip of a job, it may have come in the meantime
            self._adopt(contents, contents.request)

    def _adopt(self, contents: Contents, request: Request) -> Clip | None:
        """`request` has the picture's full path, which the recipe leaves out."""
        try:
            return self._library.add(contents.folder, clip_frames.recipe_json(contents), request, contents.fps,
                                     contents.thumbnail, contents.created)
        except I2VError as error:
            self.problem.emit(problems.of_error(error))
            return None

    # what is shown

    def _show(self, clip: Clip, contents: Contents) -> None:
        self._player.show_clip(contents.frames, contents.fps)
        self.set_source(clip.request)
        self._set_clip(clip)

    def _missing(self, error: I2VError) -> None:
        self.find_clips()
        self.problem.emit(problems.of_error(error))

    def _have_source(self, request: Request, image: np.ndarray | None) -> None:
        if request == self._source_of:
            self._player.set_source(None if image is None else to_qimage(image))

    def _library_changed(self) -> None:
        if self.clip is None:
            return
        now = self._library.get(self.clip.id)
        if now is None:
            self._player.clear()
        if now != self.clip:
            self._set_clip(now)

    def _set_clip(self, clip: Clip | None) -> None:
        if clip != self.clip:
            self.clip = clip
            self.shown_changed.emit()


def _still(request: Request) -> np.ndarray:
    image = images.load(request.image)
    if request.crop is not None:
        image = images.crop(image, request.crop)
    return np.asarray(images.centre_crop(image, request.width, request.height))
