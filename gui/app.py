"""From a double-click to a window."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QFileOpenEvent, QIcon
from PySide6.QtWidgets import QApplication, QMessageBox

from i2v_mlx import __version__
from i2v_mlx.errors import I2VError
from i2v_mlx.files import check_output, resource

from . import problems, theme
from .crash_log import CrashLog
from .main_window import MainWindow
from .places import Places
from .session import Session
from .single_instance import SingleInstance

_TOGETHER_MS = 100             # between the events of one drop on the Dock


class App(QApplication):
    """Signals:
        files_opened(list[str]): dropped on the Dock, or opened from the Finder.
    """

    files_opened = Signal(list)

    def __init__(self, arguments: Sequence[str]):
        super().__init__(list(arguments))
        self._opened: list[str] = []
        self._opened_soon = QTimer(self, singleShot=True, interval=_TOGETHER_MS)
        self._opened_soon.timeout.connect(self._tell_opened)
        self.setApplicationName("Livestill")
        self.setApplicationDisplayName("Livestill")
        self.setApplicationVersion(__version__)
        self.setWindowIcon(QIcon(str(resource("icon.svg"))))
        self.setAttribute(Qt.ApplicationAttribute.AA_DontShowIconsInMenus)
        if sys.platform != "darwin":
            self.setStyle("fusion")

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent) and event.file():
            self._opened.append(event.file())      # of several files that are dropped at once, each comes in one event
            self._opened_soon.start()
            return True
        return super().event(event)

    def _tell_opened(self) -> None:
        files, self._opened = self._opened, []
        self.files_opened.emit(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Opens the window, or hands the files to the one that is open. Returns the exit status."""
    arguments = list(sys.argv if arguments is None else arguments)
    app = App(arguments)
    files = [argument for argument in arguments[1:] if not argument.startswith("-")]
    places = Places.standard()
    try:
        places.create()
        check_output(places.state / "livestill.lock")
    except (OSError, I2VError) as error:
        return _refuse(f"Livestill cannot use its folder {places.state}: "
                       f"{error.message if isinstance(error, I2VError) else error.strerror}")
    instance = SingleInstance(places.state)
    if not instance.acquire():
        instance.hand_over(files)
        return 0

    crash_log = CrashLog(places.logs)
    session = Session(places)
    theme.apply(app, session.preferences.appearance)
    window = MainWindow(session)
    follow(app, session)
    crash_log.raised.connect(lambda error: window.error_bar.show_problem(problems.of_error(error)))
    instance.raised.connect(lambda paths: window.to_front())
    instance.raised.connect(session.open_files)
    app.files_opened.connect(session.open_files)
    window.show()
    QTimer.singleShot(0, session.start)
    if crash_log.previous:
        session.notice.emit("Livestill ended unexpectedly the last time. Help > Show Log says more.")
    session.open_files(files)

    status = app.exec()
    session.close()
    instance.release()
    # Now, and in this order: what is left to the end of the interpreter goes in any.
    for part in (window, session, instance):
        part.deleteLater()
    app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    crash_log.close()
    app.shutdown()
    return status


def _refuse(text: str) -> int:
    """There is no window to say it in."""
    print(text, file=sys.stderr)
    QMessageBox.critical(None, "Livestill", text)
    return 1


def follow(app: QApplication, session: Session) -> None:
    """Light and dark as the system changes them."""
    app.styleHints().colorSchemeChanged.connect(lambda scheme: theme.apply(app, session.preferences.appearance),
                                                Qt.ConnectionType.QueuedConnection)      # the palette comes after it
