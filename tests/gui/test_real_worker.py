"""The main stories once more with the real engine and a tiny model: the same bytes, and no standstill."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from standstill import LIMIT_S, turns

from gui.engine_client import EngineClient
from gui.places import Places
from gui.session import Session
from i2v_mlx.request import Request


@pytest.fixture
def app(qapp, qtbot, tmp_path, tiny_model):
    """A session with the tiny model and a picture, as if they had been chosen."""
    draw = np.random.default_rng(0)
    pixels = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels.resize((1200, 900), Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg")
    session = Session(Places.below(tmp_path / "home"), EngineClient(log=tmp_path / "engine.log"))
    session.draft.recall(Request(str(tmp_path / "photo.jpg"), "a cat runs", model=str(tiny_model[1]), width=64,
                                 height=48, num_frames=4, num_inference_steps=4, seed=5))
    session.draft.set_seed_mode("locked")
    session.problems = []
    session.problem.connect(session.problems.append)
    session.start()
    yield session
    session.close()


def finish(app, qtbot, begin):
    with qtbot.waitSignal(app.job_done, timeout=60_000) as done:
        begin()
    return done.args[1]


def frames(clip):
    return [path.read_bytes() for path in sorted(clip.folder.glob("*.png"))]


def at_step_2(app, act):
    """Calls `act` once, when the next job has done two steps."""
    acted = []

    def look(_):
        if app.queue.jobs[-1].step == 2 and not acted:
            acted.append(True)
            act()

    app.queue.job_changed.connect(look)


def test_from_generate_to_the_library(app, qtbot):
    previews = []
    app.runner.previewed.connect(previews.append)
    clip = finish(app, qtbot, app.generate)
    assert [preview.shape for preview in previews] == [(4, 6, 8, 3)] * 4
    assert app.player.frames.shape == (4, 48, 64, 3) and app.shown == clip
    assert app.engine.hello.device and app.estimate.learned and app.problems == []
    assert app.draft.request.model == clip.request.model       # a folder that is there is a model
    assert frames(finish(app, qtbot, app.generate)) == frames(clip)


def test_no_socket_is_opened_while_a_clip_is_made(app, qtbot, tmp_path, monkeypatch):
    """In the app an audit hook looks, in the engine that of the fault suites, which lets none through."""
    opened, looking = [], [True]
    sys.addaudithook(lambda event, _: opened.append(event) if looking and event.startswith("socket.") else None)
    note = tmp_path / "tried"
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "faults" / "no_network"))
    monkeypatch.setenv("NO_NETWORK_NOTE", str(note))
    app.engine.release()
    finish(app, qtbot, app.generate)
    looking.clear()
    assert opened == [] and not note.exists()


def test_killed_at_a_step_and_resumed(app, qtbot):
    whole = frames(finish(app, qtbot, app.generate))
    at_step_2(app, lambda: app.engine._kill())
    with qtbot.waitSignal(app.job_stopped, timeout=60_000):
        (job,) = app.generate()
    assert app.problems[0].code == "engine_crashed" and job.can_resume
    assert frames(finish(app, qtbot, lambda: app.act("resume", job.id))) == whole


def test_paused_and_resumed_after_a_restart(app, qtbot, tmp_path):
    whole = frames(finish(app, qtbot, app.generate))
    at_step_2(app, app.pause)
    with qtbot.waitSignal(app.job_stopped, timeout=60_000):
        (job,) = app.generate()
    assert job.state == "paused" and app.engine.state == "stopped"
    app.close()
    again = Session(app.places, EngineClient(log=tmp_path / "engine.log"))
    try:
        again.start()
        assert frames(finish(again, qtbot, again.resume)) == whole
    finally:
        again.close()


def test_the_main_thread_is_never_busy_for_long(app, qtbot):
    app.draft.change(num_inference_steps=20)
    assert turns(lambda: finish(app, qtbot, app.generate)) < LIMIT_S
