"""The engine as the app sees it: commands go in, events come out. The only file that knows there is a process."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from i2v_mlx import __version__
from i2v_mlx.commands import Cancel, Command, Generate, Quit, Resume, encode
from i2v_mlx.errors import I2VError
from i2v_mlx.events import TERMINAL, Accepted, Cancelled, Event, Failed, Heartbeat, Hello, Stage, Step
from i2v_mlx.request import Request

from . import engine_errors
from .engine_log import EngineLog
from .event_stream import EventStream
from .keep_awake import KeepAwake

EngineState = Literal["stopped", "starting", "ready", "busy", "broken"]

CRASHES_ALLOWED = 3
CRASH_WINDOW_S = 60.0
QUIET_EVERY_S = 30
IDLE_S = 300.0                 # without work, then the worker ends: it has memory that others can use
HEARTBEATS_MISSED = 5          # one comes every second, but its thread can be late by a few
SIGKILL = 9                    # what the system sends to the process that takes too much memory
MEMORY_IS_SHORT = 0.8          # of the device: above it, a sudden death is most likely one for lack of memory


def worker_command() -> list[str]:
    """What starts the worker of this program, frozen or not."""
    frozen = getattr(sys, "frozen", False)
    return [sys.executable, "--worker"] if frozen else [sys.executable, "-m", "i2v_mlx", "worker"]


class EngineClient(QObject):
    """One warm worker process and at most one job in it.

    Every job that was begun ends in exactly one of Done, Cancelled and Failed, whatever becomes of the process: when it
    dies, ``Failed("engine_crashed")`` is made up here, and it is started again, up to three times a minute.

    Signals:
        reported(job: str, event): everything about the current job, in order, the terminal event last. Never Hello or
            Heartbeat. Events of other jobs, unknown ones and garbage are dropped (and logged).
        state_changed(state): `state` is now another one.
        said_hello(Hello): the worker is up; device, memory and models are known (kept in `hello`).
        memory_changed(int): bytes in use, with every heartbeat (kept in `memory_bytes`).
        quiet(seconds: int, alive: bool): the job has not moved for that long (from `quiet_after_s` on, every 30 s);
            `alive` says that heartbeats still come. Nothing is done about it: offer `stop_now`. (0, True) is the end.
        gave_up(I2VError): the worker does not start, or crashes again and again; `start` tries once more.
    """

    reported = Signal(str, object)
    state_changed = Signal(str)
    said_hello = Signal(object)
    memory_changed = Signal(object)
    quiet = Signal(int, bool)
    gave_up = Signal(object)

    def __init__(self, command: Sequence[str] | None = None, log: Path | None = None, *, cancel_grace_s: float = 5.0,
                 quiet_after_s: int = 120, idle_s: float = IDLE_S, parent: QObject | None = None):
        """`command` starts the worker (None: this program's own); `log` gets its stderr, rotating."""
        super().__init__(parent)
        self.state: EngineState = "stopped"
        self.hello: Hello | None = None
        self.memory_bytes = 0
        self.job: str | None = None
        self.log = EngineLog(log)
        self._command = list(command or worker_command())
        self._process: QProcess | None = None
        self._ending: list[QProcess] = []
        self._stream = EventStream()
        self._greeted = False          # this worker has said Hello
        self._crashes: list[float] = []
        self._closing = False
        self._awake = KeepAwake(self)

        self._checkpoint = Path()
        self._stage, self._step, self._peak_bytes = "", 0, 0
        self._stopping = False         # the job is to stop: if the worker ends first, it was Cancelled
        self._keep = False

        self._idle = QTimer(self, singleShot=True, interval=round(1000 * idle_s))
        self._idle.timeout.connect(self.release)
        self._grace = QTimer(self, singleShot=True, interval=round(1000 * cancel_grace_s))
        self._grace.timeout.connect(self._kill)
        # Seconds are counted by ticks, which stop while the machine sleeps: sleeping is not silence.
        self._quiet_after_s, self._quiet_s, self._heartbeat_s = quiet_after_s, 0, 0
        self._watch = QTimer(self, interval=1000)
        self._watch.timeout.connect(self._tick)

    # commands

    def start(self) -> None:
        """Starts the worker unless it runs; forgets earlier crashes."""
        self._crashes.clear()
        if self._process is None:
            self._launch()

    def generate(self, job: str, request: Request, output: Path, checkpoint: Path, playback_fps: float) -> None:
        """Begins a job, starting the worker if need be. Raises RuntimeError while another job runs."""
        self._begin(job, checkpoint, Generate(request.to_dict(), str(output), str(checkpoint), playback_fps))

    def resume(self, job: str, checkpoint: Path, output: Path, playback_fps: float) -> None:
        """Carries on with a job from its checkpoint."""
        self._begin(job, checkpoint, Resume(str(checkpoint), str(output), playback_fps))

    def cancel(self, keep: bool = False) -> None:
        """Stops the current job; `keep` is a pause. The worker is killed if it has not obeyed after the grace time."""
        if self.job is None:
            return
        self._stopping, self._keep = True, keep
        self._send(Cancel(keep), self.job)
        if not self._grace.isActive():
            self._grace.start()

    def stop_now(self) -> None:
        """Kills the worker without asking it (it hangs); the job ends as paused, at its last checkpoint."""
        if self.job is not None:
            self._stopping, self._keep = True, True
            self._kill()

    def release(self) -> None:
        """Ends the idle worker, so that its memory is free. The next job starts a new one."""
        process = self._process
        if process is None or self.job is not None:
            return
        self._send(Quit())
        process.closeWriteChannel()
        self._forget_process()
        process.finished.connect(lambda: self._ending.remove(process))
        QTimer.singleShot(self._grace.interval(), process, process.kill)
        self._ending.append(process)
        self._set_state("stopped")

    def quit(self, grace_s: float = 5.0) -> None:
        """Ends the worker and waits for it: stdin is closed, then it is killed. A running job ends as paused."""
        self._closing = self._stopping = self._keep = True
        self._send(Quit())
        for process in [self._process, *self._ending]:
            if process is not None:
                process.closeWriteChannel()
                if not process.waitForFinished(round(1000 * grace_s)):
                    process.kill()
                    process.waitForFinished(2000)
        self.log.close()

    # the process

    def _begin(self, job: str, checkpoint: Path, command: Command) -> None:
        if self.job is not None:
            raise RuntimeError("a job runs already")
        self.job, self._checkpoint = job, checkpoint
        self._stage, self._step, self._peak_bytes = "", 0, 0
        self._stopping = self._keep = False
        self._quiet_s = self._heartbeat_s = 0
        if self._process is None:
            self._launch()
        self._send(command, job)
        self._set_state("busy")
        self._watch.start()
        if self._process is not None:
            self._awake.begin(self._process.processId())

    def _launch(self) -> None:
        environment = QProcessEnvironment.systemEnvironment()
        for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):    # no library may reach the network from there
            environment.insert(name, "1")
        self._process = process = QProcess(self)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_log)
        process.errorOccurred.connect(self._error)
        process.finished.connect(self._finished)
        self._stream = EventStream(lambda line: self.log.write(f"not an event: {line!r}"))
        self._greeted = False
        self.log.tail.clear()
        self._set_state("starting")
        process.start(self._command[0], self._command[1:])

    def _forget_process(self) -> None:
        """The worker is gone or going: what it still says does not concern us."""
        process, self._process = self._process, None
        self.memory_bytes = 0
        if process is not None:
            process.readyReadStandardOutput.disconnect(self._read)
            process.readyReadStandardError.disconnect(self._read_log)
            process.errorOccurred.disconnect(self._error)
            process.finished.disconnect(self._finished)
            process.finished.connect(process.deleteLater)

    def _send(self, command: Command, job: str = "") -> None:
        if self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.write(encode(command, job))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _read(self) -> None:
        if self._process is not None:
            self._take(bytes(self._process.readAllStandardOutput().data()))

    def _read_log(self) -> None:
        if self._process is not None:
            self.log.feed(bytes(self._process.readAllStandardError().data()))

    def _error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            self.log.write(self._process.errorString())
            self._process.deleteLater()
            self._forget_process()
            self._give_up(engine_errors.unavailable(self.log.reason()))

    def _finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        self._read_log()
        self.log.end()
        crashed = status == QProcess.ExitStatus.CrashExit
        by_itself = self.job is None and not crashed and code == 0
        if self._process is not None:
            self._process.deleteLater()
        self._forget_process()
        if self._stopping or self._closing or by_itself:
            self._set_state("stopped")
            self._end_for_worker(self._crash(crashed, code))
            return
        now = time.monotonic()
        self._crashes = [then for then in self._crashes if now - then < CRASH_WINDOW_S] + [now]
        if len(self._crashes) >= CRASHES_ALLOWED:
            self._give_up(engine_errors.keeps_crashing(CRASHES_ALLOWED) if self._greeted
                          else engine_errors.unavailable(self.log.reason()))
            return
        self._set_state("stopped")
        self._end_for_worker(self._crash(crashed, code))
        if self._process is None and not self._closing:
            self._launch()

    def _give_up(self, error: I2VError) -> None:
        self._set_state("broken")
        self._end_for_worker(error)
        self.gave_up.emit(error)

    def _crash(self, by_signal: bool, code: int) -> I2VError:
        memory = self.hello.memory_bytes if self.hello else 0
        return engine_errors.crashed(0 < MEMORY_IS_SHORT * memory < self._peak_bytes or (by_signal and code == SIGKILL))

    def _end_for_worker(self, error: I2VError) -> None:
        """The job ends without a word of the worker: as asked, or by this error."""
        checkpoint = str(self._checkpoint) if self._checkpoint.is_file() else None
        if self._stopping:
            self._end(Cancelled(self._stage, self._step, checkpoint if self._keep else None))
        else:
            self._end(Failed(error.code, error.message, error.hint, checkpoint))

    # what the worker says

    def _take(self, data: bytes) -> None:
        for job, event in self._stream.feed(data):
            if isinstance(event, Hello):
                self._greet(event)
            elif isinstance(event, Heartbeat):
                self._heartbeat_s = 0
                self.memory_bytes = event.memory_bytes
                self.memory_changed.emit(event.memory_bytes)
            elif job and job == self.job:
                self._report(event)
            else:
                self.log.write(f"an event of no current job: {job} {type(event).__name__}")

    def _greet(self, hello: Hello) -> None:
        self._greeted = True
        if hello.version != __version__:
            self._kill()
            self._forget_process()
            self._give_up(engine_errors.outdated())
            return
        self.hello = hello
        self._set_state("ready" if self.job is None else "busy")
        self.said_hello.emit(hello)

    def _report(self, event: Event) -> None:
        if self._quiet_s >= self._quiet_after_s:
            self.quiet.emit(0, True)
        self._quiet_s = 0
        if isinstance(event, Accepted):
            self._peak_bytes = event.peak_bytes
        elif isinstance(event, Stage):
            self._stage = event.name
        elif isinstance(event, Step):
            self._step = event.index
        if isinstance(event, TERMINAL):
            self._end(event)
        elif self.job is not None:
            self.reported.emit(self.job, event)

    def _end(self, event: Event) -> None:
        job, self.job = self.job, None
        self._stopping = self._closing
        self._grace.stop()
        self._watch.stop()
        self._awake.end()
        if job is None:
            return
        if isinstance(event, Failed) and event.code == "device_failed":
            self.release()             # this worker ends by itself: the next job must not be sent to it
        if self.state == "busy":
            self._set_state("ready")
        self.reported.emit(job, event)

    def _tick(self) -> None:
        self._quiet_s += 1
        self._heartbeat_s += 1
        over = self._quiet_s - self._quiet_after_s
        if over >= 0 and over % QUIET_EVERY_S == 0:
            self.quiet.emit(self._quiet_s, self._heartbeat_s < HEARTBEATS_MISSED)

    def _set_state(self, state: EngineState) -> None:
        if state != self.state:
            self.state = state
            self._idle.start() if state == "ready" else self._idle.stop()
            self.state_changed.emit(state)
