"""From `python -m gui` on: a real process, its window and its engine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path):
    """Starts the app with a home of its own; whatever runs at the end is stopped."""
    environment = dict(os.environ, QT_QPA_PLATFORM="offscreen", XDG_DATA_HOME=str(tmp_path / "data"),
                       HOME=str(tmp_path), XDG_VIDEOS_DIR=str(tmp_path / "Videos"))
    running = []

    def begin(*files) -> subprocess.Popen:
        running.append(subprocess.Popen([sys.executable, "-m", "gui", *map(str, files)], cwd=ROOT, env=environment,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_second_start_hands_its_files_over_and_ends(start, tmp_path, photo):
    state = tmp_path / "data" / "Livestill"
    letters = state / "letters"
    first = start()
    wait_for(lambda: (state / "livestill.lock").exists() and (state / "logs" / "app.log").exists())
    second = start(photo)
    assert second.wait(timeout=30) == 0
    wait_for(lambda: not list(letters.glob("*.json")))
    assert first.poll() is None
