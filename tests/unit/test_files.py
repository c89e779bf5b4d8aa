"""No half file under a final name, and errors before the work."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest

from i2v_mlx import files
from i2v_mlx.errors import I2VError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_gives_the_name_at_the_end(tmp_path):
    final = tmp_path / "clip.mp4"
    with files.atomic(final) as part:
        part.write_bytes(b"whole")
        assert part.parent == tmp_path and part.suffix == ".mp4" and part.name.startswith(".clip.")
        assert not final.exists()
    assert final.read_bytes() == b"whole" and names(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_leaves_nothing_after_an_error(tmp_path, raised):
    final = tmp_path / "clip.mp4"
    final.write_bytes(b"old")
    with pytest.raises(raised), files.atomic(final) as part:
        part.write_bytes(b"half")
        raise raised
    assert final.read_bytes() == b"old" and names(tmp_path) == ["clip.mp4"]


def test_atomic_folder(tmp_path):
    final = tmp_path / "clip"
    with files.atomic(final) as part:
        part.mkdir()
        (part / "a").write_text("1")
    assert names(final) == ["a"]
    with pytest.raises(I2VError) as caught, files.atomic(final) as part:  # in use by now
        part.mkdir()
        (part / "b").write_text("2")
    assert caught.value.code == "output_unwritable"
    assert names(tmp_path) == ["clip"] and names(final) == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_has_its_own_error(tmp_path, number):
    with pytest.raises(I2VError) as caught, files.atomic(tmp_path / "x.bin") as part:
        part.write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    assert caught.value.code == "disk_full" and names(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    script = ("import os, sys; from i2v_mlx import files\n"
              "with files.atomic(sys.argv[1]) as part:\n"
              "    part.write_text('half'); os.kill(os.getpid(), 9)\n")
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "clip.mp4"], check=False).returncode == -9
    left, = names(tmp_path)
    assert left.startswith(".clip.") and left.endswith(".part.mp4")
    living = tmp_path / f".clip.{os.getpid()}-00000000.part.mp4"
    living.write_text("another thread writes")
    other = tmp_path / ".clip.mine.mp4"
    other.write_text("the user's")
    with files.atomic(tmp_path / "clip.mp4") as part:
        part.write_text("whole")
    assert set(names(tmp_path)) == {other.name, living.name, "clip.mp4"}


def test_long_names(tmp_path):
    final = tmp_path / ("é" * 120 + ".mp4")  # 244 bytes
    with files.atomic(final) as part:
        part.write_text("x")
    assert names(tmp_path) == [final.name]


def test_check_output(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "old.mp4").touch()
    files.check_output(tmp_path / "new.mp4")
    files.check_output(tmp_path / "old.mp4")
    files.check_output(tmp_path / "empty", folder=True)
    files.check_output(tmp_path / "new", folder=True)
    for path, folder, code in [
        (tmp_path / "no" / "x.mp4", False, "output_folder_missing"),
        (tmp_path / "old.mp4" / "x.mp4", False, "output_folder_missing"),
        (tmp_path / "empty", False, "output_is_folder"),
        (tmp_path / "full", True, "output_exists"),
        (tmp_path / "old.mp4", True, "output_exists"),
        (tmp_path / ("x" * 300 + ".mp4"), False, "output_unwritable"),
    ]:
        with pytest.raises(I2VError) as caught:
            files.check_output(path, folder=folder)
        assert caught.value.code == code, path
    monkeypatch.setattr(files, "free_bytes", lambda path: 2**20)
    with pytest.raises(I2VError) as caught:
        files.check_output(tmp_path / "new.mp4")
    assert caught.value.code == "disk_full"
    assert names(tmp_path) == ["empty", "full", "old.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(I2VError) as caught:
        files.check_output(tmp_path / "new.mp4")
    assert caught.value.code == "output_unwritable"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")  # noqa: PTH112
def test_a_file_system_that_takes_no_files():
    with pytest.raises(I2VError) as caught:
        files.check_output("/proc/self/clip.mp4")
    assert caught.value.code in ("output_unwritable", "disk_full")


def test_check_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**34)
    for name, code in [("none", "x_not_found"), ("nul\0", "x_not_found"), ("n" * 300, "x_not_found"),
                       ("", "x_not_a_file"), ("pipe", "x_not_a_file"), ("/dev/zero", "x_not_a_file"),
                       ("sparse", "x_too_large")]:
        with pytest.raises(I2VError) as caught:
            files.check_input(tmp_path / name, "x", 2**20)
        assert caught.value.code == code, name


def test_unused_path(tmp_path):
    path = tmp_path / "a.b.mp4"
    assert files.unused_path(path) == path
    path.touch()
    assert files.unused_path(path).name == "a.b-2.mp4"
    (tmp_path / "a.b-2.mp4").symlink_to("nowhere")
    assert files.unused_path(path).name == "a.b-3.mp4"


def test_resource():
    assert files.resource("").name == "resources"
    with pytest.raises(I2VError) as caught:
        files.resource("no such thing")
    assert caught.value.code == "resource_missing"


def test_sha256_of(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 10**6)
    assert files.sha256_of(tmp_path / "x") == hashlib.sha256(b"abc" * 10**6).hexdigest()
