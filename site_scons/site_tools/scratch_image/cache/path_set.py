"""Path sets: the paths that steps looked at, as every checkout and machine can look at them.

A path of the project is written as seen from its directory, so that checkouts may lie anywhere. A
state of it is written without what differs from one checkout to the next and decides over nothing:
umask, owner, inode numbers. A path set out of a cache may come from anybody, and makes its reader
look at files: it is hostile until it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..fs.paths import is_in_kernel_tree, is_plain, is_under
from ..fs.private_file import Format, to_bytes, to_text
from ..fs.root import Aspect
from .entry import EntryError

States = Mapping[tuple[bytes, Aspect], str]
"""Each path and aspect of a footprint with its state."""

MAX_SETS = 16
"""Path sets that an entry has at most: the newest ones."""

_MAX_TEXT = 32 << 20
"""Bytes that all of them have at most, as JSON."""

_MAX_LOOKS = 200_000
"""Looks that one of them has at most."""

_FORMAT = Format("path sets", 1)

_PROJECT = re.compile(rb"//project([0-9]{0,3})(/.*)?", re.DOTALL)
"""A path of the project, or of one of its repositories. No other path begins with ``//``."""

_NAMES = (Aspect.SONAME, Aspect.SETTING)
"""Aspects whose "paths" are names."""

_REMOTE = (Aspect.IMAGE, Aspect.TAG)
"""Aspects of what engines and registries have: no path set asks one of these."""


class UnsharedError(Exception):
    """A state means nothing elsewhere; the text says which one."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where a project lies on this machine."""

    directories: tuple[bytes, ...]
    """The project's directory, and its repositories, absolute."""

    @property
    def names(self) -> set[bytes]:
        """All names of these directories."""
        return {*self.directories, *map(os.path.realpath, self.directories)}

    def is_in_project(self, path: bytes) -> bool:
        """Tell whether `path` is a directory of the project, or lies below one."""
        return any(is_under(path, each) for each in self.directories if each != b"/")

    def portable_path(self, path: bytes) -> bytes:
        """Return `path` as every checkout has it."""
        for number, directory in enumerate(self.directories):
            if directory != b"/" and is_under(path, directory):
                return b"//project%s%s" % (
                    b"%d" % number if number else b"",
                    path[len(directory) :],
                )
        return path

    def local_path(self, path: bytes) -> bytes:
        """Return where `path` (hostile), a portable one, lies here; EntryError if nowhere."""
        if path[:2] == b"//":
            found = _PROJECT.fullmatch(path)
            if not found or int(found[1] or 0) >= len(self.directories):
                raise EntryError("a path of a path set is malformed")
            path = self.directories[int(found[1] or 0)] + (found[2] or b"")
        if not is_plain(path):
            raise EntryError("a path of a path set is malformed")
        return path


@dataclass(frozen=True, slots=True)
class PathSet:
    """The looks of the steps of a unit."""

    is_bound: bool
    """Whether the results hold for the one place of the checkout only: they name it."""
    is_personal: bool
    """Whether they hold for one user only: something was forbidden."""
    looks: tuple[dict[tuple[bytes, Aspect], str], ...]
    """For each step its looks, by portable paths: hidden or shown ones with that word."""

    @classmethod
    def of(
        cls, states: Iterable[States], checkout: Checkout, *, is_bound: bool, is_personal: bool
    ) -> PathSet:
        """Return the path set of steps that found the `states`; UnsharedError if there is none."""
        return cls(is_bound, is_personal, tuple(_looks(each, checkout) for each in states))

    def local(self, checkout: Checkout) -> list[dict[tuple[bytes, Aspect], str]]:
        """Return the looks by the paths of this machine."""
        return [_local_looks(each, checkout) for each in self.looks]

    def count(self) -> int:
        """Return the number of looks."""
        return sum(map(len, self.looks))


def _looks(states: States, checkout: Checkout) -> dict[tuple[bytes, Aspect], str]:
    for path, aspect in states:
        if not _is_harmless(path, aspect):
            raise UnsharedError(f"{aspect} of {to_text(path)}")
    return {
        (_portable(path, aspect, checkout), aspect): found if aspect is Aspect.VIEW else ""
        for (path, aspect), found in states.items()
    }


def _local_looks(
    looks: Mapping[tuple[bytes, Aspect], str], checkout: Checkout
) -> dict[tuple[bytes, Aspect], str]:
    found = {}
    for (path, aspect), word in looks.items():
        local = path if aspect in _NAMES else checkout.local_path(path)
        if not _is_harmless(local, aspect):
            raise EntryError("a path set asks for more than files")
        found[local, aspect] = word
    return found


def _is_harmless(path: bytes, aspect: Aspect) -> bool:
    """Tell whether a look does no more than read a file of the machine.

    A file of the kernel may have no end, and an address may be anybody's.
    """
    is_safe = aspect in (*_NAMES, Aspect.STAT) or not is_in_kernel_tree(path)
    return is_safe and aspect not in _REMOTE


def _portable(path: bytes, aspect: Aspect, checkout: Checkout) -> bytes:
    return path if aspect in _NAMES else checkout.portable_path(path)


# States


def portable_states(states: States, checkout: Checkout, *, is_bound: bool) -> list[str]:
    """Return the sorted `states` as lines that are equal wherever the step would find the same.

    UnsharedError for a state that means nothing elsewhere.
    """
    firsts = _first_names(states)
    lines = []
    for (path, aspect), found in states.items():
        if found == "moved" or found[:7] == "unknown":
            raise UnsharedError(f"{aspect} of {to_text(path)} is {found}")
        if aspect is Aspect.HARD and found in firsts:
            first = firsts[found]
            found = f"as {to_text(checkout.portable_path(first))}" if first else "single"
        elif not is_bound and checkout.is_in_project(path):
            found = _without_umask(found)
        lines.append(f"{aspect} {to_text(_portable(path, aspect, checkout))}\0{found}")
    return sorted(lines)


def _first_names(states: States) -> dict[str, bytes]:
    """Return for each inode number its first path; nothing where it is the only one."""
    numbers = [(found, path) for (path, aspect), found in states.items() if aspect is Aspect.HARD]
    counts = Counter(found for found, _ in numbers)
    firsts = {found: path for found, path in sorted(numbers, reverse=True) if found.isdigit()}
    return {found: path if counts[found] > 1 else b"" for found, path in firsts.items()}


def _without_umask(found: str) -> str:
    """Return the state of a file of the project as an image gets it: root's, executable or not."""
    kind, *words = found.split(" ")
    if kind not in ("file", "dir") or len(words) < 2:
        return found
    mode = "0755" if kind == "dir" or int(words[0], 8) & 0o111 else "0644"
    return " ".join([kind, mode, "0:0", *words[2:]])


def marks(lines: Iterable[str]) -> bytes:
    """Return four bytes for each of `lines`: enough to see which one differs."""
    return b"".join(_mark(line) for line in lines)


def _mark(line: str) -> bytes:
    return hashlib.sha256(line.encode("utf-8", "surrogateescape")).digest()[:4]


def differing_paths(lines: Sequence[str], known: bytes) -> list[str]:
    """Return aspect and path of those of `lines` that are not the ones with the marks `known`."""
    pairs = zip(lines, range(0, len(known), 4), strict=False)
    return [line.partition("\0")[0] for line, at in pairs if _mark(line) != known[at : at + 4]]


# Text


def write_path_sets(sets: Iterable[tuple[PathSet, bytes]]) -> bytes:
    """Return the text of path sets, each with the marks of the states that were found last."""
    return zlib.compress(_FORMAT.write({"sets": [_values(each, last) for each, last in sets]}), 6)


def _values(path_set: PathSet, last: bytes) -> dict[str, Any]:
    steps = []
    for looks in path_set.looks:
        values: dict[str, dict[str, str]] = {}
        for (path, aspect), word in looks.items():
            values.setdefault(aspect, {})[to_text(path)] = word
        steps.append(values)
    flags = [path_set.is_bound, path_set.is_personal]
    return {"flags": flags, "steps": steps, "marks": last.hex()}


def read_path_sets(text: bytes) -> list[tuple[PathSet, bytes]]:
    """Return the path sets that `text` (hostile) holds; EntryError when it holds none."""
    found = _FORMAT.read(unpack(text, _MAX_TEXT), lambda values: list(_sets(values)))
    if found is None:
        raise EntryError("path sets are malformed")
    return found


def _sets(values: dict[str, Any]) -> Iterator[tuple[PathSet, bytes]]:
    for each in values["sets"][:MAX_SETS]:
        is_bound, is_personal = each["flags"]
        path_set = PathSet(
            is_bound is True, is_personal is True, tuple(map(_read_looks, each["steps"]))
        )
        if path_set.count() > _MAX_LOOKS:
            raise ValueError
        yield path_set, bytes.fromhex(each["marks"])


def _read_looks(values: dict[str, Any]) -> dict[tuple[bytes, Aspect], str]:
    found = {
        (to_bytes(path), Aspect(word)): state
        for word, paths in values.items()
        for path, state in paths.items()
    }
    for (path, aspect), state in found.items():
        words = ("hidden", "shown") if aspect is Aspect.VIEW else ("",)
        if state not in words or aspect in _REMOTE:
            raise ValueError
        if aspect not in _NAMES and (path[:1] != b"/" or b"\0" in path):
            raise ValueError
    return found


def unpack(text: bytes, most: int) -> bytes:
    """Return what zlib has packed into `text` (hostile); EntryError for more than `most` bytes."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(text, most)
    except zlib.error as error:
        raise EntryError("an entry is no whole zlib stream") from error
    if not stream.eof or stream.unused_data:
        raise EntryError("an entry is no whole zlib stream")
    return found
