"""A root with more above it: files that extra lists and presets place there.

Looks at a placed file go on the record of the root below, under the path where its content lies:
a root that knows nothing of the lists can take the state of that path again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

from .file_system import FileSystem
from .lookup import MADE_UP_DIR, FileKind, Status, Walk, locate
from .paths import is_under, join
from .root import Aspect, Root


@dataclass(frozen=True, slots=True)
class Placed:
    """A file at a path, whatever the root below has there."""

    status: Status
    source: bytes = b""
    """Where the content lies, absolute, or relative to the project's directory."""
    text: bytes = b""
    """The content itself, of a file that lies nowhere."""
    chosen_mode: bool = False
    """Whether a line of a list names the mode."""


class OverlaidFiles(FileSystem):
    """`below`, with `placed` above it: what an `Overlay` shows, to look at without a record."""

    def __init__(self, below: FileSystem, top: bytes) -> None:
        """`top` is the project's directory, absolute."""
        super().__init__(
            below.base, epoch=below.epoch, own=below.own, repositories=below.repositories
        )
        self.below = below
        self.placed: dict[bytes, Placed] = {}
        self.tops = (top, *below.repositories)
        """The directories where files of the project may lie; the first that has one counts."""
        # A list is of one moment, and looks at the same directories and links again and again.
        self._status_below = functools.cache(below.status)
        self._trusts = functools.cache(super().trusts)

    def place(self, path: bytes, placed: Placed) -> None:
        """Put `placed` at `path`, below no link."""
        self.placed[path] = placed
        self.staging.make_way(path)

    def has_chosen_mode(self, path: bytes) -> bool:
        """Tell whether a line of a list names the mode of `path`."""
        return path in self.placed and self.placed[path].chosen_mode

    def is_own(self, path: bytes) -> bool:
        """Tell whether what lies at `path` is the project's own: placed by it, or in its tree."""
        placed = self.placed.get(path)
        if placed is not None and (placed.source or placed.status.kind is not FileKind.FILE):
            return placed.source[:1] != b"/"
        return path in self.below.staging or self.in_project(path)

    def in_project(self, path: bytes) -> bool:
        """Tell whether `path` is a directory of the project, or lies below one."""
        return is_under(path, *self.tops)

    def source(self, name: bytes, walk: Callable[[bytes], Walk]) -> bytes:
        """Return where `name` lies, which is absolute, or the project's; `walk` looks for it."""
        places = [join(top, name) for top in self.tops]
        if name[:1] == b"/" or len(places) == 1:
            return places[0]
        return next((place for place in places if walk(place).status is not None), places[0])

    def place_below(self, path: bytes, walk: Callable[[bytes], Walk] | None = None) -> bytes:
        """Return the path below where the content of `path` lies, if it lies anywhere."""
        placed = self.placed.get(path)
        if placed is None or not placed.source:
            return path
        return self.source(placed.source, walk or self.below.walk)

    def host_path(self, path: bytes) -> bytes:
        """Return where the image path `path` lies on the host."""
        return self.below.host_path(self.place_below(path))

    def status(self, path: bytes) -> Status | None:
        """Return what `path` is, its last component not followed; None when it does not exist."""
        placed = self.placed.get(path)
        if placed is not None:
            return placed.status
        return self._status_below(path) or (MADE_UP_DIR if path in self._made_up else None)

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`, placed ones included."""
        return sorted(self._made_up.get(path, set()).union(self.below.listing(path)))

    def trusts(self, path: bytes) -> bool:
        """Tell whether the ELF file `path` looks for certificates; it is read once."""
        return self._trusts(path)

    def capabilities(self, path: bytes) -> str:
        """Return the capabilities of the regular file `path`; a text that was placed has none."""
        is_text = path in self.placed and self.placed[path].text
        return "" if is_text else self.below.capabilities(self.place_below(path))

    def has_access_list(self, path: bytes) -> bool:
        """Tell whether `path` has an access control list; a directory that was placed has none."""
        placed = self.placed.get(path)
        is_made_up = placed and not placed.source and placed.status.kind is FileKind.DIR
        return not is_made_up and super().has_access_list(path)


class Overlay(Root):
    """The root `below`, with placed files above it."""

    def __init__(self, below: Root, top: bytes) -> None:
        """`top` is the project's directory, absolute."""
        # A root would make a file system of its own, and keep a record of its own.
        self.below = below
        self.looked, self.known = below.looked, below.known
        self.files: OverlaidFiles = OverlaidFiles(below.files, top)

    def source(self, name: bytes) -> bytes:
        """Return where `name` lies, which is absolute, or the project's."""
        return self.files.source(name, self.below.walk)

    def place(self, path: bytes, placed: Placed) -> bytes:
        """Put `placed` at `path`; return where that is when the links above it are followed."""
        real = locate(self.walk, path)
        self.files.place(real, placed)
        return real

    def place_source(self, path: bytes, source: bytes) -> bytes:
        """Put what lies at `source` at `path`, as it is seen there; return where that is.

        A file of the project has mode 0755 or 0644, is root's, and as old as the epoch.
        """
        found = self.below.status(self.source(source))
        status = found or Status(FileKind.OTHER, 0, 0, 0)
        if source[:1] != b"/":
            mode = 0o755 if status.mode & 0o111 else 0o644
            mode = 0o777 if status.kind is FileKind.LINK else mode
            status = replace(status, mode=mode, uid=0, gid=0, mtime=self.files.epoch)
        return self.place(path, Placed(replace(status, names=1), source))

    def change(self, path: bytes, mode: int | None, owner: tuple[int, int] | None) -> None:
        """Give the file or directory `path`, link-free, another mode or owner."""
        status = self.files.status(path)
        if status is None or status.kind is FileKind.LINK:
            return
        placed = self.files.placed.get(path, Placed(status))
        uid, gid = owner or (status.uid, status.gid)
        bits = status.mode if mode is None else mode
        if mode is not None and status.kind is FileKind.DIR:
            bits |= (mode & 0o444) >> 2
        changed = replace(status, mode=bits, uid=uid, gid=gid)
        is_chosen = placed.chosen_mode or mode is not None
        self.files.placed[path] = replace(placed, status=changed, chosen_mode=is_chosen)

    def keep_time(self, path: bytes) -> None:
        """Have the file `path`, link-free, keep its own time, also where it is the project's."""
        status = self.files.status(path)
        if status is not None:
            placed = self.files.placed.get(path, Placed(status))
            changed = replace(status, mtime=status.own_mtime)
            self.files.placed[path] = replace(placed, status=changed)

    def look(self, path: bytes, aspect: Aspect) -> None:
        """Put the place where `path` lies on record; what a list made up lies nowhere."""
        placed = self.files.placed.get(path)
        if placed is None or aspect is Aspect.LISTING:
            self.below.look(path, aspect)
        elif placed.source:
            is_timeless = aspect is Aspect.MTIME and placed.source[:1] != b"/"
            place = self.files.place_below(path, self.below.walk)
            self.below.look(place, Aspect.SIZE if is_timeless else aspect)
        elif placed.status.kind is FileKind.FILE and not placed.text:
            self.below.look(path, aspect)
