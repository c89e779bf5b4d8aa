"""One video to be made, and what has become of it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
CLEARED: tuple[JobState, ...] = ("done", "cancelled")       # a failed job can be resumed, or at least tells why


@dataclass
class Job:
    """Attributes:
        id: unique across restarts, letters and digits; names the clip folder and the checkpoint.
        playback_fps: frame rate of the clip.
        step: last step done, of `request.num_inference_steps`.
        checkpoint: path to resume from; None if there is none. A queued job that has one was resumed.
        code, message, hint: of the error, for a failed job.
        clip: id in the library, for a done job.
        created: seconds since the epoch.
    """

    id: str
    request: Request
    playback_fps: float = 8.0
    state: JobState = "queued"
    step: int = 0
    checkpoint: str | None = None
    code: str = ""
    message: str = ""
    hint: str = ""
    clip: int | None = None
    created: float = 0.0

    @property
    def can_resume(self) -> bool:
        return self.state in ("paused", "failed") and self.checkpoint is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Job:
        """Raises I2VError if the values are not those of a job."""
        try:
            values = {**values, "request": Request.from_dict(values["request"])}
            job = cls(**values)
            sound = (re.fullmatch("[0-9a-z]+", job.id) and job.state in get_args(JobState)
                     and 1 <= job.playback_fps <= 60 and job.step >= 0 and isinstance(job.created, int | float)
                     and all(isinstance(text, str) for text in (job.code, job.message, job.hint))
                     and isinstance(job.checkpoint, str | None) and isinstance(job.clip, int | None))
        except (TypeError, KeyError) as error:
            raise I2VError("job_invalid", "A job in the queue could not be read.") from error
        if not sound:
            raise I2VError("job_invalid", "A job in the queue could not be read.")
        return job
