"""What killed processes have left behind, and copies that nobody has fetched. Slow: for a thread, once a start."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from i2v_mlx import files

from .places import Places

SHARED_S = 7 * 24 * 3600.0     # a mail in which such a file was dropped is sent by then; it is made again at any time
# Half a clip or half a checkpoint of ours: their names are made in `Runner`. Nothing of a user's is called so.
_PART = re.compile(r"\.((?:\d{4}-\d\d-\d\d \d\d-\d\d )?[0-9a-f]{12})\.\d+-[0-9a-f]{8}\.part(\.safetensors)?")


def sweep(places: Places, started: float) -> None:
    """Removes halves older than `started` (seconds since the epoch) whose process is dead, and old shared files."""
    for folder in (places.clips, places.checkpoints):
        for name in _names(folder):
            match = _PART.fullmatch(name)
            with suppress(OSError):
                if match and (folder / name).lstat().st_mtime < started:
                    files.sweep(folder / f"{match[1]}{match[2] or ''}")
    for name in _names(places.shared):
        with suppress(OSError):
            if (places.shared / name).lstat().st_mtime < time.time() - SHARED_S:
                shutil.rmtree(places.shared / name)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
