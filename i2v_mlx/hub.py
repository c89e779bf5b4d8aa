"""Names of models become folders: "demo", a path, or a repository of the Hugging Face hub.

huggingface_hub is imported when a hub name is looked up; a path and the demo model need neither it nor a network.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import mlx.core as mx

from . import files
from .errors import I2VError
from .i2vgen_xl.weights import PARTS
from .model_folder import CONFIGS, TOKENIZERS, ModelFolder, missing_files

RELEASED = "ali-vilab/i2vgen-xl"
SHORT_NAMES = {"i2vgen-xl": RELEASED}
REVISIONS = {RELEASED: "39e1979ea27be737b0278c06755e321f2b4360d5"}
SIZES = {RELEASED: "5.0 GB"}

# Everything a model needs beside its weights.
SMALL_FILES = (*CONFIGS, *(name for names in TOKENIZERS for name in names), "tokenizer/special_tokens_map.json",
               *(f"{name}/config.json" for name in PARTS))


def resolve(name_or_path: str | Path, download: bool = False) -> Path:
    """The folder of a model; opens no socket unless `download`.

    Args:
        name_or_path: "demo", an existing folder, or a hub name ``owner/name``; "i2vgen-xl" is short for the released
            model.
        download: fetch a hub name that is not on this machine.

    Raises I2VError ``model_not_found`` or ``model_name_invalid``, and those of `fetch`.
    """
    name = str(name_or_path)
    if name == "demo":
        return files.resource("demo")
    path = _path(name)
    if name and path.exists():
        return path
    repo = full_name(name_or_path)
    if repo is None:
        raise I2VError("model_not_found", f"There is no model folder {name!r}.",
                       "Give a folder, i2vgen-xl, or demo, which works at once.")
    folder = cached(_valid(repo))
    if folder is not None:
        return folder
    if download:
        return fetch(repo)
    size = f" ({SIZES[repo]})" if repo in SIZES else ""
    command = "python -m i2v_mlx download" + ("" if repo == RELEASED else f" {repo}")
    raise I2VError("model_not_found", f"The model {repo} is not on this machine.",
                   f"`{command}` fetches it{size}; `--model demo` works at once.")


def full_name(name_or_path: str | Path) -> str | None:
    """``owner/name`` if that is what it looks like, else None. A folder that exists comes first."""
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or _path(name).exists():
        return None
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    return name if re.fullmatch(r"[^/\\~.][^/\\]*/[^/\\]+", name) else None


def cached(repo: str) -> Path | None:
    """The complete copy in the hub library's cache, or None. Opens no socket."""
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(repo, "model_index.json", revision=REVISIONS.get(repo))
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    return None if missing_files(ModelFolder(folder, "hub")) else folder


def fetch(name: str, dtype: mx.Dtype = mx.float16) -> Path:
    """Downloads into the hub library's cache the files that are read, and no others; the released model is 5.0 GB.

    Raises I2VError ``model_name_invalid``, ``disk_full``, ``model_incomplete`` or ``download_failed``.
    """
    import huggingface_hub

    repo = _valid(SHORT_NAMES.get(name, name))
    try:
        offered = huggingface_hub.snapshot_download(
            repo, revision=REVISIONS.get(repo), dry_run=True,
            allow_patterns=[*SMALL_FILES, *(f"{part}/*.safetensors{end}" for part in PARTS for end in ("", ".*.json"))])
        names = wanted((file.filename for file in offered), dtype)
        chosen = [file for file in offered if file.filename in names]
        if "model_index.json" not in names:
            raise I2VError("model_incomplete", f"{repo} holds no model that can be run: it has no model_index.json.")
        _check_space(sum(file.file_size or 0 for file in chosen if file.will_download))
        return Path(huggingface_hub.snapshot_download(repo, revision=chosen[0].commit_hash, allow_patterns=names))
    except I2VError:
        raise
    except Exception as error:  # the hub library passes on whatever its transports raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise I2VError("download_failed", f"{repo} could not be downloaded: {reason}",
                       "Check the name and the connection, then start it again.") from error


def wanted(offered: Iterable[str], dtype: mx.Dtype) -> list[str]:
    """Of a repository's files those that are read: of each part one variant, in float16 the smaller."""
    names = set(offered)
    chosen = sorted(names & set(SMALL_FILES))
    for part, spec in PARTS.items():
        stem, shard = re.escape(f"{part}/{spec.stem}"), r"(-\d{5}-of-\d{5})?\.safetensors"
        whole = _matching(names, rf"{stem}{shard}|{stem}\.safetensors\.index\.json")
        half = _matching(names, rf"{stem}\.fp16{shard}|{stem}\.safetensors\.index\.fp16\.json")
        chosen += sorted(half if half and (dtype == mx.float16 or not whole) else whole)
    return chosen


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


def _check_space(needed: int) -> None:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed * 1.05:
        raise I2VError("disk_full", f"The model needs {needed / 1e9:.1f} GB in {folder}; {free / 1e9:.1f} GB are free.",
                       "Make room, or set HF_HOME to a folder on another disk.")
