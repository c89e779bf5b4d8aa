"""Text for a bug report: what and where, never who or what was made."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from pathlib import Path

import PySide6

from i2v_mlx import __version__

from . import quantities
from .drops import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .engine_client import EngineClient

LINES = 60                     # of each log
_HIDDEN = "[hidden]"
# Names of pictures and clips that are in no list any more, in quotes or up to the next space.
_FILE_NAME = re.compile(r"""'[^'\n]*\.({0})'|"[^"\n]*\.({0})"|\S+\.({0})\b""".format(
    "|".join(suffix[1:] for suffix in sorted(PICTURE_SUFFIXES | VIDEO_SUFFIXES))), re.IGNORECASE)


def text(engine: EngineClient, logs: Iterable[Path], private: Iterable[str]) -> str:
    """Versions, machine, engine and the ends of the logs. Every string of `private` (prompts, names) is left out."""
    lines = [
        f"Livestill {__version__}, Python {platform.python_version()}, Qt {PySide6.__version__}",
        f"{platform.platform()}, {platform.machine()}",
        f"engine: {engine.state}",
    ]
    if engine.hello is not None:
        models = ", ".join(Path(model).name for model in engine.hello.models)
        lines.append(f"{engine.hello.device}, {quantities.size(engine.hello.memory_bytes)}, models: {models}")
    for log in logs:
        lines += ["", f"-- {log.name}", *_tail(log)]
    shown = "\n".join(lines)
    for secret in sorted({*private, str(Path.home())}, key=len, reverse=True):
        if len(secret.strip()) > 2:
            shown = shown.replace(secret, _HIDDEN)
    return _FILE_NAME.sub(_HIDDEN, shown)


def _tail(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:]
    except OSError:
        return ["(there is none)"]
