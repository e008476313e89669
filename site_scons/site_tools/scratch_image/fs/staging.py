"""Staging: which places of an image have files and directories of the project."""

from __future__ import annotations

import copy
import errno
import os
import stat
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..errors import InputError
from .lookup import MAX_LINKS, FileKind, Status, Walk
from .paths import is_in_kernel_tree, join, parents, show


@dataclass(frozen=True, slots=True)
class Chosen:
    """The mode and the owner that the project has chosen for what it stages."""

    mode: int | None = None
    """Of files; directories get the right to search where they can be read."""
    owner: str = ""
    """``USER``, ``USER:GROUP``, each a name or a number; empty for root."""

    def bits(self, kind: FileKind, mode: int) -> int:
        """Return the permission bits of a file of that `kind`, which lies there with `mode`.

        Umask and owner of the user who ran the build are not the project's doing.
        """
        if kind is FileKind.LINK:
            return 0o777
        if self.mode is None:
            return 0o755 if kind is FileKind.DIR or mode & 0o111 else 0o644
        return self.mode | (self.mode & 0o444) >> 2 if kind is FileKind.DIR else self.mode


NOTHING_CHOSEN = Chosen()


class Lookup(Protocol):
    """The file system that the staged files are part of."""

    def status(self, path: bytes) -> Status | None:
        """Return what `path` is, its last component not followed; None when it does not exist."""

    def walk(self, path: bytes) -> Walk:
        """Look `path` up component by component; see `lookup.walk`."""

    def host_path(self, path: bytes) -> bytes:
        """Return where the image path `path` lies on the host."""

    def is_in_project(self, path: bytes) -> bool:
        """Tell whether `path` lies in a directory of the project."""


class Staging:
    """The places at which files and directories of the project lie.

    A directory of the project that the base does not have is one place. Where the base has a
    directory too, each of its entries is a place.
    """

    def __init__(self, lookup: Lookup) -> None:
        """Take the file system that has the base, and is to have what gets staged."""
        self._lookup = lookup
        self.places: dict[bytes, bytes] = {}
        """Host paths by image paths, which have no links on the way."""
        self.merged: dict[bytes, list[bytes]] = {}
        """Directories of the base, and those of the host whose entries lie there."""
        self.sources: dict[bytes, None] = {}
        """All these directories of the host."""
        self.made_up: dict[bytes, set[bytes]] = {}
        """Directories that only staged files need, and names in them."""
        self._chosen: dict[bytes, Chosen] = {}
        self._trees: set[bytes] = set()
        self._twins: dict[bytes, int] = {}
        """Places of one source at several places; the same number for the same source."""
        self._files: dict[bytes, bool] = {}
        """Places of files that the project names itself; whether they are links."""
        self._directories: dict[bytes, bytes] = {}
        self._new: set[bytes] = set()
        """Directories that hold staged files and nothing else."""
        self._images: dict[bytes, bytes] = {}

    def for_lookup(self, lookup: Lookup) -> Staging:
        """Return the same places for another file system of the same base."""
        other = copy.copy(self)
        other._lookup = lookup
        other.made_up = {path: {*names} for path, names in self.made_up.items()}
        return other

    # Placing.

    def add(self, staged: Mapping[bytes, bytes], chosen: Mapping[bytes, Chosen]) -> None:
        """Place the host paths `staged` by image path; InputError when one cannot be there."""
        kinds = {path: _kind(host) for path, host in staged.items()}
        for path in sorted(path for path, kind in kinds.items() if kind == stat.S_IFDIR):
            self._add_tree(path, staged[path], chosen.get(path, NOTHING_CHOSEN))
        for path, kind in kinds.items():
            if kind != stat.S_IFDIR:
                place = self._add_file(path, staged[path], chosen.get(path, NOTHING_CHOSEN))
                self._files[place] = kind == stat.S_IFLNK
        for place in [place for place, is_link in self._files.items() if is_link]:
            self._follow(place)
        self._find_twins()
        self._images = {host: place for place, host in self.places.items()}

    def _add_file(self, path: bytes, host: bytes, chosen: Chosen) -> bytes:
        """Place the file or link `host` at `path`; return where that is."""
        place = self._place(path)
        is_new = place.rpartition(b"/")[0] in self._new
        if place in self.made_up if is_new else self._is_directory(place):
            raise InputError(f"stage {show(path)}", "there is a directory", "stage it elsewhere")
        self._put(place, host, chosen)
        return place

    def _is_directory(self, place: bytes) -> bool:
        status = self._lookup.status(place)
        if status and status.kind is FileKind.LINK:
            status = self._lookup.walk(place).status
        return status is not None and status.kind is FileKind.DIR

    def _add_tree(self, path: bytes, host: bytes, chosen: Chosen) -> None:
        """Place the directory `host` at `path`: in one piece, or else its entries."""
        place = self._place(path) if path != b"/" else path
        found = self._lookup.walk(place)
        if found.status is None or found.status.kind is not FileKind.DIR:
            self._put(place, host, chosen)
            self._trees.add(place)
            return
        self.merged.setdefault(found.real, []).append(host)
        self.sources[host] = None
        for name in _names(path, host):
            source, below = join(host, name), join(found.real, name)
            if not is_in_kernel_tree(below):
                is_tree = _kind(source) == stat.S_IFDIR
                (self._add_tree if is_tree else self._add_file)(below, source, chosen)

    def _place(self, path: bytes) -> bytes:
        """Return where `path` lies; a path staged below a link of the base lies where that leads.

        InputError when nothing can be there.
        """
        above, _, name = path.rpartition(b"/")
        try:
            place = join(self._directories.get(above) or self._directory(above or b"/"), name)
        except NotADirectoryError as error:
            cause = f"{show(error.filename)} is no directory"
            raise InputError(f"stage {show(path)}", cause, "stage it elsewhere") from error
        if place in self.places:
            cause = f"another file is staged at {show(place)}"
            raise InputError(f"stage {show(path)}", cause, "stage it elsewhere")
        return place

    def _directory(self, path: bytes) -> bytes:
        """Return where the directory `path` lies when links are followed; it is there from now on.

        NotADirectoryError when something else is in its way.
        """
        if path == b"/":
            return path
        if path not in self._directories:
            place = join(self._directory(os.path.dirname(path)), os.path.basename(path))
            found = self._lookup.walk(place)
            is_other = found.status is not None and found.status.kind is not FileKind.DIR
            if is_other or (found.links and found.status is None):
                in_way = found.barrier or (found.real if is_other else found.links[0])
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), in_way)
            self._directories[path] = found.real if found.status else place
            if found.status is None:
                self._new.add(place)
            self.make_way(self._directories[path])
        return self._directories[path]

    def make_way(self, place: bytes) -> None:
        """Have the directories above `place`, and its name in the last of them."""
        for above, below in zip(parents(place), [*parents(place)[1:], place], strict=True):
            self.made_up.setdefault(above, set()).add(os.path.basename(below))

    def _put(self, place: bytes, host: bytes, chosen: Chosen) -> None:
        self.places[place] = host
        if chosen is not NOTHING_CHOSEN:
            self._chosen[place] = chosen
        above, _, name = place.rpartition(b"/")
        self.made_up.setdefault(above or b"/", set()).add(name)

    def _follow(self, place: bytes) -> None:
        """Have the file at `place` to which the link there leads, unless it can stay a link."""
        for _ in range(MAX_LINKS):
            host = self.places[place]
            if not os.path.islink(host) or self._can_stay(place, host):
                return
            directory = os.path.realpath(os.path.dirname(host))
            target = os.path.normpath(join(directory, os.readlink(host)))
            if not os.path.lexists(target):
                return
            self.places[place] = target

    def _can_stay(self, place: bytes, host: bytes) -> bool:
        """Tell whether the link `host` leads from `place` to what it leads to on the host.

        An absolute link leads to the root's own file of that path, and never into the project.
        """
        if place in self._chosen:
            return False
        text = os.readlink(host)
        end = self._lookup.walk(join(os.path.dirname(place), text))
        if end.status is None:
            return False
        if text[:1] == b"/":
            return end.real in self or not self._lookup.is_in_project(end.real)
        with suppress(OSError):
            return os.path.samefile(host, self._lookup.host_path(end.real))
        return False

    def _find_twins(self) -> None:
        """Find the sources that lie at several places, with the same mode and owner."""
        keys = {place: (self.places[place], self._chosen.get(place)) for place in self._files}
        times = Counter(keys.values())
        numbers = {key: number for number, key in enumerate(times) if times[key] > 1}
        self._twins = {place: numbers[key] for place, key in keys.items() if key in numbers}

    # Looking.

    def top(self, path: bytes) -> bytes:
        """Return the place that has `path`, its own or that of a directory; nothing if none has."""
        if path in self.places:
            return path
        end = len(path) if self._trees else 0
        while (end := path.rfind(b"/", 0, end)) > 0:
            if path[:end] in self._trees:
                return path[:end]
        return b""

    def __contains__(self, path: bytes) -> bool:
        return path in self.places or bool(self._trees and self.top(path))

    def host_path(self, path: bytes) -> bytes:
        """Return where the staged file `path` lies on the host; nothing if it is not staged."""
        host = self.places.get(path)
        if host or not self._trees:
            return host or b""
        top = self.top(path)
        return self.places[top] + path[len(top) :] if top else b""

    def image_path(self, host_path: bytes) -> bytes:
        """Return the image path of a staged file; `host_path` itself for any other."""
        end = len(host_path)
        while end > 0:
            place = self._images.get(host_path[:end])
            if place and (end == len(host_path) or place in self._trees):
                return place + host_path[end:]
            end = host_path.rfind(b"/", 0, end) if self._trees else 0
        return host_path

    def choice(self, path: bytes) -> Chosen:
        """Return what is chosen for the staged `path`."""
        chosen = self._chosen
        return chosen.get(self.top(path), NOTHING_CHOSEN) if chosen else NOTHING_CHOSEN

    def has_choices(self) -> bool:
        """Tell whether the project has chosen the mode or the owner of something."""
        return any(chosen != NOTHING_CHOSEN for chosen in self._chosen.values())

    def identity(self, path: bytes, found: os.stat_result) -> tuple[tuple[int, int], int]:
        """Return device and inode of the staged file `path`, and how many names it has.

        Files of a staged directory are hard links if they are so in the project. A source that
        is staged at several places is one file, whatever its name in the build directory is.
        """
        if path in self._twins:
            return (-1, self._twins[path]), 2
        return (found.st_dev, found.st_ino), 1 if path in self._files else found.st_nlink

    def is_tree(self, place: bytes) -> bool:
        """Tell whether a directory in one piece lies at `place`."""
        return place in self._trees

    def owners(self) -> set[str]:
        """Return the owners that are chosen."""
        return {chosen.owner for chosen in self._chosen.values()}


def _kind(host: bytes) -> int:
    """Return the kind of the file `host`, as in its mode; 0 where there is none."""
    try:
        return stat.S_IFMT(os.lstat(host).st_mode)
    except OSError:
        return 0


def _names(path: bytes, host: bytes) -> list[bytes]:
    try:
        return sorted(os.listdir(host))
    except OSError as error:
        raise InputError(
            f"stage {show(path)}",
            f"{show(host)}: {error.strerror}",
            "make it readable by the user who runs scons",
        ) from error
