"""Hostile pictures through the worker, and every size through the crop."""

from __future__ import annotations

import random

import hostile_pictures
import numpy as np
from PIL import Image

from i2v_mlx import images
from i2v_mlx.events import Done


def test_each_is_read_or_refused_by_name(place, tmp_path, cases):
    """In one worker, which stays as small as it was, lives, and then runs."""
    listed = hostile_pictures.write(tmp_path / "pictures")
    worker, wrong = place.worker(), {}
    worker.run(place.request(num_frames=1, num_inference_steps=1), "first")
    place.remove("clip")
    before = worker.rss()
    for number, (path, code) in enumerate(listed):
        last = worker.run(place.request(image=path, num_frames=1, num_inference_steps=1), f"job-{number}")
        assert last is not None, f"{path!r} ended the process"
        found = "" if isinstance(last, Done) else last.code
        if (found != code) if code in ("", *_whole(listed)) else not found.startswith(code):
            wrong[path] = (found, getattr(last, "message", ""))
        if isinstance(last, Done):
            place.remove("clip")
        else:
            assert last.message.isprintable()
        assert place.left() == set(), path
        assert worker.rss() - before < 700e6, path
    assert wrong == {}
    assert len(listed) >= 40
    place.check()
    cases(len(listed))


def _whole(listed: list[tuple[str, str]]) -> set[str]:
    """Codes that are no beginnings."""
    return {code for _, code in listed if not code.endswith("_")}


def test_no_black_border_at_ten_thousand_sizes(cases):
    """A white picture of any size fills a frame of any size with white, to its edges."""
    rng = random.Random(4)
    white = Image.new("RGB", (400, 400), (255, 255, 255))
    for _ in range(10_000):
        width, height = 8 * rng.randrange(2, 9), 8 * rng.randrange(2, 9)
        short = rng.choice([rng.randrange(1, 30), rng.randrange(30, 260)])
        long = min(rng.randrange(short, 20 * short + 1), 400)
        size = (short, max(short, long)) if rng.random() < 0.5 else (max(short, long), short)
        cropped = images.centre_crop(white.crop((0, 0, *size)), width, height)
        assert cropped.size == (width, height) and np.asarray(cropped).min() == 255, (size, width, height)
    cases(10_000)
