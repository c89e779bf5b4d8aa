"""What people drop, type and plug out: each is one sentence in the window, and nothing is lost by it."""

import errno
import os

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QMessageBox

from gui.export_dialog import ExportDialog
from gui.main_window import MainWindow
from gui.places import Places
from i2v_mlx import files, recipe, video
from i2v_mlx.request import Request

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")     # offscreen has no window manager


@pytest.fixture
def window(session, qtbot, photo):
    """A window with a picture, words, a finished clip and a paused job: what there is to lose."""
    made = MainWindow(session({}, start=False))
    qtbot.addWidget(made)
    made.show()
    app = made.session
    app.start()
    app.open_files([str(photo)])
    qtbot.waitUntil(lambda: None not in (app.picture.image, app.engine.hello), timeout=10_000)
    app.draft.change("fill", prompt="boats sway", num_inference_steps=2, num_frames=3)
    with qtbot.waitSignal(app.job_done, timeout=20_000):
        made.actions_.generate.trigger()
    waiting = app.queue.add(app.draft.request, 8.0)
    app.queue.update(waiting, state="paused")
    made.error_bar.clear()
    return made


def held(window):
    """All that must survive."""
    app = window.session
    return (app.draft.request, app.picture.path, [(job.id, job.state) for job in app.queue.jobs],
            [(entry.id, entry.title) for entry in app.library.entries()],
            sorted(path.relative_to(app.places.clips) for path in app.places.clips.rglob("*")), app.player.count,
            app.shown)


def drop(window, *paths, text=None):
    mime = QMimeData()
    if text is not None:
        mime.setText(text)
    else:
        mime.setUrls([path if isinstance(path, QUrl) else QUrl.fromLocalFile(str(path)) for path in paths])
    rest = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(50, 50), *rest))
    QApplication.sendEvent(window, QDropEvent(QPointF(50, 50), *rest))


def sentence(window, qtbot):
    """The one that the bar shows, and its code."""
    bar = window.error_bar
    qtbot.waitUntil(lambda: bar.problem is not None, timeout=10_000)
    message = bar.message.text()
    assert bar.isVisible() and not bar._waiting                         # one, and not a heap of them
    assert message == bar.problem.message and message.endswith(".") and "\n" not in message and len(message) < 200
    assert "Traceback" not in message and "unexpected" not in message.lower()
    return bar.problem.code


def text_file(folder):
    (folder / "notes.txt").write_text("no picture")
    return folder / "notes.txt"


def text_named_as_a_picture(folder):
    (folder / "notes.png").write_text("no picture")
    return folder / "notes.png"


def empty_folder(folder):
    (folder / "holiday").mkdir()
    return folder / "holiday"


def folder_of_pictures(folder):
    (folder / "holiday").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "holiday" / "IMG_7.jpg")
    return folder / "holiday"


def image_of_200_mb(folder):
    with (folder / "huge.tif").open("wb") as file:
        file.truncate(200 * 10**6)
    return folder / "huge.tif"


def broken_image(folder):
    Image.effect_noise((64, 64), 50).save(folder / "broken.png")
    data = (folder / "broken.png").read_bytes()
    (folder / "broken.png").write_bytes(data[:len(data) // 2])
    return folder / "broken.png"


def broken_heic(folder):
    (folder / "broken.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    return folder / "broken.heic"


def video_without_a_recipe(folder):
    video.write_video(folder / "holiday.mp4", np.zeros((2, 16, 16, 3), np.uint8), 8.0, None)
    return folder / "holiday.mp4"


def no_video_at_all(folder):
    (folder / "holiday.mov").write_bytes(b"\x00" * 1000)
    return folder / "holiday.mov"


def recipe_of_a_newer_version(folder, **changes):
    made = recipe.make(Request(__file__, "from the future"), {"name": "demo"}, 8.0) | {"recipe": 99, "version": "9.0"}
    video.write_video(folder / "future.mp4", np.zeros((2, 16, 16, 3), np.uint8), 8.0, recipe.to_json(made | changes))
    return folder / "future.mp4"


def recipe_with_settings_of_a_newer_version(folder):
    values = Request("harbour.jpg", "from the future").to_dict() | {"depth": 3}
    return recipe_of_a_newer_version(folder, recipe=1, request=values)


def path_that_is_not_there(folder):
    return folder / "gone.jpg"


def loop(folder):
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder / "loop.jpg"


def pipe(folder):
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


@pytest.mark.parametrize(("make", "codes"), [
    (text_file, ["drop_not_a_picture"]), (text_named_as_a_picture, ["image_format"]),
    (empty_folder, ["drop_folder"]), (folder_of_pictures, ["drop_folder"]), (image_of_200_mb, ["image_too_large"]),
    (broken_image, ["image_unreadable"]), (broken_heic, ["image_format"]),
    (video_without_a_recipe, ["video_without_recipe"]), (no_video_at_all, ["video_unreadable"]),
    (recipe_of_a_newer_version, ["recipe_too_new"]), (recipe_with_settings_of_a_newer_version, ["request_invalid"]),
    (path_that_is_not_there, ["image_not_found"]), (loop, ["image_not_found"]), (pipe, ["image_not_a_file"]),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_dropped_and_cannot_be_used(window, qtbot, tmp_path, make, codes):
    folder = tmp_path / "dropped"
    folder.mkdir()
    before = held(window)
    drop(window, make(folder))
    assert sentence(window, qtbot) in codes
    assert held(window) == before


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read(window, qtbot, tmp_path, photo, monkeypatch, kind):
    """As anybody but root meets it."""
    before = held(window)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("gui.drops.os.scandir" if kind == "folder" else "i2v_mlx.images.Image.open", refuse)
    secret = tmp_path / "secret"
    secret.mkdir() if kind == "folder" else secret.with_suffix(".jpg").write_bytes(photo.read_bytes())
    drop(window, secret if kind == "folder" else secret.with_suffix(".jpg"))
    assert sentence(window, qtbot) == ("drop_unreadable" if kind == "folder" else "image_unreadable")
    assert "cannot be opened: Permission denied." in window.error_bar.message.text()
    monkeypatch.undo()
    assert held(window) == before


@pytest.mark.parametrize("text", ["just some words", "data:image/png;base64,!!!", "data:text/html;base64,AAAA"])
def test_text_that_is_no_picture_is_pasted_in_vain(window, qtbot, text):
    before = held(window)
    window.clip_view.setFocus()
    QGuiApplication.clipboard().setText(text)
    window.actions_.paste.trigger()
    assert sentence(window, qtbot).startswith("drop_")
    assert held(window) == before


def test_an_address_without_consent(window, qtbot, monkeypatch):
    """The question is the sentence; Cancel is the default for Escape and nothing is fetched."""
    monkeypatch.setattr("gui.fetch.fetch", lambda *_: pytest.fail("fetched"))
    before = held(window)
    drop(window, QUrl("http://127.0.0.1:9/a.png"))
    (question,) = window.findChildren(QMessageBox)
    assert question.text() == "Fetch this picture from the web?" and "127.0.0.1:9/a.png" in question.informativeText()
    question.reject()
    qtbot.wait(50)
    assert held(window) == before and window.error_bar.problem is None


def test_an_address_that_leads_nowhere(window, qtbot):
    before = held(window)
    window.session.fetch("http://127.0.0.1:1/a.png")
    assert sentence(window, qtbot) == "fetch_failed" and held(window) == before


@pytest.mark.parametrize("book", ["x" * 100_000, "boats sway " * 9_100], ids=["one word", "many words"])
def test_a_prompt_of_100_kb(window, qtbot, book):
    """Pasted it is refused at once, with the words as they were; from a file it can be seen and shortened."""
    before, edit = held(window), window.prompts.prompt.edit
    QGuiApplication.clipboard().setText(book)
    edit.setFocus()
    window.actions_.paste.trigger()
    assert sentence(window, qtbot) == "prompt_too_long"
    assert held(window) == before and edit.toPlainText() == "boats sway"
    window.error_bar.clear()
    window.session.draft.change(prompt=book)
    assert window.actions_.generate.isEnabled() is False
    assert window.run_bar.estimate.first.text() == f"A prompt of {len(book)} characters is too long."
    assert window.session.generate() == [] and sentence(window, qtbot) == "prompt_too_long"
    window.actions_.undo.trigger()
    assert held(window) == before


@pytest.fixture
def export(window, qtbot):
    """Exports the shown clip to a target and returns the sentence that the dialog shows."""

    def start(target):
        window.actions_.export.trigger()
        (dialog,) = window.findChildren(ExportDialog)
        dialog.start(target)
        qtbot.waitUntil(dialog.error.isVisible, timeout=20_000)
        text = dialog.error.text()
        assert dialog.save.isEnabled() and not window.session.exporter.busy      # one can try again at once
        dialog.reject()
        return text

    return start


def test_an_export_to_a_folder_that_is_read_only(window, export, tmp_path, monkeypatch):
    before, folder = held(window), tmp_path / "locked"
    folder.mkdir()

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)             # what the check before the work does
    text = export(folder / "boats.mp4")
    assert "boats.mp4 cannot be written: Permission denied." in text and held(window) == before
    assert list(folder.iterdir()) == []


def test_an_export_to_a_disk_that_is_full(window, export, tmp_path, monkeypatch):
    before, folder = held(window), tmp_path / "stick"
    folder.mkdir()
    monkeypatch.setattr("i2v_mlx.files.free_bytes", lambda path: 1000)
    text = export(folder / "boats.mp4")
    assert text.startswith("There is not enough space for") and held(window) == before and list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_an_export_to_a_disk_that_fills_up(window, export, tmp_path, monkeypatch, kind):
    """Half-way, after the check has passed."""
    before, folder = held(window), tmp_path / "stick"
    folder.mkdir()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr({"gif": "i2v_mlx.ffmpeg.Encoder.write", "webp": "i2v_mlx.video._Webp.finish",
                         "png": "i2v_mlx.video._Pngs.write"}[kind], full)
    window.session.set_preferences(window.session.preferences.__class__(last_export=kind))
    text = export(folder / ("boats" if kind == "png" else f"boats.{kind}"))
    assert text.startswith("There is not enough space for") and held(window) == before and list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"this is no database" * 1000, b"SQLite format 3\x00" + b"\x07" * 9000])
@pytest.mark.parametrize("name", ["library.db", "queue.json", "preferences.json", "draft.json", "estimates.json"])
def test_a_state_file_that_is_damaged(session, qtbot, photo, content, name):
    """The app starts, says so, keeps the file, and the clips are there again."""
    first = MainWindow(session({}, start=False))
    qtbot.addWidget(first)
    app = first.session
    app.start()
    app.open_files([str(photo)])
    qtbot.waitUntil(lambda: app.picture.image is not None, timeout=10_000)
    app.draft.change("fill", prompt="boats sway", num_inference_steps=1, num_frames=2)
    with qtbot.waitSignal(app.job_done, timeout=20_000):
        app.generate()
    app.set_preferences(app.preferences)
    first.close()
    app.close()
    file = app.places.state / name
    assert file.exists()
    file.write_bytes(content)
    second = MainWindow(session({}, start=False))
    qtbot.addWidget(second)
    second.show()
    second.session.start()
    assert file.with_name(f"{file.stem}.broken-1{file.suffix}").read_bytes() == content
    library = second.session.library
    qtbot.waitUntil(lambda: [entry.title for entry in library.entries()] == ["boats sway"], timeout=10_000)
    if name != "draft.json":                           # settings are no loss to speak of
        assert second.error_bar.isVisible()
        assert f"{file.stem}.broken-1{file.suffix}" in second.error_bar.message.text()


def test_a_folder_of_the_app_that_cannot_be_used_is_said_in_a_window(tmp_path, monkeypatch, capsys, qapp):
    from gui import app

    (tmp_path / "state").write_text("in the way")
    said = []
    monkeypatch.setattr(app, "App", lambda arguments: qapp)
    monkeypatch.setattr(app.Places, "standard", classmethod(lambda cls: Places.below(tmp_path)))
    monkeypatch.setattr(app.QMessageBox, "critical", lambda *words: said.append(words[-1]))
    assert app.main(["livestill"]) == 1
    assert said == [capsys.readouterr().err.strip()] and "cannot use its folder" in said[0]
