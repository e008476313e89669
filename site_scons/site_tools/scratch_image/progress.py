"""How far a step is: what does its work tells that, and who shows the step asks.

Neither knows the other. A step works in one thread, and `current` is what is looked at there; for
threads of its own it takes that along.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Progress:
    """Bytes that were done, of those that there are to do; for several threads at once."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self._lock = threading.Lock()

    def expect(self, size: int) -> None:
        """Note that there are `size` more bytes to do."""
        with self._lock:
            self.total += size

    def add(self, size: int) -> None:
        """Note that `size` more bytes were done; fewer, if it is negative."""
        with self._lock:
            self.done += size

    @property
    def percent(self) -> int | None:
        """The share that is done; None where the whole is not known."""
        return min(100 * self.done // self.total, 100) if self.total else None


_current: ContextVar[Progress] = ContextVar("progress")


def current() -> Progress:
    """Return the progress of the step in this thread; a hidden one where none is shown."""
    return _current.get(None) or Progress()


@contextmanager
def watch() -> Iterator[Progress]:
    """Give the progress of what the block does in this thread."""
    progress = Progress()
    token = _current.set(progress)
    try:
        yield progress
    finally:
        _current.reset(token)
