"""The jobs, in the order in which they run. Survives restarts."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

from . import state_file
from .jobs import CLEARED, Job


class Queue(QObject):
    """Saved to a file whenever a job is added, moved, removed or has another state.

    Signals:
        changed(): jobs were added, removed or reordered: re-read `jobs`.
        job_changed(str): the job with this id has another state or step.
        unsaved(I2VError): the file cannot be written; said once.
    """

    changed = Signal()
    job_changed = Signal(str)
    unsaved = Signal(object)

    def __init__(self, file: Path, parent: QObject | None = None):
        """Reads `file`. A job that was running when the app ended is paused if it left a checkpoint, else failed.

        `notice` is an I2VError if the file was damaged and set aside.
        """
        super().__init__(parent)
        self.jobs: list[Job] = []
        self.notice: I2VError | None = None
        self._file = file
        self._complained = False
        self._read()

    def add(self, request: Request, playback_fps: float) -> Job:
        """A new job at the end."""
        job = Job(secrets.token_hex(6), request, playback_fps, created=time.time())
        self.jobs.append(job)
        self._save()
        self.changed.emit()
        return job

    def get(self, job: str) -> Job | None:
        return next((found for found in self.jobs if found.id == job), None)

    def running(self) -> Job | None:
        return next((job for job in self.jobs if job.state == "running"), None)

    def next_queued(self) -> Job | None:
        return next((job for job in self.jobs if job.state == "queued"), None)

    def update(self, job: Job, **fields: Any) -> None:
        """Sets fields of a job and tells everyone."""
        for name, value in fields.items():
            setattr(job, name, value)
        if set(fields) != {"step"}:        # a step is in its checkpoint
            self._save()
        self.job_changed.emit(job.id)

    def move(self, job: str, index: int) -> None:
        """Puts a job at another place of the list."""
        found = self.get(job)
        if found is not None:
            self.jobs.remove(found)
            self.jobs.insert(index, found)
            self._save()
            self.changed.emit()

    def remove(self, job: str) -> None:
        """Takes a job off the list unless it is running; its checkpoint goes too."""
        found = self.get(job)
        if found is not None and found.state != "running":
            self.jobs.remove(found)
            self._save()
            forget_checkpoint(found)
            self.changed.emit()

    def clear_finished(self) -> None:
        """Takes done and cancelled jobs off the list."""
        self.jobs = [job for job in self.jobs if job.state not in CLEARED]
        self._save()
        self.changed.emit()

    def _save(self) -> None:
        try:
            state_file.write(self._file, [job.to_dict() for job in self.jobs])
        except I2VError as error:
            if not self._complained:
                self._complained = True
                self.unsaved.emit(error)

    def _read(self) -> None:
        try:
            values = state_file.read(self._file) or []
            if not isinstance(values, list):
                raise ValueError("not a list")
            self.jobs = [Job.from_dict(value) for value in values]
        except (ValueError, I2VError):
            self.notice = state_file.damaged("The queue", state_file.set_aside(self._file))
            return
        for job in self.jobs:
            if job.checkpoint is not None and not Path(job.checkpoint).is_file():
                job.checkpoint = None
            if job.state == "running" or (job.state == "paused" and job.checkpoint is None):
                _interrupted(job)


def _interrupted(job: Job) -> None:
    if job.checkpoint is not None:
        job.state = "paused"
    else:
        job.state, job.code = "failed", "interrupted"
        job.message, job.hint = "Livestill ended before the first step was done.", "Run it again."


def forget_checkpoint(job: Job) -> None:
    """The job will not be resumed."""
    if job.checkpoint is not None:
        Path(job.checkpoint).unlink(missing_ok=True)
        job.checkpoint = None


