"""The lookup of a path: its status by lstat(2), and the walk to it, component by component.

The walk is that of the kernel: path_resolution(7).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from .paths import is_under, join, parents

LATEST = 0o77777777777
"""The latest time, in seconds since 1970, that a tar header holds in its digits."""


class FileKind(Enum):
    """The kinds of file; the value is the word in text records."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"
    OTHER = "other"
    """A device, FIFO or socket: never part of an image."""


@dataclass(frozen=True, slots=True)
class Status:
    """The result of lstat(2) for a path, with a link's text."""

    kind: FileKind
    mode: int
    """Permission bits, 0 to 0o7777."""
    uid: int
    gid: int
    size: int = 0
    """Bytes of a regular file."""
    mtime: int = 0
    """Seconds since 1970, none later than the file system's epoch."""
    target: bytes = b""
    """Text of a symbolic link."""
    inode: tuple[int, int] = (0, 0)
    """Device and inode number; zeros for a file that no disk has."""
    names: int = 1
    """Hard links; a staged file has one, whatever the build directory holds."""
    ctime_ns: int = 0
    """When content or metadata last changed, nanoseconds; 0 for a file that no disk has."""
    own_mtime: int = 0
    """Seconds since 1970, also of a staged file, and also when later than the epoch; 0 for a file
    that no disk has."""


MADE_UP_DIR = Status(FileKind.DIR, 0o755, 0, 0)
"""A directory that only what lies in it needs."""


MAX_LINKS = 40
"""Symbolic links followed in one lookup before the kernel answers ELOOP."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One lookup of a path."""

    links: tuple[bytes, ...]
    """Symbolic links that were followed, in order, each by its own link-free path."""
    real: bytes
    """The link-free path where the lookup ended."""
    status: Status | None
    """Status of `real`; None when the lookup failed.

    Then `real` is the first missing path, or the file that is no directory and that ``..`` follows.
    """
    left: tuple[bytes, ...] = ()
    """Directories that ``..`` left, where neither `real` nor a link lies in them: without these
    the lookup fails."""
    barrier: bytes = b""
    """The file that is no directory, and at which the lookup failed; nothing if none stood there.
    """


def walk(
    status: Callable[[bytes], Status | None],
    path: bytes,
    *,
    follow: bool = True,
    start: bytes = b"/",
) -> Walk:
    """Look `path` up in the file system whose lstat(2) is `status`, from the directory `start` on.

    With `follow` false a link in the last component is not followed. A loop of links ends as a
    path that does not exist.
    """
    links: list[bytes] = []
    left: list[bytes] = []
    here, todo = start, _split(path[len(start) :])
    status(here)
    while todo:
        name = todo.pop()
        if name == b"..":
            left.append(here)
            here = os.path.dirname(here)
            continue
        step = join(here, name)
        found = status(step)
        if found is None or len(links) > MAX_LINKS:
            return _end(links, left, step, None)
        if found.kind is FileKind.LINK and (todo or follow):
            links.append(step)
            todo += _split(found.target)
            here = b"/" if found.target[:1] == b"/" else here
            continue
        if todo and found.kind is not FileKind.DIR:
            missing = step if todo[-1] == b".." else join(step, todo[-1])
            return _end(links, left, missing, None, barrier=step)
        here = step
    return _end(links, left, here, status(here))


def _end(
    links: Sequence[bytes],
    left: Sequence[bytes],
    real: bytes,
    status: Status | None,
    barrier: bytes = b"",
) -> Walk:
    """Return the walk that ended at `real`; `left` are all directories that ``..`` left."""
    ends = (*links, real)
    alone = [each for each in left if not any(is_under(end, each) for end in ends)]
    return Walk(tuple(links), real, status, tuple(dict.fromkeys(alone)), barrier)


def _split(path: bytes) -> list[bytes]:
    """Return the components of `path`, last first: a stack to pop from."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]


def locate(walk_to: Callable[[bytes], Walk], path: bytes) -> bytes:
    """Return where `path` lies when the links above it, as `walk_to` finds them, are followed."""
    for above in reversed(parents(path)):
        found = walk_to(above)
        if found.status is not None:
            return join(found.real, path[len(above) :].lstrip(b"/"))
    return path
