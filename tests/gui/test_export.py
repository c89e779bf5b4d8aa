"""Every kind of file, from the same lossless frames; cancelled or failed, nothing stays."""

import json
import os

import numpy as np
import pytest

from gui import clip_frames
from gui.background import Background
from gui.export import KINDS, Exporter, ExportOptions, kind, suggested_name
from gui.library import Clip
from i2v_mlx import frames, recipe, video
from i2v_mlx.request import Request


@pytest.fixture
def clip(tmp_path, photo):
    """Four frames, each of one colour."""
    request = Request(str(photo), "a secret wish", "blurry", seed=42)
    made = recipe.to_json(recipe.make(request, {"name": "demo"}, 8.0))
    pixels = np.zeros((4, 32, 48, 3), np.uint8)
    pixels[..., 0] = np.array([0, 80, 160, 240])[:, None, None]
    video.write_video(tmp_path / "clip", pixels, 8.0, made)
    return Clip(1, tmp_path / "clip", request, made, 8.0, 0.0)


@pytest.fixture
def exporter(qapp):
    background = Background()
    yield Exporter(background)
    background.close()


def reds(path):
    pixels, fps = frames.read_frames(path)
    return [round(frame[..., 0].mean() / 80) for frame in pixels], fps


@pytest.mark.parametrize("name", [found.id for found in KINDS])
def test_every_kind(exporter, qtbot, tmp_path, clip, name):
    options = ExportOptions(name, fps=16.0, boomerang=True)
    target = tmp_path / f"out{kind(name).suffix}"
    shares = []
    exporter.progressed.connect(shares.append)
    with qtbot.waitSignal(exporter.done, timeout=20_000) as done:
        exporter.start(clip, target, options)
        assert exporter.busy
    assert done.args == [target] and not exporter.busy
    order, fps = reds(target)
    assert order == [0, 1, 2, 3, 2, 1]
    assert fps == pytest.approx(16.0, rel=0.05)
    assert shares == sorted(shares) and shares[0] == 0.0
    found = frames.read_recipe(target)
    assert found["request"]["prompt"] == "a secret wish" and found["playback_fps"] == 16.0


def test_repeats(exporter, qtbot, tmp_path, clip):
    with qtbot.waitSignal(exporter.done, timeout=20_000):
        exporter.start(clip, tmp_path / "out.mp4", ExportOptions(repeats=3))
    assert reds(tmp_path / "out.mp4")[0] == [0, 1, 2, 3] * 3


def test_prompts_can_be_left_out(exporter, qtbot, tmp_path, clip):
    target = tmp_path / "out.webp"
    with qtbot.waitSignal(exporter.done, timeout=20_000):
        exporter.start(clip, target, ExportOptions("webp", hide_prompts=True))
    assert b"secret" not in target.read_bytes() and b"blurry" not in target.read_bytes()
    assert frames.read_recipe(target)["request"]["seed"] == 42


def test_a_cancelled_export_leaves_nothing(exporter, qtbot, tmp_path, clip):
    folder = tmp_path / "out"
    folder.mkdir()
    exporter.progressed.connect(lambda share: exporter.cancel())
    with qtbot.waitSignal(exporter.cancelled, timeout=20_000):
        exporter.start(clip, folder / "out.mp4", ExportOptions(repeats=50))
        with pytest.raises(RuntimeError):
            exporter.start(clip, folder / "two.mp4", ExportOptions())
    assert list(folder.iterdir()) == [] and not exporter.busy


@pytest.mark.parametrize(("target", "code"), [
    ("gone/out.mp4", "output_folder_missing"), ("clip", "output_exists"), ("out.gif", "playback_fps_out_of_range"),
])
def test_what_cannot_be_written_is_one_sentence(exporter, qtbot, tmp_path, clip, target, code):
    name = {"clip": "png", "out.gif": "gif"}.get(target, "mp4")
    with qtbot.waitSignal(exporter.failed, timeout=20_000) as failed:
        exporter.start(clip, tmp_path / target, ExportOptions(name, fps=60.0))
    assert failed.args[0].code == code and not exporter.busy
    assert not (tmp_path / "gone").exists()


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(exporter, qtbot, tmp_path, clip):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with qtbot.waitSignal(exporter.failed, timeout=20_000) as failed:
        exporter.start(clip, folder / "out.mp4", ExportOptions())
    assert failed.args[0].code == "output_unwritable"


def test_a_clip_that_is_gone(exporter, qtbot, tmp_path, clip):
    (tmp_path / "clip").rename(tmp_path / "moved")
    with qtbot.waitSignal(exporter.failed, timeout=20_000) as failed:
        exporter.start(clip, tmp_path / "out.mp4", ExportOptions())
    assert failed.args[0].code.startswith("video_") and not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(("image", "name"), [
    ("/a/harbour.jpg", "harbour-42.gif"), ("/a/..jpg", "clip-42.gif"), ("/a/-rf *.png", "rf-42.gif"),
    ("/a/Möwe 🦊\n.png", "Möwe-42.gif"), ("/a/" + "ü" * 100 + ".png", "ü" * 30 + "-42.gif"),
    ("/a/x\u202egnp.png", "x gnp-42.gif"),
])
def test_suggested_names_are_safe(clip, image, name):
    found = Clip(1, clip.folder, Request(image, "../../etc/passwd", seed=42), "{}", 8.0, 0.0)
    assert suggested_name(found, ExportOptions("gif")) == name


def test_a_clip_comes_into_the_player_and_the_library_complete(clip):
    contents = clip_frames.read(clip.folder)
    assert contents.frames.shape == (4, 32, 48, 3) and contents.fps == 8.0
    assert contents.request.prompt == "a secret wish" and contents.request.image == "harbour.jpg"
    assert json.loads(clip_frames.recipe_json(contents)) == json.loads(clip.recipe)
    assert contents.thumbnail.startswith(b"\x89PNG")


def test_a_very_large_clip_is_shown_smaller(clip, monkeypatch):
    monkeypatch.setattr(clip_frames, "SHOWN_BYTES", 4 * 32 * 48 * 3 // 2)
    contents = clip_frames.read(clip.folder)
    assert contents.frames.shape == (4, 16, 24, 3) and contents.frames[3, 0, 0, 0] == 240
