"""A model from the hub, file by file, into the hub library's cache; a broken-off download carries on at its last byte.

Layout: ``<cache>/models--<owner>--<name>/snapshots/<revision>/<file>``, plain files where the hub library would put
links into blobs/. It does the same on disks without links, so `hub.resolve`, diffusers and ``hf cache`` find the model.
With another folder the same tree is made there, and the cache gets a link to every file.

Names, addresses and the token come from huggingface_hub. It begins a broken-off file again (version 2), so the bytes
are fetched by `transfer`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import __version__, files, hub
from .errors import I2VError
from .listing import Entry, listing
from .transfer import Checking, Waiting, client, digest_of, discard, kept, transfer

ROOM = 1.05                  # times what is missing has to be free
LOCK = ".livestill.lock"
SPEED_WINDOW_S = 10.0


@dataclass(frozen=True)
class Start:
    """Said before anything is fetched.

    Attributes:
        bytes, have_bytes, free_bytes: of the model, of it here already, and on the disk of `folder`.
    """

    repo: str
    folder: str
    bytes: int
    have_bytes: int
    free_bytes: int
    licence: str
    note: str


@dataclass(frozen=True)
class Progress:
    """`bytes` of `total` are here. `seconds_left` is None until there is a speed."""

    file: str
    bytes: int
    total: int
    bytes_per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class Finished:
    """The model is whole, in `folder`. `fetched` tells whether anything had to be fetched for that."""

    folder: str
    fetched: bool


Event = Start | Progress | Waiting | Checking | Finished


def download(name: str, folder: Path | str | None = None) -> Iterator[Event]:
    """Fetches of a model what is not here, 5.0 GB for the released one. Ends with `Finished`; to stop iterating pauses.

    A complete copy in the cache is checked against what is pinned, and used where it is.

    Args:
        name: "i2vgen-xl" or another name in resources/models.json, or ``owner/name``.
        folder: another cache, for example on another disk; it has to exist.

    Raises I2VError ``model_name_invalid``, ``model_incomplete``, ``output_folder_missing``, ``download_busy`` and those
    of `transfer.transfer`.
    """
    repo = hub.repository(name)
    root = hub.cache_folder() if folder is None else Path(folder).expanduser()
    if folder is not None and not root.is_dir():
        raise I2VError("output_folder_missing", f"There is no folder {root}.", "Make it, or choose another.")
    copy = hub.cached(repo, root) or hub.cached(repo)
    if copy is not None and (yield from _is_sound(copy, repo)):
        if hub.cached(repo) is None:
            link(repo, copy)
        yield Finished(str(copy), fetched=False)
        return
    revision, wanted = yield from listing(repo)
    target = copy or hub.snapshot(repo, revision, root)
    with held(target):
        missing = []
        for file in wanted:
            if (yield from _is_there(target / file.name, file.bytes, file.digest)):
                discard(target / file.name)
            else:
                missing.append(file)
        parts = sum(kept(target / file.name, file.bytes, file.digest) for file in missing)
        total = sum(file.bytes for file in wanted)
        whole = total - sum(file.bytes for file in missing)
        done = whole + parts
        free = files.free_bytes(target)
        known = hub.pinned().get(repo)
        yield Start(repo, str(target), total, done, free, known.licence if known else "see its page on the hub",
                    known.note if known else "")
        if free < (total - done) * ROOM:
            raise I2VError("disk_full", f"{(total - done) / 1e9:.2f} GB are to be fetched to {target}; "
                           f"{free / 1e9:.2f} GB are free.", "Make room, or choose a folder on another disk.")
        yield from _fetch(repo, revision, target, missing, whole, total)
        if repo not in hub.pinned():
            write_ref(target, revision)
    if hub.cached(repo) is None:
        link(repo, target)
    yield Finished(str(target), fetched=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps other processes from the folder, which is made. The lock dies with its process.

    Raises I2VError ``download_busy`` with the number of the process that has it, or ``output_unwritable``.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = os.read(lock, 20).decode("ascii", "replace")
                os.close(lock)
                raise I2VError("download_busy", f"Process {owner or '(unknown)'} is at work on {folder} already.",
                               "Wait until it is done.") from error
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), path.stat()):
                    break
            os.close(lock)  # its holder has just finished and removed it
    except OSError as error:
        raise files.output_error(error, path) from error
    try:
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        with suppress(OSError):  # the disk may be gone
            path.unlink()
        os.close(lock)


def link(repo: str, folder: Path) -> None:
    """Makes the hub library's cache lead to a model that lies elsewhere. Raises I2VError ``model_not_linked``."""
    cache = hub.snapshot(repo, folder.name)
    if cache.exists() and cache.samefile(folder):
        return
    try:
        for file in hub.wanted(path.relative_to(folder).as_posix() for path in folder.rglob("*")):
            here = cache / file
            here.parent.mkdir(parents=True, exist_ok=True)
            if here.exists() and here.samefile(folder / file):
                continue
            temporary = here.with_name(f".{here.name}.{secrets.token_hex(4)}")
            temporary.symlink_to((folder / file).absolute())
            temporary.replace(here)
        if repo not in hub.pinned():
            write_ref(cache, folder.name)
    except OSError as error:
        raise I2VError("model_not_linked", f"{folder} is whole, but {cache} cannot lead to it: {error.strerror}.",
                       f"Use it with --model {folder}.") from error


def _fetch(repo: str, revision: str, target: Path, missing: list[Entry], done: int, total: int) -> Iterator[Event]:
    """The transfers, one after the other; `done` bytes are in other files."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers(library_name="livestill", library_version=__version__)
    speed = _Speed()
    with client(headers) as http:
        for file in missing:
            address = hf_hub_url(repo, file.name, revision=revision)
            for step in transfer(http, address, target / file.name, file.bytes, file.digest):
                if isinstance(step, int):
                    yield speed.progress(file.name, done + step, total)
                else:
                    yield step
            done += file.bytes


class _Speed:
    """The mean of the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def progress(self, file: str, done: int, total: int) -> Progress:
        now = time.monotonic()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # a file began again
        self._seen.append((now, done))
        while now - self._seen[0][0] > SPEED_WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (done - before) / (now - since) if now > since else 0.0
        return Progress(file, done, total, rate, (total - done) / rate if rate else None)


def _is_there(path: Path, size: int | None, digest: str | None) -> Generator[Checking, None, bool]:
    """Whether the file is here and as it should be, as far as that is known."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    if digest is None:
        return True
    yield Checking(path.name)
    return digest_of(path, digest) == digest


def _is_sound(folder: Path, repo: str) -> Generator[Checking, None, bool]:
    """Whether nothing in a complete copy differs from what is pinned. The copy may be of the float32 files."""
    known = hub.pinned().get(repo)
    for file in known.files if known else ():
        path = folder / file.name
        if path.is_file() and not (yield from _is_there(path, file.bytes, file.sha256)):
            return False
    return True


def write_ref(snapshot: Path, revision: str) -> None:
    """Where the hub library looks up which revision "main" is."""
    with suppress(FileExistsError):
        (snapshot.parents[1] / "refs").mkdir()
    with files.atomic(snapshot.parents[1] / "refs" / "main") as part:
        part.write_text(revision, "ascii")
