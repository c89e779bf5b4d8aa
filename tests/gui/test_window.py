"""The window over a session with the fake worker: what is shown, and that every part acts on the session."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from standstill import LIMIT_S, turns

from gui import theme
from gui.export_dialog import ExportDialog
from gui.main_window import SMALLEST, MainWindow
from gui.problems import Problem
from i2v_mlx import frames

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")     # offscreen has no window manager


@pytest.fixture
def window(session, qtbot):
    """Makes a window, shown, over a started session."""

    def make(*processes: dict) -> MainWindow:
        made = MainWindow(session(*processes, start=False))
        qtbot.addWidget(made)
        made.show()
        made.session.start()
        qtbot.waitUntil(lambda: made.session.engine.hello is not None, timeout=10_000)
        return made

    return make


@pytest.fixture
def filled(window, photo, qtbot):
    """A window with a picture, words and few, quick steps."""

    def make(*processes: dict, **fields: object) -> MainWindow:
        made = window(*processes)
        made.session.open_files([str(photo)])
        qtbot.waitUntil(lambda: made.session.picture.image is not None, timeout=10_000)
        made.session.draft.change("fill", prompt="boats sway", num_inference_steps=4, num_frames=5, **fields)
        return made

    return make


def make_clip(window, qtbot):
    with qtbot.waitSignal(window.session.job_done, timeout=20_000) as done:
        window.actions_.generate.trigger()
    qtbot.waitUntil(lambda: window.session.shown is not None, timeout=10_000)
    return done.args[1]


def drop(window, mime):
    """As a drag from another program; returns whether it was taken."""
    rest = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(QPoint(50, 50), *rest)
    QApplication.sendEvent(window, enter)
    QApplication.sendEvent(window, QDropEvent(QPointF(50, 50), *rest))
    return enter.isAccepted()


def mime_of(*paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    return mime


def test_first_start_invites_and_offers_the_full_model(window):
    window = window({"hello": {"models": ["demo"]}})
    assert window._stage.currentWidget() is window.start_page and window.card.isVisible()
    words = " ".join(fact.text() for fact in window.card.facts.values())
    assert "5.0 GB" in words and "free" in words and "MIT, as tagged on the hub" in words
    assert "python -m i2v_mlx download" in words
    assert not window.run_bar.generate.isEnabled()
    assert window.run_bar.estimate.second.text() == "Drop a picture to begin."


def test_the_card_is_gone_when_the_model_is_there(window):
    assert not window({"hello": {"models": ["i2vgen-xl", "demo"]}}).card.isVisible()


def test_drop_generate_watch_and_export(filled, qtbot, tmp_path):
    window = filled({"step_seconds": 0.05})
    assert window._stage.currentWidget() is window.clip_view
    assert window.run_bar.generate.isEnabled() and "about" in window.run_bar.estimate.first.text().lower()
    window.run_bar.generate.click()
    qtbot.waitUntil(lambda: window.session.player.is_preview, timeout=10_000)
    assert window.run_bar._faces.currentWidget() is window.run_bar.progress
    assert "Denoising" in window.run_bar.progress.stage.text() and window.run_bar.generate.text() == "Add to Queue"
    assert window.queue_panel.isVisible() and window.queue_panel.list.item(0).text().startswith("boats sway, Running")
    qtbot.waitUntil(lambda: window.session.shown is not None, timeout=20_000)
    assert window.run_bar._faces.currentWidget() is window.run_bar.estimate
    assert window.library_panel.model.rowCount() == 1
    assert window.filmstrip.maximum() == 4 and len(window.filmstrip._thumbnails) == 5

    window.actions_.export.trigger()
    dialog = window.findChild(ExportDialog)
    dialog.start(tmp_path / "boats.mp4")
    qtbot.waitUntil(lambda: (tmp_path / "boats.mp4").exists() and not window.session.exporter.busy, timeout=20_000)
    assert window.error_bar.message.text() == f"Saved boats.mp4 in {tmp_path.name}."

    again = tmp_path / f"harbour-{window.session.shown.request.seed}.mp4"
    again.write_bytes(b"somebody's")
    window.session.player.set_speed(2.0)
    window.actions_.export_again.trigger()               # the same kind to the same place, without a question
    assert not any(panel.isVisible() for kind in (QFileDialog, ExportDialog) for panel in window.findChildren(kind))
    fresh = again.with_stem(f"{again.stem}-2")
    saved = f"Saved {fresh.name} in {tmp_path.name}."
    qtbot.waitUntil(lambda: window.error_bar.message.text() == saved, timeout=20_000)
    assert again.read_bytes() == b"somebody's" and frames.probe(fresh).fps == 16.0


def test_export_as_last_asks_the_first_time_and_says_what_went_wrong(filled, qtbot, tmp_path):
    window = filled()
    make_clip(window, qtbot)
    window.actions_.export_again.trigger()
    dialog = window.findChild(ExportDialog)
    assert dialog.isVisible()
    dialog.reject()
    gone = tmp_path / "unplugged"
    window.session.set_preferences(dataclasses.replace(window.session.preferences, last_folder=str(gone)))
    window.actions_.export_again.trigger()
    qtbot.waitUntil(lambda: window.error_bar.problem is not None, timeout=10_000)
    assert window.error_bar.problem.code == "output_folder_missing" and str(gone) in window.error_bar.message.text()
    assert not gone.exists()


def test_export_to_a_bad_place_says_so_and_stays(filled, qtbot, tmp_path):
    window = filled()
    make_clip(window, qtbot)
    window.actions_.export.trigger()
    dialog = window.findChild(ExportDialog)
    dialog.start(tmp_path / "nowhere" / "boats.mp4")
    qtbot.waitUntil(dialog.error.isVisible, timeout=10_000)
    assert dialog.error.text() and dialog.save.isEnabled()
    dialog.reject()


def test_files_dropped_anywhere_reach_the_session(window, photo, qtbot, tmp_path):
    window = window()
    assert drop(window, mime_of(photo))
    qtbot.waitUntil(lambda: window.session.draft.request.image == str(photo), timeout=10_000)

    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    drop(window, mime_of(text))
    qtbot.waitUntil(lambda: window.error_bar.problem is not None, timeout=10_000)
    assert window.error_bar.message.text() and window.session.draft.request.image == str(photo)


def test_paste_a_picture_and_paste_words(window, qtbot):
    window = window()
    image = QImage(64, 48, QImage.Format.Format_RGB888)
    image.fill(Qt.GlobalColor.red)
    QGuiApplication.clipboard().setImage(image)
    window.prompts.prompt.edit.setFocus()
    window.prompts.prompt.edit.paste()                   # a picture, with the focus in a text field
    qtbot.waitUntil(lambda: window.session.picture.image is not None, timeout=10_000)
    assert window.prompts.prompt.edit.toPlainText() == ""
    QGuiApplication.clipboard().setText("<b>gulls</b>")
    window.prompts.prompt.edit.paste()
    assert window.session.draft.request.prompt == "<b>gulls</b>"


def test_typing_goes_to_the_draft_and_undo_comes_back(filled, qtbot):
    window = filled()
    edit = window.prompts.prompt.edit
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, "gulls")
    assert window.session.draft.request.prompt == "gulls"
    window.actions_.undo.trigger()
    assert edit.toPlainText() == "boats sway"
    window.actions_.redo.trigger()
    assert edit.toPlainText() == "gulls"


def test_words_that_are_cut_off_are_shown(filled, qtbot):
    from gui.prompt_tokens import TokenCount

    words = filled().prompts.prompt
    words._show_count(TokenCount(80, 75, "seventy six <i>and</i> more"))
    assert words.count.text() == "80 of 75" and words.cut.isVisible()
    assert words.cut.text() == "Not read: seventy six <i>and</i> more"
    assert words.cut.textFormat() == Qt.TextFormat.PlainText


def test_numbers_presets_and_seed_follow_the_draft_both_ways(filled):
    window = filled()
    panel, draft = window.settings, window.session.draft
    window.actions_.advanced.setChecked(True)
    panel.steps.setValue(33)
    panel.guidance.setValue(7.5)
    panel.motion.setValue(12)
    panel.seed.setValue(2**32 - 1)
    assert (draft.request.num_inference_steps, draft.request.guidance_scale, draft.request.target_fps,
            draft.request.seed) == (33, 7.5, 12, 2**32 - 1)
    window.actions_.lock_aspect.setChecked(True)
    before = draft.request.width / draft.request.height
    panel.width_.setValue(260)                           # rounded to a multiple of 8; the height follows
    assert draft.request.width % 8 == 0 and panel.width_.value() == draft.request.width
    assert draft.request.width / draft.request.height == pytest.approx(before, rel=0.05)
    window.actions_.presets[0].trigger()
    assert panel.preset.value == "draft" and panel.steps.value() == draft.request.num_inference_steps
    panel._mode_buttons["locked"].click()
    assert draft.seed_mode == "locked"
    panel._mode_buttons["locked"].click()
    assert draft.seed_mode == "random"


def test_crop_by_mouse_keys_and_menu(filled, qtbot):
    window = filled()
    editor, draft = window.image_well.crop_editor, window.session.draft
    editor.setFocus()
    qtbot.keyClick(editor, Qt.Key.Key_Minus)
    smaller = draft.request.crop
    assert smaller is not None and smaller[2] - smaller[0] < 1
    qtbot.keyClick(editor, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert draft.request.crop[0] < smaller[0]
    middle = editor.rect().center()
    qtbot.mousePress(editor, Qt.MouseButton.LeftButton, pos=middle)
    qtbot.mouseMove(editor, middle + QPoint(0, 3))
    qtbot.mouseRelease(editor, Qt.MouseButton.LeftButton, pos=middle + QPoint(0, 3))
    assert draft.request.crop[1] > smaller[1]
    window.actions_.reset_crop.trigger()
    assert draft.request.crop is None


def test_transport_and_filmstrip_drive_the_player(filled, qtbot):
    window = filled()
    make_clip(window, qtbot)
    player, actions = window.session.player, window.actions_
    window.clip_view.setFocus()
    qtbot.keyClick(window.clip_view, Qt.Key.Key_Space)
    assert not player.playing
    player.seek(0)
    qtbot.keyClick(window.clip_view, Qt.Key.Key_Left)
    assert player.position == 4 and window.transport.place.text() == "5 / 5"
    qtbot.mouseClick(window.filmstrip, Qt.MouseButton.LeftButton, pos=QPoint(2, 20))
    assert player.position == 0
    window.transport.mode.button("boomerang").click()
    assert player.boomerang and actions.boomerang.isChecked()
    window.transport.side.button("source").click()
    assert player.side == "source" and actions.compare.isChecked()
    actions.speeds[2.0].trigger()
    assert player.speed == 2.0 and window.transport.speed.currentText().startswith("2")


def test_pause_and_resume_from_the_bar(filled, qtbot):
    window = filled({"step_seconds": 0.05})
    window.session.draft.change(num_inference_steps=40)
    window.actions_.generate.trigger()
    qtbot.waitUntil(lambda: window.session.player.is_preview, timeout=10_000)
    window.actions_.pause_job.trigger()
    qtbot.waitUntil(lambda: window.session.queue.jobs[0].state == "paused", timeout=10_000)
    assert window.run_bar.estimate.resume.isVisible() and "Paused" in window.run_bar.estimate.second.text()
    window.run_bar.estimate.resume.click()
    qtbot.waitUntil(lambda: window.session.queue.running() is not None, timeout=10_000)
    window.actions_.cancel_job.trigger()
    qtbot.waitUntil(lambda: window.session.queue.jobs[0].state == "cancelled", timeout=10_000)


def test_a_crash_is_told_and_resumed(filled, qtbot):
    window = filled({"jobs": [{"at": {"2": "crash"}}]}, {})
    window.actions_.generate.trigger()
    qtbot.waitUntil(lambda: window.error_bar.problem is not None, timeout=10_000)
    assert window.error_bar.isVisible() and window.error_bar.message.text() == "The engine stopped unexpectedly."
    buttons = [window.error_bar._buttons.itemAt(index).widget() for index in range(window.error_bar._buttons.count())]
    assert buttons[0].text() == "Resume"
    with qtbot.waitSignal(window.session.job_done, timeout=20_000):
        buttons[0].click()
    assert not window.error_bar.isVisible()


def test_queue_menu_reorders_and_removes(filled, qtbot):
    window = filled({"step_seconds": 0.2})
    window.session.draft.change(num_inference_steps=50)
    for action in (window.actions_.generate, window.actions_.takes[0]):
        action.trigger()
    jobs = window.session.queue.jobs
    first = [job.id for job in jobs]
    window.queue_panel.list.setCurrentRow(2)
    window.actions_.job_up.trigger()
    assert [job.id for job in jobs] == [first[0], first[2], first[1]]
    assert window.queue_panel.job().id == first[2]       # still selected
    window.actions_.job_remove.trigger()
    assert [job.id for job in window.session.queue.jobs] == [first[0], first[1]]
    window.actions_.cancel_job.trigger()
    qtbot.waitUntil(lambda: window.session.queue.jobs[0].state == "cancelled", timeout=10_000)


def test_library_recalls_one_field_or_all(filled, qtbot):
    window = filled()
    clip = make_clip(window, qtbot)
    window.session.draft.change("other", prompt="foxes", num_inference_steps=9, seed=5)
    window.actions_.recall_fields[0].trigger()
    assert window.session.draft.request.prompt == "boats sway"
    assert window.session.draft.request.num_inference_steps == 9
    window.actions_.recall.trigger()
    assert window.session.draft.request.seed == clip.request.seed
    window.actions_.favourite.trigger()
    window.library_panel.favourites.setChecked(True)
    assert window.library_panel.model.rowCount() == 1
    window.library_panel.search.setText("zebra")
    assert window.library_panel.model.rowCount() == 0 and window.library_panel._nothing.text() == "Nothing found."
    window.actions_.delete_clip.trigger()
    assert window.session.library.clips() == [] and window.session.player.count == 0


def test_a_clip_leaves_as_a_file(filled, qtbot):
    window = filled()
    clip = make_clip(window, qtbot)

    def copied():
        window.actions_.copy_file.trigger()
        return window.session.drag_file(clip.id) is not None

    qtbot.waitUntil(copied, timeout=20_000)
    window.actions_.copy_file.trigger()
    (url,) = QGuiApplication.clipboard().mimeData().urls()
    assert url.toLocalFile().endswith(".mp4")


def test_problems_stack_and_notices_do_not_hide_them(window):
    bar = window().error_bar
    bar.show_problem(Problem("a", "First <b>thing</b>."))
    bar.show_problem(Problem("b", "Second thing."))
    bar.show_notice("By the way.")
    assert bar.message.text() == "Second thing."
    bar.clear()
    assert bar.message.text() == "First <b>thing</b>." and bar.message.textFormat() == Qt.TextFormat.PlainText
    bar.is_over("a")
    assert not bar.isVisible()


def test_light_and_dark_at_once_and_everywhere(window, qapp):
    window = window()
    before = qapp.palette(), qapp.styleSheet()
    try:
        for appearance, dark in (("dark", True), ("light", False)):
            window.session.set_preferences(dataclasses.replace(window.session.preferences, appearance=appearance))
            assert theme.is_dark(window.palette()) == dark
            pixel = window.grab().toImage().pixelColor(4, window.height() - 4)
            assert (pixel.lightnessF() < 0.5) == dark
    finally:
        qapp.setPalette(before[0])
        qapp.setStyleSheet(before[1])


def test_nothing_is_clipped_at_the_smallest_size(filled, qtbot):
    window = filled({"step_seconds": 0.05})
    window.session.draft.change(num_inference_steps=50)
    window.actions_.generate.trigger()
    qtbot.waitUntil(lambda: window.session.player.is_preview, timeout=10_000)
    window.resize(*SMALLEST)
    QApplication.processEvents()
    assert (window.width(), window.height()) == SMALLEST
    for part in (window.transport, window.run_bar, window.library_panel, window.queue_panel):
        for child in part.findChildren(QWidget):
            if child.isVisible() and child.parentWidget() is part:
                assert part.rect().contains(child.geometry()), (part, child)
                assert child.width() >= child.minimumSizeHint().width(), (part, child)
    assert window.clip_view.width() * window.clip_view.height() > 0.3 * SMALLEST[0] * SMALLEST[1]
    window.actions_.cancel_job.trigger()
    qtbot.waitUntil(lambda: window.session.queue.running() is None, timeout=10_000)


def test_the_window_comes_back_as_it_was(session, qtbot):
    first = MainWindow(session())
    qtbot.addWidget(first)
    first.show()
    first.resize(1100, 760)
    first._splitter.setSizes([300, 560, 240])
    first.actions_.filmstrip.setChecked(False)
    first.actions_.advanced.setChecked(True)
    first.close()
    second = MainWindow(first.session)
    qtbot.addWidget(second)
    second.show()
    assert (second.width(), second.height()) == (1100, 760)
    assert second._splitter.sizes() == first._splitter.sizes()
    assert second.library_panel.isVisible() and second.settings.steps.isVisible() and not second.filmstrip.isVisible()
    first.session.set_preferences(dataclasses.replace(first.session.preferences, window="no,base64!"))
    third = MainWindow(first.session)                    # nonsense is passed over
    qtbot.addWidget(third)


def test_large_frames_do_not_hold_up_the_event_loop(filled, qtbot):
    """Scaling, filmstrip and painting of 1280 x 704."""
    window = filled()
    large = np.random.default_rng(0).integers(0, 255, (16, 704, 1280, 3), np.uint8)

    def run():
        window.session.player.show_clip(large, 8.0)
        qtbot.wait(600)

    assert turns(run) < LIMIT_S


def test_the_card_downloads_with_progress_and_the_engine_finds_the_model(window, qtbot, tmp_path):
    window = window({"hello": {"models": ["demo"]}}, {"hello": {"models": ["i2vgen-xl", "demo"]}})
    fake = tmp_path / "download.py"
    fake.write_text("""
import sys
from i2v_mlx.download import Finished, Progress, Start
from i2v_mlx.download_progress import JsonLines
from i2v_mlx.transfer import Checking, Waiting
lines = JsonLines()
for event in (Checking("unet.safetensors"), Start("a/b", "/models/there", 5 * 10**9, 10**9, 7 * 10**9, "MIT", ""),
              Waiting("the server took too long", 2.0)):
    lines.show(event)
    sys.stdin.readline()
print('"garbage"', flush=True)
print("stray words", file=sys.stderr, flush=True)
lines.show(Progress("unet.safetensors", 2 * 10**9, 5 * 10**9, 4.5e7, 66.0))
sys.stdin.readline()
lines.show(Finished("/models/there", True))
""")
    window.download._command = [sys.executable, str(fake)]
    window.card.button.click()
    for said in ("Checking unet.safetensors…", "4.0 GB are to be fetched.", "the server took too long; trying again",
                 "2.0 GB of 5.0 GB, 45 MB a second, 1 min left"):
        qtbot.waitUntil(lambda said=said: window.card.line.text() == said, timeout=10_000)
        assert window.card.button.text() == "Stop"
        window.download._process.write(b"\n")
    assert window.card.bar.value() == 400 and window.card.facts["Folder"].text() == "/models/there"
    window.download._process.closeWriteChannel()
    qtbot.waitUntil(lambda: not window.card.isVisible(), timeout=10_000)     # a new worker has the model


def test_a_download_that_fails_or_is_stopped_says_so(window, qtbot, tmp_path):
    window = window()
    fake = tmp_path / "download.py"
    fake.write_text("""
import json, sys
print(json.dumps({"event": "failed", "code": "offline", "message": "There is no network.", "hint": "Try again."}))
sys.exit(1)
""")
    window.download._command = [sys.executable, str(fake)]
    with qtbot.waitSignal(window.download.ended, timeout=10_000):
        window.card.button.click()
    assert window.card.line.text() == "There is no network. Try again." and window.card.button.text() == "Download"
    fake.write_text("raise SystemExit('no words')")
    with qtbot.waitSignal(window.download.ended, timeout=10_000):
        window.card.button.click()
    assert window.card.line.text().startswith("The download stopped unexpectedly.")
    fake.write_text("import time; time.sleep(60)")
    window.card.button.click()
    with qtbot.waitSignal(window.download.ended, timeout=10_000):
        window.card.button.click()
    assert "kept" in window.card.line.text()


def test_the_dock_shows_the_percentage(filled, qtbot, monkeypatch):
    window, badges = filled({"step_seconds": 0.02}), []
    monkeypatch.setattr("gui.main_window.sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(QGuiApplication, "setBadgeNumber", badges.append, raising=False)
    make_clip(window, qtbot)
    assert badges[-1] == 0 and max(badges) > 80 and len(set(badges)) > 4
    assert badges[:-1] == sorted(badges[:-1]) or badges[0] == 0


def test_a_new_picture_takes_the_place_of_the_clip(filled, qtbot, tmp_path, photo):
    window = filled()
    make_clip(window, qtbot)
    other = tmp_path / "hills.jpg"
    other.write_bytes(photo.read_bytes())
    drop(window, mime_of(other))
    qtbot.waitUntil(lambda: window.session.draft.request.image == str(other), timeout=10_000)
    assert window.session.shown is None and window.session.player.count == 0
    assert window._stage.currentWidget() is window.clip_view and not window.actions_.export.isEnabled()


def test_a_picture_may_fall_on_anything(filled):
    """No field takes a picture's path for words; only the queue takes drops itself, of its own rows."""
    window = filled()
    window.actions_.advanced.setChecked(True)
    takers = {child for child in window.findChildren(QWidget) if child.acceptDrops()}
    assert takers <= {window.queue_panel.list, window.queue_panel.list.viewport()}


def test_dragging_the_clip_or_its_thumbnail_takes_the_file_out(filled, qtbot, monkeypatch):
    window = filled()
    clip = make_clip(window, qtbot)
    dragged = []
    monkeypatch.setattr("gui.drag_out.start", lambda source, session, clip: dragged.append((source, clip.id)))
    view = window.clip_view
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(40, 40))
    qtbot.mouseMove(view, QPoint(90, 90))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(90, 90))
    window.library_panel.view.startDrag(Qt.DropAction.CopyAction)
    assert dragged == [(view, clip.id), (window.library_panel.view, clip.id)]
