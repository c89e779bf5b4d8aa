"""The shown clip becomes a file: which kind, how fast, how often; then where, then how far."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from i2v_mlx.errors import I2VError

from . import export, theme
from .export import KINDS, LOOPING, ExportOptions
from .labels import TIMES, ElidedLabel, Label, named
from .library import Clip
from .session import Session
from .settings import REPEATS
from .spin_boxes import shaped


class ExportDialog(QDialog):
    """Starts as the clip is shown now: its frame rate, speed and boomerang."""

    def __init__(self, session: Session, clip: Clip, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._clip = session, clip
        self.setWindowTitle("Export Clip")
        self.setMinimumWidth(416)
        player, preferences = session.player, session.preferences
        self._fps = player.fps * player.speed
        self.kind = named(QComboBox(), "Format")
        for kind in KINDS:
            self.kind.addItem(kind.label, kind.id)
        self.kind.setCurrentIndex(max(0, self.kind.findData(preferences.last_export)))
        self.boomerang = QCheckBox("Boomerang: forth and back")
        self.boomerang.setChecked(player.boomerang)
        self.repeats = named(shaped(QSpinBox(minimum=REPEATS[0], maximum=REPEATS[-1], suffix=f" {TIMES}")), "Repeat",
                             "Players stop at the end of a film; gif and WebP loop by themselves.")
        self.repeats.setValue(preferences.last_repeats)
        self.hide_prompts = QCheckBox("Leave the prompts out of the file")
        self.hide_prompts.setChecked(preferences.hide_prompts)
        self.summary = Label(quiet=True)
        self.bar = named(QProgressBar(maximum=1000, textVisible=False), "Export")
        self.error = Label(quiet=True)
        self.error.setWordWrap(True)
        self.error.set_warning(True)
        self.where = ElidedLabel(quiet=True, mode=Qt.TextElideMode.ElideMiddle)
        for part in (self.bar, self.error, self.where):
            part.hide()

        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.save = QPushButton("Export…", default=True)
        self.buttons.addButton(self.save, QDialogButtonBox.ButtonRole.ActionRole)
        self.save.clicked.connect(self._choose)
        self.buttons.rejected.connect(self.reject)

        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.setHorizontalSpacing(2 * theme.GRID)
        form.setVerticalSpacing(theme.GRID)
        form.addRow(Label("Format"), self.kind)
        form.addRow(Label("Repeat"), self.repeats)
        form.addRow("", self.boomerang)
        form.addRow("", self.hide_prompts)
        form.addRow("", self.summary)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID)
        layout.setSpacing(2 * theme.GRID)
        layout.addLayout(form)
        for part in (self.bar, self.where, self.error):
            layout.addWidget(part)
        layout.addWidget(self.buttons)
        for signal in (self.kind.currentIndexChanged, self.boomerang.toggled, self.repeats.valueChanged):
            signal.connect(self._describe)
        session.exporter.progressed.connect(self._progress)
        session.exporter.done.connect(self._done)
        session.exporter.failed.connect(self._failed)
        session.exporter.cancelled.connect(self._stopped)
        self._describe()

    def options(self) -> ExportOptions:
        return ExportOptions(self.kind.currentData(), self._fps, self.boomerang.isChecked(),
                             self.repeats.value() if self.repeats.isEnabled() else 1, self.hide_prompts.isChecked())

    def start(self, target: Path) -> None:
        """Begins to write; the dialog closes when it is done."""
        options = self.options()
        preferences = self._session.preferences
        self._session.set_preferences(dataclasses.replace(
            preferences, last_export=options.kind, last_repeats=self.repeats.value(), last_folder=str(target.parent),
            hide_prompts=options.hide_prompts))
        self.error.hide()
        self.bar.setValue(0)
        self.bar.show()
        self.where.setText(str(target))
        self.where.show()
        self.save.setEnabled(False)
        self._session.exporter.start(self._clip, target, options)

    def reject(self) -> None:
        """Cancel stops an export first, and closes the dialog otherwise."""
        if self._session.exporter.busy:
            self._session.exporter.cancel()
        else:
            super().reject()

    def _describe(self, *_: object) -> None:
        options = self.options()
        self.repeats.setEnabled(options.kind not in LOOPING)
        frames = self._session.player.count
        count = (2 * frames - 2 if options.boomerang and frames > 2 else frames) * self.options().repeats
        request = self._clip.request
        self.summary.setText(f"{request.width} {TIMES} {request.height}, {count} frames, {options.fps:g} fps, "
                             f"{count / options.fps:.1f} s")

    def _choose(self) -> None:
        target = _choose_target(self, self._session, self._clip, self.options())
        if target is not None:
            self.start(target)

    def _progress(self, fraction: float) -> None:
        self.bar.setValue(round(1000 * fraction))

    def _done(self, path: Path) -> None:
        self.accept()

    def _stopped(self) -> None:
        self.bar.hide()
        self.where.hide()
        self.save.setEnabled(True)

    def _failed(self, error: I2VError) -> None:
        self._stopped()
        self.error.setText(f"{error.message} {error.hint}".strip())
        self.error.show()


def _choose_target(parent: QWidget, session: Session, clip: Clip, options: ExportOptions) -> Path | None:
    """The save panel."""
    kind = export.kind(options.kind)
    folder = Path(session.preferences.last_folder or Path.home())
    suggested = folder / export.suggested_name(clip, options)
    files = f"{kind.label} (*{kind.suffix})" if kind.suffix else "Folder of PNG files (*)"
    name, _ = QFileDialog.getSaveFileName(parent, "Export Clip", str(suggested), files)
    if not name:
        return None
    return Path(name) if not kind.suffix or Path(name).suffix else Path(name + kind.suffix)
