"""No error, kill, full disk or broken ffmpeg leaves a video under a final name; hostile files are named errors."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from i2v_mlx import ffmpeg, files, frames, video
from i2v_mlx.errors import I2VError


def clip(count=16, width=96, height=64):
    """Smooth colours that move."""
    small = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    frame = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return np.stack([np.roll(frame, 3 * index, 1) for index in range(count)])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_bomb_in_a_gif(tmp_path):
    """Between our limit and Pillow's, which only warns."""
    path = tmp_path / "a.gif"
    Image.new("P", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    for at in (6, data.index(b"\x2c") + 5):           # of the screen, of the frame
        data[at:at + 4] = (12000).to_bytes(2, "little") + (6000).to_bytes(2, "little")
    path.write_bytes(data)
    assert code_of(frames.probe, path) == "video_too_large"


def code_of(call, *args, **kwargs):
    with pytest.raises(I2VError) as caught:
        call(*args, **kwargs)
    return caught.value.code


def stand_in(tmp_path, monkeypatch, script):
    """A program in ffmpeg's place; it may call the real one as $FFMPEG."""
    monkeypatch.setenv("FFMPEG", imageio_ffmpeg.get_ffmpeg_exe())
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    out = tmp_path / "out"
    out.mkdir()
    return out


# ---- what is refused before the work

def test_what_cannot_be_written(tmp_path):
    for name, fps, codec, code in [
        ("a.avi", 8, None, "output_suffix_unknown"), ("a.png", 8, None, "output_suffix_unknown"),
        ("no/a.mp4", 8, None, "output_folder_missing"), ("a.gif", 60, None, "playback_fps_out_of_range"),
        ("a.mp4", 0, None, "playback_fps_out_of_range"), ("a.mp4", float("nan"), None, "playback_fps_out_of_range"),
        ("a.gif", 8, "hevc", "codec_unknown"), ("a.mp4", 8, "vp9", "codec_unknown"),
    ]:
        assert code_of(video.check_target, tmp_path / name, fps, codec) == code, name
        assert code_of(video.write_video, tmp_path / name, clip(2), fps, None, codec) == code, name
    with pytest.raises(I2VError) as caught:
        video.check_target("a.avi", 8)
    assert all(form in str(caught.value) for form in (".mp4", ".mov", ".gif", ".webp", ".png"))
    assert code_of(video.write_video, tmp_path / "a.mp4", [], 8, None) == "frames_missing"
    video.check_target(tmp_path / "a.mp4", 60)
    assert names(tmp_path) == []


def test_ffmpeg_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    for name in ("a.mp4", "a.mov", "a.gif"):
        assert code_of(video.write_video, tmp_path / name, clip(2), 8, "{}") == "ffmpeg_missing"
    assert names(tmp_path) == []
    for name in ("a.webp", "a"):
        video.write_video(tmp_path / name, clip(2), 8, "{}")

    def missing():
        raise RuntimeError("no ffmpeg")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    assert code_of(video.check_target, tmp_path / "a.mp4", 8) == "ffmpeg_missing"


# ---- what fails midway

@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.gif", "a.webp", "a"])
@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt])
def test_an_error_or_interrupt_leaves_nothing(tmp_path, name, raised):
    with pytest.raises(raised), video.open_writer(tmp_path / name, 96, 64, 8, "{}") as writer:
        writer.write(clip(1)[0])
        raised_in = writer._encoder
        raise raised
    assert names(tmp_path) == []
    if name[2:] in ("mp4", "mov", "gif"):
        assert raised_in._encoder._process.poll() is not None


@pytest.mark.parametrize("name", ["a.mp4", "a"])
def test_no_frames_or_wrong_ones(tmp_path, name):
    with pytest.raises(I2VError) as caught, video.open_writer(tmp_path / name, 96, 64, 8, None):
        pass
    assert caught.value.code == "frames_missing"
    for wrong in (clip(1, 64, 64)[0], clip(1)[0].astype(np.float32)):
        with pytest.raises(ValueError), video.open_writer(tmp_path / name, 96, 64, 8, None) as writer:
            writer.write(wrong)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("script", "said"), [
    ("head -c 20000 >/dev/null; echo 'broken pixels' >&2; exit 1", "broken pixels"),
    ("head -c 20000 >/dev/null; kill -9 $$", "-9"),
    ("exit 0", ""),
    ("cat >/dev/null; exit 0", ""),                                            # writes nothing
    ('for out; do :; done; cat >/dev/null; echo junk >"${out#file:}"', ""),    # writes rubbish
    ('yes spam | head -c 30000000 >&2; cat >/dev/null; exit 3', "spam"),       # fills the pipe of its messages
    ('for out; do :; done; "$FFMPEG" "$@" || exit; case $out in pipe*) ;; '
     '*) f="${out#file:}"; head -c 2000 "$f" >"$f.x"; mv "$f.x" "$f";; esac', ""),  # cut off
], ids=["fails", "is killed", "ends at once", "writes nothing", "writes rubbish", "spams", "is cut off"])
def test_a_broken_ffmpeg(tmp_path, monkeypatch, script, said):
    out = stand_in(tmp_path, monkeypatch, script)
    for name in ("a.mp4", "a.gif"):
        with pytest.raises(I2VError) as caught:
            video.write_video(out / name, clip(40), 8, "{}")
        assert caught.value.code == "encoder_failed" and said in str(caught.value)
        assert names(out) == []


def test_lost_frames_and_a_lost_recipe_are_noticed(tmp_path, monkeypatch):
    out = stand_in(tmp_path, monkeypatch, '{ head -c 184320; cat >/dev/null; } | "$FFMPEG" "$@"')  # 10 of 16 frames
    with pytest.raises(I2VError, match="10 of 16 frames"):
        video.write_video(out / "a.mp4", clip(16), 8, None)
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    monkeypatch.setattr(frames.ffmpeg, "_escape", lambda text: text.replace("a", "b"))
    with pytest.raises(I2VError, match="recipe"):
        video.write_video(out / "a.mp4", clip(2), 8, "abc")
    assert names(out) == []


def test_ffmpeg_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "STALL_SECONDS", 0.3)
    out = stand_in(tmp_path, monkeypatch, "exec sleep 60")
    began = time.monotonic()
    assert code_of(video.write_video, out / "a.mp4", clip(40), 8, "{}") == "encoder_failed"
    monkeypatch.setattr(ffmpeg, "FINISH_SECONDS", 0.3)
    assert code_of(video.write_video, out / "a.mp4", clip(1), 8, "{}") == "encoder_failed"
    assert names(out) == [] and time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp", "a"])
def test_the_disk_is_full(tmp_path, name):
    """A limit on the size of files stands for it; ffmpeg is ended by SIGXFSZ and says nothing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng = np.random.default_rng(0)
    sent = rng.integers(0, 256, (8, 64, 96, 3), dtype=np.uint8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        code = code_of(video.write_video, tmp_path / name, sent, 8, "{}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == "disk_full" and names(tmp_path) == []
    video.write_video(tmp_path / name, sent, 8, "{}")  # once there is space again


def test_little_space_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "free_bytes", lambda path: 2**20)
    assert code_of(video.check_target, tmp_path / "a.mp4", 8) == "disk_full"


def test_kill_9_leaves_only_a_temporary_name(tmp_path):
    script = ("import os, sys, numpy; from i2v_mlx import video\n"
              "with video.open_writer(sys.argv[1], 32, 32, 8, '{}') as writer:\n"
              "    writer.write(numpy.zeros((32, 32, 3), numpy.uint8)); os.kill(os.getpid(), 9)\n")
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "a.mp4"], check=False).returncode == -signal.SIGKILL
    assert all(name.startswith(".a.") and ".part" in name for name in names(tmp_path))
    video.write_video(tmp_path / "a.mp4", clip(2), 8, "{}")
    assert names(tmp_path) == ["a.mp4"] and frames.probe(tmp_path / "a.mp4").frames == 2


@pytest.mark.parametrize("handled", [False, True])
def test_ctrl_c_reaches_us_and_not_ffmpeg(tmp_path, handled):
    script = ("import os, signal, sys, numpy; from i2v_mlx import video\n"
              f"if {handled}: signal.signal(signal.SIGINT, lambda *_: None)\n"
              "with video.open_writer(sys.argv[1], 32, 32, 8, '{}') as writer:\n"
              "    writer.write(numpy.zeros((32, 32, 3), numpy.uint8)); os.killpg(0, signal.SIGINT)\n"
              "    for _ in range(300): writer.write(numpy.zeros((32, 32, 3), numpy.uint8))\n")
    ended = subprocess.run([sys.executable, "-c", script, tmp_path / "a.mp4"], check=False, capture_output=True,
                           start_new_session=True)
    if handled:
        assert ended.returncode == 0 and frames.probe(tmp_path / "a.mp4").frames == 301
    else:
        assert b"KeyboardInterrupt" in ended.stderr and names(tmp_path) == []


# ---- what is hostile

def test_what_is_not_a_video(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder").mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for suffix in ("mp4", "mov", "gif", "webp", "png"):
        (tmp_path / f"empty.{suffix}").touch()
        (tmp_path / f"text.{suffix}").write_text(f"ffconcat version 1.0\nfile {secret}\n")
        for name in (f"empty.{suffix}", f"text.{suffix}"):
            assert code_of(frames.read_frames, tmp_path / name) in ("video_unreadable", "video_format")
            assert code_of(frames.read_recipe, tmp_path / name) in ("video_unreadable", "video_format")
    playlist = tmp_path / "list.mp4"  # as a playlist it would make ffmpeg open what it names
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXTINF:1,\nhttp://127.0.0.1:9/\n")
    assert code_of(frames.probe, playlist) == "video_unreadable"
    video.write_video(tmp_path / "a.gif", clip(2), 8, None)
    (tmp_path / "a.gif").rename(tmp_path / "gif.mp4")  # no other demuxer is tried
    assert code_of(frames.probe, tmp_path / "gif.mp4") == "video_unreadable"
    assert code_of(frames.probe, tmp_path / "pipe.mp4") == "video_not_a_file"
    assert code_of(frames.probe, tmp_path / "none.mp4") == "video_not_found"
    assert code_of(frames.probe, tmp_path / "none") == "video_not_found"
    assert code_of(frames.probe, tmp_path / "folder") == "video_unreadable"
    assert code_of(frames.probe, secret) == "output_suffix_unknown"


def test_a_video_that_does_not_fit_into_memory(tmp_path, monkeypatch):
    video.write_video(tmp_path / "a.mp4", clip(2), 8, None)
    monkeypatch.setattr(frames, "MAX_PIXEL_BYTES", 10_000)
    assert code_of(frames.read_frames, tmp_path / "a.mp4") == "video_too_large"


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.webp"])
def test_truncated_and_damaged_videos(tmp_path, name):
    path = tmp_path / name
    video.write_video(path, clip(4, 32, 32), 8, json.dumps({"app": "Livestill", "recipe": 1}))
    data, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(8 if name == "a.mp4" else 40):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, len(data), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged[:rng.integers(1, len(data) + 1)].tobytes())
        for read in (frames.read_frames, frames.read_recipe):
            try:
                read(path)
            except I2VError as error:
                assert error.code.startswith(("video_", "recipe_"))
