"""The jobs in the order in which they run: drag to reorder, or the menu."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QDropEvent, QFont, QGuiApplication, QPainter, QPalette
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from . import icons, theme
from .actions import Actions
from .buttons import MenuButton
from .jobs import Job
from .labels import Label
from .rows import paint_line, paint_picture, paint_selection
from .session import Session
from .thumbnails import Thumbnails

_ROW = 56
_MOST_ROWS = 4                 # the library below needs the room more
_STATE_WORDS = {"queued": "Waiting", "running": "Running", "paused": "Paused", "done": "Done", "failed": "Failed",
                "cancelled": "Cancelled"}
_STATE_ICONS = {"paused": "pause", "done": "check", "failed": "warning", "cancelled": "close"}
Index = QModelIndex | QPersistentModelIndex


def title_of(job: Job) -> str:
    """What a job is called in a list."""
    return job.request.prompt.strip().split("\n")[0] or Path(job.request.image).stem


def state_of(job: Job) -> str:
    """"Running · step 12 of 25"."""
    steps = job.request.num_inference_steps
    counted = job.state in ("running", "paused", "failed") and job.step
    return f"{_STATE_WORDS[job.state]} · step {job.step} of {steps}" if counted else _STATE_WORDS[job.state]


class QueuePanel(QWidget):
    """Follows the session's queue; hidden while there is nothing in it."""

    def __init__(self, session: Session, actions: Actions, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._actions = session, actions
        self.thumbnails = Thumbnails(session.background, self)
        self.list = _JobList(session, self.thumbnails)
        self.list.currentItemChanged.connect(self._refresh)
        self.list.itemActivated.connect(lambda _item: self._show_result())
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.addActions([actions.job_up, actions.job_down, actions.job_remove])
        for action, run in (
            (actions.show_job, lambda job: self._show_result()),
            (actions.job_resume, lambda job: session.resume(job.id)),
            (actions.job_again, lambda job: session.run_again(job.id)),
            (actions.job_up, lambda job: session.queue.move(job.id, session.queue.jobs.index(job) - 1)),
            (actions.job_down, lambda job: session.queue.move(job.id, session.queue.jobs.index(job) + 1)),
            (actions.job_remove, lambda job: session.remove(job.id)),
        ):
            action.triggered.connect(lambda _on=False, run=run: self._with_job(run))

        self.menu = QMenu(self)
        self.menu.addActions([actions.show_job, actions.job_resume, actions.job_again])
        self.menu.addSeparator()
        self.menu.addActions([actions.job_up, actions.job_down])
        self.menu.addSeparator()
        self.menu.addActions([actions.job_remove, actions.clear_finished])
        self.count = Label(quiet=True)
        more = MenuButton("Job", "What can be done with the selected job", self.menu)
        head = QHBoxLayout()
        head.setSpacing(theme.GRID)
        head.addWidget(Label("Queue", bold=True))
        head.addWidget(self.count, 1)
        head.addWidget(more)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, theme.GRID)
        layout.setSpacing(theme.GRID // 2)
        layout.addLayout(head)
        layout.addWidget(self.list)
        session.queue.changed.connect(self._rebuild)
        session.queue.job_changed.connect(self._update_job)
        session.progress_changed.connect(lambda _progress: self.list.viewport().update())
        self._rebuild()

    def job(self) -> Job | None:
        """The selected one."""
        item = self.list.currentItem()
        return self._session.queue.get(item.data(Qt.ItemDataRole.UserRole)) if item else None

    def _with_job(self, run: object) -> None:
        job = self.job()
        if job is not None:
            run(job)                      # type: ignore[operator]

    def _show_result(self) -> None:
        job = self.job()
        if job is not None and job.clip is not None:
            self._session.show_clip(job.clip)

    def _open_menu(self, place: QPoint) -> None:
        if self.list.itemAt(place) is not None:
            self.menu.popup(self.list.viewport().mapToGlobal(place))

    def _rebuild(self) -> None:
        jobs = self._session.queue.jobs
        selected = self.job()
        self.list.clear()
        for job in jobs:
            item = QListWidgetItem(self._text(job))
            item.setData(Qt.ItemDataRole.UserRole, job.id)
            self.list.addItem(item)
            if selected is not None and job.id == selected.id:
                self.list.setCurrentItem(item)
        self.list.setFixedHeight(_ROW * min(_MOST_ROWS, len(jobs)) + 2)
        self.setVisible(bool(jobs))
        self._refresh()

    def _update_job(self, job_id: str) -> None:
        for row in range(self.list.count()):
            item = self.list.item(row)
            job = self._session.queue.get(job_id)
            if job is not None and item.data(Qt.ItemDataRole.UserRole) == job_id:
                item.setText(self._text(job))
        self._refresh()

    def _text(self, job: Job) -> str:
        """What a screen reader says."""
        return f"{title_of(job)}, {state_of(job)}"

    def _refresh(self, *_: object) -> None:
        jobs, job = self._session.queue.jobs, self.job()
        waiting = sum(other.state == "queued" for other in jobs)
        self.count.setText(f"{waiting} waiting" if waiting else "")
        place = jobs.index(job) if job is not None and job in jobs else -1
        self._actions.show_job.setEnabled(job is not None and job.clip is not None)
        self._actions.job_resume.setEnabled(job is not None and job.can_resume)
        self._actions.job_again.setEnabled(job is not None and job.state in ("done", "failed", "cancelled"))
        self._actions.job_up.setEnabled(place > 0)
        self._actions.job_down.setEnabled(0 <= place < len(jobs) - 1)
        self._actions.job_remove.setEnabled(job is not None)


class _JobList(QListWidget):
    def __init__(self, session: Session, thumbnails: Thumbnails):
        super().__init__()
        self._session = session
        self.setObjectName("jobs")
        self.setAccessibleName("Queue")
        self.setFrameShape(QListWidget.Shape.NoFrame)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.setItemDelegate(_JobDelegate(session, thumbnails, self))
        thumbnails.ready.connect(self.viewport().update)

    def dropEvent(self, event: QDropEvent) -> None:
        """The queue moves the job, and this list is built anew from it."""
        item = self.currentItem()
        target = self.indexAt(event.position().toPoint())
        if event.source() is self and item is not None:
            index = target.row() if target.isValid() else self.count() - 1
            self._session.queue.move(item.data(Qt.ItemDataRole.UserRole), index)
        event.setDropAction(Qt.DropAction.IgnoreAction)
        event.accept()


class _JobDelegate(QStyledItemDelegate):
    """Picture, words, state and a thin bar."""

    def __init__(self, session: Session, thumbnails: Thumbnails, parent: QWidget):
        super().__init__(parent)
        self._session, self._thumbnails = session, thumbnails

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(0, _ROW)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        job = self._session.queue.get(index.data(Qt.ItemDataRole.UserRole))
        if job is None:
            return
        palette, area = QGuiApplication.palette(), QRectF(option.rect).adjusted(0, 2, 0, -2)     # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        paint_selection(painter, option, area)
        picture = QRectF(area.left() + 6, area.center().y() - 20, 40, 40)
        paint_picture(painter, picture, self._thumbnails.of(job.request.image), palette)
        icon = _STATE_ICONS.get(job.state)
        words = QRectF(picture.right() + 8, area.top() + 7, area.right() - picture.right() - (36 if icon else 16), 18)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        paint_line(painter, words, title_of(job), option.font)                          # type: ignore[attr-defined]
        small = QFont(option.font)                                                      # type: ignore[attr-defined]
        small.setPointSizeF(small.pointSizeF() - 1)
        painter.setPen(theme.warning(palette) if job.state == "failed" else theme.quiet(palette))
        paint_line(painter, words.translated(0, 18), state_of(job), small)
        if icon:
            color = theme.warning(palette) if job.state == "failed" else theme.quiet(palette)
            icons.draw(painter, icon, QRectF(area.right() - 24, area.center().y() - 8, 16, 16), color)
        if job.state == "running" and self._session.progress is not None:
            track = QRectF(words.left(), area.bottom() - 6, words.width(), 3)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.faint(palette, 0.12))
            painter.drawRoundedRect(track, 1.5, 1.5)
            painter.setBrush(palette.accent())
            track.setWidth(max(3.0, track.width() * self._session.progress.fraction))
            painter.drawRoundedRect(track, 1.5, 1.5)
        painter.restore()
