"""What the tests of downloads share: where things are, and what has to hold."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import REPO, REVISION, UNET, FakeHub

from i2v_mlx import download as downloading
from i2v_mlx import hub as names
from i2v_mlx.download import LOCK, Finished, download
from i2v_mlx.errors import I2VError

IMAGE = "image_encoder/model.fp16.safetensors"


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


def part(cache: Path, hub: FakeHub, have: int, etag: str | None = None, data: bytes | None = None) -> None:
    """As an earlier try left it."""
    path = folder_of(cache) / UNET
    path.parent.mkdir(parents=True)
    (path.parent / f"{path.name}.part").write_bytes((hub.files[UNET] if data is None else data)[:have])
    state = {"etag": hub.etag(UNET) if etag is None else etag, "size": 2_000_000,
             "digest": hashlib.sha256(hub.files[UNET]).hexdigest()}
    (path.parent / f"{path.name}.part.json").write_text(json.dumps(state))


def part_size(cache: Path) -> int:
    path = folder_of(cache) / f"{UNET}.part"
    return path.stat().st_size if path.exists() else -1


def start(hub: FakeHub, cache: Path, *options: str, limit: int | None = None) -> subprocess.Popen[str]:
    """The command; `limit` is the size that files can have."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("HF_") and not name.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "i2v_mlx", "download", REPO, *options]
    limiting = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=limiting)
