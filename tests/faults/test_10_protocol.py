"""The wire in both directions: garbage, halves, oversized lines, unknown events, other jobs', in any pieces."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from driver import Worker
from hypothesis import HealthCheck, settings

from i2v_mlx.commands import Cancel, Generate, encode
from i2v_mlx.events import MAX_LINE_BYTES, Cancelled, Done, Heartbeat, Hello

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

import targets

EXAMPLES = 300


@pytest.mark.parametrize("name", ["protocol_events", "protocol_commands"])
def test_lines_of_any_kind_in_any_pieces(name, cases):
    """By hypothesis: what `make fuzz` does for longer."""
    settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))(targets.TARGETS[name])()
    cases(EXAMPLES)


def garbage(count: int) -> list[bytes]:
    """Lines that are no commands."""
    rng = random.Random(10)
    honest = encode(Generate({}, "/x", "/y"), "a").strip()
    lines = [b"", b"\0", b"null", b"[]", b"{}", b"1e999", b"NaN", b"[" * 100_000, b"\xff\xfe", b'{"v": 1}', b'"' * 999,
             b'{"v": 2, "command": "quit"}', b'{"v": 1, "command": "dream", "job": "a"}',
             b'{"v": 1, "command": "cancel"}', b'{"v": 1, "command": ["quit"], "job": "a"}',
             b'{"v": 1, "command": "generate", "job": 7}', b'{"v": 1, "command": "generate", "job": "a"}',
             b'{"v": 1, "command": "resume", "job": "a", "checkpoint": {}, "output": []}',
             b"x" * (MAX_LINE_BYTES + 1)]
    for _ in range(count - len(lines)):
        line = bytearray(honest)
        for _ in range(rng.randrange(1, 5)):
            line[rng.randrange(len(line))] = rng.randrange(256)
        lines.append(bytes(line[: rng.randrange(len(line))]).replace(b"\n", b""))
    return lines


def test_a_worker_that_is_told_nonsense(place, cases):
    """It lives, says nothing to it, and does the sound commands in between, however they are cut."""
    worker, lines = place.worker(), garbage(500)
    worker.send(b"\n".join(lines) + b"\n")
    assert isinstance(worker.run(place.request(), "a"), Done)
    line = encode(Generate(place.request().to_dict(), str(place.out / "second"), str(place.out / "b.safetensors")), "b")
    rng = random.Random(11)
    while line:
        size = rng.randrange(1, 60)
        worker.send(line[:size])
        line = line[size:]
    assert isinstance(worker.follow("b")[-1], Done)
    assert {job for job, _ in worker.said} == {"", "a", "b"}
    place.check("clip", "second")
    cases(len(lines) + 1)


def test_half_a_command_and_then_the_end(place):
    worker = place.worker()
    worker.send(encode(Cancel(), "a")[:20])
    worker.close()
    assert worker.process.returncode == 0
    place.check(next_run=False)


def test_requests_that_are_none(place, cases):
    """Fields of the wrong kind and beyond their range end the job and nothing else."""
    worker, wrong = place.worker(), [
        {"width": "x"}, {"width": 2**70}, {"width": -8}, {"width": 15}, {"num_frames": 1.5}, {"num_frames": 0},
        {"seed": -1}, {"seed": 2**32}, {"guidance_scale": -1}, {"eta": 2}, {"prompt": 7}, {"image": None},
        {"model": []}, {"crop": [0, 0, 0, 0]}, {"crop": "x"}, {"sampler": "dream"}, {"fidelity": 1}, {"unknown": 1},
        {"clip_skip": 10**6}, {"target_fps": True}, {"model": "../.."}, {"model": "http://x/y"}, {"model": "a/b/c"},
        {"model": "\0"}, {"model": "~nobody/x"}, {"num_inference_steps": 1000}]
    for number, values in enumerate(wrong):
        worker.send(json.dumps({"v": 1, "command": "generate", "job": f"a{number}", "output": str(place.out / "clip"),
                                "checkpoint": str(place.out / "c.safetensors"),
                                "request": place.request().to_dict() | values}).encode() + b"\n")
        last = worker.follow(f"a{number}")[-1]
        assert last.code != "unexpected" and last.message, (values, last)
    for fps in (0, -1, 1e9):
        worker.generate(place.request(), f"fps{fps}", playback_fps=fps)
        assert worker.follow(f"fps{fps}")[-1].code == "playback_fps_out_of_range"
    place.check()
    cases(len(wrong) + 3)


def test_events_of_other_jobs_stay_theirs(place, cases):
    """Six jobs at once, three of them cancelled before they begin: each has its own end."""
    worker: Worker = place.worker()
    for job in "abcdef":
        worker.generate(place.request(num_inference_steps=1), job, job)
    for job in "bdf":
        worker.cancel(job)
    ends = {job: worker.follow(job)[-1] for job in "abcdef"}
    assert isinstance(ends["a"], Done) and isinstance(ends["f"], Cancelled)
    assert all(isinstance(ends[job], Done) for job in "ace")
    assert not any(isinstance(event, Hello | Heartbeat) for job, event in worker.said if job)
    place.check(*[job for job, end in ends.items() if isinstance(end, Done)])
    cases(6)
