"""What the app asks of the worker: the other direction of `events`. Standard library only.

One line of JSON per command: ``{"v": 1, "command": "cancel", "job": "a1", "keep": true}``. The app owns every path: it
says where the result goes and where the checkpoint is, so that it finds both when the worker is gone.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from .errors import I2VError
from .events import MAX_LINE_BYTES, PROTOCOL, parse


@dataclass(frozen=True)
class Generate:
    """Make one video.

    Attributes:
        request: `Request.to_dict()`.
        output: the finished clip; its ending says what it is, as in `video.write_video`.
        checkpoint: file that holds the latents and the recipe after every step. It is gone when the job is done, or
            cancelled without `keep`.
        playback_fps: frame rate of the clip (the request's target_fps is a condition of the model, not this).
    """

    request: dict[str, Any]
    output: str
    checkpoint: str
    playback_fps: float = 8.0


@dataclass(frozen=True)
class Resume:
    """Carry on from a checkpoint; ends with the bytes of an uninterrupted run."""

    checkpoint: str
    output: str
    playback_fps: float = 8.0


@dataclass(frozen=True)
class Cancel:
    """Stop the job. With `keep` it is a pause: the checkpoint stays. Harmless when the job is over or unknown."""

    keep: bool = False


@dataclass(frozen=True)
class Quit:
    """Stop what runs (as with `Cancel(keep=True)`) and exit; so does the end of stdin."""


Command = Generate | Resume | Cancel | Quit

_NAMES: dict[str, type] = {kind.__name__.lower(): kind for kind in (Generate, Resume, Cancel, Quit)}
_TYPES: dict[str, tuple[type, ...]] = {
    "request": (dict,), "output": (str,), "checkpoint": (str,), "playback_fps": (int, float), "keep": (bool,)
}


def encode(command: Command, job: str = "") -> bytes:
    """One line, newline included."""
    line = {"v": PROTOCOL, "command": type(command).__name__.lower(), "job": job, **dataclasses.asdict(command)}
    return json.dumps(line, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def decode(line: bytes) -> tuple[str, Command]:
    """(job, command). Raises I2VError ``command_invalid`` if the line is not a command of this version."""
    if len(line) > MAX_LINE_BYTES:
        raise _invalid("it is too long")
    try:
        values = parse(line)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(values, dict) or values.get("v") != PROTOCOL:
        raise _invalid("its version is another one")
    job, name = values.get("job", ""), values.get("command")
    kind = _NAMES.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(job, str):
        raise _invalid("its name is unknown")
    if kind is not Quit and not job:
        raise _invalid("it names no job")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for field in fields.values():
        if field.name not in values and field.default is dataclasses.MISSING:
            raise _invalid(f"{field.name} is missing")
    given = {key: value for key, value in values.items() if key in fields}
    for key, value in given.items():
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            raise _invalid(f"{key} has the wrong type")
    return job, kind(**given)


def _invalid(why: str) -> I2VError:
    return I2VError("command_invalid", f"The engine was sent a command that it cannot read: {why}.",
                    "Quit Livestill and open it again.")
