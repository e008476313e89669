"""A target: a file that is whole, or as it was before, and one process that writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

_PROCESS = os.urandom(4).hex().encode()
"""Word for this process: process IDs are not unique where two containers share a directory."""

_NEW = re.compile(rb"\.(?P<name>.+)\.[0-9a-f]{8}\.new")
"""Temporary names, of this process and of others."""

_PAUSE = 0.05
"""Seconds between two attempts to take a lock."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""Errors of file systems that have no locks."""


def write(path: bytes, chunks: Iterable[bytes]) -> None:
    """Write the file `path` in one piece: it is whole, or as it was."""
    with replacing(path) as sink:
        sink.writelines(chunks)


@contextmanager
def replacing(path: bytes) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well.

    It is a new file: nothing is written to a file, or through a link, that was there before.
    """
    made = temporary(path)
    try:
        with open(made, "xb") as sink:
            yield sink
        os.replace(made, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(made)
        raise


def temporary(path: bytes) -> bytes:
    """Return the name under which this process writes `path`."""
    directory, name = os.path.split(path)
    return os.path.join(directory, b".%s.%s.new" % (name, _PROCESS))


def leftovers(paths: Iterable[bytes]) -> list[bytes]:
    """Return the temporary files for `paths`, all in one directory, that some process has made."""
    names = {os.path.basename(path): os.path.dirname(path) for path in paths}
    directory = next(iter(names.values()))
    with suppress(OSError):
        found = ((name, _NEW.fullmatch(name)) for name in sorted(os.listdir(directory)))
        return [
            os.path.join(directory, name) for name, new in found if new and new["name"] in names
        ]
    return []


def lock_file(path: bytes) -> bytes:
    """Return the file that is locked by whoever makes the target `path`."""
    directory, name = os.path.split(path)
    return os.path.join(directory, b".%s.lock" % name)


@contextmanager
def lock(path: bytes, wait: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock file `path` for this process, and remove it when the block ends.

    While another process holds it, `wait` gets the number of attempts so far several times a
    second; whatever it raises ends that. The file that a killed process leaves locks nothing.
    """
    attempts = 0
    while (descriptor := _lock(path)) is None:
        attempts += 1
        wait(attempts)
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _lock(path: bytes) -> int | None:
    """Return the descriptor of `path`, locked; None where another process has it."""
    if os.path.islink(path):
        os.unlink(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
    # The one that it was opened for may have removed it since.
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    os.close(descriptor)
    return None
