"""The time that a cache may take: one that hangs must not hold up a build."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

CONNECT = 1.0
"""Seconds for a connection."""

SILENCE = 2.0
"""Seconds without a byte; also those of a whole request that brings few bytes."""

_BLOB = 10.0
"""Seconds for a blob of any size."""
_RATE = 1 << 20
"""Bytes a second, beyond these."""

_T = TypeVar("_T")


def blob_seconds(size: int) -> float:
    """Return the seconds for a blob of `size` bytes, as long as some of them come."""
    return _BLOB + size / _RATE


def message_seconds(size: int) -> float:
    """Return the seconds for a message of `size` bytes, of which none or all come."""
    return SILENCE + size / _RATE


def finish_within(seconds: float, works: Iterable[Callable[[], _T]]) -> list[_T]:
    """Do all `works` at once; return their results. TimeoutError after `seconds`.

    Work that is late goes on in a thread that nothing waits for: no other limit holds for the
    lookup of a host, or for a server that sends a byte a second.
    """
    end = time.monotonic() + seconds
    futures = [_start(work) for work in works]
    return [future.result(end - time.monotonic()) for future in futures]


def _start(work: Callable[[], _T]) -> Future[_T]:
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    try:
        threading.Thread(target=run, daemon=True).start()
    except RuntimeError:
        run()  # From Python 3.12 on there are no new threads when the program ends.
    return future


@contextlib.contextmanager
def watch(stop: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Give a function to call at each sign of progress; `SILENCE` seconds without one: `stop`."""
    timers: list[threading.Timer] = []

    def progress() -> None:
        for timer in timers:
            timer.cancel()
        timers[:] = [threading.Timer(SILENCE, stop)]
        timers[0].daemon = True
        with contextlib.suppress(RuntimeError):  # See `_start`.
            timers[0].start()

    progress()
    try:
        yield progress
    finally:
        for timer in timers:
            timer.cancel()
