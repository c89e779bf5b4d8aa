"""Preferences. What is set here holds at once; there is nothing to confirm."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from . import theme
from .labels import ElidedLabel, Label, named, with_tilde
from .model_card import ModelCard
from .player import FPS_CHOICES
from .segmented import Segmented
from .session import Session

_SEED_MODES = (("random", "New every time"), ("locked", "Keep"), ("next", "Count up"))


class PreferencesDialog(QDialog):
    """Follows the session's preferences."""

    def __init__(self, session: Session, card: ModelCard, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self.setWindowTitle("Preferences")
        self.appearance = Segmented([("system", "System"), ("light", "Light"), ("dark", "Dark")], "Appearance")
        self.appearance.picked.connect(lambda value: self._set(appearance=value))
        self.fps = named(QComboBox(), "Frame rate of new clips")
        for fps in FPS_CHOICES:
            self.fps.addItem(f"{fps:g} fps", fps)
        self.fps.activated.connect(lambda index: self._set(playback_fps=self.fps.itemData(index)))
        self.boomerang = self._check("Play forth and back", "boomerang")
        self.seed_mode = Segmented(_SEED_MODES, "Seed after Generate")
        self.seed_mode.picked.connect(lambda value: self._set(seed_mode=value))
        self.sound = self._check("Play a sound when a clip is done", "sound")
        self.hide_prompts = self._check("Leave prompts out of exported files", "hide_prompts")
        self.fetch = self._check("Fetch pictures dropped from the web without asking", "fetch_pictures")
        self.folder = ElidedLabel()
        self.choose = named(QPushButton("Change…"), "Change the folder of the clips")
        self.choose.clicked.connect(self.choose_folder)
        self.later = Label("New clips go there after the next start.", quiet=True)
        self.later.hide()

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setHorizontalSpacing(2 * theme.GRID)
        form.setVerticalSpacing(theme.GRID)
        form.addRow(Label("Appearance"), self.appearance)
        form.addRow(Label("New clips play at"), self.fps)
        form.addRow("", self.boomerang)
        form.addRow(Label("Seed"), self.seed_mode)
        form.addRow("", self.sound)
        form.addRow(_line())
        folder = QHBoxLayout()
        folder.setSpacing(theme.GRID)
        folder.addWidget(self.folder, 1)
        folder.addWidget(self.choose)
        form.addRow(Label("Clips folder"), folder)
        form.addRow("", self.later)
        form.addRow(_line())
        form.addRow(Label("Privacy"), self.hide_prompts)
        form.addRow("", self.fetch)
        form.addRow("", Label("There is no telemetry, and no network while clips are made.", quiet=True))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        card.setVisible(card.needed)
        session.engine_changed.connect(lambda: card.setVisible(card.needed))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3 * theme.GRID, 3 * theme.GRID, 3 * theme.GRID, 2 * theme.GRID)
        layout.setSpacing(2 * theme.GRID)
        layout.addLayout(form)
        layout.addWidget(card)
        layout.addStretch(1)
        layout.addWidget(buttons)
        self.setMinimumWidth(528)
        session.preferences_changed.connect(self._show)
        self._show()

    def choose_folder(self) -> None:
        """The folder panel."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for Clips", str(self._session.places.clips))
        if folder:
            self._set(clips_folder=folder)
            self.later.show()

    def _check(self, text: str, field: str) -> QCheckBox:
        box = QCheckBox(text)
        box.clicked.connect(lambda on: self._set(**{field: on}))
        return box

    def _set(self, **values: Any) -> None:
        self._session.set_preferences(dataclasses.replace(self._session.preferences, **values))

    def _show(self) -> None:
        preferences = self._session.preferences
        self.appearance.value = preferences.appearance
        self.fps.setCurrentIndex(self.fps.findData(preferences.playback_fps))
        self.boomerang.setChecked(preferences.boomerang)
        self.seed_mode.value = preferences.seed_mode
        self.sound.setChecked(preferences.sound)
        self.hide_prompts.setChecked(preferences.hide_prompts)
        self.fetch.setChecked(preferences.fetch_pictures)
        self.folder.setText(with_tilde(Path(preferences.clips_folder or self._session.places.clips)))


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFrameShadow(QFrame.Shadow.Plain)
    line.setForegroundRole(line.palette().ColorRole.Mid)
    line.setFixedHeight(2 * theme.GRID)
    return line
