"""One exception type. The code is stable (tests and the app rely on it), the message and the hint are for people."""


class I2VError(Exception):
    """Something the user can understand and act on.

    Attributes:
        code: stable snake_case name, for example ``image_unreadable``.
        message: what is wrong, one sentence.
        hint: what to do next, one sentence; may be empty.
    """

    def __init__(self, code: str, message: str, hint: str = ""):
        self.code = code
        self.message = printable(message)
        self.hint = printable(hint)
        super().__init__(f"{self.message} {self.hint}".strip())

    def __reduce__(self):
        return I2VError, (self.code, self.message, self.hint)


def printable(text: str) -> str:
    """One line that is safe for a terminal, whatever a stranger's file put into it: line breaks become spaces, other
    characters that cannot be seen (escape sequences, direction marks, halves of surrogate pairs) their escapes."""
    def shown(character: str) -> str:
        return " " if character in "\t\n\r" else character.encode("unicode_escape").decode()

    return "".join(character if character.isprintable() else shown(character) for character in text)
