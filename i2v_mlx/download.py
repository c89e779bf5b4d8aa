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
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2

from . import __version__, files, hub
from .errors import I2VError
from .hub import File
from .transfer import Again, Checking, Waiting, client, digest_of, discard, explain, kept, refusal, transfer, wait

LISTING_TRIES = 3            # before anything was fetched: who is offline wants to know soon
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
        link(repo, copy)
        yield Finished(str(copy), fetched=False)
        return
    revision, wanted = yield from _listing(repo)
    target = copy or hub.snapshot(repo, revision, root)
    with held(target):
        missing = [file for file in wanted if not (yield from _is_there(target / file.name, file))]
        have = {file.name: kept(target / file.name, *_facts(file)) for file in missing}
        total = sum(_facts(file)[0] for file in wanted)
        done = total - sum(_facts(file)[0] - have[file.name] for file in missing)
        free = files.free_bytes(target)
        known = hub.pinned().get(repo)
        yield Start(repo, str(target), total, done, free, known.licence if known else "see its page on the hub",
                    known.note if known else "")
        if free < (total - done) * ROOM:
            raise I2VError("disk_full", f"{(total - done) / 1e9:.2f} GB are to be fetched to {target}; "
                           f"{free / 1e9:.2f} GB are free.", "Make room, or choose a folder on another disk.")
        yield from _fetch(repo, revision, target, missing, done - sum(have.values()), total)
        if repo not in hub.pinned():
            _write_ref(target, revision)
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
                if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                    break  # else its holder has just finished and removed it
            except BlockingIOError as error:
                owner = os.read(lock, 20).decode("ascii", "replace")
                os.close(lock)
                raise I2VError("download_busy", f"Process {owner} is at work on {folder} already.",
                               "Wait until it is done.") from error
            os.close(lock)
    except OSError as error:
        raise files.output_error(error, path) from error
    try:
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        yield
    finally:
        path.unlink(missing_ok=True)
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
            _write_ref(cache, folder.name)
    except OSError as error:
        raise I2VError("model_not_linked", f"{folder} is whole, but {cache} cannot lead to it: {error.strerror}.",
                       f"Use it with --model {folder}.") from error


def _fetch(repo: str, revision: str, target: Path, missing: list[File], done: int, total: int) -> Iterator[Event]:
    """The transfers, one after the other; `done` bytes are in other files."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers(library_name="livestill", library_version=__version__)
    speed = _Speed()
    with client(headers) as http:
        for file in missing:
            size, digest = _facts(file)
            address = hf_hub_url(repo, file.name, revision=revision)
            for step in transfer(http, address, target / file.name, size, digest):
                if isinstance(step, int):
                    yield speed.progress(file.name, done + step, total)
                else:
                    yield step
            done += size


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


def _listing(repo: str) -> Iterator[Waiting]:
    """Returns the revision and the files that are read, with size and digest as pinned or as the hub tells."""
    failures = 0
    while True:
        try:
            return _ask(repo)
        except Again as failure:
            failures += 1
            yield from wait(failure, failures, LISTING_TRIES)


def _ask(repo: str) -> tuple[str, list[File]]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    known = hub.pinned().get(repo)
    try:
        info = HfApi(library_name="livestill", library_version=__version__).model_info(
            repo, revision=known.revision if known else None, files_metadata=True, timeout=30.0)
        offered = {file.rfilename: File(file.rfilename, file.size, file.lfs.sha256 if file.lfs else file.blob_id)
                   for file in info.siblings or ()}
        revision = known.revision if known else str(info.sha)
    except OfflineModeIsEnabled as error:
        raise I2VError("download_offline", "HF_HUB_OFFLINE is set, so nothing is fetched.", "Unset it.") from error
    except HfHubHTTPError as error:
        raise refusal(error.response) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise explain(error) from error
    except ValueError as error:  # no JSON
        raise I2VError("download_not_the_file", "The answer is not the hub's.",
                       "If this network has a sign-in page, open it in a browser; check HF_ENDPOINT.") from error
    except Exception as error:  # the hub library passes on whatever an odd answer or setting leads to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise I2VError("download_failed", f"{repo} could not be looked up: {reason}",
                       "Check the name and the connection, then start it again.") from error
    names = [file.name for file in known.files] if known else hub.wanted(offered)
    if not set(names) <= offered.keys() or "model_index.json" not in names:
        lacking = ", ".join(sorted({*names, "model_index.json"} - offered.keys())) or "weights"
        raise I2VError("model_incomplete", f"{repo} holds no model that can be run: {lacking} is not there.")
    return revision, [_merged(next((file for file in known.files if file.name == name), File(name)) if known
                              else File(name), offered[name]) for name in names]


def _merged(ours: File, theirs: File) -> File:
    """What is pinned holds; what is not comes from the hub."""
    same_kind = ours.digest and theirs.digest and len(ours.digest) == len(theirs.digest)
    if (ours.bytes and ours.bytes != theirs.bytes) or (same_kind and ours.digest != theirs.digest):
        raise I2VError("download_changed", f"The server holds another {ours.name} than the one that is pinned.",
                       "Check HF_ENDPOINT, or update Livestill.")
    return replace(theirs, digest=ours.digest or theirs.digest)


def _facts(file: File) -> tuple[int, str]:
    """Size and digest. Raises I2VError if the hub told only one of them: such a file could not be checked."""
    if file.bytes is None or file.digest is None or len(file.digest) not in (40, 64):
        raise I2VError("download_failed", f"The server does not say what {file.name} has to be.", "Check HF_ENDPOINT.")
    return file.bytes, file.digest


def _is_there(path: Path, file: File) -> Iterator[Checking]:
    """Returns whether the file is here, as it should be. `file` may know less than everything."""
    if not path.is_file() or (file.bytes is not None and path.stat().st_size != file.bytes):
        return False
    if file.digest is None:
        return True
    yield Checking(file.name)
    if digest_of(path, file.digest) != file.digest:
        return False
    discard(path)
    return True


def _is_sound(folder: Path, repo: str) -> Iterator[Checking]:
    """Returns whether nothing in a complete copy differs from what is pinned. The copy may be of the float32 files."""
    known = hub.pinned().get(repo)
    for file in known.files if known else ():
        if (folder / file.name).is_file() and not (yield from _is_there(folder / file.name, file)):
            return False
    return True


def _write_ref(snapshot: Path, revision: str) -> None:
    """Where the hub library looks up which revision "main" is."""
    with suppress(FileExistsError):
        (snapshot.parents[1] / "refs").mkdir()
    with files.atomic(snapshot.parents[1] / "refs" / "main") as part:
        part.write_text(revision, "ascii")
