"""Playback without widgets: which frame is shown now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QImage

from .pixels import to_qimage

Side = Literal["clip", "source"]
SPEEDS = (0.25, 0.5, 1.0, 2.0)
FPS_CHOICES = (5.0, 8.0, 10.0, 12.5, 20.0, 25.0)     # delays that a gif can hold
TICK_MS = 8                    # well below the time of a frame; the frame follows from the clock and not from ticks


class Player(QObject):
    """Frames, and a position that moves with the clock.

    Attributes:
        frames: (F, H, W, 3) uint8, or None. A preview has latent size: scale it smoothly.
        is_preview: they are of a job in progress.
        position: index of the frame that is shown.
        playing, fps, speed, boomerang: how it moves; `fps` is that of the clip and `speed` a factor.
        side: "source" shows the still instead, to compare.

    Signals:
        frames_changed(): other frames: rebuild the filmstrip.
        position_changed(int): another frame is shown.
        changed(): playing, fps, speed, boomerang or side is another one.
    """

    frames_changed = Signal()
    position_changed = Signal(int)
    changed = Signal()

    def __init__(self, clock: Callable[[], float] = time.monotonic, parent: QObject | None = None):
        super().__init__(parent)
        self.frames: np.ndarray | None = None
        self.is_preview = False
        self.position = 0
        self.playing = False
        self.fps = 8.0
        self.speed = 1.0
        self.boomerang = False
        self.side: Side = "clip"
        self._source: QImage | None = None
        self._clock = clock
        # Playing, the place in the cycle is _place + (now - _since) * rate, in frames; the cycle of a boomerang is
        # forth and back without showing an end twice.
        self._place = 0.0
        self._since = 0.0
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    @property
    def count(self) -> int:
        """Number of frames; 0 without a clip."""
        return 0 if self.frames is None else len(self.frames)

    def show_preview(self, frames: np.ndarray) -> None:
        """Frames of the job in progress. The first starts playing; later ones only change the pictures."""
        first = not self.is_preview
        self._replace(frames, preview=True)
        if first:
            self.seek(0)
            self.play()

    def show_clip(self, frames: np.ndarray, fps: float) -> None:
        """Final frames. After a preview of the same length the position stays, without a jump."""
        continues = self.is_preview and len(frames) == self.count
        self._replace(frames, preview=False)
        self.set_fps(fps)
        if not continues:
            self.seek(0)
            self.play()

    def set_source(self, image: QImage | None) -> None:
        """The still, as the video crops it."""
        self._source = image
        if self.side == "source":
            self.changed.emit()

    def clear(self) -> None:
        """No clip; the still stays."""
        self.pause()
        self.frames, self.is_preview = None, False
        self._move(0)
        self.frames_changed.emit()

    def play(self) -> None:
        if not self.playing and self.count > 1:
            self._anchor()
            self.playing = True
            self._timer.start()
            self.changed.emit()

    def pause(self) -> None:
        if self.playing:
            self._anchor()
            self.playing = False
            self._timer.stop()
            self.changed.emit()

    def toggle(self) -> None:
        """Space."""
        self.pause() if self.playing else self.play()

    def step(self, by: int) -> None:
        """Pauses and goes on by frames, around the ends."""
        self.pause()
        if self.count:
            self.seek((self.position + by) % self.count)

    def seek(self, position: int) -> None:
        """Goes to a frame; playing goes on from there."""
        if self.count:
            self._place, self._since = float(min(max(position, 0), self.count - 1)), self._clock()
            self._move(int(self._place))

    def set_fps(self, fps: float) -> None:
        self._set(fps=fps)

    def set_speed(self, speed: float) -> None:
        self._set(speed=speed)

    def set_boomerang(self, boomerang: bool) -> None:
        self._set(boomerang=boomerang)

    def set_side(self, side: Side) -> None:
        self._set(side=side)

    def image(self) -> QImage | None:
        """What is to be seen now: the frame at `position`, or the still."""
        return self._source if self.side == "source" or self.frames is None else self.frame_image(self.position)

    def frame_image(self, index: int) -> QImage | None:
        """One frame, for the filmstrip."""
        return None if self.frames is None or not 0 <= index < self.count else to_qimage(self.frames[index])

    def _set(self, **values: object) -> None:
        if any(getattr(self, name) != value for name, value in values.items()):
            self._anchor()
            for name, value in values.items():
                setattr(self, name, value)
            if "boomerang" in values:      # the way back has no place in a cycle that only goes forth
                self._place = float(self.position)
            self.changed.emit()

    def _replace(self, frames: np.ndarray, preview: bool) -> None:
        self._anchor()
        self.frames, self.is_preview = frames, preview
        self._place %= self._cycle()
        self._move(self._index())
        self.frames_changed.emit()

    def _cycle(self) -> int:
        """Frames shown before it begins again."""
        return max(1, 2 * self.count - 2 if self.boomerang else self.count)

    def _anchor(self) -> None:
        """Takes the place reached so far as the start: what changes next changes only what follows."""
        now = self._clock()
        if self.playing:
            self._place = (self._place + (now - self._since) * self.fps * self.speed) % self._cycle()
        self._since = now

    def _index(self) -> int:
        place = int(self._place) % self._cycle()
        return place if place < self.count else max(0, 2 * self.count - 2 - place)

    def _tick(self) -> None:
        self._anchor()
        self._move(self._index())

    def _move(self, position: int) -> None:
        if position != self.position:
            self.position = position
            self.position_changed.emit(position)
