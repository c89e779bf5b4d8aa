"""A hub on 127.0.0.1 with one model, that misbehaves as told. Weights are redirected to a store, as by the real one."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

REPO, REVISION = "tiny/model", "a" * 40
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
SMALL = ["model_index.json", "scheduler/scheduler_config.json", "feature_extractor/preprocessor_config.json",
         "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt",
         "text_encoder/config.json", "image_encoder/config.json", "unet/config.json", "vae/config.json"]
WEIGHTS = {"text_encoder/model.fp16.safetensors": 3_000, "image_encoder/model.fp16.safetensors": 70_000,
           UNET: 2_000_000, "vae/diffusion_pytorch_model.fp16.safetensors": 0}


def contents(seed: int = 0) -> dict[str, bytes]:
    """Of every file of the model."""
    source = random.Random(seed)
    return {name: b'{"seed": %d}' % seed for name in SMALL} | {
        name: source.randbytes(size) for name, size in WEIGHTS.items()}


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Answer:
    """How one request for a file is answered; the default is as it should be.

    Attributes:
        drop_after: the connection ends after so many bytes of the body.
        hold_after: there it waits until the server is released.
        pause: seconds before every 64 KB.
        ranges: whether the server knows what a Range is.
        headers: added to the answer, or replacing what it has; None takes one away.
        body: in place of the file's bytes.
        redirect: where to, in place of an answer.
    """

    status: int = 200
    drop_after: int | None = None
    hold_after: int | None = None
    pause: float = 0.0
    ranges: bool = True
    headers: dict[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    redirect: str | None = None


@dataclass
class Request:
    """One that was made, for a file or the list.

    Attributes:
        headers: their names in lower case.
        sent: bytes of the body.
    """

    name: str
    headers: dict[str, str]
    host: str
    sent: int = 0


class FakeHub(ThreadingHTTPServer):
    """`answers` are used up, one a request for the bytes of a file; "list" is for the list of files."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = contents()
        self.etags: dict[str, str] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.always: Callable[[str], Answer | None] = lambda name: None
        self.requests: list[Request] = []
        self.released = threading.Event()
        self.store = f"http://localhost:{self.server_port}"  # another origin than 127.0.0.1
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what the tests are about."""

    def asked(self, name: str) -> list[Request]:
        """The requests that reached the bytes of a file, or its refusal."""
        return [request for request in self.requests if request.name == name]

    def etag(self, name: str) -> str:
        return self.etags.get(name, f'"{hashlib.md5(self.files[name]).hexdigest()}"')


class Handler(BaseHTTPRequestHandler):
    """One instance answers one request: this is HTTP 1.0."""

    server: FakeHub
    seen: Request

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(f"/api/models/{REPO}"):
            self._list()
        elif path.startswith(f"/{REPO}/resolve/{REVISION}/"):
            name = path.split(f"/{REVISION}/")[1]
            if name.endswith(".safetensors"):
                sha256 = hashlib.sha256(self.server.files[name]).hexdigest()
                self._note(f"redirect {name}")
                self._send(302, b"", {"Location": f"{self.server.store}/store/{name}", "X-Linked-ETag": f'"{sha256}"',
                                      "X-Linked-Size": str(len(self.server.files[name]))})
            else:
                self._file(name)
        elif path.startswith("/store/"):
            self._file(path.removeprefix("/store/"))
        else:
            self._note(path)
            self._send(404, b"", {})

    def _list(self) -> None:
        answer = self._answer("list")
        siblings = []
        for name, data in self.server.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git_id(data)}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(entry)
        body = json.dumps({"id": REPO, "sha": REVISION, "siblings": siblings}).encode()
        self._send(answer.status, body if answer.body is None else answer.body,
                   {"Content-Type": "application/json"} | answer.headers)

    def _answer(self, name: str) -> Answer:
        self._note(name)
        planned = self.server.answers.get(name)
        return planned.pop(0) if planned else self.server.always(name) or Answer()

    def _note(self, name: str) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen = Request(name, headers, headers["host"])
        self.server.requests.append(self.seen)

    def _file(self, name: str) -> None:
        answer = self._answer(name)
        if answer.redirect is not None:
            return self._send(302, b"", {"Location": answer.redirect})
        data = self.server.files[name] if answer.body is None else answer.body
        etag, status, first = self.server.etag(name), answer.status, 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        headers: dict[str, str | None] = {"ETag": etag, "Content-Type": "application/octet-stream"}
        if wanted and answer.ranges and status == 200 and self.headers.get("If-Range", etag) == etag:
            first = int(wanted[1])
            if first >= len(data):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            status = 206
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self._send(status, data[first:], headers | answer.headers, answer)

    def _send(self, status: int, body: bytes, headers: dict[str, str | None], answer: Answer | None = None) -> None:
        answer = answer or Answer()
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        ends = [end for end in (answer.drop_after, answer.hold_after) if end is not None]
        stop = min([len(body), *ends])
        for start in range(0, stop, 2**16):
            if answer.pause and self.server.released.wait(answer.pause):
                return
            piece = body[start:min(stop, start + 2**16)]
            self.seen.sent += len(piece)
            self.wfile.write(piece)
        if answer.hold_after is not None:
            self.server.released.wait(30)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.released.set()
            hub.shutdown()
            thread.join()
