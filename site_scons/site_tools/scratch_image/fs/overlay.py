"""A root with more above it: what extra lists and presets place there.

It is asked like any root. Looks at what was placed go on the record of the root below under the
path where the content lies on the machine: that is the state that can be taken again by a root
that knows nothing of the lists.
"""

from __future__ import annotations

import copy
import functools
import os
from dataclasses import dataclass, replace

from .paths import is_under, join, parents
from .root import Aspect, Kind, Root, Status

_MADE_UP_DIR = Status(Kind.DIR, 0o755, 0, 0)


@dataclass(frozen=True, slots=True)
class Placed:
    """What lies at a path, whatever the root below has there."""

    status: Status
    source: bytes = b""
    """Where the content lies on the machine, absolute, or relative to the project's directory."""
    text: bytes = b""
    """The content itself, of a file that lies nowhere."""
    chosen_mode: bool = False
    """Whether a line of a list names the mode."""


class Overlay(Root):
    """`below`, with `placed` above it."""

    def __init__(self, below: Root, top: bytes) -> None:
        """`top` is the project's directory, absolute."""
        super().__init__(
            below.base, epoch=below.epoch, own=below.own, repositories=below.repositories
        )
        self.below = below
        self.top = top
        self.looked = below.looked
        self.placed: dict[bytes, Placed] = {}
        # A list is of one moment, and asks for the same directories and links again and again.
        self._peek = functools.cache(below.peek)
        self._trusts = functools.cache(functools.partial(super().trusts, aspect=None))

    def apart(self) -> Overlay:
        """Return a copy whose looks go on no step's record: for what decides over no result."""
        other = copy.copy(self)
        other.below = copy.copy(self.below)
        other.looked = other.below.looked = set()
        return other

    @property
    def tops(self) -> tuple[bytes, ...]:
        """The directories where files of the project may lie; the first that has one counts."""
        return self.top, *self.repositories

    def in_project(self, path: bytes) -> bool:
        """Tell whether `path` is one of these directories, or lies below."""
        return any(is_under(path, top) for top in self.tops)

    def source(self, name: bytes) -> bytes:
        """Return where `name` lies, which is absolute, or the project's."""
        places = [join(top, name) for top in self.tops]
        if name[:1] == b"/" or len(places) == 1:
            return places[0]
        there = (place for place in places if self.below.walk(place).status is not None)
        return next(there, places[0])

    def place(self, path: bytes, placed: Placed) -> bytes:
        """Put `placed` at `path`; return where that is when the links above it are followed."""
        real = self.location(path)
        self.placed[real] = placed
        for above, child in zip(parents(real), [*parents(real)[1:], real], strict=True):
            self._staged_dirs.setdefault(above, set()).add(os.path.basename(child))
        return real

    def place_source(self, path: bytes, source: bytes) -> bytes:
        """Put what lies at `source` at `path`, as it is seen there; return where that is.

        A file of the project has mode 0755 or 0644, is root's, and as old as the epoch.
        """
        found = self.below.status(self.source(source))
        status = found or Status(Kind.OTHER, 0, 0, 0)
        if source[:1] != b"/":
            mode = 0o755 if status.mode & 0o111 else 0o644
            mode = 0o777 if status.kind is Kind.LINK else mode
            status = replace(status, mode=mode, uid=0, gid=0, mtime=self.epoch)
        return self.place(path, Placed(replace(status, names=1), source))

    def change(self, path: bytes, mode: int | None, owner: tuple[int, int] | None) -> None:
        """Give the file or directory `path`, link-free, another mode or owner."""
        status = self.peek(path)
        if status is None or status.kind is Kind.LINK:
            return
        placed = self.placed.get(path, Placed(status))
        uid, gid = owner or (status.uid, status.gid)
        bits = status.mode if mode is None else mode
        if mode is not None and status.kind is Kind.DIR:
            bits |= (mode & 0o444) >> 2
        changed = replace(status, mode=bits, uid=uid, gid=gid)
        chosen = placed.chosen_mode or mode is not None
        self.placed[path] = replace(placed, status=changed, chosen_mode=chosen)

    def has_chosen_mode(self, path: bytes) -> bool:
        """Tell whether a line of a list names the mode of `path`."""
        return path in self.placed and self.placed[path].chosen_mode

    def keep_time(self, path: bytes) -> None:
        """Have the file `path`, link-free, keep its own time, however new and whoever's it is."""
        status = self.peek(path)
        if status is not None:
            placed = self.placed.get(path, Placed(status))
            self.placed[path] = replace(placed, status=replace(status, mtime=status.own_mtime))

    def is_own(self, path: bytes) -> bool:
        """Tell whether what lies at `path` is the project's own: placed by it, or in its tree."""
        placed = self.placed.get(path)
        if placed is not None and (placed.source or placed.status.kind is not Kind.FILE):
            return placed.source[:1] != b"/"
        return path in self.below.staged or self.in_project(path)

    def machine(self, path: bytes) -> bytes:
        """Return where the image path `path` lies on the machine."""
        placed = self.placed.get(path)
        source = self.source(placed.source) if placed is not None and placed.source else path
        return self.below.machine(source)

    def look(self, path: bytes, aspect: Aspect) -> None:
        """Put the place where `path` lies on record; what a list made up lies nowhere."""
        placed = self.placed.get(path)
        if placed is not None and placed.source:
            timeless = aspect is Aspect.MTIME and placed.source[:1] != b"/"
            source = self.source(placed.source)
            self.below.look(source, Aspect.SIZE if timeless else aspect)
        elif placed is None or (placed.status.kind is Kind.FILE and not placed.text):
            self.below.look(path, aspect)

    def peek(self, path: bytes) -> Status | None:
        """Return what `path` is, off the record."""
        placed = self.placed.get(path)
        if placed is not None:
            return placed.status
        made_up = _MADE_UP_DIR if path in self._staged_dirs else None
        return self._peek(path) or made_up

    def trusts(self, path: bytes, aspect: Aspect | None = Aspect.TRUST) -> bool:
        """Tell whether the ELF file `path` looks for certificates, which is read once."""
        if aspect is not None:
            self.look(path, aspect)
        return self._trusts(path)

    def capabilities(self, path: bytes, aspect: Aspect | None = Aspect.CAPABILITIES) -> str:
        """Return the capabilities of the regular file `path`; a text that was placed has none."""
        if aspect is not None:
            self.look(path, aspect)
        placed = self.placed.get(path)
        if placed is not None and placed.source:
            return self.below.capabilities(self.source(placed.source), aspect=None)
        return "" if placed is not None and placed.text else self.below.capabilities(path, None)

    def has_access_list(self, path: bytes, aspect: Aspect | None = Aspect.ACL) -> bool:
        """Tell whether `path` has an access control list; what was made up here has none."""
        placed = self.placed.get(path)
        made_up = placed is not None and not placed.source and placed.status.kind is Kind.DIR
        return not made_up and super().has_access_list(path, aspect)

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`, placed ones included."""
        names = self._staged_dirs.get(path, set())
        return sorted(names.union(self.below.listing(path)))
