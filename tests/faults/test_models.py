"""Where models are: another disk, links, moved, removed, listed; the commands for that."""

from __future__ import annotations

import io
import json

import pytest
from conftest import released
from downloads import fetch, folder_of, invariants
from fake_hub import REPO, UNET

from i2v_mlx import cli, models
from i2v_mlx import hub as names
from i2v_mlx.download import Finished, Progress, Start, download
from i2v_mlx.download_progress import DownloadLine, progress_text
from i2v_mlx.errors import I2VError
from i2v_mlx.model_folder import open_model
from i2v_mlx.transfer import Waiting

pytestmark = pytest.mark.usefixtures("cache", "pauses")


def test_the_line():
    assert progress_text(Progress("x", 2_100_000_000, 4_980_000_000, 45.2e6, 90.0)) == \
        "2.10 GB of 4.98 GB, 45.2 MB/s, 1:30 left"
    line = io.StringIO()
    line.isatty = lambda: True  # type: ignore[method-assign]
    shown = DownloadLine(line)
    shown.show(Waiting("no connection", 4.0))
    shown.show(Progress("x", 50, 100, 0.0, None))
    shown.show(Progress("x", 60, 100, 0.0, None))       # too soon
    shown.close()
    assert "no connection; next try in 4 s\n" in line.getvalue()
    assert "[============            ] 0.1 kB of 0.1 kB" in line.getvalue() and line.getvalue().endswith("\r\033[K")
    assert line.getvalue().count("kB of") == 1


def test_a_short_name_and_its_licence(pinned, hub, cache):
    start = next(event for event in download("tiny") if isinstance(event, Start))
    assert (start.repo, start.licence, start.note) == (REPO, "MIT", "A note.")
    invariants(cache, hub, whole=False)
    assert isinstance(list(download("tiny"))[-1], Finished)
    assert not (cache / "models--tiny--model/refs").exists()  # a pinned revision is not called main


def test_models_json_is_what_the_project_knows():
    model = names.pinned()["ali-vilab/i2vgen-xl"]
    listed = [file.name for file in model.files]
    assert model.revision == "39e1979ea27be737b0278c06755e321f2b4360d5" and "MIT" in model.licence
    assert sorted(listed) == sorted(names.wanted(listed))
    assert sum(name.endswith(".fp16.safetensors") for name in listed) == 4
    assert all(file.sha256 is None or len(file.sha256) == 64 for file in model.files)


def test_another_folder_is_found_by_its_name(hub, cache, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = list(download(REPO, disk))[-1]
    assert done == Finished(str(folder_of(disk)), fetched=True)
    invariants(cache, hub, whole=True)          # through links
    assert all(path.is_symlink() for path in folder_of(cache).rglob("*") if path.is_file())
    hub.requests.clear()
    assert list(download(REPO, disk))[-1] == Finished(str(folder_of(disk)), fetched=False) and not hub.requests


def test_a_folder_that_is_none(hub, tmp_path):
    with pytest.raises(I2VError) as caught:
        list(download(REPO, tmp_path / "none"))
    assert caught.value.code == "output_folder_missing" and not hub.requests


def test_moved_and_moved_back(hub, cache, tmp_path):
    fetch(cache, hub)
    disk = tmp_path / "disk"
    disk.mkdir()
    assert models.move(REPO, disk) == folder_of(disk)
    invariants(cache, hub, whole=True)
    assert (folder_of(cache) / UNET).resolve() == folder_of(disk) / UNET
    assert models.move(REPO, cache) == folder_of(cache)
    invariants(cache, hub, whole=True)
    assert not (folder_of(cache) / UNET).is_symlink() and not list(disk.iterdir())


def test_removed_wherever_it_is(hub, cache, tmp_path):
    size = sum(map(len, hub.files.values()))
    fetch(cache, hub)
    assert models.remove(REPO) == size and not list(cache.iterdir())
    (tmp_path / "disk").mkdir()
    list(download(REPO, tmp_path / "disk"))
    assert models.remove(REPO) == size and not list(cache.iterdir())
    assert not list((tmp_path / "disk").iterdir())
    with pytest.raises(I2VError) as caught:
        models.remove(REPO)
    assert caught.value.code == "model_not_found"


def test_a_file_of_the_user_is_not_removed(hub, cache, tmp_path):
    fetch(cache, hub)
    own = (folder_of(cache) / UNET).rename(tmp_path / "my.safetensors")
    (folder_of(cache) / UNET).symlink_to(own)
    models.remove(REPO)
    assert own.read_bytes() == hub.files[UNET] and not list(cache.iterdir())


def test_what_leads_to_a_disk_that_is_away_is_removed(pinned, hub, cache, tmp_path):
    (tmp_path / "disk").mkdir()
    list(download(REPO, tmp_path / "disk"))
    (tmp_path / "disk").rename(tmp_path / "away")
    assert models.remove(REPO) == 0 and not list(cache.iterdir())
    assert (folder_of(tmp_path / "away") / UNET).read_bytes() == hub.files[UNET]


def test_half_a_download_is_removed(pinned, hub, cache):
    run = download(REPO)
    assert any(isinstance(event, Progress) and event.bytes > 1_000_000 for event in run)
    run.close()
    assert models.remove(REPO) > 1_000_000 and not list(cache.iterdir())


def test_what_another_revision_needs_is_not_removed(hub, cache):
    fetch(cache, hub)
    blob, other = cache / "models--tiny--model/blobs/1", folder_of(cache).with_name("b" * 40) / UNET
    for path in (blob, other):
        path.parent.mkdir(parents=True)
    (folder_of(cache) / UNET).rename(blob)
    (folder_of(cache) / UNET).symlink_to(blob)
    other.symlink_to(blob)
    models.remove(REPO)
    assert other.read_bytes() == hub.files[UNET] and not folder_of(cache).exists()


def test_the_list_of_models(pinned, hub, cache, tmp_path):
    assert "not here" in models.describe()[0]
    run = download(REPO)
    assert any(isinstance(event, Progress) and event.bytes > 1_000_000 for event in run)
    run.close()
    assert "of 2.1 MB fetched" in models.describe()[0]
    fetch(cache, hub)
    assert models.describe() == [f"tiny: 2.1 MB in {folder_of(cache)}", "  licence: MIT. A note.",
                                 "tiny-8bit, for Macs with 8 GB: made of it on first use"]
    (tmp_path / "disk").mkdir()
    models.move("tiny", tmp_path / "disk")
    assert models.describe()[0] == f"tiny: 2.1 MB in {folder_of(tmp_path / 'disk')}"


def test_the_commands(hub, cache, tmp_path, capsys):
    (tmp_path / "disk").mkdir()
    assert cli.main(["download", REPO, "--folder", str(tmp_path / "disk")]) == 0
    assert cli.main(["models", "move", REPO, str(cache)]) == 0
    assert cli.main(["models", "remove", REPO]) == 0
    assert cli.main(["models", "remove", REPO]) == 1
    assert cli.main(["download", REPO, "--folder", str(tmp_path / "none"), "--json"]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[:3] == [str(folder_of(tmp_path / "disk")), str(folder_of(cache)), "2.1 MB freed"]
    assert json.loads(lines[3])["code"] == "output_folder_missing" and "is not on this machine" in said.err
    assert cli.main(["models", "list"]) == 0 and "i2vgen-xl: not here" in capsys.readouterr().out


def test_the_copy_in_8_bits_is_listed_moved_and_removed(cache, tmp_path):
    small = "i2vgen-xl-8bit"
    source = released(tmp_path)
    assert models.describe()[2] == f"{small}, for Macs with 8 GB: made of it on first use"
    with pytest.raises(I2VError) as caught:
        names.resolve(small)
    assert caught.value.code == "model_not_converted"
    copy = names.resolve(small, download=True)                 # as `from_pretrained` does
    assert copy == source.parents[1] / "livestill" / f"{source.name}-8bit" == names.resolve(small)
    assert models.describe()[2].endswith(f"in {copy}") and open_model(copy).bits == 8
    (tmp_path / "disk").mkdir()
    models.move("i2vgen-xl", tmp_path / "disk")
    moved = tmp_path / "disk" / copy.relative_to(cache)
    assert names.resolve(small) == moved and not copy.parent.exists()
    assert models.remove(small) > 1_000_000 and not moved.parent.exists()
    assert names.resolve("i2vgen-xl") == source                # through links
    names.resolve(small, download=True)
    assert moved.is_dir()
    models.move("i2vgen-xl", cache)
    assert names.resolve(small) == copy and not list((tmp_path / "disk").iterdir())
    models.remove("i2vgen-xl")
    assert not list(cache.iterdir())
    with pytest.raises(I2VError) as caught:
        names.resolve(small)
    assert caught.value.code == "model_not_found"
