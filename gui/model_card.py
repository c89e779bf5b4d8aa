"""Offers the released model: how large, where to, under which licence, and the command that fetches it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QCheckBox, QFrame, QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from . import model_download, quantities, theme
from .icons import icon
from .labels import TIMES, ElidedLabel, Label, named, with_tilde
from .model_download import ModelDownload
from .session import Session
from .thin_bar import ThinBar

_ROOM = 1.05                  # times its size: what has to be free
_SMALL_MEMORY = 10 * 2**30    # below it 8-bit is proposed


class ModelCard(QFrame):
    """Follows the engine (is the model there?) and the download."""

    def __init__(self, session: Session, download: ModelDownload, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._download = session, download
        self.setProperty("card", True)
        self.title = Label(f"Get {model_download.TITLE}", bold=True)
        self.words = Label("This is the small demo model. The full one makes clips of up to "
                           f"1280 {TIMES} 704.", quiet=True)
        self.words.setWordWrap(True)
        self._facts = QGridLayout()
        self._facts.setHorizontalSpacing(2 * theme.GRID)
        self._facts.setVerticalSpacing(theme.GRID // 2)
        self._facts.setColumnStretch(1, 1)
        self.facts = {name: ElidedLabel(mode=Qt.TextElideMode.ElideMiddle)
                      for name in ("Size", "Folder", "Licence", "Command")}
        for row, (name, value) in enumerate(self.facts.items()):
            self._facts.addWidget(Label(name, quiet=True), row, 0)
            self._facts.addWidget(value, row, 1)
        self.small = QCheckBox("8-bit, for 8 GB Macs")
        self.small.setToolTip("Needs about half the memory, and 3 GB more on the disk: it is made of the model, once, "
                              "before its first clip.")
        self._proposed = False
        self._pressed = False         # here; there is a card in the preferences too
        self._chosen = ""             # what was downloaded, until the engine has it
        self.button = QPushButton(icon("download"), "Download")
        self.button.clicked.connect(self._press)
        self.copy = QPushButton("Copy command")
        self.copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(model_download.COMMAND))
        self.bar = named(ThinBar(), "Download")
        self.line = Label(quiet=True)
        self.line.setWordWrap(True)
        self.note = Label(model_download.facts().note, quiet=True)
        self.note.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.setSpacing(theme.GRID)
        buttons.addWidget(self.button)
        buttons.addWidget(self.copy)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID)
        layout.setSpacing(theme.GRID)
        for part in (self.title, self.words):
            layout.addWidget(part)
        layout.addLayout(self._facts)
        layout.addWidget(self.note)
        layout.addWidget(self.small)
        layout.addWidget(self.bar)
        layout.addWidget(self.line)
        layout.addLayout(buttons)
        download.changed.connect(self._show)
        download.ended.connect(self._downloaded)
        session.engine_changed.connect(self._greet)
        session.engine_changed.connect(self._show)
        self._show()

    @property
    def needed(self) -> bool:
        """The engine is up and does not have the released model."""
        hello = self._session.engine.hello
        return hello is not None and model_download.NAME not in hello.models

    def _downloaded(self, done: bool) -> None:
        wanted = model_download.EIGHT_BIT if self.small.isChecked() else model_download.NAME
        self._chosen = wanted if done and self._pressed else ""
        self._pressed = False

    def _greet(self) -> None:
        """Proposes 8-bit where the memory is small; what was downloaded is what the next clip is made with."""
        hello = self._session.engine.hello
        if hello is None:
            return
        if not self._proposed:
            self._proposed = True
            self.small.setChecked(hello.memory_bytes < _SMALL_MEMORY)
        if self._chosen in hello.models:
            chosen, self._chosen = self._chosen, ""
            self._session.draft.use_model(chosen)

    def _show(self) -> None:
        running, free, facts = self._download.running, model_download.free_bytes(), model_download.facts()
        room = free > _ROOM * (facts.bytes - self._download.have_bytes)
        self.facts["Size"].setText(f"{quantities.size(facts.bytes)}, {quantities.size(free)} free"
                                   + ("" if room else ": not enough"))
        self.facts["Size"].set_warning(not room)
        self.facts["Folder"].setText(with_tilde(self._download.folder))
        self.facts["Licence"].setText(facts.licence)
        self.facts["Command"].setText(model_download.COMMAND)
        self.bar.setVisible(running)
        self.bar.setValue(round(1000 * (self._download.fraction or 0)))
        self.line.setText(self._download.line)
        self.line.setVisible(bool(self._download.line))
        self.button.setText("Stop" if running else "Download")
        self.button.setIcon(icon("close" if running else "download"))

    def _press(self) -> None:
        if self._download.running:
            self._download.cancel()
        else:
            self._pressed = True
            self._download.start()        # if there is too little room, it knows best and says so
