"""A clip leaves the window as a file: by dragging, or by copying."""

from __future__ import annotations

from PySide6.QtCore import QMimeData, QStringListModel, Qt, QUrl
from PySide6.QtGui import QDrag, QGuiApplication, QPixmap
from PySide6.QtWidgets import QWidget

from .library import Clip
from .session import Session

_NOT_YET = "The file is being made. Try again in a moment."


def mime_data(session: Session, clip: Clip) -> QMimeData | None:
    """The clip's mp4 as a file; None, and a notice, while it is still being made."""
    file = session.drag_file(clip.id)
    if file is None:
        session.notice.emit(_NOT_YET)
        return None
    mime = _made_by_qt()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    return mime


def _made_by_qt() -> QMimeData:
    """What is on the clipboard when the app ends outlives Python, and one that Python has made would take the process
    down then. A model's is made by Qt."""
    model = QStringListModel([""])
    mime = model.mimeData([model.index(0)])
    mime.clear()
    return mime


def start(source: QWidget, session: Session, clip: Clip) -> None:
    """Begins a drag with the clip's first frame under the pointer."""
    mime = mime_data(session, clip)
    if mime is None:
        return
    drag = QDrag(source)
    drag.setMimeData(mime)
    picture = QPixmap()
    if picture.loadFromData(session.library.thumbnail(clip.id)):
        drag.setPixmap(picture.scaledToWidth(128, Qt.TransformationMode.SmoothTransformation))
    drag.exec(Qt.DropAction.CopyAction)


def copy(session: Session, clip: Clip) -> None:
    """The menu's twin of dragging."""
    mime = mime_data(session, clip)
    if mime is not None:
        QGuiApplication.clipboard().setMimeData(mime)
