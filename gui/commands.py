"""What the menu commands do that need a dialog, the clipboard or another program."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QProcess, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QKeySequence
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QGridLayout,
    QLineEdit,
    QMenu,
    QMessageBox,
    QPlainTextEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from i2v_mlx import __version__
from i2v_mlx.errors import I2VError
from i2v_mlx.files import unused_path

from . import drag_out, theme
from .actions import Actions
from .export import as_last, suggested_name
from .export_dialog import ExportDialog
from .labels import Label
from .library import Clip
from .log_viewer import LogViewer
from .model_card import ModelCard
from .preferences_dialog import PreferencesDialog
from .problems import Action, Problem

if TYPE_CHECKING:
    from .main_window import MainWindow

PICTURES = "Pictures and clips (*.jpg *.jpeg *.png *.webp *.heic *.heif *.tif *.tiff *.bmp *.gif *.mp4 *.mov)"


class Commands:
    """Connects the actions that `Actions` leaves to the window."""

    def __init__(self, window: MainWindow):
        self._window, self._session = window, window.session
        actions: Actions = window.actions_
        self.dialog: PreferencesDialog | None = None     # the preferences, kept once made
        self._exporting_again = False
        for action, run in (
            (actions.open, self.open), (actions.paste, self.paste), (actions.export, self.export),
            (actions.export_again, self.export_again), (actions.preferences, self.preferences),
            (actions.model, self.preferences), (actions.about, self.about), (actions.quit, window.close),
            (actions.close, window.close), (actions.cut, partial(self.edit, "cut")),
            (actions.copy, partial(self.edit, "copy")), (actions.select_all, partial(self.edit, "selectAll")),
            (actions.copy_file, self.copy_file), (actions.copy_frame, self.copy_frame), (actions.reveal, self.reveal),
            (actions.delete_clip, self.delete_clip), (actions.log, self.show_log),
            (actions.diagnostics, self.diagnostics), (actions.shortcuts, self.shortcuts),
            (actions.full_screen, self.full_screen),
        ):
            action.triggered.connect(lambda _on=False, run=run: run())
        window.session.exporter.done.connect(self._exported)
        window.session.exporter.failed.connect(self._export_failed)
        window.error_bar.chosen.connect(self.act)
        window.session.consent_needed.connect(self.ask_to_fetch)

    def open(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open Picture or Clip",
                                                self._session.preferences.last_folder, PICTURES)
        if names:
            self._session.open_files(names)

    def paste(self) -> None:
        """Words into the field with the focus, pictures into the well."""
        focus, mime = QApplication.focusWidget(), QGuiApplication.clipboard().mimeData()
        if isinstance(focus, QPlainTextEdit | QLineEdit) and not focus.isReadOnly():
            focus.paste()
        else:
            self._session.drop(mime)

    def edit(self, what: str) -> None:
        """"cut", "copy" or "selectAll" in the text field with the focus."""
        focus = QApplication.focusWidget()
        if isinstance(focus, QPlainTextEdit | QLineEdit):
            getattr(focus, what)()

    def export(self) -> None:
        clip = self._shown()
        if clip is not None:
            dialog = ExportDialog(self._session, clip, self._window)
            dialog.finished.connect(dialog.deleteLater)
            dialog.open()

    def export_again(self) -> None:
        """The shown clip to the folder of the last export, as that kind of file, without a question."""
        clip, session = self._shown(), self._session
        if clip is None:
            return
        preferences, player = session.preferences, session.player
        if not preferences.last_folder:
            self.export()
        elif session.exporter.busy:
            session.notice.emit("The export before is not done yet.")
        else:
            options = as_last(preferences, player.fps * player.speed, player.boomerang)
            target = unused_path(Path(preferences.last_folder) / suggested_name(clip, options))
            self._exporting_again = True
            session.notice.emit(f"Exporting {target.name} to {target.parent.name}…")
            session.exporter.start(clip, target, options)

    def _exported(self, path: Path) -> None:
        self._exporting_again = False
        self._session.notice.emit(f"Saved {path.name} in {path.parent.name}.")

    def _export_failed(self, error: I2VError) -> None:
        if self._exporting_again:          # else the dialog says it
            self._exporting_again = False
            self._session.problem.emit(Problem(error.code, error.message, error.hint))

    def preferences(self) -> None:
        if self.dialog is None:
            card = ModelCard(self._session, self._window.download)
            self.dialog = PreferencesDialog(self._session, card, self._window)
        self.dialog.show()
        self.dialog.raise_()

    def copy_file(self) -> None:
        clip = self._shown()
        if clip is not None:
            drag_out.copy(self._session, clip)

    def copy_frame(self) -> None:
        image = self._session.player.image()
        if image is not None:
            QGuiApplication.clipboard().setImage(image)

    def reveal(self) -> None:
        clip = self._shown()
        if clip is not None:
            reveal(clip.folder)

    def delete_clip(self) -> None:
        """To the bin, from where it can come back: no question."""
        clip = self._shown()
        if clip is not None:
            self._session.delete_clip(clip.id)

    def show_log(self) -> None:
        viewer = LogViewer(self._session, self._window)
        viewer.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        viewer.show()

    def diagnostics(self) -> None:
        QGuiApplication.clipboard().setText(self._session.diagnostics())
        self._session.notice.emit("Diagnostics copied. They hold no prompts and no picture names.")

    def full_screen(self) -> None:
        self._window.setWindowState(self._window.windowState() ^ Qt.WindowState.WindowFullScreen)

    def about(self) -> None:
        box = QMessageBox(self._window)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setIconPixmap(self._window.windowIcon().pixmap(64, 64))
        box.setText(f"Livestill {__version__}")
        box.setInformativeText("Drop a photo, say what should move, watch it start to move.\n\n"
                               "I2VGen-XL (arXiv 2311.04145) in MLX. Nothing leaves the machine.")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def shortcuts(self) -> None:
        dialog = _Shortcuts(self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()

    def ask_to_fetch(self, url: str) -> None:
        box = QMessageBox(self._window)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText("Fetch this picture from the web?")
        box.setInformativeText(QUrl(url).toDisplayString()[:200])
        fetch = box.addButton("Fetch", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        fetch.clicked.connect(lambda: self._session.fetch(url))
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def act(self, action: Action, job: str | None) -> None:
        """A button of the error bar."""
        if action == "show_log":
            self.show_log()
        elif action == "choose_folder":
            self.preferences()
        else:
            self._session.act(action, job)

    def _shown(self) -> Clip | None:
        return self._session.shown


class _Shortcuts(QDialog):
    """Every command that has one."""

    def __init__(self, window: MainWindow):
        super().__init__(window)
        self.setWindowTitle("Keyboard Shortcuts")
        page = QWidget()
        grid = QGridLayout(page)
        grid.setHorizontalSpacing(4 * theme.GRID)
        grid.setVerticalSpacing(theme.GRID // 2)
        row = 0
        for menu in window.findChildren(QMenu):
            found = [action for action in menu.actions() if not action.shortcut().isEmpty()]
            if found:
                grid.addWidget(Label(menu.title(), bold=True), row, 0, 1, 2)
                row += 1
            for action in found:
                grid.addWidget(Label(action.text().rstrip("…")), row, 0)
                keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
                grid.addWidget(Label(keys, quiet=True), row, 1)
                row += 1
        area = QScrollArea(widgetResizable=True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(page)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(area, 1)
        layout.addWidget(buttons)
        self.resize(416, 560)


def reveal(path: Path) -> None:
    """Shows a file or folder in the file manager."""
    if sys.platform == "darwin":
        QProcess.startDetached("open", ["-R", str(path)])
    else:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.parent)))
