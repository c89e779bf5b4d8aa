"""Names of models become folders. The hub here is a small server of ours, or the library's cache as we lay it out."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub.constants
import pytest

from i2v_mlx import files, hub
from i2v_mlx.errors import I2VError
from i2v_mlx.hub import RELEASED

REVISION = hub.pinned()[RELEASED].revision
OTHER = "someone/else"

SMALL = ["model_index.json", "scheduler/scheduler_config.json", "feature_extractor/preprocessor_config.json",
         "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
         "tokenizer/special_tokens_map.json", "text_encoder/config.json", "image_encoder/config.json",
         "unet/config.json", "vae/config.json"]
WHOLE = ["text_encoder/model.safetensors", "image_encoder/model.safetensors",
         "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"]
HALF = [name.replace(".safetensors", ".fp16.safetensors") for name in WHOLE]
OTHERS = ["README.md", "model.py", "models/i2vgen_xl_00854500.pth", "unet/diffusion_pytorch_model.bin", "unet/model.py",
          "unet/diffusion_pytorch_model.non_ema.safetensors.exe", "source/unet/config.json"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The hub library's cache, empty."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def fill(cache: Path, repo: str, names: list[str], revision: str | None = None) -> Path:
    revision = revision or (REVISION if repo == RELEASED else "f" * 40)
    repository = cache / ("models--" + repo.replace("/", "--"))
    for name in names:
        file = repository / "snapshots" / revision / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs/main").write_text(revision)
    return repository / "snapshots" / revision


def refused(name: str | Path) -> tuple[str, str]:
    with pytest.raises(I2VError) as caught:
        hub.resolve(name)
    return caught.value.code, str(caught.value)


# ----------------------------------------------------------------------------------------------------------- resolving

def test_demo_is_bundled(no_network, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "resource", lambda name: tmp_path / name)
    assert hub.resolve("demo") == tmp_path / "demo"


def test_a_folder_comes_before_a_hub_name(no_network, tmp_path, monkeypatch):
    (tmp_path / "ali-vilab/i2vgen-xl").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub.resolve(tmp_path) == tmp_path
    assert hub.resolve(RELEASED) == Path(RELEASED)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hub.resolve("~/ali-vilab") == tmp_path / "ali-vilab"


def test_a_folder_needs_no_hub_library(tmp_path):
    script = "import sys; from i2v_mlx import hub; hub.resolve(sys.argv[1]); sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script, tmp_path], timeout=60).returncode == 0


@pytest.mark.parametrize("name", ["i2vgen-xl", RELEASED])
def test_the_released_model_when_it_is_not_there(name, no_network):
    code, text = refused(name)
    assert code == "model_not_found"
    assert "`python -m i2v_mlx download`" in text and "5.0 GB" in text and "--model demo" in text


def test_another_model_when_it_is_not_there(no_network):
    code, text = refused("someone/else")
    assert code == "model_not_found" and "download someone/else`" in text and "GB" not in text


@pytest.mark.parametrize("name", ["", "nothing", "./none", "/no/such/folder", "a/b/c", "~/none", "~nobody-here/x",
                                  "C:\\models\\x", "a\0b", Path("owner/name")])
def test_what_is_no_folder_and_no_hub_name(name, no_network):
    assert refused(name)[0] == "model_not_found"


@pytest.mark.parametrize("name", ["owner/na me", "owner/../..", "owner/name.git", "owner/na--me", "-owner/name",
                                  "owner/" + "x" * 200, "owner/näme"])
def test_hub_names_that_cannot_be(name, no_network):
    assert refused(name)[0] in ("model_name_invalid", "model_not_found")
    assert refused("owner/na--me")[0] == "model_name_invalid"


@pytest.mark.parametrize("weights", [WHOLE, HALF])
def test_a_copy_in_the_cache_is_used_in_place(weights, cache, no_network):
    folder = fill(cache, RELEASED, SMALL + weights)
    assert hub.resolve("i2vgen-xl") == folder == hub.resolve(RELEASED, download=True)
    other = fill(cache, "someone/else", SMALL + weights)
    assert hub.resolve("someone/else") == other


@pytest.mark.parametrize("gone", ["unet/config.json", HALF[2], "tokenizer/merges.txt", "model_index.json"])
def test_half_a_copy_is_none(gone, cache, no_network):
    folder = fill(cache, RELEASED, SMALL + HALF)
    (folder / gone).unlink()
    assert refused(RELEASED)[0] == "model_not_found"


def test_another_revision_is_not_the_released_model(cache, no_network):
    fill(cache, RELEASED, SMALL + HALF, "0" * 40)
    assert refused(RELEASED)[0] == "model_not_found"


# ---------------------------------------------------------------------------------------------------------- downloading

def test_only_what_is_read_is_wanted():
    everything = [*SMALL, *WHOLE, *HALF, *OTHERS]
    assert sorted(hub.wanted(everything)) == sorted(SMALL + HALF)
    assert sorted(hub.wanted(SMALL + WHOLE + OTHERS)) == sorted(SMALL + WHOLE)
    assert sorted(hub.wanted(OTHERS)) == []


def test_shards_are_wanted_with_their_index():
    shards = ["unet/diffusion_pytorch_model-00001-of-00002.safetensors",
              "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
              "unet/diffusion_pytorch_model.safetensors.index.json"]
    half = ["unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json"]
    assert sorted(hub.wanted(shards)) == sorted(shards)
    assert sorted(hub.wanted(shards + half)) == sorted(half)


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download asks for."""

    contents: dict[str, bytes]
    status = 200
    asked: list[str]

    def do_GET(self):
        self.answer()

    def answer(self):
        path = urlsplit(self.path).path
        self.asked.append(f"{self.command} {path}")
        if self.status != 200:
            self.send(self.status, b"{}")
        elif path == f"/api/models/{OTHER}":
            siblings = [{"rfilename": name, "size": len(data), "blobId": git_id(data)}
                        for name, data in self.contents.items()]
            self.send(200, json.dumps({"id": OTHER, "sha": "f" * 40, "siblings": siblings}).encode())
        elif path.startswith(f"/{OTHER}/resolve/{'f' * 40}/"):
            self.send(200, self.contents[path.split(f"/resolve/{'f' * 40}/")[1]])
        else:
            self.send(404, b"{}")

    def send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Hub,), {"contents": {name: name.encode() for name in [*SMALL, *WHOLE, *HALF, *OTHERS]},
                                       "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server, home: Path) -> subprocess.CompletedProcess:
    """In a process of its own: the hub library reads its address when it is imported."""
    script = ("from i2v_mlx import hub\nfrom i2v_mlx.errors import I2VError\n"
              f"try:\n    print(hub.resolve('{OTHER}', download=True))\n"
              "except I2VError as error:\n    print(error.code, error)")
    environment = os.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(home),
                                "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)


def test_a_download_fetches_what_is_read_and_no_more(server, tmp_path):
    done = fetch(server, tmp_path / "home")
    folder = Path(done.stdout.strip().splitlines()[-1])
    assert folder.is_dir(), done.stdout + done.stderr
    assert folder.name == "f" * 40
    fetched = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    assert fetched == sorted(SMALL + HALF)
    assert (folder / HALF[0]).read_text() == HALF[0]
    assert not any(line.endswith(f"/{name}") for line in server.RequestHandlerClass.asked for name in WHOLE + OTHERS
                   if line.startswith("GET"))
    before = len(server.RequestHandlerClass.asked)
    assert fetch(server, tmp_path / "home").stdout == done.stdout
    assert len(server.RequestHandlerClass.asked) == before  # the copy is whole: nobody is asked


@pytest.mark.parametrize("status, code", [(401, "download_refused"), (404, "download_not_found")])
def test_a_download_that_fails_says_so(status, code, server, tmp_path):
    server.RequestHandlerClass.status = status
    done = fetch(server, tmp_path / "home")
    assert done.stdout.startswith(f"{code} 127.0.0.1 "), done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_without_an_owner_is_not_asked_for(no_network):
    with pytest.raises(I2VError) as caught:
        hub.fetch("demo")
    assert caught.value.code == "model_name_invalid"
