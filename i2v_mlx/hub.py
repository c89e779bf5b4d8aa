"""Names of models become folders: "demo", a path, or a repository of the Hugging Face hub.

resources/models.json pins the models that we know: repository, revision, files. What is downloaded lies in the hub
library's own cache, so that a copy which another program has fetched is found, and the other program finds ours.
huggingface_hub is imported when a hub name is looked up; a path and the demo model need neither it nor a network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import files
from .errors import I2VError
from .i2vgen_xl.weights import PARTS
from .model_folder import CONFIGS, TOKENIZERS, ModelFolder, missing_files

RELEASED = "ali-vilab/i2vgen-xl"
EIGHT_BIT = "-8bit"  # i2vgen-xl-8bit is made of i2vgen-xl, see `eight_bit`

# Everything a model needs beside its weights.
SMALL_FILES = (*CONFIGS, *(name for names in TOKENIZERS for name in names), "tokenizer/special_tokens_map.json",
               *(f"{name}/config.json" for name in PARTS))


@dataclass(frozen=True)
class File:
    """A file of a repository; None where nothing is pinned."""

    name: str
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Pinned:
    """An entry of resources/models.json. `name` is the short one, `bytes` the sum, rounded."""

    name: str
    repo: str
    revision: str
    bytes: int
    licence: str
    note: str
    files: tuple[File, ...]


@cache
def pinned() -> dict[str, Pinned]:
    """The models that we know, by repository."""
    entries = json.loads(files.resource("models.json").read_text("utf-8"))
    models = [Pinned(**{**entry, "name": name, "files": tuple(File(**file) for file in entry["files"])})
              for name, entry in entries.items()]
    return {model.repo: model for model in models}


def resolve(name_or_path: str | Path, download: bool = False) -> Path:
    """The folder of a model; opens no socket unless `download`.

    Args:
        name_or_path: "demo", an existing folder, or a hub name ``owner/name``; "i2vgen-xl" is short for the released
            model, "i2vgen-xl-8bit" is its copy in 8 bits.
        download: fetch a hub name that is not on this machine, and make a copy that has not been made.

    Raises I2VError ``model_not_found``, ``model_not_converted`` or ``model_name_invalid``, and those of `fetch` and
        `eight_bit.make`.
    """
    name = str(name_or_path)
    if name == "demo":
        return files.resource("demo")
    path = _path(name)
    if name and path.exists():
        return path
    if is_eight_bit(name):
        from . import eight_bit

        if download:
            resolve(repository(name), download)
        return eight_bit.ready(name) if download else eight_bit.find(name)
    repo = full_name(name_or_path)
    if repo is None:
        raise I2VError("model_not_found", f"There is no model folder {name!r}.",
                       "Give a folder, i2vgen-xl, or demo, which works at once.")
    folder = cached(_valid(repo))
    if folder is not None:
        return folder
    if download:
        return fetch(repo)
    size = f" ({pinned()[repo].bytes / 1e9:.1f} GB)" if repo in pinned() else ""
    command = "python -m i2v_mlx download" + ("" if repo == RELEASED else f" {repo}")
    raise I2VError("model_not_found", f"The model {repo} is not on this machine.",
                   f"`{command}` fetches it{size}; `--model demo` works at once.")


def is_eight_bit(name: str) -> bool:
    """Whether it is the name of an 8-bit copy. A folder that exists comes first."""
    return name in {model.name + EIGHT_BIT for model in pinned().values()} and not _path(name).exists()


def full_name(name_or_path: str | Path) -> str | None:
    """``owner/name`` if that is what it looks like, else None. A folder that exists comes first."""
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or _path(name).exists():
        return None
    short = {model.name: model.repo for model in pinned().values()}
    if name in short:
        return short[name]
    return name if re.fullmatch(r"[^/\\~.][^/\\]*/[^/\\]+", name) else None


def cache_folder() -> Path:
    """The hub library's cache, which HF_HOME and HF_HUB_CACHE move."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def snapshot(repo: str, revision: str, root: Path | None = None) -> Path:
    """The folder of one revision, by the rules of the hub library, in its cache or another."""
    from huggingface_hub.file_download import repo_folder_name

    return (root or cache_folder()) / repo_folder_name(repo_id=repo, repo_type="model") / "snapshots" / revision


def cached(repo: str, root: Path | None = None) -> Path | None:
    """The complete copy in the hub library's cache, or in another that is laid out so, or None. Opens no socket."""
    import huggingface_hub

    revision = pinned()[repo].revision if repo in pinned() else None
    found = huggingface_hub.try_to_load_from_cache(repo, "model_index.json", root or cache_folder(), revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return None if missing_files(ModelFolder(folder, "hub")) else folder


def real(folder: Path) -> Path:
    """Where a model lies to which the cache may only lead."""
    index = folder / "model_index.json"
    at = index.resolve()
    return at.parent if index.is_symlink() and at.parent.name != "blobs" else folder


def fetch(name: str) -> Path:
    """Downloads what is not here yet, with a line of progress, and returns the folder. See `download.download`."""
    from .download import download
    from .download_progress import follow

    return follow(download(name))


def wanted(offered: Iterable[str]) -> list[str]:
    """Of a repository's files those that are read: of each part one variant, in float16 where there is one."""
    names = set(offered)
    chosen = sorted(names & set(SMALL_FILES))
    for part, spec in PARTS.items():
        stem, shard = re.escape(f"{part}/{spec.stem}"), r"(-\d{5}-of-\d{5})?\.safetensors"
        half = _matching(names, rf"{stem}\.fp16{shard}|{stem}\.safetensors\.index\.fp16\.json")
        chosen += sorted(half or _matching(names, rf"{stem}{shard}|{stem}\.safetensors\.index\.json"))
    return chosen


def repository(name: str) -> str:
    """``owner/name`` of a hub name or a short one, also of an 8-bit copy. Raises I2VError ``model_name_invalid``."""
    short = {known: model.repo for model in pinned().values() for known in (model.name, model.name + EIGHT_BIT)}
    return _valid(short.get(name, name))


def _path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~ and a user whom this machine does not know
        return Path(name)


def _matching(names: Iterable[str], pattern: str) -> set[str]:
    return {name for name in names if re.fullmatch(pattern, name)}


def _valid(repo: str) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
        if "/" not in repo:
            raise HFValidationError("no owner")
    except HFValidationError as error:
        raise I2VError("model_name_invalid", f"{repo!r} is no name of a model.",
                       "Hub names look like owner/name.") from error
    return repo
