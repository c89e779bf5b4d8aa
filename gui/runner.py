"""The queue meets the engine: which job runs, what its events mean, and what happens when it ends."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from i2v_mlx.errors import I2VError
from i2v_mlx.events import Cancelled, Done, Event, Failed, Notice, Step

from . import preview, problems, work
from .engine_client import EngineClient
from .estimate import Estimator
from .jobs import Job
from .places import Places
from .progress import Progress
from .queue import Queue, forget_checkpoint


class Runner(QObject):
    """Runs the queued jobs, one after the other.

    Attributes:
        progress: of the running job, or None.
        held: the queue waits, because of `pause` or of a broken engine.

    Signals:
        started(Job); progress_changed(Progress or None); previewed(ndarray (F, h, w, 3) uint8).
        written(Job): done, its clip is in `clip_folder(job)`.
        stopped(Job): paused, cancelled or failed.
        problem(Problem); problem_over(code): it has gone by itself; notice(str); held_changed(bool).
    """

    started = Signal(object)
    progress_changed = Signal(object)
    previewed = Signal(object)
    written = Signal(object)
    stopped = Signal(object)
    problem = Signal(object)
    problem_over = Signal(str)
    notice = Signal(str)
    held_changed = Signal(bool)

    def __init__(self, places: Places, engine: EngineClient, queue: Queue, estimator: Estimator,
                 parent: QObject | None = None):
        super().__init__(parent)
        self.progress: Progress | None = None
        self.held = any(job.state in ("queued", "paused") for job in queue.jobs)   # left from the last time: ask first
        self._places, self._engine, self._queue, self._estimator = places, engine, queue, estimator
        self._pausing = False
        self._resumed = False          # the running job began at a checkpoint: its time is not that of a whole job
        self._removing: str | None = None
        self._closing = False
        self._why_broken = I2VError("engine_unavailable", "The engine does not start.", "The log says more.")
        engine.reported.connect(self._take)
        engine.gave_up.connect(self._give_up)
        engine.quiet.connect(self._quiet)

    def run_next(self) -> None:
        """Begins the next queued job, if one may begin."""
        job = self._queue.next_queued()
        if job is None or self.held or self._closing or self._engine.job is not None:
            return
        if self._engine.state == "broken":
            self._give_up(self._why_broken)
            return
        checkpoint = self._places.checkpoints / f"{job.id}.safetensors"
        self._resumed = job.checkpoint is not None
        self._pausing = False
        self.progress = Progress(job.request.num_inference_steps, self._estimator.after_seconds(job.request),
                                 work.of_steps(job.request))
        self._queue.update(job, state="running", checkpoint=str(checkpoint), code="", message="", hint="")
        begin = (job.id, checkpoint, self.clip_folder(job), job.playback_fps)
        if self._resumed:
            self._engine.resume(*begin)
        else:
            self._engine.generate(job.id, job.request, self.clip_folder(job), checkpoint, job.playback_fps)
        if self.progress is not None:      # else it has failed at once
            self.started.emit(job)
            self.progress_changed.emit(self.progress)

    def clip_folder(self, job: Job) -> Path:
        """Where the clip of a job goes. Made of its time and its id: nothing a user typed becomes a path."""
        return self._places.clips / f"{time.strftime('%Y-%m-%d %H-%M', time.localtime(job.created))} {job.id}"

    def pause(self) -> None:
        """Stops the running job at its last step, frees the memory and holds the queue."""
        self._hold(True)
        if self._engine.job is None:
            self._engine.release()
        else:
            self._pausing = True
            self._engine.cancel(keep=True)

    def resume(self, job: Job | None) -> None:
        """Carries on with the queue; first with `job`, if it can be resumed."""
        if job is not None and job.can_resume:
            self._queue.update(job, state="queued")
            first = self._queue.next_queued()
            if first is not None and first is not job:
                self._queue.move(job.id, self._queue.jobs.index(first))
        self._hold(False)
        self.run_next()

    def cancel(self, job: Job) -> None:
        """Drops a job in any state."""
        if job.state == "running":
            self._engine.cancel()
        elif job.state in ("queued", "paused"):
            forget_checkpoint(job)
            self._queue.update(job, state="cancelled")

    def remove(self, job: Job) -> None:
        """Takes a job off the list, cancelling it first if it runs."""
        if job.state == "running":
            self._removing = job.id
            self._engine.cancel()
        else:
            self._queue.remove(job.id)

    def restart_engine(self) -> None:
        """Tries the engine once more, and goes on with the queue."""
        self._engine.start()
        self.resume(None)

    def stop_engine(self) -> None:
        """Kills an engine that hangs; its job is paused."""
        self._hold(True)
        self._pausing = True
        self._engine.stop_now()

    def have_clip(self, job: Job, clip: int) -> None:
        """The clip of a finished job is in the library."""
        self._queue.update(job, clip=clip)

    def close(self) -> None:
        """Pauses what runs and ends the engine. Blocks for a few seconds at most."""
        self._closing = True
        self._engine.quit()

    # what the engine says

    def _take(self, job_id: str, event: Event) -> None:
        job = self._queue.get(job_id)
        if job is None or self.progress is None:
            return
        self.progress.feed(event)
        if isinstance(event, Step):
            self._queue.update(job, step=self.progress.step)
            frames = preview.decode(event.preview)
            if frames is not None:
                self.previewed.emit(frames)
        elif isinstance(event, Notice):
            self.notice.emit(event.message)
        self.progress_changed.emit(self.progress)
        if isinstance(event, Done | Cancelled | Failed):
            self._end(job, event)

    def _end(self, job: Job, event: Done | Cancelled | Failed) -> None:
        progress, self.progress = self.progress, None
        self.progress_changed.emit(None)
        if isinstance(event, Done):
            self._learn(job, event, progress)
            forget_checkpoint(job)
            self._queue.update(job, state="done", step=job.request.num_inference_steps)
            self.written.emit(job)
        elif isinstance(event, Cancelled):
            self._stop(job, event)
        else:
            self._queue.update(job, state="failed", checkpoint=event.checkpoint, code=event.code,
                               message=event.message, hint=event.hint)
            self.stopped.emit(job)
            self.problem.emit(problems.of_job(job))
        if self._removing == job.id:
            self._removing = None
            self._queue.remove(job.id)
        self.run_next()

    def _stop(self, job: Job, event: Cancelled) -> None:
        paused = self._pausing or self._closing
        if paused and event.checkpoint is not None:
            self._queue.update(job, state="paused" if self.held or self._closing else "queued",
                               checkpoint=event.checkpoint)
        elif paused:                   # not one step was done: it simply begins again
            self._queue.update(job, state="queued", checkpoint=None)
        else:
            forget_checkpoint(job)
            self._queue.update(job, state="cancelled")
        self.stopped.emit(job)
        if self._pausing and self.held:
            self._engine.release()
        self._pausing = False

    def _learn(self, job: Job, event: Done, progress: Progress | None) -> None:
        if progress is None or self._resumed:
            return
        steps = progress.step_seconds
        try:
            self._estimator.learn(job.request, steps, event.seconds - sum(steps), event.peak_bytes)
        except I2VError as error:
            self.notice.emit(f"{error.message} {error.hint}")

    def _give_up(self, error: I2VError) -> None:
        self._why_broken = error
        self._hold(True)
        self.problem.emit(problems.of_error(error))

    def _quiet(self, seconds: int, alive: bool) -> None:
        if seconds == 0:
            self.problem_over.emit("engine_quiet")
            return
        sign = "It still gives signs of life." if alive else "It gives no sign of life."
        self.problem.emit(problems.of_error(I2VError(
            "engine_quiet", f"The engine has not come forward for {seconds // 60} min {seconds % 60} s. {sign}",
            "You can wait, or stop it and resume from the last step.")))

    def _hold(self, held: bool) -> None:
        if held != self.held:
            self.held = held
            self.held_changed.emit(held)
