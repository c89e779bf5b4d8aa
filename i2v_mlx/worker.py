"""The engine as a child process: commands in on stdin, events out on stdout, one line each, one job at a time.

A GPU error can end a process, memory really comes back when one exits, and a kill is a cancel that always works: so the
app does not run the engine itself. The wire is in `commands` and `events`.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import __version__, checkpoint, commands
from .commands import Cancel, Generate, Quit, Resume
from .errors import I2VError
from .events import Accepted, Block, Cancelled, Done, Event, Failed, Heartbeat, Hello, Stage, Step, encode
from .files import check_output
from .request import Request

if TYPE_CHECKING:
    from .engine import Engine
    from .preview import Colours

HEARTBEAT_S = 1.0
BLOCK_S = 0.1                  # a small network has a thousand blocks a second, and nobody can see more than ten
LAST_WORD_S = 10.0             # after the app has gone, for what runs to stop properly
MODELS = ("demo", "i2vgen-xl", "i2vgen-xl-8bit")


def main() -> int:
    """Runs until Quit or the end of stdin. Returns the exit code."""
    given, told = _take_over()
    faulthandler.enable()                              # a native crash leaves its trace in the log
    signal.signal(signal.SIGINT, signal.SIG_IGN)       # Ctrl-C in a terminal is meant for the app, which tells us
    Worker(given, told).run()
    return 0


def _take_over() -> tuple[BinaryIO, int]:
    """Moves stdin and stdout aside, so that a stray print lands in the log and no child reads our commands."""
    given, told = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    return os.fdopen(given, "rb"), told


class _Stop(Exception):
    """The job is to stop."""


class Worker:
    """Args:
        given: where commands come from.
        told: the file descriptor to which events go.
    """

    def __init__(self, given: BinaryIO, told: int):
        self._given, self._told = given, told
        self._telling = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[str, Generate | Resume | Quit]] = queue.SimpleQueue()
        self._cancels: dict[str, Cancel] = {}
        self._quitting = threading.Event()
        self._stage, self._step = "", 0

    def run(self) -> None:
        """Says Hello, then does what it is told."""
        from .engine import Engine

        engine = Engine()
        self._tell(_hello())
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        while not self._quitting.is_set():
            job, command = self._jobs.get()
            if isinstance(command, Quit):
                return
            if self._run_job(engine, job, command).code == "device_failed":
                return                                 # this process has no sound GPU stream any more

    # a job

    def _run_job(self, engine: Engine, job: str, command: Generate | Resume) -> Failed:
        """Ends in exactly one of Done, Cancelled and Failed. Returns a Failed without a code unless it failed."""
        self._stage, self._step = "", 0
        kept = Path(command.checkpoint)
        failed = Failed("", "")
        try:
            for event in self._events(engine, job, command):
                self._tell(event, job)
        except _Stop:
            if not self._cancels.get(job, Cancel(keep=True)).keep:
                kept.unlink(missing_ok=True)
            self._tell(Cancelled(self._stage, self._step, str(kept) if kept.is_file() else None), job)
        except I2VError as error:
            traceback.print_exc()
            failed = Failed(error.code, error.message, error.hint, str(kept) if kept.is_file() else None)
        except Exception as error:  # noqa: BLE001 - a job may fail in any way, the worker stays; the log has the traceback
            traceback.print_exc()
            failed = Failed("unexpected", f"Something unexpected happened: {type(error).__name__}: {error}",
                            "The log says more.", str(kept) if kept.is_file() else None)
        if failed.code:
            self._tell(failed, job)
        return failed

    def _events(self, engine: Engine, job: str, command: Generate | Resume) -> Iterator[Event]:
        """What the engine reports, with pictures in its steps and a checkpoint behind each of them. Raises _Stop."""
        import mlx.core as mx

        kept = Path(command.checkpoint)
        check_output(kept)
        resume = None
        if isinstance(command, Resume):
            request, resume = checkpoint.load(kept)
            resume = dataclasses.replace(resume, latents=mx.array(resume.latents))
            self._step = resume.index
        else:
            request = Request.from_dict(command.request)
        run = engine.run(request, command.output, command.playback_fps, resume=resume)
        colours, told = None, 0.0
        try:
            for event in run:
                if isinstance(event, Done):
                    kept.unlink(missing_ok=True)
                    yield event
                    return
                if self._quitting.is_set() or job in self._cancels:
                    raise _Stop
                if isinstance(event, Stage):
                    self._stage = event.name
                elif isinstance(event, Step):
                    checkpoint.save(kept, request, event)
                    self._step = event.index
                    if colours is not None:
                        event = dataclasses.replace(event, preview=colours.encode(event.clean_latents))
                elif isinstance(event, Block):
                    if time.monotonic() - told < BLOCK_S:
                        continue
                    told = time.monotonic()
                yield event
                if isinstance(event, Accepted):
                    colours = _colours(engine, request)
        finally:
            run.close()

    # the wire

    def _tell(self, event: Event, job: str = "") -> None:
        line = encode(event, job)
        try:
            with self._telling:
                while line:
                    line = line[os.write(self._told, line):]
        except OSError:                                # the app has gone
            self._quitting.set()

    def _listen(self) -> None:
        for line in self._given:
            try:
                job, command = commands.decode(line)
            except I2VError as error:
                print(error, file=sys.stderr)
                continue
            if isinstance(command, Cancel):
                self._cancels[job] = command           # perhaps before the job has begun
                continue
            self._cancels.pop(job, None)               # it was meant for an earlier run of this job
            if isinstance(command, Quit):
                break
            self._jobs.put((job, command))
        self._quitting.set()
        self._jobs.put(("", Quit()))
        time.sleep(LAST_WORD_S)
        os._exit(1)                                    # stuck in the GPU: nobody is left who could kill us

    def _beat(self) -> None:
        import mlx.core as mx

        while not self._quitting.wait(HEARTBEAT_S):
            self._tell(Heartbeat(mx.get_active_memory() + mx.get_cache_memory()))


def _hello() -> Hello:
    from . import device

    return Hello(__version__, device.name(), device.memory_bytes(), [name for name in MODELS if _is_here(name)])


def _is_here(model: str) -> bool:
    from . import hub

    try:
        hub.resolve(model, download=False)
    except I2VError as error:
        return error.code == "model_not_converted"     # but the model that it is made of is here
    return True


def _colours(engine: Engine, request: Request) -> Colours | None:
    """Pictures are worth no failure: without them the run goes on."""
    from . import images, preview

    try:
        return preview.Colours(engine.open(request.model, request.fidelity), images.load(request.image))
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        return None
