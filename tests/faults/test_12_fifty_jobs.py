"""Fifty jobs in one worker, of which some fail and some are cancelled: it grows by nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from driver import Worker, at

from i2v_mlx.events import Cancelled, Done, Failed

JOBS = 50
WARM = 10                      # until then caches fill


def descriptors(worker: Worker) -> int:
    """Open files of the worker."""
    if sys.platform == "linux":
        return len(list(Path(f"/proc/{worker.process.pid}/fd").iterdir()))
    listed = subprocess.run(["lsof", "-p", str(worker.process.pid)], capture_output=True, text=True, check=True)
    return len(listed.stdout.splitlines())


def test_fifty_jobs(place, cases):
    worker, memory, files = place.worker(), [], []
    for number in range(JOBS):
        job, name = f"job-{number}", "clip.mp4" if number % 10 == 9 else "clip"
        if number % 5 == 1:
            assert isinstance(worker.run(place.request(image="absent.png"), job), Failed)
        else:
            worker.generate(place.request(seed=number, num_inference_steps=2), job, name)
            stop = at(("Step", 1), lambda job=job: worker.cancel(job)) if number % 5 == 3 else lambda event: None
            last = worker.follow(job, stop)[-1]
            assert isinstance(last, Done) or (number % 5 == 3 and isinstance(last, Cancelled))
            if isinstance(last, Done):
                place.remove(name)
        memory.append(worker.rss())
        files.append(descriptors(worker))
    assert files[-1] <= files[WARM]
    growth = (min(memory[-5:]) - min(memory[WARM : WARM + 5])) / (JOBS - WARM - 5)
    assert growth < 2**20, [round(size / 2**20) for size in memory]
    place.check()
    cases(JOBS)
