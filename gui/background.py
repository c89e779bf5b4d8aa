"""Slow work off the main thread; its result comes back on the main thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from i2v_mlx.errors import I2VError

THREADS = 3                    # an export may take one for minutes


class _Closed(Exception):
    """Nobody waits for the result any more."""


class Background(QObject):
    """A few threads. Create it on the main thread.

    Results wait in a list of ours, and Qt only carries the news that there is one: an event that held Python objects
    and was still queued when the interpreter ends would take the process down with it.
    """

    _posted = Signal()

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="background")
        self._closed = False
        self._results: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._posted.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def run(self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[I2VError], None]) -> None:
        """Runs `work` on a thread, then `done(result)` or `failed(error)` on the main thread."""
        self._threads.submit(self._work, work, done, failed)

    def post(self, callback: Callable[[Any], None], value: Any) -> None:
        """From a thread: calls `callback(value)` on the main thread, soon."""
        if not self._closed:
            self._results.append((callback, value))
            self._posted.emit()

    def stop_if_closed(self, _share: float = 0.0) -> None:
        """From a thread, between two parts of something long: ends it when the app ends."""
        if self._closed:
            raise _Closed

    def close(self) -> None:
        """Waits for what runs; results that were not delivered yet are dropped."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._results.clear()

    def _work(self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[I2VError], None]) -> None:
        try:
            result = work()
        except _Closed:
            pass
        except I2VError as error:
            self.post(failed, error)
        except Exception as error:
            logging.getLogger("livestill").exception("in the background")
            self.post(failed, I2VError("unexpected", f"Something unexpected happened: {error}.", "The log says more."))
        else:
            self.post(done, result)

    def _deliver(self) -> None:
        """One result for each piece of news, so that the event loop turns in between."""
        if self._results:
            callback, value = self._results.popleft()
            callback(value)
