"""The worker as the app meets it: a process, its pipes, its files."""

import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gui.event_stream import EventStream
from i2v_mlx import __version__
from i2v_mlx.commands import Cancel, Generate, Quit, Resume, encode
from i2v_mlx.events import (
    STAGES,
    Accepted,
    Block,
    Cancelled,
    Done,
    Failed,
    Frame,
    Heartbeat,
    Hello,
    Notice,
    Stage,
    Step,
)
from i2v_mlx.frames import read_recipe
from i2v_mlx.request import Request

WORKER = [sys.executable, "-m", "i2v_mlx", "worker"]


class Process:
    """A worker, and its events in the order in which they come."""

    def __init__(self, folder: Path, command: list[str] = WORKER):
        self.folder = folder
        self.log = (folder / "engine.log").open("ab")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.events: queue.Queue = queue.Queue()
        self.stream = EventStream()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while data := os.read(self.process.stdout.fileno(), 2**16):
            for pair in self.stream.feed(data):
                self.events.put(pair)
        self.events.put(("", None))

    def tell(self, command, job: str = "a1") -> None:
        self.process.stdin.write(encode(command, job))
        self.process.stdin.flush()

    def generate(self, request: Request, job: str = "a1", **where) -> None:
        self.tell(Generate(request.to_dict(), **self.paths(job) | where), job)

    def resume(self, job: str = "a1") -> None:
        self.tell(Resume(**self.paths(job)), job)

    def paths(self, job: str) -> dict:
        return {"output": str(self.folder / f"clip-{job}"), "checkpoint": str(self.folder / f"{job}.safetensors")}

    def until(self, *kinds, job: str = "a1", on=lambda event: None) -> list:
        """The job's events up to the first of these kinds; `on` is called with each. None stands for the end."""
        found = []
        while True:
            name, event = self.events.get(timeout=60)
            if name == job or isinstance(event, Hello | None):
                found.append(event)
                on(event)
                if isinstance(event, kinds) or event is None:
                    return found

    def end(self, job: str = "a1", on=lambda event: None) -> list:
        return self.until(Done, Cancelled, Failed, job=job, on=on)

    def close(self) -> None:
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(20)
        self.reader.join()
        self.process.stdout.close()
        self.log.close()


@pytest.fixture
def start(tmp_path):
    started = []

    def make(command: list[str] = WORKER) -> Process:
        started.append(Process(tmp_path, command))
        return started[-1]

    yield make
    for process in started:
        process.close()


@pytest.fixture
def request_(tmp_path, tiny_model):
    draw = np.random.default_rng(0)
    pixels = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels.resize((120, 90), Image.Resampling.BICUBIC).save(tmp_path / "picture.png")
    return Request(str(tmp_path / "picture.png"), "a cat runs", model=str(tiny_model[1]), width=64, height=48,
                   num_frames=3, num_inference_steps=4, seed=5)


def pngs(folder: Path) -> list[bytes]:
    """The files of a clip; their names are made of the job's."""
    return [path.read_bytes() for path in sorted(folder.glob("*.png"))]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"picture.png", "engine.log"}


def at_step(index: int, act):
    """Calls `act` when step `index` has been reported."""
    return lambda event: act() if isinstance(event, Step) and event.index == index else None


@pytest.fixture
def whole(start, request_, tmp_path):
    """The frames of an uninterrupted run."""
    worker = start()
    worker.generate(request_, "whole")
    assert isinstance(worker.end("whole")[-1], Done)
    worker.close()
    frames = pngs(tmp_path / "clip-whole")
    assert len(frames) == 3
    return frames


def test_a_job_from_hello_to_done(start, request_, tmp_path):
    worker = start()
    (hello,) = worker.until(Hello)
    assert hello.version == __version__ and hello.memory_bytes > 10**8 and hello.device
    worker.generate(request_)
    events = worker.end()
    assert [event.name for event in events if isinstance(event, Stage)] == list(STAGES)
    steps = [event for event in events if isinstance(event, Step)]
    assert [(step.index, step.count) for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for step in steps:
        assert (step.preview["width"], step.preview["height"], step.preview["frames"]) == (8, 6, 3)
    assert len([event for event in events if isinstance(event, Frame)]) == 3
    assert any(isinstance(event, Block) for event in events)                   # not all: ten a second are enough
    (accepted,) = [event for event in events if isinstance(event, Accepted)]
    assert Request.from_dict(accepted.request) == request_ and accepted.peak_bytes > 0
    done = events[-1]
    assert done.path == str(tmp_path / "clip-a1") and done.seconds > 0
    assert read_recipe(tmp_path / "clip-a1") == done.recipe
    assert left(tmp_path) == {"clip-a1"}                   # the checkpoint is gone
    worker.tell(Quit())
    assert worker.process.wait(10) == 0


def test_a_killed_run_resumes_with_the_same_bytes(start, request_, whole, tmp_path):
    worker = start()
    worker.generate(request_)
    worker.until(Step, on=at_step(2, worker.process.kill))
    worker.until(type(None), on=at_step(2, worker.process.kill))
    assert (tmp_path / "a1.safetensors").is_file() and not (tmp_path / "clip-a1").exists()
    second = start()
    second.resume()
    events = second.end()
    assert isinstance(events[-1], Done)
    indices = [event.index for event in events if isinstance(event, Step)]
    assert indices[0] >= 3 and indices[-1] == 4
    assert pngs(tmp_path / "clip-a1") == whole


@pytest.mark.parametrize("kind", [Stage, Accepted, Block, Step, Frame])
def test_a_kill_at_any_moment_leaves_no_half_file_under_a_final_name(start, request_, whole, tmp_path, kind):
    worker = start()
    worker.generate(request_)
    worker.until(kind)
    worker.process.kill()
    worker.until(type(None))
    worker.process.wait()                                                      # a zombie passes for a live owner
    finished = {"clip-a1"} if (tmp_path / "clip-a1").exists() else set()       # it may have been quicker
    assert not finished or pngs(tmp_path / "clip-a1") == whole
    assert {name for name in left(tmp_path) if not name.startswith(".")} <= {"clip-whole", "a1.safetensors"} | finished
    second = start()
    if finished:
        return
    (second.resume if (tmp_path / "a1.safetensors").exists() else lambda: second.generate(request_))()
    assert isinstance(second.end()[-1], Done)
    assert pngs(tmp_path / "clip-a1") == whole
    assert left(tmp_path) == {"clip-whole", "clip-a1"}                         # not even a temporary folder


@pytest.mark.parametrize("changes", [
    {}, {"eta": 0.7}, {"sampler": "dpm++2m", "grid": "blended"},
    {"sampler": "unipc", "grid": "blended", "guidance_refresh": 3},
], ids=str)
def test_a_paused_run_resumes_with_the_same_bytes(start, request_, tmp_path, changes):
    request_ = dataclasses.replace(request_, **changes)
    worker = start()
    worker.generate(request_, "whole")
    worker.end("whole")
    worker.generate(request_)
    paused = worker.end(on=at_step(2, lambda: worker.tell(Cancel(keep=True))))[-1]
    assert isinstance(paused, Cancelled) and paused.stage == "denoise"
    assert paused.checkpoint == str(tmp_path / "a1.safetensors")
    worker.resume()
    assert isinstance(worker.end()[-1], Done)
    assert pngs(tmp_path / "clip-a1") == pngs(tmp_path / "clip-whole")


@pytest.mark.parametrize("kind", [Stage, Accepted, Block, Step, Frame])
def test_a_cancel_at_any_moment_leaves_nothing_and_the_worker_as_it_was(start, request_, whole, tmp_path, kind):
    worker = start()
    worker.generate(request_, "b2")
    asked = []

    def cancel(event):
        if isinstance(event, kind) and not asked:
            asked.append(event)
            worker.tell(Cancel(), "b2")

    events = worker.end("b2", on=cancel)
    after = events[events.index(asked[0]) + 1:]
    if isinstance(events[-1], Cancelled):
        assert events[-1].checkpoint is None
        assert left(tmp_path) == {"clip-whole"}
    else:                                                  # too late: then it is whole
        assert isinstance(events[-1], Done) and pngs(tmp_path / "clip-b2") == whole
    assert len([event for event in after if isinstance(event, Step)]) <= 1 or isinstance(events[-1], Done)
    worker.generate(request_)
    assert isinstance(worker.end()[-1], Done) and pngs(tmp_path / "clip-a1") == whole


def test_cancels_that_are_too_early_too_late_or_for_others(start, request_, tmp_path):
    worker = start()
    worker.generate(request_, "first")
    worker.generate(request_, "second")
    worker.tell(Cancel(), "second")                        # it has not begun
    worker.tell(Cancel(), "nobody")
    assert isinstance(worker.end("first")[-1], Done)
    assert isinstance(worker.end("second")[-1], Cancelled)
    worker.tell(Cancel(), "first")                         # it is over
    worker.generate(request_, "first", output=str(tmp_path / "again"))
    assert isinstance(worker.end("first")[-1], Done)


def test_errors_have_a_code_and_the_worker_lives(start, request_, tmp_path):
    worker = start()
    worker.process.stdin.write(b"garbage\n\xff\xff\n" + b'{"v": 1, "command": "dream", "job": "a1"}\n')
    for changes, code in [
        ({"num_frames": 0}, "num_frames_out_of_range"),
        ({"image": str(tmp_path / "gone.png")}, "image_not_found"),
        ({"model": "no/such-model"}, "model_not_found"),
        ({"width": 4096, "height": 4096, "num_frames": 128}, "memory_too_small"),
    ]:
        worker.generate(dataclasses.replace(request_, **changes))
        failed = worker.end()[-1]
        assert isinstance(failed, Failed) and failed.code == code and failed.message and failed.checkpoint is None
    worker.generate(request_, output=str(tmp_path / "no" / "such" / "folder"))
    assert worker.end()[-1].code == "output_folder_missing"
    (tmp_path / "a1.safetensors").write_bytes(b"no checkpoint")
    worker.resume()
    assert worker.end()[-1].code == "checkpoint_damaged"
    worker.generate(dataclasses.replace(request_, prompt="very long " * 100))
    events = worker.end()
    assert isinstance(events[-1], Done) and any(isinstance(event, Notice) for event in events)
    assert left(tmp_path) == {"clip-a1"}


def test_stray_output_lands_in_the_log(start, request_, tmp_path):
    code = ("import os, subprocess, sys\n"
            "from i2v_mlx import device, worker\n"
            "name = device.name\n"
            "def noisy():\n"
            "    print('stray print'); os.write(1, b'raw bytes\\n')\n"
            "    subprocess.run([sys.executable, '-c', 'print(\"of a child\", input())'], stderr=subprocess.DEVNULL)\n"
            "    return name()\n"
            "device.name = noisy\n"
            "sys.exit(worker.main())")
    worker = start([sys.executable, "-c", code])
    worker.generate(request_)                              # is there before Hello is said, and no child may read it
    assert isinstance(worker.end()[-1], Done)
    worker.close()
    assert worker.stream.dropped == 0
    log = (tmp_path / "engine.log").read_text()
    assert "stray print" in log and "raw bytes" in log


@pytest.mark.parametrize("busy", [False, True])
def test_the_end_of_stdin_is_the_end_and_a_pause(start, request_, tmp_path, busy):
    worker = start()
    worker.until(Hello)
    if busy:
        worker.generate(dataclasses.replace(request_, num_inference_steps=500))
        worker.until(Step)
    worker.process.stdin.close()
    assert worker.process.wait(10) == 0                    # of itself: stuck, it would end with another code
    if busy:
        ended = worker.end()[-1]
        assert isinstance(ended, Cancelled) and ended.checkpoint == str(tmp_path / "a1.safetensors")
    assert left(tmp_path) == ({"a1.safetensors"} if busy else set())


def test_a_worker_whose_app_was_killed_ends(request_, tmp_path):
    code = ("import subprocess, sys, time\n"
            "worker = subprocess.Popen([sys.executable, '-m', 'i2v_mlx', 'worker'], stdin=subprocess.PIPE)\n"
            "print(worker.pid, flush=True); time.sleep(60)")
    app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    pid = int(app.stdout.readline())
    assert b'"hello"' in app.stdout.readline()
    os.kill(app.pid, signal.SIGKILL)
    app.wait(10)
    while app.stdout.read(2**16):                          # until the worker has closed it too
        pass
    app.stdout.close()
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)


def test_it_beats_while_it_works(start, request_):
    worker = start()
    worker.generate(dataclasses.replace(request_, num_inference_steps=900))
    beats = []
    while len(beats) < 2:
        job, event = worker.events.get(timeout=30)
        if isinstance(event, Heartbeat):
            assert job == "" and event.memory_bytes > 0
            beats.append(event)
    worker.tell(Cancel())
    assert isinstance(worker.end()[-1], Cancelled)
