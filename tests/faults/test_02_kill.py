"""kill -9 at every event of generating, writing, converting and downloading; then it is resumed, or done again."""

from __future__ import annotations

import itertools
import json
import random
import signal

import pytest
from conftest import released
from downloads import fetch, folder_of, invariants, part_size, ranges, start
from driver import Place, at, contents, moments, wait_for
from fake_hub import REPO, UNET, Answer

from i2v_mlx import hub as names
from i2v_mlx.events import Converting, Done
from i2v_mlx.model_folder import open_model


@pytest.fixture
def every(place):
    """The moments of a run."""
    worker = place.worker()
    worker.generate(place.request(), "first")
    found = moments(worker.follow("first"))
    worker.close()
    place.remove("clip")
    return found


def again(place: Place, job: str, name: str = "clip"):
    """Resumes where there is a checkpoint, and begins again where there is none; returns the worker."""
    worker = place.worker()
    worker.resume(job, name) if f"{job}.safetensors" in place.left() else worker.generate(place.request(), job, name)
    assert isinstance(worker.follow(job)[-1], Done)
    return worker


def test_generating(place, whole, every, cases):
    """The worker that resumes one job is the one that is killed in the next."""
    worker = place.worker()
    for number, moment in enumerate(every):
        job = f"killed-{number}"
        worker.generate(place.request(), job)
        ended = worker.follow(job, at(moment, worker.kill))[-1]
        worker.kill()
        place.recovered()
        if ended is not None:              # it was quicker
            assert isinstance(ended, Done)
            worker = place.worker()
        else:
            worker = again(place, job)
        assert place.left() == {"clip"}    # no checkpoint, no temporary folder
        assert contents(place.out / "clip") == whole
        place.remove("clip")
    place.check()
    cases(len(every))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.webp"])
def test_writing(place, cases, name):
    """At every frame and at the end, when an encoder of its own is at work: that ends too."""
    worker = place.worker()
    assert isinstance(worker.run(place.request(), "first", name), Done)
    undisturbed = contents(place.out / name)
    place.remove(name)
    every = [("Frame", 1), ("Frame", 2), ("Stage", "write")]
    for number, moment in enumerate(every):
        job = f"killed-{number}"
        worker.generate(place.request(), job, name)
        worker.follow(job, at(moment, worker.kill))
        worker.kill()
        place.recovered()
        worker = again(place, job, name) if name not in place.left() else place.worker()
        assert contents(place.out / name) == undisturbed
        place.remove(name)
        assert place.left() <= {f"{job}.safetensors"}
        for left in place.left():
            place.remove(left)
    place.check()
    cases(len(every))


def test_the_command_line_at_the_moment_it_writes(place, cases):
    """Killed as soon as a temporary file is there; the same command leaves the clip alone."""
    for name in ("clip.mp4", "clip"):
        process = place.cli(*place.generate_arguments(name))
        wait_for(lambda process=process: place.left() or process.poll() is not None)
        process.kill()
        process.communicate()
        place.recovered()
        process = place.cli(*place.generate_arguments(name))
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0 and out == f"{place.out / name}\n", said
        assert place.left() == {name}
        place.is_whole(name)
        place.remove(name)
    place.check()
    cases(2)


# ----------------------------------------------------------------------------------------------------------- converting

def test_converting_on_the_command_line(place, model, cases):
    """At every part, in a folder that the next try tidies up."""
    target, parts = place.out / "small", 0
    for part in range(1, 5):
        process = place.cli("convert", model, target, "--quantize", "8")
        assert process.stderr is not None
        for line in process.stderr:
            if f"({part} of 4)" in line:
                process.kill()
                break
        process.communicate()
        assert not target.exists() and all(name.startswith(".small.") for name in place.left())
        parts += 1
    process = place.cli("convert", model, target, "--quantize", "8")
    process.communicate(timeout=60)
    assert process.returncode == 0 and place.left() == {"small"}
    open_model(target).verify()
    place.remove("small")
    place.check()
    cases(parts)


def test_converting_on_first_use(place, cases):
    """At every part; the next run makes the copy, the one after that uses it."""
    source = released(place.root)
    copies = source.parents[1] / "livestill"
    worker = place.worker()
    for part in range(1, 5):
        kill = lambda event, worker=worker, part=part: (  # noqa: E731
            worker.kill() if isinstance(event, Converting) and event.index == part else None)
        worker.generate(place.request(model="i2vgen-xl-8bit"), f"killed-{part}")
        assert worker.follow(f"killed-{part}", kill)[-1] is None
        assert all(path.name.startswith(".") for path in copies.iterdir()) and place.left() == set()
        worker = place.worker()
    worker.generate(place.request(model="i2vgen-xl-8bit"), "a")
    events = worker.follow("a")
    assert [event.index for event in events if isinstance(event, Converting)] == [1, 2, 3, 4]
    assert isinstance(events[-1], Done) and events[-1].recipe["model"]["bits"] == 8
    (copy,) = copies.iterdir()
    open_model(copy).verify()
    place.remove("clip")
    worker.generate(place.request(model="i2vgen-xl-8bit"), "b")
    events = worker.follow("b")
    assert isinstance(events[-1], Done) and not any(isinstance(event, Converting) for event in events)
    place.check("clip")
    cases(4)


def test_a_cancel_of_the_conversion_leaves_nothing(place, cases):
    copies = released(place.root).parents[1] / "livestill"
    worker = place.worker()
    for part in range(1, 5):
        job = f"cancelled-{part}"
        stop = lambda event, job=job, part=part: (  # noqa: E731
            worker.cancel(job) if isinstance(event, Converting) and event.index == part else None)
        worker.generate(place.request(model="i2vgen-xl-8bit"), job)
        assert worker.follow(job, stop)[-1].stage == "load"
        made = [path for path in copies.iterdir()]
        assert not made or (part == 4 and not made[0].name.startswith("."))     # the last part was quicker
    place.check()
    cases(4)


# ---------------------------------------------------------------------------------------------------------- downloading

@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_at_random_bytes_and_carried_on(ending, hub, cache):
    cuts = sorted(random.Random(ending).sample(range(1, 2_000_000), 3 if ending == signal.SIGKILL else 1))
    for begin, end in itertools.pairwise([0, *cuts]):
        hub.answers[UNET] = [Answer(hold_after=end - begin)]
        process = start(hub, cache)
        wait_for(lambda end=end: part_size(cache) == end)
        process.send_signal(ending)
        out, said = process.communicate(timeout=20)
        assert out == "" and process.returncode == (-9 if ending == signal.SIGKILL else 130)
        assert ("carries on" in said) == (ending != signal.SIGKILL)
        invariants(cache, hub, whole=False)
    process = start(hub, cache)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 0 and out == f"{folder_of(cache)}\n", said
    assert "Licence:" in said and "Folder:" in said and "free" in said and "of 2.1 MB" in said
    invariants(cache, hub, whole=True)
    assert ranges(hub) == [0, *cuts]           # no byte was asked for twice


def test_killed_at_every_kind_of_event(hub, cache):
    kills = ["start", "progress", "checking"]
    for kind in kills:
        process = start(hub, cache, "--json")
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == kind:
                process.kill()
                break
        process.communicate(timeout=20)
        if process.returncode == -9 and not names.cached(REPO):
            invariants(cache, hub, whole=False)
    process = start(hub, cache, "--json")
    out, _ = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events].count("finished") == 1 and events[-1]["folder"] == str(folder_of(cache))
    invariants(cache, hub, whole=True)


def test_nobody_reads_what_it_says(hub, cache):
    """The app has died: its download ends at the next line, and can be carried on."""
    hub.answers[UNET] = [Answer(pause=0.05)]
    process = start(hub, cache, "--json")
    assert process.stdout is not None and process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) != 0
    process.stderr and process.stderr.close()
    fetch(cache, hub)
