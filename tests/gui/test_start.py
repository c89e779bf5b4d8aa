"""From `python -m gui` on: a real process, its window and its engine."""

import json
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

    def begin(*arguments) -> subprocess.Popen:
        running.append(subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, env=environment,
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
    first = start("-m", "gui")
    wait_for(lambda: (state / "livestill.lock").exists() and (state / "logs" / "app.log").exists())
    second = start("-m", "gui", photo)
    assert second.wait(timeout=30) == 0
    wait_for(lambda: not list(letters.glob("*.json")))
    assert first.poll() is None


QUIT = """
import sys
from PySide6.QtCore import QTimer
import gui.app

class Window(gui.app.MainWindow):
    def __init__(self, session):
        super().__init__(session)
        session.problem.connect(lambda problem: print(problem, file=sys.stderr))
        QTimer.singleShot(0, self.begin)

    def begin(self):
        session, when = self.session, sys.argv[1]
        if when == "at once":
            self.actions_.quit.trigger()
            return
        session.draft.change(num_inference_steps=3 if when != "in a job" else 500, num_frames=2, guidance_scale=1.0,
                             sampler="ddim", grid="model")
        session.picture.opened.connect(lambda path: QTimer.singleShot(0, session.generate))
        if when == "in a job":
            session.runner.previewed.connect(lambda frames: self.actions_.quit.trigger())
        elif when == "with dialogs":
            session.shown_changed.connect(self.open_dialogs)
        else:
            session.shown_changed.connect(lambda: QTimer.singleShot(0, self.copy))

    def open_dialogs(self):
        for action in (self.actions_.preferences, self.actions_.log, self.actions_.shortcuts, self.actions_.export):
            action.trigger()
        QTimer.singleShot(100, self.close)

    def copy(self):
        self.actions_.copy_frame.trigger()
        self.actions_.copy_file.trigger()
        if self.session.drag_file(self.session.shown.id) is None:
            QTimer.singleShot(50, self.copy)
        else:
            self.actions_.copy_file.trigger()
            QTimer.singleShot(0, self.actions_.quit.trigger)

gui.app.MainWindow = Window
sys.exit(gui.app.main(["livestill", sys.argv[2]]))
"""


@pytest.mark.parametrize("when", ["at once", "in a job", "with dialogs", "with a clip on the clipboard"])
def test_quitting_is_clean(start, tmp_path, photo, when):
    """No crash of the interpreter or of Qt on the way out, no process left, and a job is kept."""
    app = start("-c", QUIT, when, photo)
    assert app.wait(timeout=60) == 0
    said = [line for line in app.stderr.read().decode().splitlines() if "This plugin does not support" not in line]
    assert said == []
    state = tmp_path / "data" / "Livestill"
    assert not (state / "livestill.lock").exists() and (state / "logs" / "crash.log").read_bytes() == b""
    (job,) = json.loads((state / "queue.json").read_text()) if when != "at once" else [{"state": "done"}]
    assert job["state"] == ("paused" if when == "in a job" else "done")
    assert ("Traceback" in (state / "logs" / "app.log").read_text()) is False
