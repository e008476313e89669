"""Sights: how each path was first seen while a step runs, and whether it has changed since."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ListError
from .file_system import FileSystem
from .status import FileKind, Status

_Finding = TypeVar("_Finding")

_ENTRY = ("kind", "mode", "uid", "gid", "target")
"""The fields of a directory, a link or a device that count: not its size or number of links."""

_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of linux/time.h, from which the kernel takes ctimes."""

_PATIENCE = 3.0
"""Seconds to wait at most for the clock of a file system: the longest tick, that of FAT, is two."""


class Sights:
    """Each path as a step first saw it.

    Of a file every change counts, a change back included: its ctime shows it. Of a directory the
    mode, the owner and, where they were listed, the names count; other entries come and go.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, Status | None] = {}
        self._names: dict[bytes, list[bytes]] = {}
        self._changed: set[bytes] = set()

    def __contains__(self, path: bytes) -> bool:
        return path in self._seen

    def note(self, path: bytes, status: Status | None) -> None:
        """Note that `path` was seen as `status`."""
        first = self._seen.setdefault(path, status)
        if first is not status and not _is_same(first, status):
            self._changed.add(path)

    def note_names(self, path: bytes, names: list[bytes]) -> None:
        """Note that the directory `path` had the sorted `names`."""
        if self._names.setdefault(path, names) != names:
            self._changed.add(path)

    def has_changed(self, files: FileSystem, path: bytes, *, listed: bool) -> bool:
        """Tell whether `path` is another in `files` than first seen; False if it never was seen.

        `listed` says that the names in it count. A run lists directories by other means than
        `FileSystem.listing`: it saw the names that were there when the directory last changed.
        """
        if path not in self._seen:
            return False
        first = self._seen[path]
        try:
            now = files.status(path)
            self.note(path, now)
            if listed and path in self._names:
                self.note_names(path, files.listing(path))
            elif listed and first and now and first.ctime_ns != now.ctime_ns:
                return True
        except ListError:
            return True
        return path in self._changed


def _is_same(first: Status | None, now: Status | None) -> bool:
    if first is None or now is None or first.kind is FileKind.FILE:
        return first == now
    return all(getattr(first, name) == getattr(now, name) for name in _ENTRY)


def is_fresh(status: Status) -> bool:
    """Tell whether a change of the file from now on might leave it with the ctime that it has.

    ctimes come from a clock that ticks every few milliseconds, or every one or two seconds on a
    file system that keeps no fractions.
    """
    tick = 2 * 10**9 if status.ctime_ns % 10**9 == 0 else 0
    now = time.clock_gettime_ns(_COARSE_CLOCK)
    return now - tick <= status.ctime_ns <= now


_Finder = Callable[[FileSystem, bytes], _Finding]

_found: dict[tuple[_Finder[Any], bytes], tuple[tuple[int, ...], Any]] = {}
"""The finding in each file of the machine, with the identity of the file when it was read."""


def find_once(find: _Finder[_Finding], files: FileSystem, path: bytes, status: Status) -> _Finding:
    """Return what `find` finds in the file `path` that has `status`, read once for all steps."""
    identity = (*status.inode, status.size, status.ctime_ns)
    key = find, files.host_path(path)
    known = _found.get(key)
    if known is not None and known[0] == identity:
        finding: _Finding = known[1]
        return finding
    # A fresh file may change, and look the same.
    is_settled = not is_fresh(status)
    finding = find(files, path)
    if is_settled:
        _found[key] = identity, finding
    return finding


class WatchedFileSystem(FileSystem):
    """A file system that notes, while it is watched, how each path is first seen."""

    _sights: Sights | None = None

    def watch(self) -> None:
        """From now on note how each path is first seen."""
        self._sights = Sights()

    def end_watch(self) -> Sights | None:
        """Note no more sights; return those since `watch`, None if it was not called."""
        sights, self._sights = self._sights, None
        return sights

    def status(self, path: bytes) -> Status | None:
        """Return what `path` is, and note it; a file that changed just now is waited for."""
        found = super().status(path)
        if self._sights is None:
            return found
        if path not in self._sights:
            found = self._settle(path, found)
        self._sights.note(path, found)
        return found

    def _settle(self, path: bytes, found: Status | None) -> Status | None:
        """Return what `path` is, `found` at first, once its next change must show in its ctime."""
        latest = time.monotonic() + _PATIENCE
        while found and found.kind is FileKind.FILE and is_fresh(found):
            if time.monotonic() >= latest:
                break
            time.sleep(0.002)
            found = super().status(path)
        return found

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`, and note them."""
        found = super().listing(path)
        if self._sights is not None:
            self._sights.note_names(path, found)
        return found

    def open(self, path: bytes) -> io.FileIO:
        """Open the regular file `path` (link-free) for reading; note what it was before."""
        if self._sights is not None and path not in self._sights:
            self.status(path)
        return super().open(path)
