"""A download ends whole or with a named error, leaves no half file under a final name, and carries on where it was."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import resource
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fake_hub
import httpx2
import huggingface_hub.constants as constants
import pytest
from fake_hub import REPO, REVISION, SMALL, UNET, Answer, FakeHub

from i2v_mlx import cli, models, transfer
from i2v_mlx import download as downloading
from i2v_mlx import hub as names
from i2v_mlx.download import LOCK, Finished, Progress, Start, download
from i2v_mlx.download_progress import DownloadLine, progress_text
from i2v_mlx.errors import I2VError
from i2v_mlx.hub import File, Pinned
from i2v_mlx.transfer import Waiting

IMAGE = "image_encoder/model.fp16.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The fake one, which the hub library takes for the real one."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with fake_hub.running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            server.address + "/{repo_id}/resolve/{revision}/{filename}")
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited, in a moment."""
    waited: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waited.append)
    return waited


def folder_of(cache: Path) -> Path:
    return cache / "models--tiny--model/snapshots" / REVISION


def invariants(cache: Path, hub: FakeHub, whole: bool) -> None:
    """What has a final name is what the hub has; after a success there is nothing else."""
    folder = folder_of(cache)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    finals = {name: path for name, path in found.items() if not name.endswith((".part", ".part.json", LOCK))}
    assert all(path.read_bytes() == hub.files[name] for name, path in finals.items())
    if whole:
        assert found.keys() == hub.files.keys()
        assert names.resolve(REPO) == folder
    else:
        assert names.cached(REPO) is None


def fetch(cache: Path, hub: FakeHub) -> list[downloading.Event]:
    events = list(download(REPO))
    assert [type(event) for event in events].count(Finished) == 1 and isinstance(events[-1], Finished)
    invariants(cache, hub, whole=True)
    return events


def refused(cache: Path, hub: FakeHub) -> I2VError:
    with pytest.raises(I2VError) as caught:
        list(download(REPO))
    assert caught.value.hint
    invariants(cache, hub, whole=False)
    return caught.value


def ranges(hub: FakeHub, name: str = UNET) -> list[int]:
    """Where the requests began."""
    return [int(request.headers.get("range", "bytes=0-")[6:-1]) for request in hub.asked(name)]


# --------------------------------------------------------------------------------------------------------- as it should

def test_what_is_said_before_and_on_the_way(hub, cache):
    events = fetch(cache, hub)
    start = next(event for event in events if isinstance(event, Start))
    total = sum(map(len, hub.files.values()))
    assert (start.bytes, start.have_bytes, start.folder) == (total, 0, str(folder_of(cache)))
    assert start.free_bytes > 0 and start.licence
    steps = [event for event in events if isinstance(event, Progress)]
    assert [step.bytes for step in steps] == sorted(step.bytes for step in steps) and steps[-1].bytes == total
    assert any(step.bytes_per_second > 0 and step.seconds_left is not None for step in steps)
    assert events.index(start) < events.index(steps[0])


def test_a_whole_copy_is_used_in_place_and_asks_nobody(hub, cache):
    fetch(cache, hub)
    hub.requests.clear()
    assert list(download(REPO)) == [Finished(str(folder_of(cache)), fetched=False)]
    assert not hub.requests


def test_what_the_hub_library_has_fetched_is_kept(hub, cache):
    """Its layout: blobs, and links to them."""
    for number, name in enumerate([*SMALL, IMAGE]):
        blob = cache / "models--tiny--model/blobs" / str(number)
        link = folder_of(cache) / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(hub.files[name])
        link.symlink_to(os.path.relpath(blob, link.parent))
    fetch(cache, hub)
    assert not hub.asked(IMAGE) and hub.asked(UNET) and (folder_of(cache) / IMAGE).is_symlink()


def test_the_token_goes_to_the_hub_only(hub, cache, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(cache, hub)
    for request in hub.requests:
        assert ("hf_secret" in request.headers.get("authorization", "")) == (request.host == hub.address[7:])
    assert {request.host for request in hub.requests} == {hub.address[7:], hub.store[7:]}


@pytest.mark.parametrize("address, code", [("http://hub.example/x", "download_insecure"),
                                           ("ftp://hub.example/x", "download_insecure"),
                                           ("https://elsewhere.example/x", None)])
def test_https_stays_https(address, code, tmp_path):
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "hub.example" and request.url.scheme == "https":
            return httpx2.Response(302, headers={"Location": address})
        return httpx2.Response(200, content=iter([b"abc"]))

    digest = hashlib.sha256(b"abc").hexdigest()
    with transfer.client(transport=httpx2.MockTransport(answer)) as client:
        run = transfer.transfer(client, "https://hub.example/abc", tmp_path / "abc", 3, digest)
        if code is None:
            assert 3 in list(run) and (tmp_path / "abc").read_bytes() == b"abc"
        else:
            with pytest.raises(I2VError) as caught:
                list(run)
            assert caught.value.code == code and not (tmp_path / "abc").exists()


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


# ----------------------------------------------------------------------------------------------------- a bad connection

def test_drops_at_random_bytes_cost_none(hub, cache, pauses):
    cuts = sorted(random.Random(1).sample(range(1, 2_000_000), 12))
    steps = [end - start for start, end in itertools.pairwise([0, *cuts])]
    hub.answers[UNET] = [Answer(drop_after=step) for step in steps]
    events = fetch(cache, hub)
    assert ranges(hub) == [0, *cuts]
    assert sum(request.sent for request in hub.asked(UNET)) == 2_000_000
    assert len(pauses) == 12 and max(pauses) < 2  # every try brought something, so none waits longer than the first
    assert all(request.headers["if-range"] == hub.etag(UNET) for request in hub.asked(UNET)[1:])
    assert sum(isinstance(event, Waiting) for event in events) == 12


def test_a_drop_without_a_length_is_noticed(hub, cache):
    hub.answers[UNET] = [Answer(drop_after=500_000, headers={"Content-Length": None})]
    fetch(cache, hub)
    assert ranges(hub) == [0, 500_000]


def test_a_slow_server(hub, cache):
    hub.answers[UNET] = [Answer(pause=0.01)]
    fetch(cache, hub)


def test_a_server_that_says_nothing(hub, cache, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", httpx2.Timeout(0.2))
    hub.answers[UNET] = [Answer(hold_after=100_000)]
    events = fetch(cache, hub)
    assert ranges(hub) == [0, 100_000]
    assert [event.reason for event in events if isinstance(event, Waiting)] == ["the server took too long"]


def test_no_end_of_drops(hub, cache, pauses):
    hub.always = lambda name: Answer(drop_after=0) if name == UNET else None
    assert refused(cache, hub).code == "download_interrupted"
    assert len(hub.asked(UNET)) == transfer.TRIES
    assert pauses == sorted(pauses) and 20 < sum(pauses) < 120


@pytest.mark.parametrize("first", [True, False])
def test_offline(first, hub, cache, monkeypatch, pauses):
    if first:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    else:
        hub.store = "http://127.0.0.1:9"
    assert refused(cache, hub).code == "download_offline"
    assert sum(pauses) < (5 if first else 120)


def test_offline_by_wish(hub, cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refused(cache, hub).code == "download_offline" and not hub.requests


# -------------------------------------------------------------------------------------------------------- an odd server

def part(cache: Path, hub: FakeHub, have: int, etag: str | None = None, data: bytes | None = None) -> None:
    """As an earlier try left it."""
    path = folder_of(cache) / UNET
    path.parent.mkdir(parents=True)
    (path.parent / f"{path.name}.part").write_bytes((hub.files[UNET] if data is None else data)[:have])
    state = {"etag": hub.etag(UNET) if etag is None else etag, "size": 2_000_000,
             "digest": hashlib.sha256(hub.files[UNET]).hexdigest()}
    (path.parent / f"{path.name}.part.json").write_text(json.dumps(state))


def test_an_earlier_part_is_carried_on(hub, cache):
    part(cache, hub, 1_234_567)
    events = fetch(cache, hub)
    assert ranges(hub) == [1_234_567]
    assert next(event for event in events if isinstance(event, Start)).have_bytes == 1_234_567


def test_a_part_that_is_whole_is_only_checked(hub, cache):
    part(cache, hub, 2_000_000)
    fetch(cache, hub)
    assert not hub.asked(UNET)


def test_the_etag_has_changed(hub, cache):
    part(cache, hub, 1_000_000, etag='"before"')
    fetch(cache, hub)
    assert ranges(hub) == [1_000_000] and hub.asked(UNET)[0].sent == 2_000_000  # answered with 200, from the beginning


def test_the_etag_changes_between_two_tries(hub, cache):
    hub.answers[UNET] = [Answer(drop_after=700_000, headers={"ETag": '"before"'})]
    fetch(cache, hub)
    assert [request.sent for request in hub.asked(UNET)] == [700_000, 2_000_000]


def test_a_206_of_something_else(hub, cache):
    part(cache, hub, 1_000_000)
    hub.answers[UNET] = [Answer(headers={"ETag": '"other"'})]
    fetch(cache, hub)
    assert ranges(hub) == [1_000_000, 0]


@pytest.mark.parametrize("claim", ["bytes 0-1999999/2000000", "bytes 1000000-1999998/1999999", "bytes 5-9/10", "", "x"])
def test_a_206_of_another_range(claim, hub, cache):
    part(cache, hub, 1_000_000)
    hub.answers[UNET] = [Answer(headers={"Content-Range": claim})]
    fetch(cache, hub)
    assert ranges(hub) == [1_000_000, 0]


def test_a_server_that_knows_no_ranges(hub, cache):
    hub.answers[UNET] = [Answer(drop_after=900_000), Answer(ranges=False)]
    fetch(cache, hub)
    assert [request.sent for request in hub.asked(UNET)] == [900_000, 2_000_000]


def test_a_server_that_knows_no_ranges_and_drops_is_not_asked_for_ever(hub, cache):
    hub.always = lambda name: Answer(drop_after=900_000, ranges=False) if name == UNET else None
    assert refused(cache, hub).code == "download_interrupted"
    assert len(hub.asked(UNET)) <= transfer.TRIES + 1


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_etag_the_hash_decides(etag, hub, cache):
    hub.always = lambda name: Answer(headers={"ETag": etag}) if name == UNET else None
    hub.answers[UNET] = [Answer(drop_after=600_000, headers={"ETag": etag})]
    fetch(cache, hub)
    assert ranges(hub) == [0, 600_000] and "if-range" not in hub.asked(UNET)[1].headers


def test_416_starts_again(hub, cache):
    part(cache, hub, 1_000_000)
    hub.answers[UNET] = [Answer(status=416, headers={"Content-Range": "bytes */2000000"})]
    fetch(cache, hub)
    assert ranges(hub) == [1_000_000, 0]


def test_416_of_a_shorter_file(hub, cache):
    part(cache, hub, 1_000_000)
    hub.answers[UNET] = [Answer(body=b"short")]
    assert refused(cache, hub).code == "download_changed"


@pytest.mark.parametrize("after, waited", [("3", 3.0), ("0", 0.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)])
@pytest.mark.parametrize("name", [UNET, "list"])
def test_429_with_retry_after(name, after, waited, hub, cache, pauses):
    hub.answers[name] = [Answer(status=429, headers={"Retry-After": after})] * 2
    fetch(cache, hub)
    assert pauses == [waited, waited]


def test_429_for_hours(hub, cache, pauses):
    hub.answers[UNET] = [Answer(status=429, headers={"Retry-After": "7200"})]
    error = refused(cache, hub)
    assert error.code == "download_busy_server" and "120 minutes" in error.message and not pauses


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_errors_that_pass(status, hub, cache, pauses):
    hub.answers[UNET] = [Answer(drop_after=10), *[Answer(status=status, body=b"<html>")] * 3]
    hub.answers["list"] = [Answer(status=status)]
    fetch(cache, hub)
    assert ranges(hub) == [0, 10, 10, 10, 10] and len(pauses) == 5 and 2 * pauses[2] < 2 * pauses[4]


@pytest.mark.parametrize("status, code", [(401, "download_refused"), (403, "download_refused"),
                                          (404, "download_not_found"), (410, "download_not_found"),
                                          (418, "download_failed"), (204, "download_failed"), (304, "download_failed")])
@pytest.mark.parametrize("name", [UNET, "list"])
def test_errors_that_do_not_pass(status, code, name, hub, cache, pauses):
    hub.answers[name] = [Answer(status=status, body=b"")]
    code = "download_not_the_file" if name == "list" and status < 400 else code
    assert refused(cache, hub).code == code and not pauses


@pytest.mark.parametrize("name", [UNET, "model_index.json", "list"])
def test_a_sign_in_page(name, hub, cache):
    page = b"<html>Welcome to the hotel</html>"
    hub.answers[name] = [Answer(body=page, headers={"Content-Type": "text/html; charset=utf-8"})]
    error = refused(cache, hub)
    assert error.code == "download_not_the_file" and "browser" in error.hint


@pytest.mark.parametrize("answer, code", [
    (Answer(body=b"x" * 1_999_999), "download_changed"),
    (Answer(body=b"x" * 2_000_001), "download_changed"),
    (Answer(body=b"x" * 2_500_000, headers={"Content-Length": None}), "download_changed"),
    (Answer(headers={"Content-Length": "5000000"}), "download_changed"),
    (Answer(headers={"Content-Length": "none"}), "download_interrupted"),
    (Answer(headers={"Content-Encoding": "gzip"}), "download_failed"),
    (Answer(body=b"x" * 2_000_000), "download_corrupt"),
    (Answer(redirect="/store/" + UNET), "download_failed"),
    (Answer(redirect="file:///etc/passwd"), "download_failed"),
    (Answer(redirect="gopher://localhost/"), "download_failed"),
    (Answer(redirect="http://[::broken"), "download_interrupted"),
])
def test_lies(answer, code, hub, cache):
    hub.always = lambda name: answer if name == UNET else None
    assert refused(cache, hub).code == code
    assert not (folder_of(cache) / UNET).exists()


def test_damaged_once(hub, cache):
    hub.answers[UNET] = [Answer(body=b"x" * 2_000_000)]
    fetch(cache, hub)
    assert ranges(hub) == [0, 0]


def test_a_damaged_part_is_not_carried_on_for_ever(hub, cache):
    part(cache, hub, 1_000_000, data=bytes(2_000_000))
    fetch(cache, hub)
    assert ranges(hub) == [1_000_000, 0]


@pytest.mark.parametrize("state", ["", "{", "[]", "{}", '{"etag": null, "size": 5, "digest": "0"}', "\0" * 4096])
def test_a_part_of_nobody_knows_what(state, hub, cache):
    part(cache, hub, 1_000_000)
    (folder_of(cache) / f"{UNET}.part.json").write_text(state)
    fetch(cache, hub)
    assert ranges(hub) == [0]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"id": 1, "siblings": 3}', b'{"siblings": [{}]}',
                                  b"\xff\xfe", b"[" * 100_000])
def test_a_list_that_is_none(body, hub, cache):
    hub.answers["list"] = [Answer(body=body)]
    assert refused(cache, hub).code in ("download_failed", "download_not_the_file", "model_incomplete")


def test_names_in_the_list_lead_nowhere_else(hub, cache, tmp_path):
    hub.files |= {"../../../../evil.json": b"", "/etc/evil": b"", "unet/model.py": b"", "unet/../evil.safetensors": b"",
                  "unet/diffusion_pytorch_model.fp16.safetensors/../../evil": b""}
    list(download(REPO))
    found = {path.relative_to(folder_of(cache)).as_posix() for path in folder_of(cache).rglob("*") if path.is_file()}
    assert found == fake_hub.contents().keys()
    assert not list(tmp_path.rglob("evil*"))


# --------------------------------------------------------------------------------------------------------------- pinned

@pytest.fixture
def pinned(hub, monkeypatch) -> Pinned:
    """The fake model in the place of models.json, only its UNet with a hash."""
    files = tuple(File(name, len(data) if name in SMALL else None,
                       hashlib.sha256(data).hexdigest() if name == UNET else None) for name, data in hub.files.items())
    model = Pinned("tiny", REPO, REVISION, 2_073_000, "MIT", "A note.", files)
    monkeypatch.setattr(names, "pinned", lambda: {REPO: model})
    return model


def test_a_short_name_and_its_licence(pinned, hub, cache):
    start = next(event for event in download("tiny") if isinstance(event, Start))
    assert (start.repo, start.licence, start.note) == (REPO, "MIT", "A note.")
    invariants(cache, hub, whole=False)
    assert isinstance(list(download("tiny"))[-1], Finished)
    assert not (cache / "models--tiny--model/refs").exists()  # a pinned revision is not called main


def test_a_hub_with_another_file_than_the_pinned_one(pinned, hub, cache):
    hub.files = fake_hub.contents(seed=1)
    with pytest.raises(I2VError) as caught:
        list(download(REPO))
    assert caught.value.code == "download_changed" and not folder_of(cache).exists()


def test_a_damaged_copy_is_mended(pinned, hub, cache):
    fetch(cache, hub)
    with (folder_of(cache) / UNET).open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"flipped")
    hub.requests.clear()
    fetch(cache, hub)
    assert ranges(hub) == [0] and not hub.asked(IMAGE)


def test_models_json_is_what_the_project_knows():
    model = names.pinned()["ali-vilab/i2vgen-xl"]
    listed = [file.name for file in model.files]
    assert model.revision == "39e1979ea27be737b0278c06755e321f2b4360d5" and "MIT" in model.licence
    assert sorted(listed) == sorted(names.wanted(listed))
    assert sum(name.endswith(".fp16.safetensors") for name in listed) == 4
    assert all(file.sha256 is None or len(file.sha256) == 64 for file in model.files)


def test_a_certificate_that_is_not_trusted(hub, cache, monkeypatch):
    def refuse(*args, **options):
        raise httpx2.ConnectError("handshake") from ssl.SSLCertVerificationError("self-signed certificate")

    monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", refuse)
    error = refused(cache, hub)
    assert error.code == "download_untrusted" and "self-signed" in error.message


# ---------------------------------------------------------------------------------------------------- folders and disks

def test_another_folder_is_found_by_its_name(hub, cache, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = list(download(REPO, disk))[-1]
    assert done == Finished(str(folder_of(disk)), fetched=True)
    invariants(cache, hub, whole=True)          # through links
    assert all(path.is_symlink() for path in folder_of(cache).rglob("*") if path.is_file())
    hub.requests.clear()
    assert list(download(REPO, disk))[-1] == Finished(str(folder_of(disk)), fetched=False) and not hub.requests


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


def test_a_folder_that_is_none(hub, tmp_path):
    with pytest.raises(I2VError) as caught:
        list(download(REPO, tmp_path / "none"))
    assert caught.value.code == "output_folder_missing" and not hub.requests


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


def test_a_move_without_room_changes_nothing(hub, cache, tmp_path, monkeypatch):
    fetch(cache, hub)
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(models, "free_bytes", lambda path: 1000)
    with pytest.raises(I2VError) as caught:
        models.move(REPO, tmp_path / "disk")
    assert caught.value.code == "disk_full" and not list((tmp_path / "disk").iterdir())
    invariants(cache, hub, whole=True)


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


def test_a_move_to_where_nothing_can_be_written_changes_nothing(hub, cache, tmp_path):
    fetch(cache, hub)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/models--tiny--model").write_text("in the way")
    with pytest.raises(I2VError) as caught:
        models.move(REPO, tmp_path / "disk")
    assert caught.value.code == "output_folder_missing"
    invariants(cache, hub, whole=True)


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
    assert models.describe() == [f"tiny: 2.1 MB in {folder_of(cache)}", "  licence: MIT. A note."]
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


# ------------------------------------------------------------------------------------------------------------ processes

def start(hub: FakeHub, cache: Path, *options: str, limit: int | None = None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("HF_") and not name.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "i2v_mlx", "download", REPO, *options]
    limiting = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=limiting)


def part_size(cache: Path) -> int:
    path = folder_of(cache) / f"{UNET}.part"
    return path.stat().st_size if path.exists() else -1


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_at_random_bytes_and_carried_on(ending, hub, cache):
    cuts = sorted(random.Random(ending).sample(range(1, 2_000_000), 3 if ending == signal.SIGKILL else 1))
    for begin, end in itertools.pairwise([0, *cuts]):
        hub.answers[UNET] = [Answer(hold_after=end - begin)]
        process = start(hub, cache)
        wait_for(lambda end=end: part_size(cache) == end)
        process.send_signal(ending)
        out, said = process.communicate(timeout=20)
        assert out == "" and process.returncode == (-9 if ending == signal.SIGKILL else 130)
        assert ("carries on" in said) == (ending != signal.SIGKILL)
        invariants(cache, hub, whole=False)
    process = start(hub, cache)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 0 and out == f"{folder_of(cache)}\n", said
    assert "Licence:" in said and "Folder:" in said and "free" in said and "of 2.1 MB" in said
    invariants(cache, hub, whole=True)
    assert ranges(hub) == [0, *cuts]           # no byte was asked for twice


def test_killed_at_every_kind_of_event(hub, cache):
    kills = ["start", "progress", "checking"]
    for kind in kills:
        process = start(hub, cache, "--json")
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == kind:
                process.kill()
                break
        process.communicate(timeout=20)
        if process.returncode == -9 and not names.cached(REPO):
            invariants(cache, hub, whole=False)
    process = start(hub, cache, "--json")
    out, _ = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events].count("finished") == 1 and events[-1]["folder"] == str(folder_of(cache))
    invariants(cache, hub, whole=True)


def test_a_disk_that_fills_up_on_the_way(hub, cache):
    process = start(hub, cache, "--json", limit=1_500_000)
    out, said = process.communicate(timeout=20)
    failed = json.loads(out.splitlines()[-1])
    assert process.returncode == 1 and (failed["event"], failed["code"]) == ("failed", "disk_full"), said
    assert part_size(cache) == 1_500_000
    invariants(cache, hub, whole=False)
    fetch(cache, hub)
    assert ranges(hub) == [0, 1_500_000]


def test_two_at_once(hub, cache):
    hub.answers[UNET] = [Answer(hold_after=1_000_000)]
    first = start(hub, cache)
    wait_for(lambda: part_size(cache) == 1_000_000)
    for job in (lambda: list(download(REPO)), lambda: models.remove(REPO)):
        with pytest.raises(I2VError) as caught:
            job()
        if caught.value.code != "model_not_found":  # half a model of an unknown name is none that could be removed
            assert caught.value.code == "download_busy" and str(first.pid) in caught.value.message
    assert len(hub.asked(UNET)) == 1
    first.kill()
    first.communicate(timeout=20)
    fetch(cache, hub)                           # the lock died with its owner
    assert ranges(hub) == [0, 1_000_000]


def test_nobody_reads_what_it_says(hub, cache):
    """The app has died: its download ends at the next line, and can be carried on."""
    hub.answers[UNET] = [Answer(pause=0.05)]
    process = start(hub, cache, "--json")
    assert process.stdout is not None and process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) != 0
    process.stderr and process.stderr.close()
    fetch(cache, hub)
