"""Every form of video comes back as it went out: frames, frame rate, colours and recipe."""

import inspect
import os
import re
import struct
import subprocess
import warnings

import numpy as np
import pytest
from PIL import Image

from i2v_mlx import export_to_gif, export_to_video, ffmpeg, frames, recipe, video
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

FORMS = [("clip.mp4", None), ("clip.mp4", "hevc"), ("clip.MOV", None), ("clip.gif", None), ("clip.webp", None),
         ("clip", None)]
NASTY = '"quotes" \'single\' \\ back\\\\slash = ; # \n new \r\n line \t \0 é 漢 🎬 \ud800 %d [STREAM] comment=x {} '


def clip(count=16, width=96, height=64):
    """Smooth colours that move."""
    small = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    frame = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return np.stack([np.roll(frame, 3 * index, 1) for index in range(count)])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def recipe_json(tmp_path_factory):
    picture = tmp_path_factory.mktemp("picture") / "photo.png"
    picture.write_bytes(b"pixels")
    request = Request(image=str(picture), prompt=NASTY, negative_prompt="long " * 40_000)  # an argument ends at 128 kB
    return recipe.to_json(recipe.make(request, {"name": "demo"}, 12))


def code_of(call, *args, **kwargs):
    with pytest.raises(I2VError) as caught:
        call(*args, **kwargs)
    return caught.value.code


# ---- what goes out comes back

@pytest.mark.parametrize(("name", "codec"), FORMS)
def test_round_trip(tmp_path, name, codec, recipe_json):
    path, sent = tmp_path / name, clip()
    video.write_video(path, sent, 12, recipe_json, codec)
    got, fps = frames.read_frames(path)
    assert got.shape == sent.shape and got.dtype == np.uint8 and fps == 12
    assert np.abs(got.astype(int) - sent).mean() < (12 if path.suffix == ".gif" else 4)
    shift = np.abs(got.astype(int).mean((0, 1, 2)) - sent.mean((0, 1, 2))).max()
    assert shift < (3 if path.suffix == ".gif" else 0.5)
    expected = {".mp4": codec or "h264", ".MOV": "prores", ".gif": "gif", ".webp": "webp", "": "png"}[path.suffix]
    assert frames.probe(path) == frames.VideoInfo(96, 64, 16, 12, expected)
    assert frames.read_text(path) == recipe_json
    back = frames.read_recipe(path)
    assert back["request"]["prompt"] == NASTY and back["request"]["image"] == "photo.png"
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(("name", "codec"), FORMS)
def test_unicode_that_is_not_escaped(tmp_path, name, codec):
    text = '{"Livestill": "é 漢 🎬 = ; # \\\\ \\" \' %d"}'
    video.write_video(tmp_path / name, clip(2), 8, text, codec)
    assert frames.read_text(tmp_path / name) == text


@pytest.mark.parametrize(("name", "codec"), FORMS)
def test_without_a_recipe(tmp_path, name, codec):
    video.write_video(tmp_path / name, clip(2), 8, None, codec)
    assert frames.read_text(tmp_path / name) is None and frames.read_recipe(tmp_path / name) is None


def test_the_recipe_of_somebody_else(tmp_path):
    video.write_video(tmp_path / "a.gif", clip(2), 8, "made with love")
    assert frames.read_recipe(tmp_path / "a.gif") is None
    video.write_video(tmp_path / "b.gif", clip(2), 8, '{"app": "Livestill", "recipe": 2}')
    assert code_of(frames.read_recipe, tmp_path / "b.gif") == "recipe_too_new"


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "a"])
@pytest.mark.parametrize("fps", [5, 12.5, 24, 30, 40])
def test_frame_rates_are_true(tmp_path, name, fps):
    video.write_video(tmp_path / name, clip(20, 32, 32), fps, None)
    assert frames.read_frames(tmp_path / name)[1] == fps
    if name == "a.gif":
        with Image.open(tmp_path / name) as image:
            ends = np.cumsum([image.seek(index) or image.info["duration"] for index in range(20)])[:-1]
        assert np.abs(ends - 1000 * np.arange(1, 20) / fps).max() <= 5  # Pillow's writer would truncate each delay


@pytest.mark.parametrize(("name", "codec"), FORMS)
@pytest.mark.parametrize("sent", [np.repeat(clip(1), 6, 0), clip(1)], ids=["still", "one frame"])
def test_clips_in_which_nothing_moves(tmp_path, name, codec, sent):
    video.write_video(tmp_path / name, sent, 8, "{}", codec)
    got, fps = frames.read_frames(tmp_path / name)
    assert len(got) == (1 if name.endswith("webp") else len(sent)) and 7.5 < fps < 8.5
    assert frames.read_text(tmp_path / name) == "{}"


def test_a_webp_keeps_the_time_of_repeated_frames(tmp_path):
    sent = clip(8)[[0, 1, 1, 1, 2, 3, 3, 4]]
    video.write_video(tmp_path / "a.webp", sent, 8, None)
    got, fps = frames.read_frames(tmp_path / "a.webp")
    assert fps == 8 and np.array_equal(got[1], got[3]) and np.abs(got.astype(int) - sent).mean() < 4


def test_a_gif_loops(tmp_path):
    video.write_video(tmp_path / "a.gif", clip(), 8, "{}")
    data = (tmp_path / "a.gif").read_bytes()
    assert data[10] & 0x80
    after_palette = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    assert data[after_palette:].startswith(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0\x21\xfe\x02{}\0")


def test_mp4_plays_everywhere(tmp_path):
    path = tmp_path / "a.mp4"
    video.write_video(path, clip(), 8, "{}")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # starts before it is loaded
    assert data[data.index(b"colr") + 4:][:10] == b"nclx" + struct.pack(">HHH", 1, 1, 1)
    streams = subprocess.run([ffmpeg.executable(), "-i", path], capture_output=True, text=True, check=False).stderr
    assert re.search(r"h264 \(High\).*yuv420p\(tv, bt709", streams)
    video.write_video(path, clip(), 8, "{}", "hevc")
    assert b"hvc1" in path.read_bytes() and b"hev1" not in path.read_bytes()


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", None), ("a.mp4", "hevc"), ("a.mov", None)])
def test_colours_survive(tmp_path, name, codec):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]], np.uint8)
    sent = np.repeat(np.repeat(colours, 16, 0)[None], 32, 0)[None].repeat(3, 0)  # (3, 32, 96, 3)
    video.write_video(tmp_path / name, sent, 8, None, codec)
    got = frames.read_frames(tmp_path / name)[0][:, :, 8::16].astype(int)
    assert np.abs(got - colours).max() <= 6


def test_odd_sizes_lose_a_line_and_are_not_scaled(tmp_path):
    sent = clip(3, 33, 17)
    for name, codec in FORMS:
        path = tmp_path / name
        files_before = names(tmp_path)
        video.write_video(path, sent, 8, None, codec)
        got, _ = frames.read_frames(path)
        even = path.suffix in (".mp4", ".MOV")
        assert got.shape == ((3, 16, 32, 3) if even else sent.shape), name
        assert np.abs(got.astype(int) - sent[:, :got.shape[1], :got.shape[2]]).mean() < 16
        assert set(names(tmp_path)) == {*files_before, name}


def test_png_folder(tmp_path):
    sent = clip(3)
    video.write_video(f"{tmp_path}/v1.2/", sent, 8, '{"a": 1}')
    assert names(tmp_path / "v1.2") == [f"v1.2_{number:04d}.png" for number in (1, 2, 3)]
    for path in (tmp_path / "v1.2").iterdir():
        assert frames.read_text(path) == '{"a": 1}'
    got, _ = frames.read_frames(tmp_path / "v1.2")
    assert np.array_equal(got, sent)
    assert code_of(video.write_video, tmp_path / "v1.2" / "", sent, 8, None) == "output_suffix_unknown"
    assert code_of(video.write_video, f"{tmp_path}/v1.2/", sent, 8, None) == "output_exists"


def test_boomerang_and_repeats(tmp_path):
    path = tmp_path / "a"
    sent = clip(4)
    video.write_video(path, sent, 8, None, boomerang=True, repeats=2)
    assert np.array_equal(frames.read_frames(path)[0], sent[[0, 1, 2, 3, 2, 1] * 2])
    for count, expected in ((1, 1), (2, 2), (16, 30)):
        video.write_video(tmp_path / f"b{count}", clip(count, 16, 16), 8, None, boomerang=True)
        assert frames.probe(tmp_path / f"b{count}").frames == expected


def test_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-y.mp4", "tcp:evil.mp4", "with space.mov", "new\nline.gif", "%03d.mp4", "é 🎬.mp4", "'$(x)`.gif",
                 "x" * 240 + ".mp4"):
        video.write_video(name, clip(2, 16, 16), 8, "{}")
        assert frames.read_frames(name)[0].shape == (2, 16, 16, 3) and frames.read_text(name) == "{}"
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_an_existing_file_is_replaced(tmp_path):
    (tmp_path / "a.gif").write_text("old")
    video.write_video(tmp_path / "a.gif", clip(2), 8, None)
    assert frames.probe(tmp_path / "a.gif").frames == 2


def test_export_as_in_diffusers(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import utils
    for ours, theirs in ((export_to_video, utils.export_to_video), (export_to_gif, utils.export_to_gif)):
        mine, other = (inspect.signature(function).parameters for function in (ours, theirs))
        assert [(p.name, p.default) for p in mine.values()] == [(p.name, p.default) for p in other.values()]

    sent = clip(3)
    kinds = [list(sent), [Image.fromarray(frame) for frame in sent], [f / np.float32(255) for f in sent], sent / 255]
    for kind in kinds:
        path = str(tmp_path / "a.gif")
        assert export_to_gif(kind, path) == path
        assert export_to_video(kind, str(tmp_path / "a.mp4"), fps=7) == str(tmp_path / "a.mp4")
        got, fps = frames.read_frames(tmp_path / "a.mp4")
        assert fps == 7 and np.abs(got.astype(int) - sent).mean() < 3
        assert frames.read_frames(path)[1] == 10
    for export, suffix in ((export_to_video, ".mp4"), (export_to_gif, ".gif")):
        path = export(sent)
        assert path.endswith(suffix) and frames.probe(path).frames == 3
        os.unlink(path)  # noqa: PTH108
