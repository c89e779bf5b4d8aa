"""The one button, the estimate beside it before it is pressed, and how far the job is after that."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget

from i2v_mlx.request import Request

from . import quantities, theme
from .actions import Actions
from .buttons import ActionButton, IconButton, MenuButton
from .clip_view import stage_text
from .labels import ElidedLabel, Label
from .session import Session
from .thin_bar import ThinBar

_HEIGHT = 72
_SIZE = {"width", "height", "num_frames"}


class RunBar(QWidget):
    """Two faces: the estimate while nothing runs, the progress while something does."""

    def __init__(self, session: Session, actions: Actions, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self.setFixedHeight(_HEIGHT)
        self.estimate = _EstimateFace(session, actions)
        self.progress = _ProgressFace(session, actions)
        self._faces = QStackedWidget()
        self._faces.addWidget(self.estimate)
        self._faces.addWidget(self.progress)
        self.generate = ActionButton(actions.generate, primary=True)
        self.generate.setFixedSize(QSize(152, 48))
        menu = QMenu(self)
        menu.addActions(actions.takes)
        self.takes = MenuButton("Takes", "Several clips with seeds that count up", menu)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, theme.GRID, 0, theme.GRID // 2)
        layout.setSpacing(theme.GRID)
        layout.addWidget(self._faces, 1)
        layout.addWidget(self.takes)
        layout.addWidget(self.generate)
        for signal in (session.progress_changed, session.job_started, session.job_stopped, session.job_done,
                       session.queue.changed, session.queue.job_changed):
            signal.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        running = self._session.queue.running() is not None
        self._faces.setCurrentWidget(self.progress if running else self.estimate)
        self.takes.setVisible(not running)


class _EstimateFace(QWidget):
    """What Generate will cost, or what keeps it from starting."""

    def __init__(self, session: Session, actions: Actions):
        super().__init__()
        self._session = session
        self.first = ElidedLabel(bold=True)
        self.second = ElidedLabel(quiet=True)
        self.fit = MenuButton("Make it fit", "Sizes that fit into the memory", QMenu(self))
        words = QVBoxLayout()
        words.setSpacing(theme.GRID // 2)
        words.addStretch(1)
        words.addWidget(self.first)
        words.addWidget(self.second)
        words.addStretch(1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID)
        layout.addLayout(words, 1)
        layout.addWidget(self.fit)
        self.resume = ActionButton(actions.resume_job)
        layout.addWidget(self.resume)
        for signal in (session.estimate_changed, session.draft.changed, session.held_changed, session.engine_changed,
                       session.queue.changed, session.queue.job_changed, session.picture.changed):
            signal.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        session = self._session
        problem, estimate = session.draft.problem(), session.estimate
        too_big = problem is None and estimate is not None and not estimate.fits
        self.fit.setVisible(bool(too_big and estimate and estimate.alternatives))
        waiting = [job for job in session.queue.jobs if job.state in ("queued", "paused")]
        self.resume.setVisible(session.held and bool(waiting))
        self.first.set_warning(too_big)
        if session.picture.opening:
            self.first.setText("Opening the picture…")
            self.second.setText("")
        elif problem is not None and problem.code == "image_missing":
            self.first.setText("Ready when you are")
            self.second.setText("Drop a picture to begin.")
        elif problem is not None:
            self.first.setText(problem.message)
            self.second.setText(problem.hint)
        elif estimate is None:
            self.first.setText("")
            self.second.setText("")
        else:
            text = str(estimate)
            self.first.setText(text[:1].upper() + text[1:])
            self.second.setText("Choose a smaller size or fewer frames." if too_big else self._standing())
        if too_big and estimate is not None:
            self._offer(estimate.alternatives)

    def _standing(self) -> str:
        session = self._session
        waiting = sum(job.state in ("queued", "paused") for job in session.queue.jobs)
        if session.held and waiting:
            return f"Paused, {waiting} to go. The memory is free."
        if session.engine.state == "broken":
            return "The engine is not running."
        learned = session.estimate is not None and session.estimate.learned
        return "Learned from clips made on this machine." if learned else "Nothing leaves this machine."

    def _offer(self, alternatives: tuple[tuple[str, Request], ...]) -> None:
        menu = self.fit.menu()
        menu.clear()
        for sentence, request in alternatives:
            action = menu.addAction(sentence)
            action.triggered.connect(lambda _on=False, request=request: self._session.draft.recall(request, _SIZE))


class _ProgressFace(QWidget):
    """Stage, step, time left, memory; pause and cancel."""

    def __init__(self, session: Session, actions: Actions):
        super().__init__()
        self._session = session
        self.stage = ElidedLabel(bold=True)
        self.left = Label(bold=True)
        self.bar = ThinBar()
        self.detail = ElidedLabel(quiet=True)
        self.memory = Label(quiet=True)
        first, last = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.stage, 1)
        first.addWidget(self.left)
        last.addWidget(self.detail, 1)
        last.addWidget(self.memory)
        column = QVBoxLayout()
        column.setSpacing(theme.GRID // 2)
        column.addStretch(1)
        column.addLayout(first)
        column.addWidget(self.bar)
        column.addLayout(last)
        column.addStretch(1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID // 2)
        layout.addLayout(column, 1)
        layout.addSpacing(theme.GRID // 2)
        self.watch = ActionButton(actions.watch, "Watch")
        layout.addWidget(self.watch)
        layout.addWidget(IconButton(actions.pause_job, 20))
        layout.addWidget(IconButton(actions.cancel_job, 20))
        session.progress_changed.connect(self._show)
        session.shown_changed.connect(self._show_watch)
        session.engine_changed.connect(self._show_memory)
        self._show_watch()
        self._show()

    def _show(self, *_: object) -> None:
        progress = self._session.progress
        if progress is None:
            self.stage.setText("Starting")
            self.left.setText("")
            self.detail.setText("")
            self.bar.setValue(0)
            return
        text = stage_text(progress.stage)
        if progress.stage == "load" and progress.parts:
            text = f"Making the 8-bit copy, once · part {progress.part} of {progress.parts}"
        elif progress.stage == "denoise":
            text = f"Denoising · step {progress.step} of {progress.steps}"
        elif progress.stage == "decode":
            text = f"Decoding · frame {progress.frame} of {progress.frames}"
        self.stage.setText(text)
        left = progress.seconds_left
        self.left.setText(f"{quantities.duration(left)} left" if left is not None else "")
        self.bar.setValue(round(1000 * progress.fraction))
        waiting = sum(job.state == "queued" for job in self._session.queue.jobs)
        percent = f"{round(100 * progress.fraction)} %"
        self.detail.setText(f"{percent} · {waiting} waiting" if waiting else percent)
        self._show_memory()

    def _show_watch(self) -> None:
        """The way back, while another clip is looked at."""
        self.watch.setVisible(self._session.shown is not None)

    def _show_memory(self) -> None:
        engine = self._session.engine
        total = engine.hello.memory_bytes if engine.hello else 0
        used = quantities.size(engine.memory_bytes) if engine.memory_bytes else ""
        self.memory.setText(f"{used} of {quantities.size(total)}" if used and total else used)
        self.memory.setToolTip("Memory that the engine uses")
