"""How much of the prompt the model reads: a live count and the words that are cut off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

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

    Signals:
        counted(TokenCount): the answer to the last `count`, or None if the model's tokenizer is not on this machine.
    """

    counted = Signal(object)

    def __init__(self, background: Background, parent: QObject | None = None):
        super().__init__(parent)
        self._background = background
        self._asked = ("", "")
        self._busy = False

    def count(self, prompt: str, model: str) -> None:
        """Quick enough for every key press; `counted` follows."""
        self._asked = asked = prompt, model
        if not self._busy:
            self._busy = True
            self._background.run(
                lambda: _count(prompt, model),
                lambda count: self._answer(asked, count),
                lambda _: self._answer(asked, None),
            )

    def _answer(self, asked: tuple[str, str], count: TokenCount | None) -> None:
        self._busy = False
        if self._asked == asked:
            self.counted.emit(count)
        else:
            self.count(*self._asked)


def _count(prompt: str, model: str) -> TokenCount:
    tokenizer = _tokenizer(model)
    return TokenCount(tokenizer.count(prompt), tokenizer.max_length - 2, tokenizer.encode([prompt]).dropped[0])


@lru_cache(maxsize=4)                              # reading one twice by chance, on two threads, does no harm
def _tokenizer(model: str) -> Tokenizer:
    """That of the bundled model, of a folder, or of a model in the hub library's cache. Opens no socket."""
    if model == "demo":
        return Tokenizer(resource("demo") / "tokenizer")
    if (folder := Path(model).expanduser() / "tokenizer").is_dir():
        return Tokenizer(folder)
    from huggingface_hub import try_to_load_from_cache

    pinned = json.loads((resource("models.json")).read_text(encoding="utf-8")).get(model, {})
    found = try_to_load_from_cache(
        pinned.get("repo", model), "tokenizer/tokenizer_config.json", revision=pinned.get("revision")
    )
    if not isinstance(found, str):
        raise I2VError("model_not_found", f"The model {model} is not on this machine.")
    return Tokenizer(Path(found).parent)
