"""A server that drops, slows, redirects, lies about lengths, changes its ETag, ignores a Range, and answers with errors
or web pages: the download ends whole or with a named error, and carries on where it was."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import ssl

import fake_hub
import httpx2
import huggingface_hub.constants as constants
import pytest
from downloads import IMAGE, fetch, folder_of, part, ranges, refused
from fake_hub import REPO, SMALL, UNET, Answer

from i2v_mlx import transfer
from i2v_mlx.download import Finished, Progress, Start, download
from i2v_mlx.errors import I2VError
from i2v_mlx.transfer import Waiting

pytestmark = pytest.mark.usefixtures("cache", "pauses")


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


def test_a_certificate_that_is_not_trusted(hub, cache, monkeypatch):
    def refuse(*args, **options):
        raise httpx2.ConnectError("handshake") from ssl.SSLCertVerificationError("self-signed certificate")

    monkeypatch.setattr(httpx2.HTTPTransport, "handle_request", refuse)
    error = refused(cache, hub)
    assert error.code == "download_untrusted" and "self-signed" in error.message


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
