"""Prompts to token ids: CLIP's byte-level BPE (arXiv 2103.00020), from local files. No mlx: the app counts too."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import I2VError

# Every word is at least one token, so this many leave no room for what follows them, and a pasted book costs nothing.
_MAX_WORDS = 1000


class Tokens(NamedTuple):
    """Attributes:
    ids: int32 (B, max_length): start, up to max_length - 2 tokens, end, padding.
    dropped: for each prompt the end of its text that did not fit, as it was typed; "" if all of it did.
    """

    ids: np.ndarray
    dropped: list[str]


class Tokenizer:
    """The tokenizer of a model folder in the hub's layout: ``vocab.json`` and ``merges.txt``, or ``tokenizer.json``.

    The ids are those of diffusers' pipeline (padding="max_length", truncation=True). Text that is no valid Unicode is
    taken too: half a surrogate pair counts as U+FFFD. NUL is a byte like any other.

    Args:
        folder: the model's ``tokenizer`` folder.
        pad_token_id: what fills the row after the end token; None for the tokenizer's own, 49407 in the released model.
            The original implementation (open_clip in VGen) pads with 0.

    Raises:
        I2VError: ``model_incomplete``, ``tokenizer_unreadable``. Files are opened here, the vocabulary when first used.
    """

    def __init__(self, folder: str | Path, pad_token_id: int | None = None):
        self.folder = Path(folder)
        self._pad_token_id = pad_token_id
        present = {file.name for file in self.folder.iterdir()} if self.folder.is_dir() else set()
        needed = {"tokenizer_config.json"}
        if "tokenizer.json" not in present:
            needed |= {"vocab.json", "merges.txt"}
        if missing := sorted(needed - present):
            raise I2VError(
                "model_incomplete",
                f"The tokenizer in {self.folder} lacks {', '.join(missing)}.",
                "Download the model again.",
            )
        try:
            config = json.loads((self.folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            self.max_length = config["model_max_length"]
            if not 3 <= self.max_length <= 2**16:  # transformers writes 1e30 for "no limit"
                raise ValueError(self.max_length)
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable() from error

    def check(self, positions: int, vocab_size: int) -> None:
        """Raises I2VError ``tokenizer_mismatch`` unless the text encoder has a position and a row for every token."""
        largest = max(*self._clip.get_vocab().values(), self.pad_token_id)
        if self.max_length != positions or largest >= vocab_size:
            raise I2VError(
                "tokenizer_mismatch",
                f"The tokenizer (length {self.max_length}, ids to {largest}) does not belong to the text encoder "
                f"(length {positions}, ids to {vocab_size - 1}).",
                "Use the tokenizer and the text encoder of one model.",
            )

    @property
    def pad_token_id(self) -> int:
        return self._clip.pad_token_id if self._pad_token_id is None else self._pad_token_id

    def encode(self, prompts: list[str]) -> Tokens:
        """Each prompt becomes a row of ids, whatever is in it and however long it is."""
        ids = np.full((len(prompts), self.max_length), self.pad_token_id, np.int32)
        dropped = []
        for row, prompt in zip(ids, prompts, strict=True):
            text = _valid(prompt)
            found = self._tokenize(_first_words(text), return_offsets_mapping=True)
            tokens, spans = found.input_ids, found.offset_mapping
            if len(tokens) > self.max_length:
                first_out = spans[self.max_length - 1][0]
                tokens = [*tokens[: self.max_length - 1], tokens[-1]]
                dropped.append(text[first_out:].strip())
            else:
                dropped.append("")
            row[: len(tokens)] = tokens
        return Tokens(ids, dropped)

    def count(self, prompt: str) -> int:
        """Tokens that the prompt needs of the ``max_length - 2`` there are. What follows its first 1000 words is not
        counted."""
        return len(self._tokenize(_first_words(_valid(prompt))).input_ids) - 2

    def _tokenize(self, text: str, **options: Any) -> Any:
        # verbose: a prompt that is too long is our caller's to report
        return self._clip(text, verbose=False, **options)

    @cached_property
    def _clip(self) -> Any:
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it misses torch; we do not
        from transformers import CLIPTokenizer

        try:
            return CLIPTokenizer.from_pretrained(
                self.folder,
                local_files_only=True,
                clean_up_tokenization_spaces=False,  # the released config has it on, which only earns a warning
            )
        except Exception as error:  # the Rust parser raises Exception itself
            raise self._unreadable() from error

    def _unreadable(self) -> I2VError:
        return I2VError(
            "tokenizer_unreadable", f"The tokenizer in {self.folder} can't be read.", "Download the model again."
        )


def _valid(text: str) -> str:
    """Surrogate pairs become their character, halves U+FFFD: what remains can be written as UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _first_words(text: str) -> str:
    """Ends between two words, so the tokens before the end are those of the whole text."""
    words = text.split(maxsplit=_MAX_WORDS)
    return text.removesuffix(words[-1]) if len(words) > _MAX_WORDS else text
