"""What went wrong, in one sentence, and what can be done about it with one click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from i2v_mlx.errors import I2VError

from .jobs import Job

Action = Literal["resume", "run_again", "smaller", "anyway", "restart_engine", "stop_engine", "show_log",
                 "choose_folder"]
LABELS: dict[Action, str] = {
    "resume": "Resume",
    "run_again": "Run again",
    "smaller": "Use a smaller size",
    "restart_engine": "Start the engine again",
    "stop_engine": "Stop the engine",
    "show_log": "Show the log",
    "choose_folder": "Choose another folder",
    "anyway": "Try it anyway",
}

# What helps against an error, beside resuming or running the job again. Codes that are not here need no button.
_HELP: dict[str, tuple[Action, ...]] = {
    "engine_crashed": ("show_log",),
    "engine_unavailable": ("restart_engine", "show_log"),
    "engine_keeps_crashing": ("restart_engine", "show_log"),
    "engine_quiet": ("stop_engine",),
    "would_not_fit": ("smaller", "anyway"),
    "memory_too_small": ("smaller",),
    "device_failed": ("smaller", "show_log"),
    "checkpoint_damaged": ("run_again",),
    "disk_full": ("choose_folder",),
    "output_unwritable": ("choose_folder",),
    "output_folder_missing": ("choose_folder",),
    "unexpected": ("show_log",),
}
# Running the very same request again would end the same way.
_HOPELESS = ("would_not_fit", "memory_too_small", "request_invalid", "checkpoint_damaged")


@dataclass(frozen=True)
class Problem:
    """For the error bar: `message` and `hint` are sentences; a button for each action, the first is the default one."""

    code: str
    message: str
    hint: str = ""
    actions: tuple[Action, ...] = ()
    job: str | None = None


def of_error(error: I2VError) -> Problem:
    """A problem that has no job."""
    return Problem(error.code, error.message, error.hint, _HELP.get(error.code, ()))


def of_job(job: Job) -> Problem:
    """A failed job: what its code lets one do."""
    again: tuple[Action, ...] = ()
    if job.can_resume and job.code != "checkpoint_damaged":
        again = ("resume",)
    elif not (job.code in _HOPELESS or job.code.startswith(("image_", "model_", "weights_", "latents_"))
              or job.code.endswith(("_out_of_range", "_not_multiple_of_8"))):
        again = ("run_again",)
    return Problem(job.code, job.message, job.hint, again + _HELP.get(job.code, ()), job.id)
