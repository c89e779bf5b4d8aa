"""One file over HTTP: carried on where it stopped, checked, and under its final name only when it is whole.

Beside ``<name>`` lie ``<name>.part`` and ``<name>.part.json``, which says of what the part is a part: {"etag", "size",
"digest"}. Every byte that arrived is in the part at once, so a kill costs none. RFC 9110, sections 13.1.5 and 14.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import random
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import httpx2

from .errors import I2VError
from .files import atomic, output_error

PAUSE_S = 1.0                # after the first failure; doubled with every further one
LONGEST_PAUSE_S = 30.0
LONGEST_RETRY_AFTER_S = 300  # a server that asks for more is not waited for
TRIES = 7                    # in a row without a new byte, a minute and a half in all
TIMEOUT = httpx2.Timeout(30.0, connect=15.0)
LATER = "Start the download again later; it carries on where it stopped."
PORTAL = "If this network has a sign-in page, open it in a browser, then start the download again."


@dataclass(frozen=True)
class Waiting:
    """Something failed that may pass; the next try comes in `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True)
class Checking:
    """The bytes of a file are compared with what they should be, which takes seconds for gigabytes."""

    file: str


class Again(Exception):
    """A failure that may pass. `after` is what the server asked to wait, in seconds."""

    def __init__(self, reason: str, after: float | None = None):
        super().__init__(reason)
        self.after = after


def client(headers: dict[str, str] | None = None, transport: httpx2.BaseTransport | None = None) -> httpx2.Client:
    """Follows redirects: the client drops the token when they lead to another host, and we refuse to leave https.

    Proxies and SSL_CERT_FILE come from the environment, certificates from the system: httpx2's defaults.
    """
    return httpx2.Client(headers=headers, transport=transport, timeout=TIMEOUT, follow_redirects=True, max_redirects=8,
                         event_hooks={"response": [_stay_secure]})


def transfer(client: httpx2.Client, url: str, target: Path, size: int, digest: str
             ) -> Iterator[int | Waiting | Checking]:
    """Fetches `url` to `target`, which then has `size` bytes and the SHA-256 or git id `digest`.

    Yields how many bytes of the file are here, after each piece, and what else there is to say. Whoever stops to
    iterate, or kills the process, leaves a part that the next call carries on.

    Raises I2VError ``download_*`` (offline, interrupted, refused, not_found, busy_server, insecure, untrusted,
    not_the_file, changed, corrupt, failed), ``disk_full``, ``output_unwritable`` or ``output_folder_missing``.
    """
    for _ in range(2):
        yield from _fill(client, url, target, size, digest)
        yield Checking(target.name)
        try:
            if digest_of(_part(target), digest) == digest:
                with _part(target).open("rb+") as file:
                    os.fsync(file.fileno())
                _part(target).replace(target)
                return discard(target)
        except OSError as error:
            raise output_error(error, target) from error
        discard(target)
    raise I2VError("download_corrupt", f"{target.name} arrived damaged, twice.", LATER)


def kept(target: Path, size: int, digest: str) -> int:
    """Bytes of an earlier try that can be carried on. A part of anything else is removed."""
    part = _part(target)
    try:
        state = json.loads(_state(target).read_text("utf-8"))
        have = part.stat().st_size
    except (OSError, ValueError):
        state, have = None, 0
    if isinstance(state, dict) and (state.get("size"), state.get("digest")) == (size, digest) and have <= size:
        return have
    discard(target)
    return 0


def discard(target: Path) -> None:
    """Removes the part, then what is known about it."""
    _part(target).unlink(missing_ok=True)
    _state(target).unlink(missing_ok=True)


def digest_of(path: Path, like: str) -> str:
    """Hexadecimal, of the kind of `like`: SHA-256, or with 40 digits git's id of the contents."""
    digest = hashlib.sha256()
    if len(like) == 40:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def wait(failure: Again, failures: int, tries: int = TRIES) -> Iterator[Waiting]:
    """Sleeps before the next try, longer every time. Raises I2VError when there have been enough."""
    if failure.after is not None and failure.after > LONGEST_RETRY_AFTER_S:
        raise I2VError("download_busy_server", f"The server asks to come back in {failure.after / 60:.0f} minutes.",
                       LATER) from failure
    if failures >= tries:
        offline = isinstance(failure.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError)
        code = "download_offline" if offline else "download_interrupted"
        raise I2VError(code, f"The download stopped: {failure}.",
                       "Check the connection, then start it again; it carries on where it stopped.") from failure
    pause = min(PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)
    pause = pause if failure.after is None else failure.after
    yield Waiting(str(failure), pause)
    time.sleep(pause)


def explain(error: httpx2.HTTPError | httpx2.InvalidURL) -> Again | I2VError:
    """What a failure of the transport means: worth another try, or not."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return I2VError("download_untrusted", f"The server's certificate is not trusted: {cause}.",
                        "Check the clock. Behind a company's proxy, its certificate has to be in the system's store.")
    permanent = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.TooManyRedirects, httpx2.InvalidURL)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if isinstance(error, permanent):
        return I2VError("download_failed", f"The download cannot work: {reason}.", "Check HF_ENDPOINT and the proxy.")
    return Again("the server took too long" if isinstance(error, httpx2.TimeoutException) else reason)


def refusal(response: httpx2.Response) -> Again | I2VError:
    """What a status other than 200 and 206 means."""
    status, host = response.status_code, response.url.host
    if status in (408, 425, 429) or status >= 500:
        return Again(f"{host} answers {status}", _retry_after(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        return I2VError("download_refused", f"{host} refuses the download ({status}).",
                        "If the model asks for a licence to be accepted, do so on its page and set HF_TOKEN.")
    if status in (404, 410):
        return I2VError("download_not_found", f"{host} does not have {response.url.path} ({status}).",
                        "Check the name of the model, and HF_ENDPOINT if it is set.")
    return I2VError("download_failed", f"{host} answers {status}, which makes no sense here.", LATER)


def _fill(client: httpx2.Client, url: str, target: Path, size: int, digest: str) -> Iterator[int | Waiting]:
    """Until the part has all bytes."""
    failures, most = 0, kept(target, size, digest)
    try:
        target.parent.mkdir(exist_ok=True)  # without parents: where a disk was, no folder is to be made
    except OSError as error:
        raise output_error(error, target) from error
    while (have := kept(target, size, digest)) < size or not _part(target).exists():
        try:
            for done in _attempt(client, url, target, size, digest, have):
                if done > most:
                    failures, most = 0, done
                yield done
        except Again as failure:
            failures += 1
            yield from wait(failure, failures)


def _attempt(client: httpx2.Client, url: str, target: Path, size: int, digest: str, have: int) -> Iterator[int]:
    """One request for what is missing, written as it comes. Raises `Again` if it ends before the file does."""
    headers = {"Accept-Encoding": "identity"}
    etag = json.loads(_state(target).read_text("utf-8"))["etag"] if have else None
    if have:
        headers["Range"] = f"bytes={have}-"
        if etag:
            headers["If-Range"] = etag
    try:
        with client.stream("GET", url, headers=headers) as response:
            have = _begin(response, target, size, digest, have, etag)
            with _part(target).open("ab", buffering=0) as file:
                for piece in response.iter_raw():
                    have += len(piece)
                    if have > size:
                        discard(target)
                        raise _changed(target, f"more than {size} bytes", size)
                    _append(file, piece)
                    yield have
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise explain(error) from error
    except OSError as error:
        raise output_error(error, target) from error
    if have < size:
        raise Again(f"the connection ended at {have} of {size} bytes")


def _begin(response: httpx2.Response, target: Path, size: int, digest: str, have: int, etag: str | None) -> int:
    """Checks what is coming, and says from which byte on."""
    if response.status_code == 416:
        total = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        discard(target)
        if total and int(total[1]) != size:
            raise _changed(target, f"{total[1]} bytes", size)
        raise Again("the server cannot carry on, so the file starts again")
    if response.status_code not in (200, 206):
        raise refusal(response)
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise I2VError("download_not_the_file", f"{response.url.host} sent a web page, not {target.name}.", PORTAL)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise I2VError("download_failed", f"{response.url.host} packs what it sends, unasked.", LATER)
    given = response.headers.get("ETag")
    given = given if given and not given.startswith("W/") else None  # a weak one does not promise equal bytes
    if response.status_code == 206:
        here = re.fullmatch(rf"bytes {have}-{size - 1}/({size}|\*)", response.headers.get("Content-Range", ""))
        if not have or not here or (given and etag and given != etag):
            discard(target)
            raise Again("the server sent another part than was asked for, so the file starts again")
        return have
    length = response.headers.get("Content-Length", str(size))
    if length != str(size):
        raise _changed(target, f"{length} bytes", size)
    discard(target)
    with atomic(_state(target)) as part:
        part.write_text(json.dumps({"etag": given, "size": size, "digest": digest}), "utf-8")
    _part(target).touch()
    return 0


def _append(file: FileIO, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:  # a write can be cut short, by a disk that fills up or a signal
        rest = rest[file.write(rest):]


def _changed(target: Path, given: str, size: int) -> I2VError:
    return I2VError("download_changed", f"The server has {given} for {target.name}, not {size}.",
                    "It holds another file, or something in between alters it. Try another network, or HF_ENDPOINT.")


def _retry_after(value: str) -> float | None:
    """Seconds from now; the header gives them, or a date."""
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    with suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None


def _stay_secure(response: httpx2.Response) -> None:
    if not response.has_redirect_location or response.url.scheme != "https":
        return
    if response.url.join(response.headers["Location"]).scheme != "https":
        raise I2VError("download_insecure", f"{response.url.host} leads to an address that is not encrypted.", PORTAL)


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _state(target: Path) -> Path:
    return target.with_name(target.name + ".part.json")
