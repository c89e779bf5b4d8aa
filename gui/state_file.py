"""Small JSON files in which the app keeps its state. A damaged one is set aside, never deleted."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from i2v_mlx.errors import I2VError
from i2v_mlx.files import atomic

MAX_BYTES = 64 * 2**20


def read(file: Path) -> Any:
    """The value in `file`; None if there is no such file. Raises ValueError if it is damaged."""
    if not file.exists():
        return None
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError("too large")
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error


def write(file: Path, value: Any) -> None:
    """Replaces `file`, whole or not at all. Raises I2VError ``disk_full`` or ``output_unwritable``."""
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    try:
        with atomic(file) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise I2VError("output_unwritable", f"{file} cannot be written: {error.strerror or error}.",
                       "What you change now is forgotten when Livestill ends.") from error


def set_aside(file: Path) -> Path:
    """Renames a damaged file to the first free ``name.broken-N.suffix`` and returns that; where nothing can be renamed
    it stays as it is, and is returned itself."""
    free = (file.with_name(f"{file.stem}.broken-{n}{file.suffix}") for n in itertools.count(1))
    aside = next(path for path in free if not path.exists())
    try:
        file.rename(aside)
    except OSError:
        return file
    return aside


def damaged(what: str, aside: Path) -> I2VError:
    """The notice that goes with `set_aside`."""
    return I2VError("state_damaged", f"{what} could not be read.", f"The file was kept as {aside.name}.")
