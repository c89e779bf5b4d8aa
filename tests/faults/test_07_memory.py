"""Too little memory: refused with sizes that fit; and when it happens all the same, only the engine dies."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import pytest
from driver import WORKER, at

from i2v_mlx.events import Accepted, Done, Failed, Stage

LINUX = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux changes the limits of another process")
SMALL_MACHINE = [sys.executable, "-c", "import sys; from i2v_mlx import device, worker\n"
                 "device.memory_bytes = lambda: 300 * 2**20\nsys.exit(worker.main())"]


def virtual_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmSize:")[1].split()[0]) * 1024


def starve(pid: int) -> None:
    """From now on the process gets close to nothing."""
    size = virtual_bytes(pid) + 2**20
    resource.prlimit(pid, resource.RLIMIT_AS, (size, size))


def test_what_does_not_fit_is_refused_with_sizes_that_do(place, cases):
    worker = place.worker(SMALL_MACHINE)
    failed = worker.fails(place.request(width=1280, height=704, num_frames=16, num_inference_steps=1), "large")
    assert failed.code == "memory_too_small" and "GB" in failed.message
    sizes = [tuple(map(int, size)) for size in re.findall(r"(\d+)x(\d+)", failed.hint)]
    assert sizes
    for number, (width, height) in enumerate(sizes):
        said = worker.fails(place.request(width=width, height=height, num_frames=16, image="absent.png"), f"a{number}")
        assert said.code == "image_not_found"              # this is looked at first
        job = f"fits-{number}"
        worker.generate(place.request(width=width, height=height, num_frames=16), job)
        events = worker.follow(job, at(("Accepted", None), lambda job=job: worker.cancel(job)))
        (accepted,) = [event for event in events if isinstance(event, Accepted)]
        assert accepted.peak_bytes <= 300 * 2**20 and not isinstance(events[-1], Failed)
    place.check()
    cases(1 + len(sizes))


@LINUX
def test_memory_ends_at_any_stage(place, cases):
    """The worker dies or says so; either way the job has one end, nothing stays, and the next worker carries it on."""
    every, ends = [("Stage", "encode"), ("Stage", "denoise"), ("Step", 1), ("Stage", "decode")], []
    request = place.request(width=64, height=64)
    for number, moment in enumerate(every):
        job, worker = f"starved-{number}", place.worker()
        worker.generate(request, job)
        ends.append(worker.follow(job, at(moment, lambda worker=worker: starve(worker.process.pid)))[-1])
        worker.kill()
        place.recovered()
        if not isinstance(ends[-1], Done):     # what was freed before may have been enough
            assert ends[-1] is None or ends[-1].code in ("device_failed", "unexpected"), ends[-1]
            worker = place.worker()
            worker.resume(job) if f"{job}.safetensors" in place.left() else worker.generate(request, job)
            assert isinstance(worker.follow(job)[-1], Done)
            worker.close()
        assert place.left() == {"clip"}
        place.is_whole("clip")
        place.remove("clip")
    assert not all(isinstance(end, Done) for end in ends)
    place.check()
    cases(len(every))


@LINUX
def test_the_app_lives_and_its_queue_goes_on(qapp, qtbot, place):
    """The first job's engine is starved, the second job is done by the next one."""
    from gui.engine_client import EngineClient
    from gui.places import Places
    from gui.session import Session

    app = Session(Places.below(place.root / "home"), EngineClient(WORKER, log=place.root / "app-engine.log"))
    problems, starved = [], []
    app.problem.connect(problems.append)
    app.draft.recall(place.request(width=64, height=64))
    app.start()
    try:
        def look(job, event) -> None:
            if isinstance(event, Stage) and event.name == "denoise" and not starved:
                starved.append(job)
                starve(app.engine._process.processId())

        app.engine.reported.connect(look)
        with qtbot.waitSignal(app.job_done, timeout=300_000):
            first = app.generate()
            app.draft.change(width=32, height=32)
            second = app.generate()
        assert starved == [first[0].id] and first[0].state == "failed"
        assert [problem.code for problem in problems] in (["engine_crashed"], ["device_failed"], ["unexpected"])
        assert second[0].state == "done"
    finally:
        app.close()


