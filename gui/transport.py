"""Under the clip: play, step, loop, speed, frame rate, and the still to compare with."""

from __future__ import annotations

from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from . import theme
from .actions import Actions
from .buttons import IconButton
from .labels import TIMES, Label, named
from .player import FPS_CHOICES, SPEEDS, Player
from .segmented import Segmented


class Transport(QWidget):
    """Follows a player."""

    def __init__(self, player: Player, actions: Actions, parent: QWidget | None = None):
        super().__init__(parent)
        self._player = player
        self.place = Label(quiet=True)
        self.place.setMinimumWidth(56)
        self.mode = Segmented([("loop", "Loop"), ("boomerang", "Boomerang")], "Playback",
                              pictures=["loop", "boomerang"])
        self.mode.picked.connect(lambda value: player.set_boomerang(value == "boomerang"))
        self.side = Segmented([("clip", "Clip"), ("source", "Still")], "Show")
        self.side.picked.connect(player.set_side)
        self.speed = named(QComboBox(), "Speed", "Speed")
        for speed in SPEEDS:
            self.speed.addItem(f"{speed:g}{TIMES}", speed)
        self.speed.activated.connect(lambda index: player.set_speed(self.speed.itemData(index)))
        self.fps = named(QComboBox(), "Frame rate", "Frames per second, here and in exported files")
        for fps in FPS_CHOICES:
            self.fps.addItem(f"{fps:g} fps", fps)
        self.fps.activated.connect(lambda index: player.set_fps(self.fps.itemData(index)))

        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID // 2)
        layout.addWidget(IconButton(actions.previous_frame))
        layout.addWidget(IconButton(actions.play, 24))
        layout.addWidget(IconButton(actions.next_frame))
        layout.addWidget(self.place)
        layout.addStretch(1)
        layout.addWidget(self.mode)
        layout.addSpacing(theme.GRID // 2)
        layout.addWidget(self.fps)
        layout.addWidget(self.speed)
        layout.addSpacing(theme.GRID // 2)
        layout.addWidget(self.side)
        layout.addStretch(1)
        layout.addWidget(IconButton(actions.favourite))
        layout.addWidget(IconButton(actions.export))
        player.changed.connect(self._show)
        player.frames_changed.connect(self._show)
        player.position_changed.connect(self._show_place)
        self._show()

    def _show(self) -> None:
        player = self._player
        self.mode.value = "boomerang" if player.boomerang else "loop"
        self.side.value = player.side
        self.speed.setCurrentIndex(self.speed.findData(player.speed))
        if self.fps.findData(player.fps) < 0:                       # a clip from elsewhere may have any rate
            self.fps.addItem(f"{player.fps:g} fps", player.fps)
        self.fps.setCurrentIndex(self.fps.findData(player.fps))
        for field in (self.mode, self.side, self.speed, self.fps):
            field.setEnabled(player.count > 1)
        self._show_place()

    def _show_place(self, *_: object) -> None:
        player = self._player
        self.place.setText(f"{player.position + 1} / {player.count}" if player.count else "")
