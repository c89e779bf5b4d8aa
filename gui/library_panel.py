"""The clips made so far, newest first. Click shows one, dragging takes it out as a file, the menu does the rest."""

from __future__ import annotations

import datetime

from PySide6.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QGuiApplication, QPainter, QPalette, QPixmap, QPixmapCache, QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QListView,
    QMenu,
    QStackedWidget,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from . import drag_out, icons, theme
from .actions import Actions
from .buttons import FlatButton
from .icons import icon
from .labels import Label, named
from .library import Entry, Library
from .rows import paint_line, paint_picture, paint_selection
from .session import Session

_CELL_WIDTH = 96               # at least; two columns at the panel's usual width
_WORDS = 42                    # pixels below the picture
Index = QModelIndex | QPersistentModelIndex


class LibraryPanel(QWidget):
    """Follows the session's library."""

    def __init__(self, session: Session, actions: Actions, menu: QMenu, parent: QWidget | None = None):
        """`menu` is what can be done with the shown clip."""
        super().__init__(parent)
        self._session = session
        self.model = _ClipModel(self)
        self.view = _ClipGrid(session, self.model)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.view.customContextMenuRequested.connect(lambda place: self._open_menu(menu, place))
        self.view.clicked.connect(self._show_clip)
        self.view.activated.connect(self._show_clip)
        self.view.addActions([actions.delete_clip])
        self.search = named(QLineEdit(placeholderText="Search", clearButtonEnabled=True), "Search the library")
        self.search.setObjectName("search")
        self.search.setAcceptDrops(False)        # a picture is for the window
        self.search.addAction(icon("search"), QLineEdit.ActionPosition.LeadingPosition)
        self.search.textChanged.connect(self._read)
        self.favourites = FlatButton("Favourites only", "star", checkable=True)
        self.favourites.toggled.connect(self._read)
        self._nothing = Label(quiet=True)
        self._nothing.setWordWrap(True)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self._nothing.setContentsMargins(theme.GRID, 3 * theme.GRID, theme.GRID, 0)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.view)
        self._stack.addWidget(self._nothing)

        head = QHBoxLayout()
        head.addWidget(Label("Library", bold=True), 1)
        head.addWidget(self.favourites)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID // 2)
        layout.addLayout(head)
        layout.addWidget(self.search)
        layout.addWidget(self._stack, 1)
        actions.find.triggered.connect(self._find)
        session.library.changed.connect(self._read)
        session.shown_changed.connect(self._select)
        self._read()

    def _read(self, *_: object) -> None:
        search, favourites = self.search.text().strip(), self.favourites.isChecked()
        entries = self._session.library.entries(search, favourites)
        self.model.show_entries(entries)
        self._nothing.setText("Nothing found." if search or favourites else "The clips you make will be here.")
        self._stack.setCurrentWidget(self.view if entries else self._nothing)
        self._select()

    def _select(self) -> None:
        clip = self._session.shown
        row = self.model.row_of(clip.id) if clip is not None else None
        if row is None:
            self.view.clearSelection()
        else:
            self.view.setCurrentIndex(self.model.index(row))

    def _show_clip(self, index: Index) -> None:
        entry = self.model.entry(index)
        if entry is not None:
            self._session.show_clip(entry.id)

    def _open_menu(self, menu: QMenu, place: QPoint) -> None:
        index = self.view.indexAt(place)
        if index.isValid():
            self._show_clip(index)               # the menu is about the clip that is shown
            menu.popup(self.view.viewport().mapToGlobal(place))

    def _find(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()


class _ClipModel(QAbstractListModel):
    def __init__(self, parent: QWidget):
        super().__init__(parent)
        self._entries: list[Entry] = []

    def show_entries(self, entries: list[Entry]) -> None:
        self.beginResetModel()
        self._entries = entries
        self.endResetModel()

    def entry(self, index: Index) -> Entry | None:
        return self._entries[index.row()] if index.isValid() and index.row() < len(self._entries) else None

    def row_of(self, clip_id: int) -> int | None:
        return next((row for row, entry in enumerate(self._entries) if entry.id == clip_id), None)

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        entry = self.entry(index)
        if entry is None or role not in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return None
        return f"{entry.title}, {_described(entry)}" + (", missing" if entry.missing else "")

    def flags(self, index: Index) -> Qt.ItemFlag:
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled


class _ClipGrid(QListView):
    def __init__(self, session: Session, model: _ClipModel):
        super().__init__()
        self._session, self._entries = session, model
        self.setObjectName("clips")
        self.setAccessibleName("Library")
        self.setModel(model)
        self.setItemDelegate(_ClipDelegate(session.library, self))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setDragDropMode(QListView.DragDropMode.DragOnly)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)

    def resizeEvent(self, event: QResizeEvent) -> None:
        width = self.width() - self.verticalScrollBar().sizeHint().width() - 1     # the view always keeps room for it
        columns = max(1, width // _CELL_WIDTH)
        cell = width // columns
        self.setGridSize(QSize(cell, round((cell - 8) * 0.66) + _WORDS))
        super().resizeEvent(event)

    def startDrag(self, actions: Qt.DropAction) -> None:
        entry = self._entries.entry(self.currentIndex())
        clip = self._session.library.get(entry.id) if entry is not None else None
        if clip is not None:
            drag_out.start(self, self._session, clip)


class _ClipDelegate(QStyledItemDelegate):
    def __init__(self, library: Library, parent: QWidget):
        super().__init__(parent)
        self._library = library

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        view = self.parent()
        assert isinstance(view, QListView)
        return view.gridSize()

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        entry = model.entry(index) if isinstance(model, _ClipModel) else None
        if entry is None:
            return
        palette, font = QGuiApplication.palette(), option.font                          # type: ignore[attr-defined]
        area = QRectF(option.rect).adjusted(0, 0, -2, -2)                     # type: ignore[attr-defined]
        painter.save()
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        paint_selection(painter, option, area)
        picture = area.adjusted(4, 4, -4, -(_WORDS - 2))
        if entry.missing:
            painter.setOpacity(0.4)
        paint_picture(painter, picture, self._pixmap(entry), palette)
        painter.setPen(palette.color(QPalette.ColorRole.WindowText))
        line = QRectF(picture.left() + 2, picture.bottom() + 3, picture.width() - 4, 17)
        small = QFont(font)
        small.setPointSizeF(small.pointSizeF() - 1)
        paint_line(painter, line, entry.title, small)
        painter.setPen(theme.quiet(palette))
        paint_line(painter, line.translated(0, 16), "Missing" if entry.missing else _described(entry), small)
        if entry.favourite:
            star = QRectF(picture.right() - 22, picture.top() + 4, 18, 18)
            icons.draw(painter, "star-filled", star, palette.color(QPalette.ColorRole.BrightText))
        painter.restore()


    def _pixmap(self, entry: Entry) -> QPixmap:
        """Read and decoded when it is first painted, and kept by Qt as long as there is room."""
        key = f"clip-{entry.id}-{entry.created}"
        pixmap = QPixmap()
        if not QPixmapCache.find(key, pixmap):
            pixmap.loadFromData(self._library.thumbnail(entry.id))
            QPixmapCache.insert(key, pixmap)
        return pixmap


def _described(entry: Entry) -> str:
    """Seed, and the time of today's clips or the day of older ones."""
    made = datetime.datetime.fromtimestamp(entry.created)
    today = made.date() == datetime.date.today()
    return f"{made:%H:%M} · {entry.seed}" if today else f"{made:%d %b} · {entry.seed}"
