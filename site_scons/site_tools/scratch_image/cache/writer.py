"""Work beside the build: results go into a cache while the next steps run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

_THREADS = 2

_ROOM = 64 << 20
"""Bytes of work that may wait."""


class Writer:
    """Threads that do work a little later, for several threads at once."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._size = 0
        """Bytes of all work that is not done."""
        self._count = 0
        """Pieces of that work."""
        self._threads = 0

    def add(self, size: int, work: Callable[[], None]) -> None:
        """Have `work`, which holds `size` bytes, done soon; wait while there is no room for it."""
        with self._change:
            self._change.wait_for(lambda: not self._count or self._size + size <= _ROOM)
            self._size += size
            self._count += 1
            self._waiting.append((size, work))
            self._change.notify_all()
            if self._threads < _THREADS:
                self._threads += 1
                threading.Thread(target=self._run, daemon=True).start()

    def finish(self, seconds: float) -> bool:
        """Wait until all work is done; say if `seconds` were enough."""
        with self._change:
            return self._change.wait_for(lambda: not self._count, seconds)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._waiting))
                size, work = self._waiting.popleft()
            try:
                work()
            finally:
                with self._change:
                    self._size -= size
                    self._count -= 1
                    self._change.notify_all()
