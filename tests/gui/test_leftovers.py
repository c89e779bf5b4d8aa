"""What killed processes left is swept at the next start, and nothing else is."""

import os
import subprocess
import sys
import time

import pytest

from gui import leftovers
from gui.places import Places

CLIP = "2026-11-21 10-17 0123456789ab"


@pytest.fixture
def places(tmp_path):
    made = Places.below(tmp_path)
    made.create()
    return made


@pytest.fixture
def dead():
    """The number of a process that is over."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def aged(path, seconds=60.0, folder=False):
    if folder:
        path.mkdir()
        (path / "0001.png").write_bytes(b"half")
    else:
        path.write_bytes(b"half")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_halves_of_clips_and_checkpoints_go(places, dead):
    gone = [aged(places.clips / f".{CLIP}.{dead}-0123abcd.part", folder=True),
            aged(places.checkpoints / f".0123456789ab.{dead}-0123abcd.part.safetensors")]
    leftovers.sweep(places, time.time())
    assert not any(path.exists() for path in gone)


@pytest.mark.parametrize("name", [
    CLIP, f"{CLIP}.part", ".DS_Store", "holiday.part", ".holiday.{dead}-0123abcd.part", "notes.txt",
    f".{CLIP}.{{dead}}-0123abcd.part.mp4", f".{CLIP}.{{dead}}-xyz.part", f".{CLIP} copy.{{dead}}-0123abcd.part",
    f".{CLIP}.{{alive}}-0123abcd.part",
])
def test_what_is_not_ours_or_still_in_use_stays(places, dead, name):
    """A user's files and whole clips, and the half of a process that lives."""
    kept = aged(places.clips / name.format(dead=dead, alive=os.getpid()), folder=True)
    leftovers.sweep(places, time.time())
    assert (kept / "0001.png").read_bytes() == b"half"


def test_what_is_younger_than_this_start_stays(places, dead):
    kept = aged(places.clips / f".{CLIP}.{dead}-0123abcd.part", seconds=0, folder=True)
    leftovers.sweep(places, time.time() - 30)
    assert kept.exists()


def test_files_for_dragging_out_go_after_a_week(places):
    old, young = places.shared / CLIP, places.shared / "young"
    aged(old, seconds=8 * 24 * 3600, folder=True)
    aged(young, seconds=24 * 3600, folder=True)
    leftovers.sweep(places, time.time())
    assert not old.exists() and young.exists()


def test_a_start_sweeps(session, qtbot, dead):
    app = session({}, start=False)
    left = aged(app.places.clips / f".{CLIP}.{dead}-0123abcd.part", folder=True)
    app.start()
    qtbot.waitUntil(lambda: not left.exists(), timeout=10_000)


def test_folders_that_are_gone_are_no_trouble(tmp_path):
    leftovers.sweep(Places.below(tmp_path / "unplugged"), time.time())
