"""Generating opens no socket: where none can be opened, the command line, the worker and the app all make videos."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from driver import Place, contents

from i2v_mlx.events import Done

BLOCK = Path(__file__).parent / "no_network"
APP = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication
from gui.main_window import MainWindow
from gui.places import Places
from gui.session import Session
from i2v_mlx.request import Request

app = QApplication([])
session = Session(Places.below(Path(sys.argv[1])))
window = MainWindow(session)
session.problem.connect(lambda problem: (print(problem, file=sys.stderr), app.exit(1)))
session.job_done.connect(lambda job, clip: (print(clip.folder), app.exit(0)))
session.draft.recall(Request(sys.argv[2], "zoom in", model=sys.argv[3], width=32, height=32, num_frames=2,
                             num_inference_steps=3, seed=5))
session.draft.set_seed_mode("locked")
session.start()
window.show()
session.generate()
QTimer.singleShot(120_000, lambda: app.exit(2))
code = app.exec()
session.close()
sys.exit(code)
"""


@pytest.fixture
def blocked(place: Place) -> dict[str, str]:
    return {"PYTHONPATH": str(BLOCK), "NO_NETWORK_NOTE": str(place.root / "note"), "QT_QPA_PLATFORM": "offscreen"}


def tried(place: Place) -> str:
    note = place.root / "note"
    return note.read_text() if note.exists() else ""


def python(place: Place, environment: dict[str, str], code: str, *arguments: object
           ) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=place.environment | environment,
                          capture_output=True, text=True, timeout=180, check=False)


def test_the_block_blocks(place, blocked, hub):
    """By Python, by native code, in a child, and in the one command that has to use the network."""
    port = hub.server_port
    done = python(place, blocked, f"import socket; socket.create_connection(('127.0.0.1', {port}))")
    assert done.returncode == 1 and "no network here" in done.stderr and "socket.getaddrinfo" in tried(place)
    if sys.platform == "linux":
        native = "import ctypes, socket; print(ctypes.CDLL(None).socket({}, 1, 0), flush=True)"
        for family in ("socket.AF_INET", "socket.AF_INET6"):
            assert python(place, blocked, native.format(family)).returncode == -31       # SIGSYS
        child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-S', '-c', {native.format(2)!r}]))"
        assert python(place, blocked, child).returncode != 0
        assert int(python(place, blocked, native.format("socket.AF_UNIX")).stdout) >= 0
    (place.root / "note").unlink()
    environment = blocked | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.address}
    process = place.cli("download", "tiny/model", env=environment)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1 and tried(place) and not hub.requests, said


def test_the_command_line(place, blocked):
    process = place.cli(*place.generate_arguments("clip.mp4"), env=blocked)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    for arguments in (["models", "list"], ["info", place.out / "clip.mp4"],
                      ["convert", place.model, place.root / "small", "--quantize", "8"]):
        process = place.cli(*arguments, env=blocked)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert tried(place) == ""
    place.check("clip.mp4")


@pytest.mark.parametrize("offline", ["0", "1"])
def test_the_worker(place, whole, blocked, offline):
    """Also where nothing tells the hub library to stay offline."""
    worker = place.worker(env=blocked | {"HF_HUB_OFFLINE": offline})
    assert isinstance(worker.run(place.request(), "a"), Done)
    assert worker.fails(place.request(model="owner/absent"), "b", "absent").code == "model_not_found"
    assert worker.fails(place.request(model="i2vgen-xl-8bit"), "c", "absent").code == "model_not_found"
    assert contents(place.out / "clip") == whole and tried(place) == ""
    place.check("clip")


def test_the_app(place, whole, blocked):
    """Its window, its library and its engine."""
    home = place.root / "home"
    environment = blocked | {"PYTHONPATH": os.pathsep.join([str(BLOCK), str(Path(__file__).parents[2])]),
                             "XDG_DATA_HOME": str(place.root / "data")}
    done = python(place, environment, APP, home, place.picture, place.model)
    assert done.returncode == 0, done.stderr[-2000:]
    assert contents(Path(done.stdout.strip())).keys() == whole.keys() and tried(place) == ""
