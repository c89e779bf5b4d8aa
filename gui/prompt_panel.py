"""What should move, what to avoid, and how much of it the model reads."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QMimeData, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from . import drops, problems, theme
from .draft import MAX_PROMPT, prompt_too_long
from .labels import ElidedLabel, Label
from .prompt_tokens import PromptTokens, TokenCount
from .session import Session


class PromptPanel(QWidget):
    """Follows the draft's prompts."""

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self.prompt = _Words(session, "What should move", "Boats sway on the waves, gulls cross the sky…", lines=4)
        self.avoid = _Words(session, "Avoid", "Blurry, distorted, static…", lines=2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID)
        for words, field in ((self.prompt, "prompt"), (self.avoid, "negative_prompt")):
            layout.addWidget(words)
            words.edit.pasted_picture.connect(session.drop)
            words.edit.pasted_book.connect(
                lambda length: session.problem.emit(problems.of_error(prompt_too_long(length))))
            words.edited.connect(lambda text, field=field: session.draft.change(field, **{field: text}))
        self._session = session
        session.draft.changed.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        request = self._session.draft.request
        self.prompt.show_text(request.prompt, request.model)
        self.avoid.show_text(request.negative_prompt, request.model)


class _Words(QWidget):
    """A title with the live count, the text, and the words that were cut off."""

    edited = Signal(str)

    def __init__(self, session: Session, title: str, example: str, lines: int):
        super().__init__()
        self._tokens = PromptTokens(session.background, self)
        self._tokens.counted.connect(self._show_count)
        self.edit = PromptEdit(example, lines)
        self.edit.setAccessibleName(title)
        self.count = Label(quiet=True)
        self.cut = ElidedLabel(quiet=True)
        self.cut.set_warning(True)
        self.cut.hide()
        head = QHBoxLayout()
        label = Label(title, bold=True)
        label.setBuddy(self.edit)
        head.addWidget(label, 1)
        head.addWidget(self.count)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID // 2)
        layout.addLayout(head)
        layout.addWidget(self.edit)
        layout.addWidget(self.cut)
        self.edit.textChanged.connect(self._changed)
        self._shown: str | None = None
        self._model = ""

    def show_text(self, text: str, model: str) -> None:
        """As the draft has it. The text that came from here comes back and changes nothing."""
        if (text, model) != (self._shown, self._model):
            self._shown, self._model = text, model
            self._tokens.count(text, model)
            if text != self.edit.toPlainText():
                self.edit.setPlainText(text)

    def _changed(self) -> None:
        text = self.edit.toPlainText()
        if text != self._shown:
            self._shown = text
            self._tokens.count(text, self._model)
            self.edited.emit(text)

    def _show_count(self, tokens: TokenCount | None) -> None:
        if tokens is None:
            tokens = TokenCount(0, 0, "")
        counted = f"{tokens.used} of {tokens.limit}" if tokens.used else ""
        self.count.setText(counted)
        self.count.setAccessibleName(f"{counted} tokens")
        self.count.setToolTip(f"The model reads {tokens.limit} tokens; a word is one or two.")
        self.count.set_warning(bool(tokens.cut))
        self.cut.setText(f"Not read: {tokens.cut[:200]}")
        self.cut.setVisible(bool(tokens.cut))


class PromptEdit(QPlainTextEdit):
    """Plain text only. Undo is the draft's, so that one stack holds words, numbers, picture and crop in order.

    Signals:
        pasted_picture(QMimeData)
        pasted_book(int): a text of that many characters, which is far too long; the prompt stays as it was.
    """

    pasted_picture = Signal(QMimeData)
    pasted_book = Signal(int)

    def __init__(self, example: str, lines: int):
        super().__init__()
        self.setPlaceholderText(example)
        self.setTabChangesFocus(True)
        self.setUndoRedoEnabled(False)
        self.setAcceptDrops(False)               # a picture dropped here is for the window, not its path for the text
        margin: Callable[[], float] = self.document().documentMargin
        self.setFixedHeight(round(lines * self.fontMetrics().lineSpacing() + 2 * margin() + 4))

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.ShortcutOverride and (
                event.matches(QKeySequence.StandardKey.Undo) or event.matches(QKeySequence.StandardKey.Redo)):
            event.ignore()
            return False
        return super().event(event)

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        return source.hasText() or drops.accepts(source)

    def insertFromMimeData(self, source: QMimeData) -> None:
        if drops.accepts(source) and (source.hasUrls() or not source.hasText()):
            self.pasted_picture.emit(source)
        elif len(text := source.text()) > MAX_PROMPT:
            self.pasted_book.emit(len(text))         # a long line would take seconds to lay out
        else:
            self.insertPlainText(text)
