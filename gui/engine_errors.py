"""What the app says when the engine cannot speak for itself."""

from __future__ import annotations

from i2v_mlx.errors import I2VError


def unavailable(reason: str) -> I2VError:
    """The worker ends before it has said Hello; `reason` is the telling line of its stderr, or empty."""
    return I2VError("engine_unavailable", "The engine does not start" + (f": {reason}" if reason else "."),
                    "The log says more.")


def keeps_crashing(times: int) -> I2VError:
    return I2VError("engine_keeps_crashing", f"The engine has crashed {times} times within a minute.",
                    "A smaller size or fewer frames may help; the log says more.")


def crashed(short_of_memory: bool) -> I2VError:
    hint = ("The memory was probably too small: try a smaller size or fewer frames." if short_of_memory
            else "Nothing that was finished is lost.")
    return I2VError("engine_crashed", "The engine stopped unexpectedly.", hint)


def outdated() -> I2VError:
    """The program was updated while it was open; its two halves must not be mixed."""
    return I2VError("engine_version", "Livestill was updated while it was open.", "Quit it and open it again.")
