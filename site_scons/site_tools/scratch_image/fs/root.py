"""The root that a step sees: a file system, and the record of all looks at it.

Every step looks at files through a `Root`. This record is the step's exact dependency, misses and
listings included: a step cannot forget to name an input. A look that cannot change the step's
result goes to `Root.files`, the file system below the record.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, TypeVar

from ..errors import ListError
from .file_system import FileSystem
from .lookup import FileKind, Status, Walk

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


class Aspect(StrEnum):
    """The property of a path that was looked at; the value is the word in text records."""

    STAT = "stat"
    """Whether it exists; kind, mode, owner, link text."""
    SIZE = "size"
    """As STAT, and a regular file's size in bytes."""
    CONTENT = "content"
    """As STAT, and a regular file's bytes."""
    MAGIC = "magic"
    """As STAT, and what a regular file's first bytes say of its kind: `FileSystem.magic`."""
    TRUST = "trust"
    """As STAT, and whether a regular file looks for certificates: `FileSystem.trusts`."""
    SECRET = "secret"  # noqa: S105  # a word
    """As STAT, and which kind of secret a regular file holds: see `secret_search.in_file`."""
    LISTING = "listing"
    """As STAT, and a directory's names and their kinds."""
    HARD = "hard"
    """Which other paths are the same file."""
    MTIME = "mtime"
    """A regular file's modification time in whole seconds, none later than the epoch."""
    TIME = "time"
    """A regular file's modification time in whole seconds, whatever the epoch."""
    ACCOUNTS = "accounts"
    """As STAT, and which accounts a regular file names: see `account_files.find_names`."""
    CAPABILITIES = "capabilities"
    """A regular file's capabilities: `FileSystem.capabilities`."""
    ACL = "acl"
    """Whether it has an access control list."""
    SONAME = "soname"
    """The answer of ld.so.cache for a name; the "path" is the name."""
    OWNER = "owner"
    """The Debian package that a file is of, and what dpkg knows of both."""
    IMAGE = "image"
    """Which image an engine holds under a tag; the "path" is engine address and tag."""
    TAG = "tag"
    """The digest that a registry holds under a tag; the "path" is the text of a `Tag`."""
    SETTING = "setting"
    """A setting of the image that the base was made of; the "path" is its name."""
    VIEW = "view"
    """Whether what the base has there is hidden or shown: see `Root.hide`."""


class Root:
    """Looks at a file system, and keeps (path, aspect) of each look."""

    def __init__(self, files: WatchedFileSystem | None = None) -> None:
        """Take the `files` to look at: the machine's, where none are named."""
        self._watched = files or WatchedFileSystem()
        self.files: FileSystem = self._watched
        """The file system itself: to look at without a record."""
        self.looked: set[tuple[bytes, Aspect]] = set()
        self.known: dict[tuple[bytes, Aspect], str] = {}
        """The states of things that the step itself has changed."""

    def watch(self) -> None:
        """From now on note how each path is first seen."""
        self._watched.watch()

    def end_watch(self) -> Sights | None:
        """Note no more sights; return those since `watch`, None if it was not called."""
        return self._watched.end_watch()

    def look(self, path: bytes, aspect: Aspect) -> None:
        """Put `path` on record without looking."""
        self.looked.add((path, aspect))

    def know(self, path: bytes, aspect: Aspect, state: str) -> None:
        """Put `path` on record in the `state` that the step has seen or made itself."""
        self.look(path, aspect)
        self.known[path, aspect] = state

    def hide(self, directories: Iterable[bytes], shown: Iterable[bytes] = ()) -> None:
        """See nothing of the base below `directories`, but for what is `shown`.

        It goes on record: what is hidden cannot change what a step does.
        """
        directories = tuple(directories)
        for path in directories:
            self.walk(path)
        self.files.hide(directories, shown)
        for path in (*self.files.hidden, *self.files.shown):
            self.look(path, Aspect.VIEW)

    def status(self, path: bytes, aspect: Aspect = Aspect.STAT) -> Status | None:
        """Return what `path` is, its last component not followed; None when it does not exist."""
        self.look(path, aspect)
        return self.files.status(path)

    def walk(self, path: bytes, *, follow: bool = True, aspect: Aspect = Aspect.STAT) -> Walk:
        """Look `path` up component by component; see `lookup.walk`.

        `aspect` is recorded for the path where the lookup ends, and the links on the way with it.
        """
        found = self.files.walk(path, follow=follow)
        for each in (*found.links, *found.left):
            self.look(each, Aspect.STAT)
        self.look(found.barrier or found.real, aspect if found.status else Aspect.STAT)
        return found

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`; none where there is nothing."""
        self.look(path, Aspect.LISTING)
        return self.files.listing(path)

    def open(self, path: bytes) -> io.FileIO:
        """Open the regular file `path` (link-free) for reading; ListError when it cannot be."""
        self.look(path, Aspect.CONTENT)
        return self.files.open(path)

    def magic(self, path: bytes) -> str:
        """Return ``elf``, ``script`` or ``other``: see `FileSystem.magic`."""
        self.look(path, Aspect.MAGIC)
        return self.files.magic(path)

    def trusts(self, path: bytes) -> bool:
        """Tell whether the ELF file `path` looks for certificates: see `FileSystem.trusts`."""
        self.look(path, Aspect.TRUST)
        return self.files.trusts(path)

    def capabilities(self, path: bytes) -> str:
        """Return the capabilities of the file `path`: see `FileSystem.capabilities`."""
        self.look(path, Aspect.CAPABILITIES)
        return self.files.capabilities(path)

    def setting(self, name: str) -> str:
        """Return the text of the base image's setting `name`; nothing where there is none."""
        self.look(name.encode("utf-8", "surrogateescape"), Aspect.SETTING)
        return self.files.image.settings.get(name, "")

    def has_access_list(self, path: bytes) -> bool:
        """Tell whether the file or directory `path` has an access control list."""
        self.look(path, Aspect.ACL)
        return self.files.has_access_list(path)
