"""One exception type. The code is stable (tests and the app rely on it), the message and the hint are for people."""


class I2VError(Exception):
    """Something the user can understand and act on.

    Attributes:
        code: stable snake_case name, for example ``image_unreadable``.
        message: what is wrong, one sentence.
        hint: what to do next, one sentence; may be empty.
    """

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint

    def __reduce__(self):
        return I2VError, (self.code, self.message, self.hint)
