"""A disk that is full at any byte, folders that cannot be written or vanish, and an ffmpeg that does not work."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from downloads import IMAGE, fetch, folder_of, invariants, part_size, ranges, refused
from downloads import start as start_download
from driver import Place, at, contents
from fake_hub import REPO, UNET

from i2v_mlx import download as downloading
from i2v_mlx import hub as names
from i2v_mlx import models
from i2v_mlx.download import Progress, download
from i2v_mlx.errors import I2VError
from i2v_mlx.events import Done, Failed

LINUX = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux changes the limits of another process")


def limit(pid: int, size: int) -> None:
    """No file of the process can be longer. Its log would be one of them: such a worker has none."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@LINUX
@pytest.mark.parametrize(("name", "tries"), [("clip", 14), ("clip.mp4", 8), ("clip.gif", 5), ("clip.webp", 5)])
def test_the_disk_is_full_at_any_byte(place, cases, name, tries):
    """Of the checkpoint or of the clip: named so, nothing stays, and with room again the clip is whole."""
    worker = place.worker(stderr=subprocess.DEVNULL)
    assert isinstance(worker.run(place.request(), "first", name), Done)
    undisturbed = contents(place.out / name)
    place.remove(name)
    longest = max(4000, *map(len, undisturbed.values()))       # or the checkpoint, which has about that
    sizes = [0, 1, longest - 1, *random.Random(name).sample(range(2, longest - 1), tries - 3)]
    for number, size in enumerate(sizes):
        limit(worker.process.pid, size)
        last = worker.run(place.request(), f"job-{number}", name)
        limit(worker.process.pid, resource.RLIM_INFINITY)
        if isinstance(last, Done):
            assert size > 1 and contents(place.out / name) == undisturbed
            place.remove(name)
        else:
            assert isinstance(last, Failed) and last.code == "disk_full", (size, last)
            assert last.hint and place.left() <= {f"job-{number}.safetensors"}
            if last.checkpoint:            # of the steps that found room
                worker.resume(f"job-{number}", name)
                assert isinstance(worker.follow(f"job-{number}")[-1], Done)
                assert contents(place.out / name) == undisturbed
                place.remove(name)
        assert place.left() == set()
    place.check()
    cases(len(sizes))


def test_the_command_line_says_so_too(place):
    limited = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))  # noqa: E731
    process = place.cli(*place.generate_arguments("clip"), preexec_fn=limited)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 1 and out == "" and "not enough space" in said and "Traceback" not in said
    place.check()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with 64 kB; its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True,
                             check=False) if sys.platform == "linux" else None
    if mounted is None or mounted.returncode != 0:
        pytest.skip("mounting is not allowed")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_real_disk_that_is_too_small(place, small_disk):
    failed = place.worker().fails(place.request(), "a", output=str(small_disk / "clip"))
    assert failed.code == "disk_full" and not list(small_disk.iterdir())
    place.check()


def test_a_disk_that_is_read_only(place, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    failed = place.worker().fails(place.request(), "a", output=str(small_disk / "clip"))
    assert failed.code == "output_unwritable" and "Read-only" in failed.message
    place.check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_read_only(place):
    folder = place.root / "locked"
    folder.mkdir(mode=0o500)
    failed = place.worker().fails(place.request(), "a", output=str(folder / "clip"))
    assert failed.code == "output_unwritable" and not list(folder.iterdir())
    place.check()


@pytest.mark.parametrize("target", ["none/clip", "picture.png/clip"])
def test_a_folder_that_is_none(place, target):
    failed = place.worker().fails(place.request(), "a", output=str(place.root / target))
    assert failed.code == "output_folder_missing"
    place.check()


@pytest.mark.parametrize(("name", "moment"), [
    ("clip", ("Step", 1)), ("clip", ("Frame", 1)), ("clip", ("Stage", "write")), ("clip.mp4", ("Frame", 1)),
    ("clip.mp4", ("Stage", "write")), ("clip.webp", ("Frame", 1)), ("clip.webp", ("Stage", "write"))], ids=str)
def test_a_folder_that_vanishes(place, name, moment):
    """Not called a full disk, which would send people looking for something to delete."""
    worker, folder = place.worker(), place.root / "gone"
    folder.mkdir()

    def vanish() -> None:
        folder.rename(place.root / "elsewhere")

    worker.generate(place.request(), "a", output=str(folder / name))
    last = worker.follow("a", at(moment, vanish))[-1]
    if isinstance(last, Done):             # it was quicker
        assert (place.root / "elsewhere" / name).exists()
    else:
        assert last.code in ("output_folder_missing", "encoder_failed") and last.hint, last
        if moment[0] == "Step":
            assert last.code == "output_folder_missing"
        assert last.checkpoint             # the steps are not lost
        place.remove("a.safetensors")
    assert not folder.exists()
    place.check()


# --------------------------------------------------------------------------------------------------------------- ffmpeg

BROKEN = {
    "is missing": None,
    "does not start": "#!/nonexistent\n",
    "fails": "#!/bin/sh\nhead -c 2000 >/dev/null; echo 'broken pixels \x1b[2J' >&2; exit 1\n",
    "is killed": "#!/bin/sh\nhead -c 2000 >/dev/null; kill -9 $$\n",
    "writes garbage": '#!/bin/sh\nfor out; do :; done; cat >/dev/null; echo junk >"${out#file:}"\n',
    "writes nothing": "#!/bin/sh\ncat >/dev/null\n",
    "spams": "#!/bin/sh\nyes spam | head -c 30000000 >&2; cat >/dev/null; exit 3\n",
    "hangs": "#!/bin/sh\nexec sleep 600\n",
}
IMPATIENT = [sys.executable, "-c", "import sys; from i2v_mlx import ffmpeg, worker\n"
             "ffmpeg.STALL_SECONDS = ffmpeg.FINISH_SECONDS = 1\nsys.exit(worker.main())"]


def program(place: Place, script: str | None) -> dict[str, str]:
    """In ffmpeg's place."""
    path = place.root / "ffmpeg"
    if script is not None:
        path.write_text(script)
        path.chmod(0o755)
    return {"IMAGEIO_FFMPEG_EXE": str(path)}


@pytest.mark.parametrize("how", BROKEN)
def test_an_ffmpeg_that(place, how):
    """A named error, no file, and forms that need no ffmpeg still work in that worker."""
    worker = place.worker(IMPATIENT, env=program(place, BROKEN[how]))
    for name in ("clip.mp4", "clip.gif"):
        failed = worker.fails(place.request(), f"job-{name}", name)
        expected = "ffmpeg_missing" if how in ("is missing", "does not start") else "encoder_failed"
        assert failed.code == expected and failed.hint and failed.message.isprintable(), failed
        assert Path(failed.checkpoint or "").is_file() == (failed.checkpoint is not None)
        (place.out / f"job-{name}.safetensors").unlink(missing_ok=True)
    place.check()


# ------------------------------------------------------------------------------------------------------------ downloads

def test_a_disk_that_was_unplugged_leaves_no_trace_in_the_way(hub, cache, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    list(download(REPO, disk))
    disk.rename(tmp_path / "elsewhere")
    assert names.cached(REPO) is None
    fetch(cache, hub)
    assert not any(path.is_symlink() for path in folder_of(cache).rglob("*"))


@pytest.mark.parametrize("away_at", ["model_index.json", IMAGE, UNET])
def test_a_disk_that_is_unplugged_on_the_way(away_at, hub, cache, tmp_path):
    (tmp_path / "disk").mkdir()
    with pytest.raises(I2VError) as caught:
        for event in download(REPO, tmp_path / "disk"):
            if isinstance(event, Progress) and event.file == away_at and (tmp_path / "disk").exists():
                (tmp_path / "disk").rename(tmp_path / "away")
    assert caught.value.code == "output_folder_missing" and "connect" in caught.value.hint
    assert not (tmp_path / "disk").exists()
    (tmp_path / "away").rename(tmp_path / "disk")
    list(download(REPO, tmp_path / "disk"))
    invariants(cache, hub, whole=True)


def test_no_room(hub, cache, monkeypatch):
    monkeypatch.setattr(downloading.files, "free_bytes", lambda path: 2_000_000)
    error = refused(cache, hub)
    assert error.code == "disk_full" and not hub.asked(UNET)


def test_a_file_in_the_way(hub, cache):
    folder_of(cache).parent.mkdir(parents=True)
    folder_of(cache).write_text("")
    with pytest.raises(I2VError) as caught:
        list(download(REPO))
    assert caught.value.code == "output_unwritable"


def test_a_move_without_room_changes_nothing(hub, cache, tmp_path, monkeypatch):
    fetch(cache, hub)
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(models, "free_bytes", lambda path: 1000)
    with pytest.raises(I2VError) as caught:
        models.move(REPO, tmp_path / "disk")
    assert caught.value.code == "disk_full" and not list((tmp_path / "disk").iterdir())
    invariants(cache, hub, whole=True)


def test_a_move_to_where_nothing_can_be_written_changes_nothing(hub, cache, tmp_path):
    fetch(cache, hub)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/models--tiny--model").write_text("in the way")
    with pytest.raises(I2VError) as caught:
        models.move(REPO, tmp_path / "disk")
    assert caught.value.code == "output_folder_missing"
    invariants(cache, hub, whole=True)


def test_a_disk_that_fills_up_on_the_way(hub, cache):
    process = start_download(hub, cache, "--json", limit=1_500_000)
    out, said = process.communicate(timeout=20)
    failed = json.loads(out.splitlines()[-1])
    assert process.returncode == 1 and (failed["event"], failed["code"]) == ("failed", "disk_full"), said
    assert part_size(cache) == 1_500_000
    invariants(cache, hub, whole=False)
    fetch(cache, hub)
    assert ranges(hub) == [0, 1_500_000]
