"""One sentence about what went wrong or is worth knowing, and buttons for what to do next."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from . import icons, theme
from .buttons import FlatButton
from .labels import Label
from .problems import LABELS, Action, Problem

_NOTICE_MS = 8000
_SEVERITY = {True: "warning", False: "info"}


class ErrorBar(QFrame):
    """Shows one thing at a time. A problem stays until it is dismissed or dealt with; a notice goes by itself.

    Signals:
        chosen(Action, job): a button was pressed; job is an id or None.
    """

    chosen = Signal(str, object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._problem: Problem | None = None
        self._waiting: list[Problem] = []
        self.message = Label(bold=True)
        self.hint = Label(quiet=True)
        for label in (self.message, self.hint):
            label.setWordWrap(True)
            label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self.message)
        words.addWidget(self.hint)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(theme.GRID)
        self.dismiss = FlatButton("Dismiss", "close")
        self.dismiss.clicked.connect(self.clear)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(44, theme.GRID, theme.GRID, theme.GRID)
        layout.setSpacing(theme.GRID)
        layout.addLayout(words, 1)
        layout.addLayout(self._buttons)
        layout.addWidget(self.dismiss)
        self._timer = QTimer(self, singleShot=True, interval=_NOTICE_MS)
        self._timer.timeout.connect(self.clear)
        self.hide()

    @property
    def problem(self) -> Problem | None:
        """The one shown."""
        return self._problem

    def show_problem(self, problem: Problem) -> None:
        """Before an older one, which comes back when this is dismissed."""
        if self._problem is not None and self._problem != problem:
            self._waiting = [other for other in self._waiting if other != problem] + [self._problem]
        self._timer.stop()
        self._problem = problem
        self._show(problem.message, problem.hint, problem.actions)

    def show_notice(self, text: str) -> None:
        """Only where no problem is in sight."""
        if self._problem is None:
            self._timer.start()
            self._show(text, "", ())

    def job_moved_on(self, job: str) -> None:
        """What was said about this job is over: it runs again, or is gone."""
        self._waiting = [problem for problem in self._waiting if problem.job != job]
        if self._problem is not None and self._problem.job == job:
            self.clear()

    def is_over(self, code: str) -> None:
        """A problem has gone by itself."""
        self._waiting = [problem for problem in self._waiting if problem.code != code]
        if self._problem is not None and self._problem.code == code:
            self.clear()

    def clear(self) -> None:
        """Dismisses what is shown."""
        self._problem = None
        self._timer.stop()
        if self._waiting:
            self.show_problem(self._waiting.pop())
        else:
            self.hide()

    def _show(self, message: str, hint: str, actions: tuple[Action, ...]) -> None:
        self.message.setText(message)
        self.hint.setText(hint)
        self.hint.setVisible(bool(hint))
        while (item := self._buttons.takeAt(0)) is not None:
            old = item.widget()
            assert old is not None
            old.deleteLater()
        for action in actions:
            button = QPushButton(LABELS[action])
            button.clicked.connect(lambda _on=False, action=action: self._choose(action))
            self._buttons.addWidget(button)
        self.show()
        self.update()
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, f"{message} {hint}"))

    def _choose(self, action: Action) -> None:
        problem = self._problem
        if action != "show_log":
            self.clear()
        self.chosen.emit(action, problem.job if problem else None)

    def paintEvent(self, event: QPaintEvent) -> None:
        with QPainter(self) as painter:
            self._paint(painter)

    def _paint(self, painter: QPainter) -> None:
        palette = self.palette()
        color = theme.warning(palette) if self._problem is not None else palette.accent().color()
        wash = QColor(color)
        wash.setAlphaF(0.14)
        painter.fillRect(self.rect(), wash)
        painter.fillRect(0, self.height() - 1, self.width(), 1, theme.faint(palette))
        icons.draw(painter, _SEVERITY[self._problem is not None], QRectF(14, self.height() / 2 - 10, 20, 20), color)
