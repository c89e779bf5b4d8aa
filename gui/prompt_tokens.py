"""How much of the prompt the model reads: a live count and the words that are cut off."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from i2v_mlx.errors import I2VError
from i2v_mlx.files import resource
from i2v_mlx.parts.tokenizer import Tokenizer

from .background import Background


@dataclass(frozen=True)
class TokenCount:
    """Attributes: `used` tokens of the `limit` there are; `cut` is the end of the text that goes unread, or ""."""

    used: int
    limit: int
    cut: str


class PromptTokens(QObject):
    """Counts on a thread, since the vocabulary takes a second to load; of several questions the last one is answered.

    The tokenizer of the bundled model is that of every model we run: CLIP's.

    Signals:
        counted(TokenCount): the answer to the last `count`; none if there is no tokenizer.
    """

    counted = Signal(object)
    _tokenizer: Tokenizer | None = None            # one for all boxes; reading it twice by chance does no harm

    def __init__(self, background: Background, parent: QObject | None = None):
        super().__init__(parent)
        self._background = background
        self._asked: str | None = None
        self._busy = False

    def count(self, prompt: str) -> None:
        """Quick enough for every key press; `counted` follows."""
        self._asked = prompt
        if not self._busy:
            self._busy = True
            self._background.run(lambda: _count(prompt), lambda count: self._answer(prompt, count), self._fail)

    def _answer(self, prompt: str, count: TokenCount) -> None:
        self._busy = False
        if self._asked == prompt:
            self.counted.emit(count)
        elif self._asked is not None:
            self.count(self._asked)

    def _fail(self, error: I2VError) -> None:
        self._busy = False


def _count(prompt: str) -> TokenCount:
    if PromptTokens._tokenizer is None:
        PromptTokens._tokenizer = Tokenizer(resource("demo") / "tokenizer")
    tokenizer = PromptTokens._tokenizer
    return TokenCount(tokenizer.count(prompt), tokenizer.max_length - 2, tokenizer.encode([prompt]).dropped[0])
