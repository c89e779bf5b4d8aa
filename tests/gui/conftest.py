"""Fixtures of the app's tests. Every test fails on a Qt warning (pyproject) and on a thread or process left behind."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

os.environ["QT_QPA_PLATFORM"] = "offscreen"      # before Qt is loaded: tests need no screen

FAKE = Path(__file__).with_name("fake_worker.py")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if thread not in before and not thread.daemon}
    assert not left


@pytest.fixture(scope="session", autouse=True)
def clipboard_is_left_empty(qapp):
    """Without a screen Qt destroys what is in it at exit, when Python, which it came from, is gone: a crash."""
    yield
    qapp.clipboard().clear()


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path_factory, monkeypatch):
    """Nothing of the user's is touched; the bin is in there too."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))


@pytest.fixture
def script(tmp_path):
    """Makes the command of a fake worker that does what the script says, process by process."""

    def make(*processes: dict) -> list[str]:
        file = tmp_path / "script.json"
        file.write_text(json.dumps({"processes": processes}))
        file.with_suffix(".starts").unlink(missing_ok=True)
        return [sys.executable, str(FAKE), str(file)]

    return make


@pytest.fixture
def photo(tmp_path):
    """A picture file."""
    path = tmp_path / "harbour.jpg"
    Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(path)
    return path


@pytest.fixture
def session(qapp, tmp_path, script):
    """Makes a session with a fake worker, started; a second one finds what the first has left."""
    from gui.engine_client import EngineClient
    from gui.places import Places
    from gui.session import Session

    made = []

    def make(*processes: dict, start: bool = True) -> Session:
        engine = EngineClient(script(*processes), cancel_grace_s=1.0)
        session = Session(Places.below(tmp_path / "home"), engine)
        session.problems, session.notices = [], []
        session.problem.connect(session.problems.append)
        session.notice.connect(session.notices.append)
        made.append(session)
        if start:
            session.start()
        return session

    yield make
    for session in made:
        session.close()
