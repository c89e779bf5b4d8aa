"""The window: the still and the words on the left, the clip in the middle, queue and library on the right."""

from __future__ import annotations

import base64
import dataclasses
import sys

from PySide6.QtCore import QByteArray, QEvent, Qt
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
)
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QMainWindow,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from . import drag_out, drops, menus, theme
from .actions import Actions
from .clip_view import ClipView
from .commands import Commands
from .error_bar import ErrorBar
from .filmstrip import Filmstrip
from .image_well import ImageWell
from .jobs import Job
from .library_panel import LibraryPanel
from .model_card import ModelCard
from .model_download import ModelDownload
from .progress import Progress
from .prompt_panel import PromptPanel
from .queue_panel import QueuePanel
from .run_bar import RunBar
from .session import Session
from .settings_panel import SettingsPanel
from .start_page import StartPage
from .transport import Transport

SMALLEST = (1100, 720)
_FIRST = (1280, 832)
_LEFT, _RIGHT = 272, 232
_SAID_PERCENT = (25, 50, 75)       # screen readers are told at these


class MainWindow(QMainWindow):
    """Shows a session. It keeps no state of its own but what is open and how large."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.setWindowTitle("Livestill")
        self.setMinimumSize(*SMALLEST)
        self.setAcceptDrops(True)
        self._said = 0
        self._engine_is_old = False          # it knows nothing of a model that was downloaded since
        self._appearance = session.preferences.appearance
        self.actions_ = actions = Actions(session, self)
        self.download = ModelDownload(parent=self)
        self.clip_menu = menus.clip_menu(actions, self)

        self.image_well = ImageWell(session, actions)
        self.prompts = PromptPanel(session)
        self.settings = SettingsPanel(session, actions)
        self.card = ModelCard(session, self.download)
        self.start_page = StartPage(session, actions, self.card)
        self.clip_view = ClipView(session, actions)
        self.filmstrip = Filmstrip(session.player, actions)
        self.transport = Transport(session.player, actions)
        self.run_bar = RunBar(session, actions)
        self.queue_panel = QueuePanel(session, actions)
        self.library_panel = LibraryPanel(session, actions, self.clip_menu)
        self.error_bar = ErrorBar()
        self._build()
        menus.fill_menu_bar(self.menuBar(), actions, self.clip_menu, self.queue_panel.menu)
        self.commands = Commands(self)
        self._connect()
        self._show_centre()
        self._restore()

    def _build(self) -> None:
        self._left = QScrollArea(widgetResizable=True)
        self._left.setObjectName("left")
        self._left.setFrameShape(QFrame.Shape.NoFrame)
        self._left.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._left.setMinimumWidth(_LEFT)
        self._left.setWidget(_column([self.image_well, self.prompts, self.settings], 2 * theme.GRID, stretch=True))
        self._left.setFocusPolicy(Qt.FocusPolicy.NoFocus)

        self._stage = QStackedWidget()
        self._stage.addWidget(self.start_page)
        self._stage.addWidget(self.clip_view)
        centre = _column([self._stage, self.filmstrip, self.transport, self.run_bar], theme.GRID)
        layout = centre.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.setStretch(0, 1)
        layout.setContentsMargins(theme.GRID, 2 * theme.GRID, theme.GRID, theme.GRID)
        centre.setMinimumWidth(560)

        self._right = _column([self.queue_panel, self.library_panel], theme.GRID)
        right = self._right.layout()
        assert isinstance(right, QVBoxLayout)
        right.setStretch(1, 1)
        right.setContentsMargins(theme.GRID, 2 * theme.GRID, 2 * theme.GRID, theme.GRID)
        self._right.setMinimumWidth(_RIGHT)

        self._splitter = QSplitter(Qt.Orientation.Horizontal, childrenCollapsible=False, handleWidth=1)
        for part in (self._left, centre, self._right):
            self._splitter.addWidget(part)
        self._splitter.setStretchFactor(1, 1)
        self._splitter.setSizes([_LEFT, _FIRST[0] - _LEFT - _RIGHT, _RIGHT])
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.error_bar)
        column.addWidget(self._splitter, 1)
        self.setCentralWidget(whole)

    def _connect(self) -> None:
        session, actions = self.session, self.actions_
        actions.library.toggled.connect(self._right.setVisible)
        actions.filmstrip.toggled.connect(self.filmstrip.setVisible)
        self.clip_view.drag_wanted.connect(self._drag_clip)
        self.clip_view.menu_wanted.connect(self.clip_menu.popup)
        session.picture.opened.connect(self._new_picture)
        session.picture.changed.connect(self._show_centre)
        session.player.frames_changed.connect(self._show_centre)
        session.problem.connect(self.error_bar.show_problem)
        session.problem_over.connect(self.error_bar.is_over)
        session.notice.connect(self.error_bar.show_notice)
        session.progress_changed.connect(self._show_progress)
        session.job_started.connect(self._job_started)
        session.job_done.connect(self._job_done)
        session.job_stopped.connect(lambda job: self._badge(0))
        session.preferences_changed.connect(self._apply_theme)
        session.engine_changed.connect(self._renew_engine)
        self.download.ended.connect(self._downloaded)

    def _new_picture(self, path: str) -> None:
        """A clip that was looked at gives way to the picture that has just come."""
        if self.session.queue.running() is None:
            self.session.stage.watch_next()

    def _show_centre(self) -> None:
        """The clip, or its still; the start page while there is neither."""
        something = self.session.player.image() is not None or self.session.picture.image is not None
        self._stage.setCurrentWidget(self.clip_view if something else self.start_page)
        self.transport.setEnabled(something)

    def _downloaded(self, done: bool) -> None:
        self._engine_is_old = done
        self._renew_engine()

    def _renew_engine(self) -> None:
        """A new worker finds a new model; one that works is not disturbed."""
        engine = self.session.engine
        self.actions_.model.setEnabled(self.card.needed)
        if self._engine_is_old and engine.job is None and engine.state in ("ready", "stopped"):
            self._engine_is_old = False
            engine.release()
            engine.start()

    # the job, outside of the window too

    def _job_started(self, job: Job) -> None:
        self._said = 0
        self.error_bar.job_moved_on(job.id)
        self._say("Started")

    def _show_progress(self, progress: Progress | None) -> None:
        percent = round(100 * progress.fraction) if progress is not None else 0
        self._badge(percent)
        due = [mark for mark in _SAID_PERCENT if self._said < mark <= percent]
        if due:
            self._said = due[-1]
            self._say(f"{self._said} percent")

    def _job_done(self, job: Job, clip: object) -> None:
        self._badge(0)
        self._say("The clip is done")
        if not self.isActiveWindow():
            QApplication.alert(self)
        if self.session.preferences.sound:
            QApplication.beep()

    def _badge(self, percent: int) -> None:
        if sys.platform == "darwin":
            QGuiApplication.setBadgeNumber(percent)          # type: ignore[attr-defined]

    def _say(self, text: str) -> None:
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, text))

    # pictures in, clips out

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.source() is None and drops.accepts(event.mimeData()):
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            self.image_well.show_target(True)

    def dragLeaveEvent(self, event: QEvent) -> None:
        self.image_well.show_target(False)

    def dropEvent(self, event: QDropEvent) -> None:
        self.image_well.show_target(False)
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.session.drop(event.mimeData())

    def _drag_clip(self) -> None:
        if self.session.shown is not None:
            drag_out.start(self.clip_view, self.session, self.session.shown)

    # how the window looks

    def _apply_theme(self) -> None:
        app, appearance = QApplication.instance(), self.session.preferences.appearance
        if isinstance(app, QApplication) and appearance != self._appearance:
            self._appearance = appearance
            theme.apply(app, appearance)

    def _restore(self) -> None:
        self.resize(*_FIRST)
        parts = self.session.preferences.window.split(",")
        if len(parts) == 3:
            try:
                geometry, splitter = (QByteArray(base64.b64decode(part, validate=True)) for part in parts[:2])
            except ValueError:
                return
            self.restoreGeometry(geometry)
            self._splitter.restoreState(splitter)
            for shown, action in zip(parts[2], self._panels(), strict=False):
                action.setChecked(shown == "1")

    def _remember(self) -> None:
        parts = [base64.b64encode(part.data()).decode() for part in (self.saveGeometry(), self._splitter.saveState())]
        shown = "".join(str(int(action.isChecked())) for action in self._panels())
        window = ",".join([*parts, shown])
        self.session.set_preferences(dataclasses.replace(self.session.preferences, window=window))

    def _panels(self) -> tuple[QAction, ...]:
        actions = self.actions_
        return actions.library, actions.filmstrip, actions.advanced

    def to_front(self) -> None:
        """A second start wants this window seen."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def closeEvent(self, event: QCloseEvent) -> None:
        self._remember()
        self._badge(0)
        self.download.close()
        super().closeEvent(event)

def _column(parts: list[QWidget], spacing: int, stretch: bool = False) -> QWidget:
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setContentsMargins(2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID, 2 * theme.GRID)
    layout.setSpacing(spacing)
    for part in parts:
        layout.addWidget(part)
    if stretch:
        layout.addStretch(1)
    return column
