"""The card that offers the released model, and its copy in 8 bits."""

import sys

import pytest

from gui.model_card import ModelCard
from gui.model_download import EIGHT_BIT, NAME, ModelDownload
from gui.progress import Progress
from i2v_mlx.events import Converting, Stage


@pytest.mark.parametrize(("memory", "proposed"), [(8 * 2**30, True), (16 * 2**30, False)])
@pytest.mark.parametrize("changed", [False, True])
def test_what_was_downloaded_is_what_the_next_clip_is_made_with(session, qtbot, memory, proposed, changed):
    told = {"memory_bytes": memory}
    app = session({"hello": told | {"models": ["demo"]}}, {"hello": told | {"models": ["demo", NAME, EIGHT_BIT]}})
    download = ModelDownload([sys.executable, "-c", "print('{\"event\": \"finished\"}')"], parent=app)
    card = ModelCard(app, download)
    qtbot.addWidget(card)
    qtbot.waitUntil(lambda: app.engine.state == "ready", timeout=10_000)
    assert card.small.isChecked() == proposed
    if changed:
        card.small.click()
    with qtbot.waitSignal(download.ended, timeout=10_000):
        card.button.click()
    assert app.draft.request.model == "demo"           # until the engine has it
    with qtbot.waitSignal(app.engine.said_hello, timeout=10_000):
        app.engine.release()
        app.engine.start()
    assert app.draft.request.model == (EIGHT_BIT if proposed != changed else NAME)
    assert app.draft.request.width > 96                # with the settings of the released model


def test_the_copy_being_made_is_progress():
    progress = Progress(steps=4)
    for event in (Stage("load"), Converting("unet", 3, 4), Converting("x", 9, 4)):
        progress.feed(event)
    assert (progress.stage, progress.part, progress.parts) == ("load", 3, 4)
