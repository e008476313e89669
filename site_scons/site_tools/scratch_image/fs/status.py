"""The status of a file: what lstat(2) says of a path, and how a file system shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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
