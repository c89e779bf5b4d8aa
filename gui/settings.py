"""Preferences: a dataclass and its JSON file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2v_mlx.errors import I2VError

from . import state_file
from .seed import SEED_MODES, SeedMode

REPEATS = range(1, 51)
APPEARANCES = ("system", "light", "dark")


@dataclass(frozen=True)
class Preferences:
    """Attributes:
        clips_folder: where clips go; "" for the standard folder. Takes effect at the next start.
        model: "" until the user chose one: then the first that the engine offers.
        appearance: one of APPEARANCES.
        playback_fps: frame rate of new clips, one that a gif can hold too.
        hide_prompts: leave prompts out of exported files.
        fetch_pictures: pictures may be fetched from the web without asking each time.
        sound: play a sound when a clip is done.
        last_export, last_repeats, last_folder: kind, repeats and folder of the last export, for the next one and for
            "export as last"; no folder as long as there was none.
        window: geometry and splitters, base64, and which panels are open.
    """

    clips_folder: str = ""
    model: str = ""
    appearance: str = "system"
    playback_fps: float = 8.0
    boomerang: bool = False
    seed_mode: SeedMode = "random"
    hide_prompts: bool = False
    fetch_pictures: bool = False
    sound: bool = True
    last_export: str = "mp4"
    last_repeats: int = 1
    last_folder: str = ""
    window: str = ""


def load(file: Path) -> tuple[Preferences, I2VError | None]:
    """The preferences, and a notice if the file was damaged, set aside, and defaults are used.

    Single values that make no sense become the default, unknown ones (of a newer version) are left out.
    """
    try:
        values = state_file.read(file)
    except ValueError:
        values = file
    if values is None:
        return Preferences(), None
    if not isinstance(values, dict):
        return Preferences(), state_file.damaged("The preferences", state_file.set_aside(file))
    return Preferences(**{name: value for name, value in values.items() if _makes_sense(name, value)}), None


def save(file: Path, preferences: Preferences) -> None:
    """Writes atomically. Raises I2VError ``disk_full`` or ``output_unwritable``."""
    state_file.write(file, dataclasses.asdict(preferences))


def _makes_sense(name: str, value: Any) -> bool:
    default = getattr(Preferences(), name, None)
    if name == "appearance":
        return value in APPEARANCES
    if name == "seed_mode":
        return value in SEED_MODES
    if name == "playback_fps":
        return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 60
    if name == "last_repeats":
        return type(value) is int and value in REPEATS
    return default is not None and type(value) is type(default)
