"""The worker and the command line as processes, in folders of their own, and what has to hold whatever befell them."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gui.event_stream import EventStream
from i2v_mlx import frames, hub
from i2v_mlx.commands import Cancel, Command, Generate, Resume, encode
from i2v_mlx.events import TERMINAL, Block, Done, Event, Failed, Heartbeat, Hello, Stage
from i2v_mlx.files import resource
from i2v_mlx.request import Request

MODULE = [sys.executable, "-m", "i2v_mlx"]
WORKER = [*MODULE, "worker"]
FRAMES = 2


class Worker:
    """Attributes:
    said: every event but heartbeats, as (job, event), in the order in which they came.
    """

    def __init__(self, place: Place, command: Sequence[str], **popen: Any):
        self.place = place
        self._log = place.log.open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=popen.pop("stderr", self._log),
            env=place.environment | popen.pop("env", {}), **popen)
        self.said: list[tuple[str, Event]] = []
        self.stream = EventStream()
        self._events: queue.Queue[tuple[str, Event | None]] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 2**16):
            for job, event in self.stream.feed(data):
                if not isinstance(event, Heartbeat):
                    self.said.append((job, event))
                    self._events.put((job, event))
        self._events.put(("", None))

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def tell(self, command: Command, job: str) -> None:
        self.send(encode(command, job))

    def generate(self, request: Request, job: str, output: str = "clip", **options: Any) -> None:
        """Into ``out/<output>``; the checkpoint is ``out/<job>.safetensors``."""
        out = self.place.out
        self.tell(Generate(request.to_dict(), str(out / output), str(out / f"{job}.safetensors"), **options), job)

    def resume(self, job: str, output: str = "clip") -> None:
        out = self.place.out
        self.tell(Resume(str(out / f"{job}.safetensors"), str(out / output)), job)

    def cancel(self, job: str, keep: bool = False) -> None:
        self.tell(Cancel(keep), job)

    def follow(self, job: str, act: Callable[[Event], None] = lambda event: None) -> list[Event | None]:
        """The job's events to its end; None stands for the end of the process. `act` is called with each."""
        found: list[Event | None] = []
        while True:
            name, event = self._events.get(timeout=90)
            if event is not None and name != job:
                continue
            found.append(event)
            if event is not None:
                act(event)
            if event is None or isinstance(event, TERMINAL):
                return found

    def run(self, request: Request, job: str, output: str = "clip", **options: Any) -> Event | None:
        """Generates; the last event."""
        self.generate(request, job, output, **options)
        return self.follow(job)[-1]

    def fails(self, request: Request, job: str, output: str = "clip", **options: Any) -> Failed:
        last = self.run(request, job, output, **options)
        assert isinstance(last, Failed) and last.message, last
        return last

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()            # a zombie passes for a live owner

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def rss(self) -> int:
        """Bytes resident now."""
        said = subprocess.run(["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, check=True)
        return int(said.stdout) * 1024

    def close(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


class Place:
    """A user's folders for one test.

    Attributes:
        out: for clips and checkpoints. Nothing else may be there.
        tmp: what the processes take for /tmp.
        environment: of the processes.
    """

    def __init__(self, root: Path, model: Path, whole: dict[str, bytes] | None = None):
        self.root, self.model, self._whole = root, model, whole
        self.out, self.tmp, self.log = root / "out", root / "tmp", root / "engine.log"
        for folder in (self.out, self.tmp):
            folder.mkdir()
        self.picture = picture(root / "picture.png")
        kernels = Path(tempfile.gettempdir()) / "mlx"      # which MLX compiles for a CPU: seconds, once a machine
        kernels.mkdir(exist_ok=True)
        (self.tmp / "mlx").symlink_to(kernels)
        removed = re.compile(r"HF_|PYTEST|.*_proxy$", re.I)
        self.environment = {name: value for name, value in os.environ.items() if not removed.match(name)} | {
            "TMPDIR": str(self.tmp), "HF_HUB_CACHE": str(root / "cache"), "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._workers: list[Worker] = []

    def request(self, **changes: Any) -> Request:
        values: dict[str, Any] = {"image": str(self.picture), "prompt": "zoom in", "model": str(self.model),
                                  "width": 32, "height": 32, "num_frames": FRAMES, "num_inference_steps": 3, "seed": 5}
        return Request(**values | changes)

    def worker(self, command: Sequence[str] = WORKER, **popen: Any) -> Worker:
        self._workers.append(Worker(self, command, **popen))
        return self._workers[-1]

    def cli(self, *arguments: str | Path, **popen: Any) -> subprocess.Popen[str]:
        """``python -m i2v_mlx ...``"""
        environment = self.environment | popen.pop("env", {})
        return subprocess.Popen([*MODULE, *map(str, arguments)], env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, **popen)

    def generate_arguments(self, output: str) -> list[str | Path]:
        """Of the command line, for the same bytes as `request` gives."""
        return ["generate", self.picture, "-o", self.out / output, "--model", self.model, "--prompt", "zoom in",
                "--size", "32x32", "--frames", str(FRAMES), "--steps", "3", "--seed", "5"]

    def left(self) -> set[str]:
        return {path.name for path in self.out.iterdir()}

    def check(self, *finished: str, kept: Sequence[str] = (), next_run: bool = True) -> None:
        """The invariants. Afterwards `out` is empty but for `kept`.

        Exactly one terminal event for every job, and nothing after it; in `out` only `finished`, whole, and `kept`
        (checkpoints); no temporary file; no child left; and the next run works, to the byte.
        """
        for worker in self._workers:
            check_terminals(worker)
        # Before the next run, since that tidies up what a killed one has left; a crash is followed by `recovered`.
        assert self.left() == {*finished, *kept}
        for name in finished:
            self.is_whole(name)
            self.remove(name)
        assert [path.name for path in self.tmp.iterdir()] == ["mlx"]
        wait_for(lambda: not processes(str(self.root)))
        if next_run:
            worker = next((worker for worker in self._workers if worker.alive), None) or self.worker()
            assert isinstance(worker.run(self.request(), "next"), Done)
            assert self.left() == {"clip", *kept}
            assert self._whole is None or contents(self.out / "clip") == self._whole
            self.remove("clip")

    def recovered(self, *kept: str) -> None:
        """After a process was killed: nothing with a final name is half; temporary files are the next run's to remove,
        which is run here under the same name."""
        wait_for(lambda: not processes(str(self.root)))
        for name in self.left():
            if not name.startswith(".") and not name.endswith(".safetensors"):
                self.is_whole(name)

    def is_whole(self, name: str) -> None:
        """A clip with all frames, each of which can be decoded, and its recipe."""
        pixels, _ = frames.read_frames(self.out / name)
        assert pixels.shape[0] == FRAMES, (name, pixels.shape)
        assert frames.read_recipe(self.out / name) is not None

    def remove(self, name: str) -> None:
        path = self.out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


def check_terminals(worker: Worker) -> None:
    """Every job of which something was said has exactly one end, after which nothing comes, unless it was resumed."""
    jobs: dict[str, list[Event]] = {}
    for job, event in worker.said:
        if not isinstance(event, Hello):
            jobs.setdefault(job, []).append(event)
    for job, said in jobs.items():
        ends = [isinstance(event, TERMINAL) for event in said]
        starts = sum(isinstance(event, Stage) and event.name == "load" for event in said)
        assert ends[-1] or not worker.alive, (job, said[-1])
        assert sum(ends) <= max(1, starts), (job, said)
        for event, after in zip(said, [*said[1:], None], strict=True):
            if isinstance(event, TERMINAL) and after is not None:
                assert isinstance(after, Stage | Failed), (job, event, after)   # it was begun again


def moments(events: Sequence[Event | None]) -> list[tuple[str, Any]]:
    """What tells the events of a run apart, without blocks, which are thinned out by the clock, and without the end."""
    return [(type(event).__name__, getattr(event, "name", getattr(event, "index", None))) for event in events
            if event is not None and not isinstance(event, (*TERMINAL, Block))]


def at(moment: tuple[str, Any], act: Callable[[], Any]) -> Callable[[Event], None]:
    """Calls `act` once, when the event of that moment comes."""
    done: list[bool] = []

    def look(event: Event) -> None:
        if not done and moments([event]) == [moment]:
            done.append(True)
            act()

    return look


def contents(path: Path) -> dict[str, bytes]:
    """Of a clip: its file, or the files of its folder by their numbers (their names hold that of the clip)."""
    if path.is_dir():
        return {file.name.removeprefix(path.name): file.read_bytes() for file in sorted(path.iterdir())}
    return {"": path.read_bytes()}


def picture(path: Path) -> Path:
    draw = np.random.default_rng(0)
    pixels = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels.resize((48, 48), Image.Resampling.BICUBIC).save(path)
    return path


def copy_model(target: Path, extras: Sequence[str] = ("latent_rgb.json",)) -> Path:
    """The demo model, which may be exported anew while the tests run: what a download of it would bring, and extras."""
    source = resource("demo")
    offered = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    for name in [*hub.wanted(offered), *(name for name in extras if name in offered)]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    return target


def processes(mark: str) -> list[str]:
    """Command lines of processes in which `mark` occurs: encoders get the path of what they write."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "stat=,args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if mark in line and not line.startswith("Z")
            and "ps -A" not in line]


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
