"""What a model consists of: the files that are read, each with its size and digest, as pinned or as the hub tells."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass

import httpx2

from . import __version__, hub
from .errors import I2VError
from .transfer import Again, Waiting, explain, refusal, wait

TRIES = 3  # nothing was fetched yet: who is offline wants to know soon


@dataclass(frozen=True)
class Entry:
    """A file that a model needs. `digest` is a SHA-256, or git's id (40 digits), which is what small files have."""

    name: str
    bytes: int
    digest: str


def listing(repo: str) -> Generator[Waiting, None, tuple[str, list[Entry]]]:
    """The revision and its files, in the order in which to fetch them; the only request is one for the hub's list.

    Raises I2VError ``download_*`` or ``model_incomplete``.
    """
    failures = 0
    while True:
        try:
            return _ask(repo)
        except Again as failure:
            failures += 1
            yield from wait(failure, failures, TRIES)


def _ask(repo: str) -> tuple[str, list[Entry]]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    known = hub.pinned().get(repo)
    try:
        info = HfApi(library_name="livestill", library_version=__version__).model_info(
            repo, revision=known.revision if known else None, files_metadata=True, timeout=30.0)
        offered = {file.rfilename: (file.size, file.lfs.sha256 if file.lfs else file.blob_id)
                   for file in info.siblings or ()}
    except OfflineModeIsEnabled as error:
        raise I2VError("download_offline", "HF_HUB_OFFLINE is set, so nothing is fetched.", "Unset it.") from error
    except HfHubHTTPError as error:
        raise refusal(error.response) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise explain(error) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise I2VError("download_not_the_file", "The answer is not the hub's.", "If this network has a sign-in page, "
                       "open it in a browser; check HF_ENDPOINT if it is set.") from error
    except Exception as error:  # the hub library passes on whatever an odd answer or setting leads to
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise I2VError("download_failed", f"{repo} could not be looked up: {reason}",
                       "Check the name and the connection, then start it again.") from error
    files = known.files if known else tuple(hub.File(name) for name in hub.wanted(offered))
    absent = {"model_index.json", *(file.name for file in files)} - offered.keys()
    if absent or not any(file.name.endswith(".safetensors") for file in files):
        raise I2VError("model_incomplete", f"{repo} holds no model that can be run; "
                       f"missing: {', '.join(sorted(absent)) or 'weights in safetensors'}.")
    return known.revision if known else str(info.sha), [_entry(file, *offered[file.name]) for file in files]


def _entry(file: hub.File, size: int | None, digest: str | None) -> Entry:
    """What is pinned holds; the rest comes from the hub."""
    same_kind = digest is not None and len(digest) == 64
    if (file.bytes and size != file.bytes) or (file.sha256 and same_kind and digest != file.sha256):
        raise I2VError("download_changed", f"The server holds another {file.name} than the one that is pinned.",
                       "Check HF_ENDPOINT if it is set, or update Livestill.")
    digest = file.sha256 or digest
    if size is None or digest is None or len(digest) not in (40, 64):
        raise I2VError("download_failed", f"The server does not say what {file.name} has to be, so it could not be "
                       "checked.", "Check HF_ENDPOINT if it is set.")
    return Entry(file.name, size, digest)
