"""Cancel and pause at every event of a run, in one worker that stays as it was."""

from __future__ import annotations

import signal
import subprocess

import pytest
from driver import at, contents, moments, wait_for

from i2v_mlx.events import Cancelled, Done, Step


@pytest.mark.parametrize("name", ["clip", "clip.mp4"])
def test_cancel_at_every_event(place, whole, cases, name):
    """Nothing stays of the job, one further step at most is made, and the next run has the bytes of one undisturbed."""
    worker = place.worker()
    worker.generate(place.request(), "first", name)
    every = moments(worker.follow("first"))
    undisturbed = contents(place.out / name)
    place.remove(name)
    assert {kind for kind, _ in every} == {"Stage", "Accepted", "Step", "Frame"} and len(every) >= 11
    if name == "clip.mp4":         # with an encoder: only where it may run
        every = [moment for moment in every if moment[0] == "Frame" or moment == ("Stage", "write")]
    for number, moment in enumerate(every):
        job = f"cancelled-{number}"
        worker.generate(place.request(), job, name)
        events = worker.follow(job, at(moment, lambda job=job: worker.cancel(job)))
        if isinstance(events[-1], Done):                               # it was too late
            assert contents(place.out / name) == undisturbed
            place.remove(name)
        else:
            assert isinstance(events[-1], Cancelled) and events[-1].checkpoint is None
            when = next(index for index, event in enumerate(events) if moments([event]) == [moment])
            assert sum(isinstance(event, Step) for event in events[when + 1:]) <= 1
        assert place.left() == set() and worker.alive
    place.check()
    cases(len(every))


def test_pause_at_every_event(place, whole, cases):
    """What is resumed, or begun again where no step was done, ends in the bytes of a run undisturbed."""
    worker = place.worker()
    worker.generate(place.request(), "first")
    every = moments(worker.follow("first"))
    place.remove("clip")
    for number, moment in enumerate(every):
        job = f"paused-{number}"
        worker.generate(place.request(), job)
        last = worker.follow(job, at(moment, lambda job=job: worker.cancel(job, keep=True)))[-1]
        if isinstance(last, Cancelled):
            assert (last.checkpoint is not None) == (last.step > 0)
            worker.resume(job) if last.checkpoint else worker.generate(place.request(), job)
            last = worker.follow(job)[-1]
        assert isinstance(last, Done)
        assert contents(place.out / "clip") == whole
        place.remove("clip")
        assert place.left() == set()
    place.check()
    cases(len(every))


def test_cancelled_twice_too_early_too_late_and_for_nobody(place, cases):
    worker = place.worker()
    worker.generate(place.request(), "a")
    worker.generate(place.request(), "b", "other")
    for job in ("b", "b", "nobody", ""):
        worker.cancel(job)
    assert isinstance(worker.follow("a")[-1], Done)
    assert isinstance(worker.follow("b")[-1], Cancelled)
    worker.cancel("a")                                                 # it is over, and begins again
    place.check("clip")
    cases(4)


def test_ctrl_c_and_a_polite_kill_of_the_command_line(place, cases):


    for ending in (signal.SIGINT, signal.SIGTERM):
        process = place.cli(*place.generate_arguments("clip.mp4"), "--steps", "900")
        wait_for(lambda process=process: process.poll() is not None or _busy(process.pid))
        process.send_signal(ending)
        out, said = process.communicate(timeout=30)
        assert (process.returncode, out) == (130, "") and "no file was written" in said
        assert place.left() == set()
    place.check()
    cases(2)


def _busy(pid: int) -> bool:
    """It has computed for a second: beyond its imports, where Ctrl-C is Python's own."""
    said = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    *_, minutes, seconds = ("0:" + said.strip()).split(":")
    return bool(said.strip()) and 60 * int(minutes) + float(seconds) >= 2
