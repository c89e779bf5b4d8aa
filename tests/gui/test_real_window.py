"""The window over the real engine with a tiny model: previews from the first step on, and no standstill."""

import gc

import numpy as np
import pytest
from PIL import Image
from standstill import LIMIT_S, turns

from gui.engine_client import EngineClient
from gui.main_window import MainWindow
from gui.places import Places
from gui.session import Session

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")     # offscreen has no window manager


@pytest.fixture
def window(qtbot, tmp_path, tiny_model):
    draw = np.random.default_rng(0)
    pixels = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    pixels.resize((4000, 3000), Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg")
    session = Session(Places.below(tmp_path / "home"), EngineClient(log=tmp_path / "engine.log"))
    made = MainWindow(session)
    qtbot.addWidget(made)
    made.show()
    session.start()
    session.open_files([str(tmp_path / "photo.jpg")])
    qtbot.waitUntil(lambda: session.picture.image is not None and session.engine.hello is not None, timeout=60_000)
    session.draft.change("fill", prompt="a cat runs", model=str(tiny_model[1]), width=64, height=48, num_frames=4,
                         num_inference_steps=12)
    gc.collect()
    gc.freeze()                # looking through what torch has left would hold up the loop; the app has no torch
    yield made
    gc.unfreeze()
    session.close()


def test_a_clip_forms_before_the_eyes_without_a_standstill(window, qtbot):
    session, seen = window.session, []

    def follow(progress):
        if progress is not None and session.player.is_preview:
            seen.append((progress.step, window.run_bar.progress.stage.text()))

    session.progress_changed.connect(follow)

    def run():
        with qtbot.waitSignal(session.job_done, timeout=60_000):
            window.actions_.generate.trigger()
        qtbot.waitUntil(lambda: session.shown is not None, timeout=10_000)

    assert turns(run) < LIMIT_S
    assert seen[0][0] == 1 and "step 1 of 12" in seen[0][1]        # the first preview came with the first step
    assert window.library_panel.model.rowCount() >= 1 and window.error_bar.problem is None
