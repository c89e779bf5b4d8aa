"""Suspended and continued, two of everything at once, and clocks that jump."""

from __future__ import annotations

import email.utils
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import released
from downloads import fetch, part_size, ranges, start
from driver import at, contents, wait_for
from fake_hub import REPO, UNET, Answer

from i2v_mlx import models, transfer
from i2v_mlx.download import download
from i2v_mlx.errors import I2VError
from i2v_mlx.events import Converting, Done
from i2v_mlx.model_folder import open_model

JUMPING = [sys.executable, "-c", "import random, time; real = time.time\n"
           "time.time = lambda: real() + random.choice([-1e9, -3600, 0, 3600, 1e9])\n"
           "import sys; from i2v_mlx import worker; sys.exit(worker.main())"]
EIGHT_BIT = "i2vgen-xl-8bit"


@pytest.mark.parametrize("moment", [("Stage", "load"), ("Step", 1), ("Frame", 1)], ids=str)
def test_suspended_and_continued(place, moment):
    """As by a Mac that sleeps. Nothing is lost, and nothing else happens."""
    worker = place.worker()

    def suspend() -> None:
        worker.process.send_signal(signal.SIGSTOP)
        threading.Timer(1.5, worker.process.send_signal, [signal.SIGCONT]).start()

    worker.generate(place.request(), "a", "clip.mp4")
    began = time.monotonic()
    assert isinstance(worker.follow("a", at(moment, suspend))[-1], Done)
    assert time.monotonic() - began > 1.5 or moment[0] == "Frame"
    place.check("clip.mp4")


def test_a_clock_that_jumps(place, whole):
    worker = place.worker(JUMPING)
    for number in range(3):
        assert isinstance(worker.run(place.request(), f"a{number}"), Done)
        assert contents(place.out / "clip") == whole
        place.remove("clip")
    place.check()


def test_a_server_whose_clock_is_another(hub, cache, pauses, monkeypatch):
    """It asks to come back at a time that is decades away here: that is told, and not waited for."""
    monkeypatch.setattr(transfer.time, "time", lambda: 0.0)
    hub.answers[UNET] = [Answer(status=429, headers={"Retry-After": email.utils.formatdate(1.8e9, usegmt=True)})]
    with pytest.raises(I2VError) as caught:
        list(download(REPO))
    assert caught.value.code == "download_busy_server" and not pauses
    monkeypatch.undo()


def test_two_runs_into_the_same_file(place, cases):
    """Both end well; the file is one of theirs, whole."""
    for name in ("clip", "clip.mp4"):
        both = [place.cli(*place.generate_arguments(name)) for _ in range(2)]
        codes = []
        for process in both:
            _, said = process.communicate(timeout=120)
            codes.append((process.returncode, said))
        assert codes[0][0] == 0 or codes[1][0] == 0, codes     # a folder that has come to be in use is not replaced
        assert all(code == 0 or "cannot be written" in said or "exists already" in said for code, said in codes), codes
        place.check(name, next_run=False)
    cases(2)


def test_two_converters_of_the_same_model(place):
    """One works, the other waits, and both run."""
    copies = released(place.root).parents[1] / "livestill"
    workers = [place.worker(), place.worker()]
    for number, worker in enumerate(workers):
        worker.generate(place.request(model=EIGHT_BIT), f"a{number}", f"clip{number}")
    ends = [worker.follow(f"a{number}") for number, worker in enumerate(workers)]
    assert all(isinstance(end[-1], Done) for end in ends)
    made = [[event.index for event in end if isinstance(event, Converting) and event.index] for end in ends]
    assert sorted(made) in ([[], [1, 2, 3, 4]],), made
    (copy,) = copies.iterdir()
    open_model(copy).verify()
    assert contents(place.out / "clip0") == contents(place.out / "clip1")
    place.check("clip0", "clip1")


def test_the_second_converter_takes_over_when_the_first_is_killed(place):
    copies = released(place.root).parents[1] / "livestill"
    first, second = place.worker(), place.worker()
    waiting = threading.Event()

    def hold(event) -> None:
        if isinstance(event, Converting) and event.index == 2:
            first.process.send_signal(signal.SIGSTOP)
            second.generate(place.request(model=EIGHT_BIT), "b")
            threading.Thread(target=lambda: (waiting.wait(60), first.kill())).start()

    def watch(event) -> None:
        if isinstance(event, Converting) and event.index == 0:
            waiting.set()

    first.generate(place.request(model=EIGHT_BIT), "a")
    said = threading.Thread(target=first.follow, args=("a", hold))
    said.start()
    wait_for(lambda: any(isinstance(event, Converting) and event.index == 2 for _, event in first.said))
    events = second.follow("b", watch)
    said.join()
    assert waiting.is_set() and isinstance(events[-1], Done)
    assert [event.index for event in events if isinstance(event, Converting) and event.index] == [1, 2, 3, 4]
    assert len(list(copies.iterdir())) == 1
    place.check("clip")


def test_two_converters_into_the_same_folder(place, model):
    target = place.out / "small"
    both = [place.cli("convert", model, target, "--quantize", "8") for _ in range(2)]
    codes = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    assert sorted(code for _, code in codes) in ([0, 1], [0, 0]), codes
    assert place.left() == {"small"}
    open_model(target).verify()
    place.remove("small")
    place.check(next_run=False)


def test_a_second_app_and_one_whose_first_was_killed(tmp_path):
    """The lock names its owner, and dies with it."""
    script = ("import sys, time; from pathlib import Path; from PySide6.QtCore import QCoreApplication\n"
              "from gui.single_instance import SingleInstance\n"
              "app = QCoreApplication([]); one = SingleInstance(Path(sys.argv[1]))\n"
              "print(one.acquire(), flush=True); time.sleep(60)")

    def app() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)

    said, running = [], []
    for kill in (None, None, 0):
        if kill is not None:
            running[kill].kill()
            running[kill].wait()
        running.append(app())
        assert running[-1].stdout is not None
        said.append(running[-1].stdout.readline().strip())
    for process in running:
        process.kill()
        process.communicate()
    assert said == ["True", "False", "True"]


def test_two_at_once(hub, cache):
    hub.answers[UNET] = [Answer(hold_after=1_000_000)]
    first = start(hub, cache)
    wait_for(lambda: part_size(cache) == 1_000_000)
    for job in (lambda: list(download(REPO)), lambda: models.remove(REPO)):
        with pytest.raises(I2VError) as caught:
            job()
        if caught.value.code != "model_not_found":  # half a model of an unknown name is none that could be removed
            assert caught.value.code == "download_busy" and str(first.pid) in caught.value.message
    assert len(hub.asked(UNET)) == 1
    first.kill()
    first.communicate(timeout=20)
    fetch(cache, hub)                           # the lock died with its owner
    assert ranges(hub) == [0, 1_000_000]
