"""What happens to the seed after Generate."""

from __future__ import annotations

import secrets
from typing import Literal

from i2v_mlx.request import SEED_LIMIT

SeedMode = Literal["random", "locked", "next"]
SEED_MODES: tuple[SeedMode, ...] = ("random", "locked", "next")


def roll() -> int:
    """A new random seed."""
    return secrets.randbelow(SEED_LIMIT)


def take(seed: int, index: int) -> int:
    """Seed of take `index`, counted from 0."""
    return (seed + index) % SEED_LIMIT


def after_generate(seed: int, mode: SeedMode, takes: int) -> int:
    """The seed to show next: another random one, the same, or the one after the last take."""
    if mode == "random":
        return roll()
    return take(seed, takes) if mode == "next" else seed
