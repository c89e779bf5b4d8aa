"""A worker without a model that does what a script says: stands in for the engine.

    python fake_worker.py script.json

The script, every part of it optional:
    {"processes": [           one for each start, the last for all further ones
        {"hello": {...},      fields of Hello that differ; false: says nothing
         "at_start": "exit",  instead of Hello, see `Fake.act`
         "step_seconds": 0.0,
         "jobs": [            one for each job of this process, the last for all further ones
            {"at": {"3": "crash"}}    what to do after step 3 is done
         ]}]}
"""

import base64
import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

import i2v_mlx
from i2v_mlx import commands, events, recipe
from i2v_mlx.request import Request

SIDE = 16                                       # of the pictures, whatever the request says


class Fake:
    def __init__(self, script_file: Path):
        starts_file = script_file.with_suffix(".starts")
        start = int(starts_file.read_text()) if starts_file.exists() else 0
        starts_file.write_text(str(start + 1))
        processes = json.loads(script_file.read_text()).get("processes") or [{}]
        self.script = processes[min(start, len(processes) - 1)]
        self.commands: queue.Queue = queue.Queue()
        self.stops: dict[str, commands.Cancel] = {}
        self.quitting = False
        self.job = ""
        self.jobs_seen = 0
        self.mute = threading.Event()

    def say(self, event: events.Event) -> None:
        os.write(1, events.encode(event, "" if isinstance(event, events.Hello | events.Heartbeat) else self.job))

    def act(self, what: str) -> None:
        """crash, exit, kill, hang (heartbeats go on), mute (nothing goes on), garbage, or fail:<code>."""
        name, _, detail = what.partition(":")
        if name == "crash":
            os.write(2, b"Fatal: the fake aborts as told\n")
            os.abort()
        elif name == "exit":
            os.write(2, b"Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'mlx'\n")
            os._exit(3)
        elif name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif name in ("hang", "mute"):
            if name == "mute":
                self.mute.set()
            time.sleep(600)
        elif name == "garbage":
            unknown = b"\xff\xfe not json\n{\"v\": 1, \"event\": \"dream\"}\n"
            os.write(1, unknown + events.encode(events.Step(1, 2), "other"))
        elif name == "fail":
            raise Failure(detail)

    def run(self) -> None:
        if self.script.get("at_start"):
            self.act(self.script["at_start"])
        hello = {"version": i2v_mlx.__version__, "device": "Fake M1", "memory_bytes": 16 * 10**9, "models": ["demo"]}
        if self.script.get("hello", {}) is not False:
            self.say(events.Hello(**hello | self.script.get("hello", {})))
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        while True:
            job, command = self.commands.get()
            if isinstance(command, commands.Quit):
                return
            if isinstance(command, commands.Generate | commands.Resume):
                self.job = job
                self._run_job(command)

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            job, command = commands.decode(line)
            if isinstance(command, commands.Cancel):
                self.stops[job] = command           # perhaps before the job has begun
            else:
                self.stops.pop(job, None)           # it was meant for an earlier run of this job
                self.commands.put((job, command))
            if isinstance(command, commands.Quit):
                self.quitting = True
        self.quitting = True
        self.commands.put(("", commands.Quit()))

    def _beat(self) -> None:
        while not self.mute.is_set():
            self.say(events.Heartbeat(memory_bytes=10**9))
            time.sleep(0.2)

    def _run_job(self, command: commands.Generate | commands.Resume) -> None:
        jobs = self.script.get("jobs") or [{}]
        script = jobs[min(self.jobs_seen, len(jobs) - 1)]
        self.jobs_seen += 1
        checkpoint = Path(command.checkpoint)
        try:
            self._denoise(command, checkpoint, script.get("at", {}))
        except Failure as failure:
            kept = str(checkpoint) if checkpoint.exists() else None
            self.say(events.Failed(str(failure), "The fake fails as told.", "", kept))
        except Stopped as stopped:
            if not self.stops.pop(self.job, commands.Cancel(keep=True)).keep:
                checkpoint.unlink(missing_ok=True)
            self.say(events.Cancelled("denoise", stopped.args[0], str(checkpoint) if checkpoint.exists() else None))

    def _denoise(self, command: commands.Generate | commands.Resume, checkpoint: Path, at: dict) -> None:
        began = time.monotonic()
        if isinstance(command, commands.Generate):
            request, step, state = Request.from_dict(command.request), 0, None
        else:
            saved = json.loads(checkpoint.read_text())
            request, step, state = Request.from_dict(saved["request"]), saved["step"], saved["state"]
        state = state if state is not None else [request.seed + frame for frame in range(request.num_frames)]
        self.say(events.Accepted(request.to_dict(), peak_bytes=2 * 10**9))
        for stage in ("load", "encode", "denoise"):
            self.say(events.Stage(stage))
        count = request.num_inference_steps
        while step < count:
            self._check(step)
            self.say(events.Block(1, 2))
            time.sleep(self.script.get("step_seconds", 0.0))
            self._check(step)
            step += 1
            state = [(value * 1103515245 + 12345) % 2**31 for value in state]
            part = checkpoint.with_suffix(".part")
            part.write_text(json.dumps({"request": request.to_dict(), "step": step, "state": state}))
            part.replace(checkpoint)
            rgb = base64.b64encode(pictures(state, 4).tobytes()).decode()
            preview = {"width": 4, "height": 4, "frames": len(state), "rgb": rgb}
            self.say(events.Step(step, count, 0.01, preview))
            self.act(at.get(str(step), "go on"))
        for name in ("decode", "write"):
            self.say(events.Stage(name))
        made = recipe.make(request, {"name": "fake"}, command.playback_fps)
        from i2v_mlx import video

        video.write_video(command.output, pictures(state, SIDE), command.playback_fps, recipe.to_json(made))
        checkpoint.unlink()
        self.say(events.Done(command.output, time.monotonic() - began, 2 * 10**9, made))

    def _check(self, step: int) -> None:
        if self.quitting or self.job in self.stops:
            raise Stopped(step)


class Failure(Exception):
    pass


class Stopped(Exception):
    pass


def pictures(state: list[int], side: int) -> np.ndarray:
    """(F, side, side, 3) uint8: every frame one colour, that of its state."""
    colours = np.array([[value >> shift & 255 for shift in (0, 8, 16)] for value in state], np.uint8)
    return np.broadcast_to(colours[:, None, None], (len(state), side, side, 3))


if __name__ == "__main__":
    Fake(Path(sys.argv[1])).run()
    os._exit(0)                                 # without waiting for the threads
