"""The recipe that every file carries: what made it, as JSON, so that it can be made again. Standard library only."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from . import __version__
from .errors import I2VError
from .files import resource, sha256_of
from .request import Request

APP = "Livestill"
VERSION = 1
MAX_BYTES = 2**20
MAX_IMAGE_BYTES = 2**30  # larger files of the picture's name are not hashed


def make(
    request: Request, model: dict[str, Any], playback_fps: float, preset: str | None = None
) -> dict[str, Any]:
    """The recipe of a video. Of the picture it holds the name and the hash and not the folder, which is private.

    Args:
        model: what identifies the weights: name, revision, dtype and so on, JSON values.
        playback_fps: the file's frame rate.
        preset: the name of the one that the request follows, for people; its values are in the request.
    """
    name = Path(request.image).name
    values = request.to_dict() | {"image": name, "model": _public(request.model)}
    source = {"name": name, "sha256": sha256_of(request.image)}
    return {"app": APP, "version": __version__, "recipe": VERSION, "request": values, "model": model, "source": source,
            "playback_fps": playback_fps, "preset": preset}


def to_json(recipe: dict[str, Any]) -> str:
    """ASCII, so that every container holds it. Raises I2VError ``recipe_too_large``."""
    text = json.dumps(recipe, allow_nan=False)
    if len(text) > MAX_BYTES:
        raise I2VError("recipe_too_large", "The settings do not fit into the file.", "Use a shorter prompt.")
    return text


def is_recipe(text: str) -> bool:
    """Whether a file's comment looks like ours, whole or damaged."""
    return text.lstrip().startswith("{") and f'"{APP}"' in text


def from_json(text: str) -> dict[str, Any]:
    """The checked recipe. It came with a file, so anybody may have written it.

    Raises:
        I2VError: ``recipe_invalid``, ``recipe_too_large``, ``recipe_too_new``, ``request_invalid``.
    """
    if len(text) > MAX_BYTES:
        raise I2VError("recipe_too_large", "The recipe is larger than any that Livestill writes.")
    try:
        recipe = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(recipe, dict) or recipe.get("app") != APP:
        raise _invalid("it is not from Livestill")
    version = recipe.get("recipe")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise _invalid("it has no version")
    if version > VERSION:
        raise I2VError("recipe_too_new", f"The recipe is from Livestill {recipe.get('version')}, which is newer.",
                       "Update Livestill.")
    if not isinstance(recipe.get("model"), dict):
        raise _invalid("the model is missing")
    fps = recipe.get("playback_fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not math.isfinite(fps) or fps <= 0:
        raise _invalid("the frame rate is missing")
    _check_source(recipe.get("source"))
    if "request" not in recipe:
        raise _invalid("the settings are missing")
    Request.from_dict(recipe["request"])
    return recipe


def find_image(recipe: dict[str, Any], near: Path | str) -> Path:
    """The picture of a recipe: the file of that name and hash beside `near`, in the current folder or in resources/.

    Raises:
        I2VError: ``recipe_image_not_found``.
    """
    name, digest = recipe["source"]["name"], recipe["source"]["sha256"]
    near = Path(near).absolute()
    folders = [near, near.parent, Path.cwd()]
    with_that_name = [folder / name for folder in folders] + [p for p in resource("").rglob("*") if p.name == name]
    for path in with_that_name:
        if path.is_file() and path.stat().st_size <= MAX_IMAGE_BYTES and sha256_of(path) == digest:
            return path
    raise I2VError("recipe_image_not_found", f"The picture {name!r} that the video was made from is not here.",
                   "Put it beside the video, unchanged, or name another picture.")


def _public(model: str) -> str:
    """A hub id or a bundled name stays; of a folder on this machine only its name, without the user's."""
    return Path(model).name if Path(model).is_absolute() or model.startswith(("~", ".")) else model


def _check_source(source: Any) -> None:
    if not isinstance(source, dict):
        raise _invalid("the picture is missing")
    name, digest = source.get("name"), source.get("sha256")
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\\0") or len(name) > 255:
        raise _invalid("the picture's name is not the name of a file")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise _invalid("the picture's hash is missing")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _invalid(reason: str) -> I2VError:
    return I2VError("recipe_invalid", f"The recipe in the file is damaged: {reason}.", "Choose the settings by hand.")
