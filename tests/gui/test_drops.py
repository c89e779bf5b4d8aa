"""What a drop or a paste means; everything that cannot be used is one sentence and loses nothing."""

import base64
import http.server
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QImage

from gui import drops, fetch
from gui.drops import Exported, PictureData, Pictures, Refused, Remote
from i2v_mlx import recipe, video
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
                       "rkJggg==")


def mime(*, urls=(), text=None, image=None, **data):
    found = QMimeData()
    found.setUrls([QUrl.fromLocalFile(str(url)) if not isinstance(url, str) else QUrl(url) for url in urls])
    if text is not None:
        found.setText(text)
    if image is not None:
        found.setImageData(image)
    for name, value in data.items():
        found.setData(name.replace("_", "/"), value)
    return found


def refused(drop):
    assert isinstance(drop, Refused) and drop.error.message.endswith(".") and drop.error.hint
    return drop.error.code


def test_files(photo, tmp_path):
    assert drops.accepts(mime(urls=[photo]))
    assert drops.read(mime(urls=[photo])) == Pictures((photo,))
    other = tmp_path / "Ünï cödé 🦊\n.PNG"
    other.write_bytes(PNG)
    (tmp_path / "notes.txt").write_text("x")
    assert drops.read(mime(urls=[other, tmp_path / "notes.txt", photo])) == Pictures((other, photo), ignored=1)


@pytest.mark.parametrize(("name", "code"), [
    ("notes.txt", "drop_not_a_picture"), ("model.zip", "drop_not_a_picture"), ("drawing.svg", "drop_not_a_picture"),
    ("folder", "drop_folder"), ("huge.png", "image_too_large"), ("gone.png", "image_not_found"),
])
def test_files_that_are_refused(tmp_path, name, code):
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "huge.png":
        with path.open("wb") as file:
            file.truncate(300 * 2**20)             # takes no space
    elif name != "gone.png":
        path.write_bytes(b"x")
    assert refused(drops.read(mime(urls=[path]))) == code


def test_videos_and_folders_of_frames(tmp_path):
    movie = tmp_path / "a.MP4"
    movie.write_bytes(b"")
    assert drops.read_files([movie]) == Exported(movie)
    assert refused(drops.read_files([movie, movie])) == "drop_videos"
    frames = tmp_path / "clip"
    frames.mkdir()
    (frames / "clip_0001.png").write_bytes(PNG)
    assert drops.read_files([frames]) == Exported(frames)


def test_pixels_and_bytes(qapp):
    image = QImage(3, 2, QImage.Format.Format_RGB32)
    image.fill(0xFF336699)
    found = drops.read(mime(image=image, urls=["https://example.org/a.png"]))
    assert isinstance(found, PictureData) and found.data == image
    assert drops.read(mime(image_png=PNG)) == PictureData(PNG, ".png")
    assert drops.read(mime(image_jpeg=b"jpeg")) == PictureData(b"jpeg", ".jpg")


def test_addresses():
    data = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert drops.read(mime(urls=[data])) == PictureData(PNG, ".png")
    assert drops.read(mime(text=data)) == PictureData(PNG, ".png")
    assert drops.accepts(mime(text=data))
    assert drops.read(mime(text=data.replace("=", "%3D"))) == PictureData(PNG, ".png")
    assert drops.read(mime(urls=["https://example.org/a.png"])) == Remote("https://example.org/a.png")
    assert drops.read(mime(text=" http://example.org/a?b=c ")) == Remote("http://example.org/a?b=c")


@pytest.mark.parametrize("text", [
    "just words", "", "https://", "ftp://example.org/a.png", "javascript:alert(1)", "data:text/html;base64,AAAA",
    "data:image/svg+xml;base64,AAAA", "data:image/png;base64,!!!", "data:image/png,plain", "x" * 100_000,
])
def test_text_that_is_refused(text):
    assert refused(drops.read(mime(text=text))).startswith("drop_")


@pytest.fixture
def take(session, qtbot):
    """Drops something on a fresh session and waits for what comes of it."""

    def drop(dropped):
        app = session(start=False)
        outcome = [app.picture.opened, app.picture.failed, app.intake.problem, app.intake.settings,
                   app.intake.consent_needed]
        count = []
        for signal in outcome:
            signal.connect(lambda *values: count.append(values))
        app.drop(dropped)
        qtbot.waitUntil(lambda: bool(count), timeout=10_000)
        return app

    return drop


def test_a_pasted_picture_becomes_a_file_that_stays(take, tmp_path):
    image = QImage(30, 20, QImage.Format.Format_RGB32)
    image.fill(0xFF336699)
    app = take(mime(image=image))
    path = app.draft.request.image
    assert path.startswith(str(app.places.pictures)) and Image.open(path).getpixel((0, 0)) == (0x33, 0x66, 0x99)
    assert app.picture.image.size() == image.size()


@pytest.mark.parametrize("content", [b"", b"no picture at all", PNG[:40]])
def test_a_broken_picture_is_one_sentence(take, tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    app = take(mime(urls=[path]))
    (problem,) = app.problems
    assert problem.code in ("image_format", "image_unreadable") and "broken.png" in problem.message
    assert app.picture.image is None


def exported(tmp_path, photo, name, **changes):
    request = Request(str(photo), "boats sway", model="demo", seed=77)
    made = recipe.make(request, {"name": "demo"}, 8.0) | changes
    path = tmp_path / name
    video.write_video(path, np.zeros((2, 16, 16, 3), np.uint8), 8.0, recipe.to_json(made))
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "folder", "folder/folder_0001.png"])
def test_every_exported_file_gives_its_settings_back(take, tmp_path, photo, name):
    exported(tmp_path, photo, name.partition("/")[0])
    beside = (tmp_path / name).with_name(photo.name)
    photo.rename(beside)
    app = take(mime(urls=[tmp_path / name]))
    assert (app.draft.request.prompt, app.draft.request.seed) == ("boats sway", 77)
    assert app.draft.request.image == str(beside) and app.problems == []


def test_settings_without_their_picture_leave_the_picture_as_it_is(take, tmp_path, photo):
    path = exported(tmp_path, photo, "a.mp4")
    photo.unlink()
    app = take(mime(urls=[path]))
    assert app.draft.request.prompt == "boats sway" and app.draft.request.image == ""
    assert app.notices == ["The picture harbour.jpg is not there any more; all else is set."]


def test_the_picture_of_an_exported_file_is_looked_for_where_it_was(take, session, tmp_path, photo):
    """People export to one folder what they made from another; the library remembers."""
    path = exported(tmp_path, photo, "a.mp4")
    elsewhere = tmp_path / "Pictures" / "2026" / photo.name
    elsewhere.parent.mkdir(parents=True)
    photo.rename(elsewhere)
    other = tmp_path / "Other" / photo.name                  # of the same name, but another picture
    other.parent.mkdir()
    Image.new("RGB", (8, 8)).save(other)
    shelf = session(start=False).library
    for number, image in enumerate((elsewhere, other)):
        shelf.add(tmp_path / f"clip-{number}", "{}", Request(str(image)), 8.0, b"", number)
    app = take(mime(urls=[path]))
    assert app.draft.request.image == str(elsewhere) and app.notices == []


@pytest.fixture
def system_can(monkeypatch):
    """As on a Mac, whose system opens HEIC: here the format is one that Qt has."""
    monkeypatch.setattr("gui.intake._SYSTEM_FORMATS", (".ppm",))


def test_a_picture_that_only_the_system_can_open_is_taken_over(take, system_can, tmp_path):
    Image.new("RGB", (30, 20), (10, 200, 30)).save(tmp_path / "IMG_1.ppm")
    app = take(mime(urls=[tmp_path / "IMG_1.ppm"]))
    path = app.draft.request.image
    assert path.startswith(str(app.places.pictures)) and Image.open(path).getpixel((3, 3)) == (10, 200, 30)


def test_a_recipe_of_a_newer_version_is_one_sentence(take, tmp_path, photo):
    app = take(mime(urls=[exported(tmp_path, photo, "a.mp4", recipe=99)]))
    assert [problem.code for problem in app.problems] == ["recipe_too_new"] and app.draft.request.prompt == ""


def test_a_video_without_a_recipe_is_one_sentence(take, tmp_path, photo):
    video.write_video(tmp_path / "a.mp4", np.zeros((2, 16, 16, 3), np.uint8), 8.0, None)
    assert [problem.code for problem in take(mime(urls=[tmp_path / "a.mp4"])).problems] == ["video_without_recipe"]


def test_a_gif_without_a_recipe_is_a_picture(take, tmp_path):
    path = tmp_path / "a.gif"
    Image.new("P", (40, 30)).save(path)
    assert take(mime(urls=[path])).draft.request.image == str(path)


def test_nothing_is_fetched_without_consent(take, monkeypatch):
    monkeypatch.setattr(fetch, "fetch", lambda *_: pytest.fail("fetched"))
    asked = take(mime(urls=["http://127.0.0.1:9/a.png"]))
    assert asked.problems == [] and asked.draft.request.image == ""


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "image/png")
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    with http.server.HTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetching_a_picture(site, tmp_path):
    path = fetch.fetch(f"{site}/a.png", tmp_path)
    assert path.suffix == ".png" and path.read_bytes() == PNG and path.parent == tmp_path
    assert fetch.fetch(f"{site}/b.png", tmp_path) == path                # the same picture is one file


@pytest.mark.parametrize(("path", "code"), [
    ("/gone", "fetch_failed"), ("/page", "fetch_not_a_picture"), ("/elsewhere", "fetch_failed"),
])
def test_what_cannot_be_fetched(site, tmp_path, path, code):
    with pytest.raises(I2VError) as caught:
        fetch.fetch(site + path, tmp_path)
    assert caught.value.code == code and list(tmp_path.iterdir()) == []


class Trickle(Site):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x")
                time.sleep(0.01)


@pytest.mark.parametrize("why", ["the app ends", "it takes too long"])
def test_a_server_that_trickles_is_not_waited_for(tmp_path, monkeypatch, why):
    class Ended(Exception):
        pass

    def go_on():
        if why == "the app ends":
            raise Ended

    monkeypatch.setattr(fetch, "LONGEST_S", 0.3)
    with http.server.HTTPServer(("127.0.0.1", 0), Trickle) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        began = time.monotonic()
        with pytest.raises((Ended, I2VError)) as caught:
            fetch.fetch(f"http://127.0.0.1:{server.server_port}/a.png", tmp_path, go_on)
        assert time.monotonic() - began < 5 and list(tmp_path.iterdir()) == []
        thread.join()
    assert caught.type is Ended if why == "the app ends" else caught.value.code == "fetch_failed"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x", "nonsense"])
def test_no_other_kind_of_address_is_followed(tmp_path, url):
    with pytest.raises(I2VError) as caught:
        fetch.fetch(url, tmp_path)
    assert caught.value.code == "fetch_failed"
