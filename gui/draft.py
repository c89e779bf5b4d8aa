"""The settings that the next Generate will use, with undo."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from i2v_mlx.errors import I2VError
from i2v_mlx.request import SIDE_RANGE, TIED, Request, unlisted

from . import seed
from .presets import BALANCED, Preset, first, label, presets
from .seed import SeedMode
from .undo import Change

UNDO_LIMIT = 500
MAX_PROMPT = 10_000            # characters; twenty times what is read, and still quick to lay out, store and count
FIELDS = frozenset(field.name for field in dataclasses.fields(Request))


class Draft(QObject):
    """A `Request` in the making. Every change goes through `change`, so every change can be undone.

    Attributes:
        request: the settings now.
        undo_stack: bind Edit > Undo and Redo to its createUndoAction and createRedoAction.
        seed_mode: what Generate does to the seed.
        aspect_locked: the sides of the video change together.

    Signals:
        changed(frozenset[str]): names of the Request fields that differ now; widgets re-read `request`.
        seed_mode_changed(str)
    """

    changed = Signal(object)
    seed_mode_changed = Signal(str)

    def __init__(self, request: Request | None = None, clock: Callable[[], float] = time.monotonic,
                 parent: QObject | None = None):
        super().__init__(parent)
        self.request = request or Request()
        self.seed_mode: SeedMode = "random"
        self.aspect_locked = False
        self.undo_stack = QUndoStack(self)
        self.undo_stack.setUndoLimit(UNDO_LIMIT)
        self._clock = clock

    def change(self, label: str = "", **fields: Any) -> None:
        """Sets fields of the request as one undoable change. Quick changes of one field in a row are one undo.

        No effect if nothing differs. Values are not checked here: see `problem`.
        """
        after = {name: value for name, value in fields.items() if getattr(self.request, name) != value}
        if "num_inference_steps" in after and "grid" not in fields and "," in self.request.grid:
            after |= unlisted(self.request.sampler)
        if self.request.weights and after.keys() & TIED and "weights" not in fields:
            after["weights"] = ""    # they are for the timesteps and the sampler that they were fitted to
        if after:
            before = {name: getattr(self.request, name) for name in after}
            label = label or " and ".join(name.replace("_", " ") for name in after)
            self.undo_stack.push(Change(label, self._apply, before, after, self._clock()))

    def set_picture(self, path: str, shape: tuple[int, int] = (1, 1)) -> None:
        """Another picture; its crop starts as the whole picture, and the video stands as it does, upright or not.

        `shape` is its width and height.
        """
        sides = self.request.width, self.request.height
        turned = (shape[0] - shape[1]) * (sides[0] - sides[1]) < 0
        width, height = reversed(sides) if turned else sides
        self.change("picture", image=path, crop=None, width=width, height=height)

    def set_size(self, width: int | None = None, height: int | None = None) -> None:
        """Sets one side, in pixels, rounded to a multiple of 8; with `aspect_locked` the other side follows."""
        old = self.request
        if self.aspect_locked and width is not None and height is None:
            height = round(width * old.height / old.width)
        elif self.aspect_locked and height is not None and width is None:
            width = round(height * old.width / old.height)
        self.change("size", width=_side(old.width if width is None else width),
                    height=_side(old.height if height is None else height))

    def set_steps(self, steps: int) -> None:
        """Another number of steps."""
        self.change("steps", num_inference_steps=steps)

    def set_sampler(self, sampler: str) -> None:
        """Another sampler; only DDIM takes fresh noise."""
        self.change("sampler", sampler=sampler, eta=self.request.eta if sampler == "ddim" else 0.0)

    def use_preset(self, preset: Preset) -> None:
        """The work that goes into the video; its size stays."""
        self.change(label(preset), **preset.fields, eta=0.0)

    def preset(self) -> Preset | None:
        """The preset whose values are set now."""
        return next((preset for preset in presets(self.request.model) if preset.matches(self.request)), None)

    def use_model(self, model: str) -> None:
        """Another model, with what it begins with: the size that suits one is nothing for another."""
        fields = ("model", "width", "height", "num_frames", *presets(model)[BALANCED].fields)
        begun = first(model)
        self.change("model", **{name: getattr(begun, name) for name in fields})

    def roll_seed(self) -> None:
        """The dice."""
        self.change("seed", seed=seed.roll())

    def set_seed_mode(self, mode: SeedMode) -> None:
        """What Generate does to the seed: "random", "locked" or "next"."""
        if mode != self.seed_mode:
            self.seed_mode = mode
            self.seed_mode_changed.emit(mode)

    def recall(self, request: Request, fields: Collection[str] | None = None) -> None:
        """Takes all settings of a clip, or some of them (for example {"prompt"}), as one undoable change."""
        names = FIELDS if fields is None else FIELDS & set(fields)
        self.change("recall", **{name: getattr(request, name) for name in names})

    def takes(self, count: int) -> list[Request]:
        """`count` requests with this seed and the following ones; then moves the seed on as `seed_mode` says."""
        first = self.request
        requests = [dataclasses.replace(first, seed=seed.take(first.seed, index)) for index in range(count)]
        self.change("seed", seed=seed.after_generate(first.seed, self.seed_mode, count))
        return requests

    def problem(self, image: str | None = None) -> I2VError | None:
        """What is wrong with the settings, if anything; with another picture, if one is given. Looks at no file except
        whether the picture exists."""
        request = self.request if image is None else dataclasses.replace(self.request, image=image, crop=None)
        try:
            request.validate()
        except I2VError as error:
            return error
        longest = max(len(request.prompt), len(request.negative_prompt))
        if longest > MAX_PROMPT:
            return prompt_too_long(longest)
        if not Path(request.image).is_file():
            return I2VError("image_not_found", f"The picture {Path(request.image).name} is not there any more.",
                            "Choose it again.")
        return None

    def _apply(self, fields: dict[str, Any]) -> None:
        self.request = dataclasses.replace(self.request, **fields)
        self.changed.emit(frozenset(fields))


def prompt_too_long(length: int) -> I2VError:
    return I2VError("prompt_too_long", f"A prompt of {length} characters is too long.",
                    "The model reads about 75 words; shorten it.")


def _side(pixels: float) -> int:
    low, high = SIDE_RANGE
    return min(max(round(pixels / 8) * 8, low), high)
