"""What a run reports, and the wire between the worker and the app. Standard library only.

A run is a generator of the dataclasses below. Whoever iterates owns progress, preview and cancel; to stop iterating is
to cancel. On the wire every event is one line of JSON: ``{"v": 1, "event": "step", "job": "a1", ...}``. Arrays stay in
the process: fields marked ``in_process`` are not sent, the worker sends a small picture of them as `Step.preview`.
Every accepted job ends in exactly one of Done, Cancelled and Failed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

PROTOCOL = 1
MAX_LINE_BYTES = 16 * 2**20

STAGES = ("load", "encode", "denoise", "decode", "write")

IN_PROCESS = {"in_process": True}


@dataclass(frozen=True)
class Hello:
    """First line of a worker. `models` are the names that can be run now."""

    version: str
    device: str
    memory_bytes: int
    models: list[str] = field(default_factory=list)
    protocol: int = PROTOCOL


@dataclass(frozen=True)
class Heartbeat:
    """Sent every second from a thread, so that a long GPU call is not mistaken for death."""

    memory_bytes: int = 0


@dataclass(frozen=True)
class Accepted:
    """The request was checked and the job begins; the estimate of peak memory is for the device."""

    request: dict[str, Any]
    peak_bytes: int = 0


@dataclass(frozen=True)
class Stage:
    """One of STAGES begins."""

    name: str


@dataclass(frozen=True)
class Converting:
    """The 8-bit copy of a model is made, before its first run: `part` begins, `index` of `count`. An index of 0 says
    that another process is at it, and is said again until that one is done."""

    part: str
    index: int
    count: int


@dataclass(frozen=True)
class Block:
    """Block `index` of `count` of the network is done, within the current step: progress inside slow steps."""

    index: int
    count: int


@dataclass(frozen=True)
class Step:
    """Denoising step `index` of `count` is done; indices are exactly 1..count.

    Attributes:
        latents: (B, 4, F, h, w) float32, x at the next timestep.
        clean_latents: (B, 4, F, h, w) float32, the predicted x_0 (equation 12 of arXiv 2010.02502), for previews.
        history: what the next steps need besides, by name, (B, F, h, w, 4) float32 each; empty for DDIM.
        preview: for the wire: {"width", "height", "frames", "rgb": base64 of frames x height x width x 3 bytes}.
    """

    index: int
    count: int
    seconds: float = 0.0
    preview: dict[str, Any] | None = field(default=None, repr=False)
    latents: Any = field(default=None, repr=False, compare=False, metadata=IN_PROCESS)
    clean_latents: Any = field(default=None, repr=False, compare=False, metadata=IN_PROCESS)
    history: dict[str, Any] = field(default_factory=dict, repr=False, compare=False, metadata=IN_PROCESS)


@dataclass(frozen=True)
class Frame:
    """Frame `index` of `count` is decoded. `pixels` is (H, W, 3) float32 in [0, 1]."""

    index: int
    count: int
    pixels: Any = field(default=None, repr=False, compare=False, metadata=IN_PROCESS)


@dataclass(frozen=True)
class Notice:
    """Something worth knowing that stops nothing, for example words that did not fit into the prompt."""

    code: str
    message: str


@dataclass(frozen=True)
class Done:
    """The file at `path` is whole and under its final name."""

    path: str
    seconds: float
    peak_bytes: int = 0
    recipe: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancelled:
    """Stopped as asked. `checkpoint` is where `resume` carries on, if the job was paused rather than dropped."""

    stage: str
    step: int = 0
    checkpoint: str | None = None


@dataclass(frozen=True)
class Failed:
    """Stopped by an error; the traceback is in the log. `checkpoint` is where `resume` carries on, if there is one."""

    code: str
    message: str
    hint: str = ""
    checkpoint: str | None = None


Event = Hello | Heartbeat | Accepted | Stage | Converting | Block | Step | Frame | Notice | Done | Cancelled | Failed
TERMINAL = (Done, Cancelled, Failed)

_NAMES: dict[str, type] = {
    kind.__name__.lower(): kind
    for kind in (Hello, Heartbeat, Accepted, Stage, Converting, Block, Step, Frame, Notice, Done, Cancelled, Failed)
}


def encode(event: Event, job: str = "") -> bytes:
    """One line, newline included."""
    values = {
        f.name: getattr(event, f.name)
        for f in dataclasses.fields(event)
        if not f.metadata.get("in_process")
    }
    line = {"v": PROTOCOL, "event": type(event).__name__.lower(), "job": job, **values}
    return json.dumps(line, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def parse(line: bytes) -> Any:
    """JSON as we write it: Python's parser also takes NaN, Infinity and 1e999. Raises ValueError, RecursionError."""
    return json.loads(line, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value


def decode(line: bytes) -> tuple[str, Event] | None:
    """(job, event), or None for a line that is not an event that this version knows. Unknown fields are ignored."""
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        values = parse(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("v") != PROTOCOL or not isinstance(values.get("job", ""), str):
        return None
    name = values.get("event")
    kind = _NAMES.get(name) if isinstance(name, str) else None
    if kind is None:
        return None
    known = {f.name for f in dataclasses.fields(kind) if not f.metadata.get("in_process")}
    try:
        event = kind(**{key: value for key, value in values.items() if key in known})
    except TypeError:
        return None
    return values.get("job", ""), event
