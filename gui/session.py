"""The state behind the window and the rules that change it. Widgets show it and call its methods, nothing else."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject, QTimer, Signal

from i2v_mlx.errors import I2VError
from i2v_mlx.events import Hello
from i2v_mlx.request import Request

from . import diagnostics, last_draft, leftovers, problems, settings
from .background import Background
from .draft import FIELDS, Draft
from .engine_client import EngineClient
from .estimate import Estimate, Estimator
from .export import Exporter
from .intake import Intake
from .jobs import Job
from .library import Clip, Library
from .picture import Picture
from .places import Places
from .player import Player
from .problems import Action
from .progress import Progress
from .queue import Queue
from .runner import Runner
from .settings import Preferences
from .stage import Stage

_LOOKED_AT_MS = 400


class Session(QObject):
    """Owns everything that is not a widget.

    Attributes:
        preferences: replaced by `set_preferences`.
        draft, picture: what the next Generate uses.
        queue, engine, library, exporter, estimator: see there.
        player: fed by `stage`: previews, then the finished clip; or a clip of the library.
        stage: which clip is shown (`stage.clip`), or the job in progress.
        estimate: of the draft; it stands beside Generate.

    Signals:
        progress_changed(Progress or None): the running job moved (`progress`; None when nothing runs).
        job_started(Job), job_done(Job, Clip), job_stopped(Job): stopped is paused, cancelled or failed.
        problem(Problem): show it in the error bar. problem_over(code): it has gone by itself.
        notice(str): worth a line, stops nothing (words cut off, a damaged file set aside).
        engine_changed(): `engine.state`, `engine.hello` or `engine.memory_bytes` is another one.
        estimate_changed(Estimate).
        consent_needed(str): a picture would have to be fetched from this address: ask, then `fetch(url)`.
        held_changed(bool): whether the queue waits (`held`), because of Pause, a broken engine, or since the last time.
        preferences_changed(): `preferences` was replaced.
        shown_changed(): `shown` is another clip, or its entry in the library has changed.
    """

    progress_changed = Signal(object)
    job_started = Signal(object)
    job_done = Signal(object, object)
    job_stopped = Signal(object)
    problem = Signal(object)
    problem_over = Signal(str)
    notice = Signal(str)
    engine_changed = Signal()
    estimate_changed = Signal(object)
    consent_needed = Signal(str)
    held_changed = Signal(bool)
    preferences_changed = Signal()
    shown_changed = Signal()

    def __init__(self, places: Places, engine: EngineClient | None = None, parent: QObject | None = None):
        super().__init__(parent)
        places.create()
        self.preferences, damaged = settings.load(places.preferences)
        self.places, unusable = places.with_clips(self.preferences.clips_folder)
        places = self.places
        self.background = Background(self)
        self.engine = engine or EngineClient(log=places.logs / "engine.log")
        self.engine.setParent(self)
        self.draft = Draft(last_draft.load(places.draft, self.preferences.model), parent=self)
        self.draft.set_seed_mode(self.preferences.seed_mode)
        self.picture = Picture(self.background, self)
        self.queue = Queue(places.queue, self)
        self.library = Library(places.library, self)
        self.player = Player(parent=self)
        self.player.set_boomerang(self.preferences.boomerang)
        self.exporter = Exporter(self.background, self)
        self.estimator = Estimator(places.estimates)
        self.estimate: Estimate = self.estimator.estimate(self.draft.request)
        self._refused_takes = 1
        self._share_soon = QTimer(self, singleShot=True, interval=_LOOKED_AT_MS)
        self._share_soon.timeout.connect(self._share)
        self._notices = [damaged, unusable, self.queue.notice, self.library.notice, self.estimator.notice]

        self.runner = Runner(places, self.engine, self.queue, self.estimator, self)
        self.stage = Stage(self.runner, self.library, places.clips, self.player, self.background, self)
        self.intake = Intake(places.pictures, self.background, self.library.pictures, self)
        self._connect()

    def _connect(self) -> None:
        for part in (self.runner, self.intake, self.stage):
            part.problem.connect(self.problem)
            part.notice.connect(self.notice)
        self.runner.progress_changed.connect(self.progress_changed)
        self.runner.started.connect(self.job_started)
        self.runner.stopped.connect(self.job_stopped)
        self.runner.problem_over.connect(self.problem_over)
        self.runner.held_changed.connect(self.held_changed)
        self.stage.job_done.connect(self._job_done)
        self.stage.shown_changed.connect(self.shown_changed)
        self.stage.shown_changed.connect(self._share_soon.start)
        self.intake.picture.connect(self.picture.offer)
        self.picture.opened.connect(self._take_picture)
        self.intake.pictures.connect(self._queue_pictures)
        self.intake.settings.connect(self._recall)
        self.intake.consent_needed.connect(self._ask_to_fetch)
        self.draft.changed.connect(self._draft_changed)
        self.picture.failed.connect(self._fail)
        self.queue.unsaved.connect(self._fail)
        self.engine.state_changed.connect(self.engine_changed)
        self.engine.memory_changed.connect(self.engine_changed)
        self.engine.said_hello.connect(self._greet)

    @property
    def progress(self) -> Progress | None:
        return self.runner.progress

    @property
    def held(self) -> bool:
        return self.runner.held

    @property
    def shown(self) -> Clip | None:
        """The clip of the library that is shown, or None."""
        return self.stage.clip

    def start(self) -> None:
        """Starts the engine and says what was found damaged. Call once, after the window has connected."""
        self.engine.start()
        self.picture.load(self.draft.request.image)
        for notice in self._notices:
            if notice is not None:
                self.notice.emit(f"{notice.message} {notice.hint}")
        self.stage.find_clips()
        started = time.time()
        self.background.run(lambda: leftovers.sweep(self.places, started), lambda done: None, lambda error: None)

    # the picture

    def drop(self, mime: QMimeData) -> None:
        """A drop or a paste. One picture: into the draft. Several: a job each. An exported clip: its settings."""
        self.intake.drop(mime)

    def open_files(self, paths: Sequence[str]) -> None:
        """The open panel, the Dock, the command line, a second start: the same as dropping these files."""
        self.intake.open_files(paths)

    def fetch(self, url: str) -> None:
        """Gets a picture from the web, after the user agreed."""
        self.intake.fetch(url)

    # making videos

    def generate(self, takes: int = 1, anyway: bool = False) -> list[Job]:
        """Queues `takes` jobs from the draft, seeds counting up; none, and a problem, if the settings are wrong.

        What will not fit into memory is a problem too, unless `anyway`.
        """
        error = self._still_opening() or self.draft.problem() or (None if anyway else self._too_big())
        if error is not None:
            self._refused_takes = takes
            self._fail(error)
            return []
        if self.queue.running() is None:
            self.stage.watch_next()
        return self._add(self.draft.takes(takes))

    def pause(self) -> None:
        """Stops the running job at its last step, frees the memory and holds the queue."""
        self.runner.pause()

    def resume(self, job: str | None = None) -> None:
        """Carries on with a paused or failed job (None: the first that is paused), and with the queue."""
        if job is None:
            found = next((job for job in self.queue.jobs if job.state == "paused"), None)
        else:
            found = self.queue.get(job)
        self.runner.resume(found)

    def cancel(self, job: str | None = None) -> None:
        """Drops a queued, paused or running job (None: the running one)."""
        found = self.queue.running() if job is None else self.queue.get(job)
        if found is not None:
            self.runner.cancel(found)

    def run_again(self, job: str) -> None:
        """Queues the same request once more."""
        found = self.queue.get(job)
        if found is not None:
            self._add([found.request])

    def remove(self, job: str) -> None:
        """Takes a job off the list, cancelling it first if it runs."""
        found = self.queue.get(job)
        if found is not None:
            self.runner.remove(found)

    def act(self, action: Action, job: str | None = None) -> None:
        """Does what a button of the error bar says. "show_log" and "choose_folder" are the window's to do."""
        if action == "resume":
            self.resume(job)
        elif action == "run_again" and job is not None:
            self.run_again(job)
        elif action == "smaller":
            self._use_smaller(None if job is None else self.queue.get(job))
        elif action == "anyway":
            self.generate(self._refused_takes, anyway=True)
        elif action == "restart_engine":
            self.runner.restart_engine()
        elif action == "stop_engine":
            self.runner.stop_engine()

    # clips

    def show_clip(self, clip: int) -> None:
        """Plays a clip of the library."""
        self.stage.show_clip(clip)

    def watch(self) -> None:
        """Back to the job in progress."""
        self.stage.watch()

    def recall(self, clip: int, fields: Collection[str] | None = None) -> None:
        """Takes all settings of a clip into the draft, or some of them."""
        found = self.library.get(clip)
        if found is not None:
            self._recall(found.request, Path(found.request.image).is_file(), fields)

    def delete_clip(self, clip: int) -> None:
        """Moves a clip to the bin."""
        try:
            self.library.delete(clip)
        except I2VError as error:
            self._fail(error)

    def drag_file(self, clip: int) -> Path | None:
        """An mp4 of the clip to drag out, if it is ready; otherwise it is begun, for the next time."""
        return self.stage.drag_file(clip, self.places.shared, self.preferences.hide_prompts)

    # the rest

    def set_preferences(self, preferences: Preferences) -> None:
        """Replaces and saves the preferences."""
        self.preferences = preferences
        try:
            settings.save(self.places.preferences, preferences)
        except I2VError as error:
            self._fail(error)
        self.draft.set_seed_mode(preferences.seed_mode)
        self.preferences_changed.emit()

    def diagnostics(self) -> str:
        """Text for a bug report. No prompts, no names of pictures."""
        requests = [self.draft.request, *(job.request for job in self.queue.jobs),
                    *(clip.request for clip in self.library.clips())]
        private = {text for request in requests for text in (
            request.prompt, request.negative_prompt, request.image, Path(request.image).name, Path(request.image).stem)}
        return diagnostics.text(self.engine, (self.places.logs / "app.log", self.places.logs / "engine.log"), private)

    def close(self) -> None:
        """Before the app ends: pauses what runs, ends the engine, saves. Blocks for a few seconds at most."""
        self.player.pause()
        self._share_soon.stop()
        self.exporter.cancel()
        self.runner.close()
        self.background.close()
        try:
            last_draft.save(self.places.draft, self.draft.request)
            settings.save(self.places.preferences, self.preferences)
        except I2VError:
            pass                       # said already, when it was changed; the app ends all the same
        self.library.close()

    # rules

    def _add(self, requests: list[Request]) -> list[Job]:
        jobs = [self.queue.add(request, self.preferences.playback_fps) for request in requests]
        self.runner.resume(None)
        return jobs

    def _still_opening(self) -> I2VError | None:
        if not self.picture.opening:
            return None
        return I2VError("picture_loading", "The picture is still being opened.", "Press Generate again in a moment.")

    def _too_big(self) -> I2VError | None:
        if self.estimate.fits:
            return None
        fitting = " or ".join(sentence for sentence, _ in self.estimate.alternatives)
        return I2VError("would_not_fit", f"This {self.estimate}.", f"These fit: {fitting}." if fitting else "")

    def _take_picture(self, path: str) -> None:
        """It can be read."""
        image = self.picture.image
        self.draft.set_picture(path, (image.width(), image.height()) if image is not None else (1, 1))

    def _queue_pictures(self, paths: list[str]) -> None:
        if not self.draft.request.image:
            self.picture.offer(paths[0])
        error = self.draft.problem(paths[0]) or self._too_big()
        if error is not None:
            self._fail(error)
            return
        requests = [dataclasses.replace(request, image=path, crop=None)
                    for request, path in zip(self.draft.takes(len(paths)), paths, strict=True)]
        self._add(requests)

    def _use_smaller(self, job: Job | None) -> None:
        """The next smaller size that fits, than that of a failed job or of the draft."""
        smaller = self.estimator.alternatives(self.draft.request if job is None else job.request)
        if smaller:
            self.draft.recall(smaller[0][1], {"width", "height", "num_frames"})

    def _recall(self, request: Request, image_found: bool, fields: Collection[str] | None = None) -> None:
        names = set(FIELDS if fields is None else fields)
        if not image_found and names & {"image", "crop"}:
            names -= {"image", "crop"}
            self.notice.emit(f"The picture {Path(request.image).name} is not there any more; all else is set.")
        if "model" in names and not self._is_here(request.model):
            names.remove("model")
            self.notice.emit(f"The model {Path(request.model).name} is not on this machine.")
        self.draft.recall(request, names)

    def _share(self) -> None:
        """Whoever looks at a clip for a moment may drag it out: its file is made in advance."""
        if self.shown is not None and not self.shown.missing:
            self.drag_file(self.shown.id)

    def _ask_to_fetch(self, url: str) -> None:
        if self.preferences.fetch_pictures:
            self.fetch(url)
        else:
            self.consent_needed.emit(url)

    def _draft_changed(self, fields: frozenset[str]) -> None:
        if "image" in fields:
            self.picture.load(self.draft.request.image)
        self._estimate()

    def _estimate(self) -> None:
        self.estimate = self.estimator.estimate(self.draft.request)
        self.estimate_changed.emit(self.estimate)

    def _greet(self, hello: Hello) -> None:
        self.estimator.memory_bytes, self.estimator.device = hello.memory_bytes, hello.device
        if hello.models and not self._is_here(self.draft.request.model):
            wanted = self.preferences.model
            self.draft.use_model(wanted if wanted and self._is_here(wanted) else hello.models[0])
        self._estimate()
        self.engine_changed.emit()

    def _is_here(self, model: str) -> bool:
        """Whether the engine can run it: one that it named, or a folder. Unless it has not said yet."""
        hello = self.engine.hello
        return hello is None or model in hello.models or Path(model).is_dir()

    def _job_done(self, job: Job, clip: object) -> None:
        self._estimate()
        self.job_done.emit(job, clip)

    def _fail(self, error: I2VError) -> None:
        self.problem.emit(problems.of_error(error))
