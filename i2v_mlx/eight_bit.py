"""The 8-bit copy of a model, for Macs with 8 GB: made of the downloaded model when it is first used, once.

``i2vgen-xl-8bit`` is its name. It lies beside what it is made of, in ``models--<owner>--<name>/livestill/``, so that it
is on the disk that was chosen for the model and goes when the model goes. The downloaded float16 files themselves are
run as they are: their kernels are reordered as they are read, and a copy in our order would only take 5 GB more.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import hub
from .convert import steps
from .download import held
from .errors import I2VError
from .events import Converting
from .files import output_error
from .i2vgen_xl.weights import PARTS

BITS = 8
LOOK_AGAIN_S = 0.5  # while another process converts


def folder(repo: str) -> Path | None:
    """Where the copy of a pinned model is, or would be; None of other models and while nothing is here of it."""
    known = hub.pinned().get(repo)
    if known is None or not (source := hub.snapshot(repo, known.revision)).is_dir():
        return None
    return hub.real(source).parents[1] / "livestill" / f"{source.name}-{BITS}bit"


def find(name: str) -> Path:
    """The folder of the copy. Raises I2VError ``model_not_converted``, or ``model_not_found`` without the model."""
    repo = hub.repository(name)
    copy = folder(repo)
    if copy is not None and copy.is_dir():
        return copy
    hub.resolve(repo)
    raise I2VError("model_not_converted", f"{name} has not been made yet.",
                   "The first video that is made with it makes it, from the model that is here.")


def make(name: str) -> Iterator[Converting]:
    """Makes the copy unless it is there. Closed before its end it leaves nothing.

    Of two processes one works and the other waits.

    Raises I2VError ``model_not_found`` and those of `convert.steps`.
    """
    repo = hub.repository(name)
    source = hub.resolve(repo)
    while (copy := folder(repo)) is None or not copy.is_dir():
        try:
            with held(source):
                copy = folder(repo)
                assert copy is not None
                if not copy.is_dir():
                    _make_parent(copy)
                    yield from steps(source, copy, quantize=BITS)
        except I2VError as error:
            if error.code != "download_busy":
                raise
            yield Converting("", 0, len(PARTS))
            time.sleep(LOOK_AGAIN_S)


def ready(name: str) -> Path:
    """The folder of the copy, made now if need be, with a word about it."""
    for part in make(name):
        if part.index == 1:
            print(f"Making {name}, once", file=sys.stderr)
    return find(name)


def remove(repo: str) -> int:
    """Deletes the copies of a model, also those of earlier revisions. Returns the bytes freed. Hold the model."""
    copy = folder(repo)
    if copy is None:
        return 0
    freed = sum(path.stat().st_size for path in copy.parent.rglob("*") if path.is_file())
    shutil.rmtree(copy.parent, ignore_errors=True)
    return freed


def _make_parent(copy: Path) -> None:
    try:
        copy.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise output_error(error, copy) from error
