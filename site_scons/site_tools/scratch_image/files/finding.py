"""Findings of lint: where an image is likely to fail, on which input, and the fix."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from ..elf.reader import SCRIPT_HEAD
from ..errors import ListError
from ..fs.lookup import FileKind
from ..fs.overlay import OverlaidFiles, Overlay
from ..fs.paths import join, show_some
from ..trace.record import Record, Use, Used
from .entry import Entry

MOST = 10
"""The most findings that a step prints."""

_NAMED = 3
"""Paths that one finding names."""


class Rank(IntEnum):
    """How likely the image is to fail, the likeliest first."""

    BROKEN = 1
    """A listed file lacks something that it needs: it fails as soon as it is used."""
    LIKELY = 2
    """An ordinary argument or input of the program hits it."""
    POSSIBLE = 3
    """An unusual argument, input or variable hits it."""
    REMARK = 4
    """Nothing fails: the image has something that deserves a look."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault that an image probably has."""

    rank: Rank
    case: str
    """The argument or input that hits it, or the file that it is about."""
    cause: str
    fix: str
    """An imperative that fixes the fault."""

    def __str__(self) -> str:
        """Return the line that a user sees."""
        return f"{self.case}: {self.cause}; {self.fix}"


@dataclass(frozen=True)
class Examined:
    """A file list under examination, with the runs that it was made of."""

    view: Overlay | OverlaidFiles
    """Where no target depends on the findings, the files of a view: looks go on no record."""
    entries: tuple[Entry, ...]
    runs: tuple[tuple[str, Record], ...] = ()
    """Names of runs, each with its record."""
    presets: frozenset[str] = frozenset()
    """The presets that the image names."""

    @functools.cached_property
    def paths(self) -> frozenset[bytes]:
        """The paths that are listed."""
        return frozenset(entry.path for entry in self.entries)

    @property
    def uses(self) -> Iterator[Used]:
        """The uses of all runs."""
        return (use for _, record in self.runs for use in record.uses)

    @functools.cached_property
    def used(self) -> frozenset[bytes]:
        """The paths that any run looked at, found or not."""
        return frozenset(use.path for use in self.uses)

    @functools.cached_property
    def executed(self) -> frozenset[bytes]:
        """The files that any run executed."""
        return frozenset(use.path for use in self.uses if use.kind is Use.EXEC)

    def has(self, path: bytes) -> bool:
        """Tell whether the file to which `path` leads is listed."""
        return self.view.walk(path).real in self.paths

    def kind(self, path: bytes) -> FileKind | None:
        """Return the kind of the file to which `path` leads; None if there is none to look at."""
        with suppress(ListError):
            status = self.view.walk(path).status
            return None if status is None else status.kind
        return None

    def is_script(self, path: bytes, first_line: re.Pattern[bytes]) -> bool:
        """Tell whether the listed file `path` is a script whose first line begins with a match."""
        if self.view.magic(path) != "script":
            return False
        with self.view.open(path) as stream:
            return first_line.match(stream.read(SCRIPT_HEAD)) is not None

    def names(self, directory: bytes) -> list[bytes]:
        """Return the sorted names in `directory`; none if it cannot be read."""
        with suppress(ListError):
            if self.is_directory(directory):
                return self.view.listing(self.view.walk(directory).real)
        return []

    def is_directory(self, path: bytes) -> bool:
        """Tell whether `path` leads to a directory."""
        with suppress(ListError):
            found = self.view.walk(path).status
            return found is not None and found.kind is FileKind.DIR
        return False

    def files(self, directory: bytes) -> list[bytes]:
        """Return the files below `directory`, as far as it can be read, links included."""
        found: list[bytes] = []
        real = self.view.walk(directory).real
        for name in self.names(real):
            path = join(real, name)
            with suppress(ListError):
                status = self.view.status(path)
                is_directory = status is not None and status.kind is FileKind.DIR
                found += self.files(path) if is_directory else [path]
        return found

    def count(self, files: Iterable[bytes]) -> tuple[int, int]:
        """Return how many of `files` are listed, and how many there are."""
        every = [*files]
        return sum(path in self.paths for path in every), len(every)


def lines(findings: Iterable[Finding], image: str) -> list[str]:
    """Return the lines that a step prints of sorted `findings`; `image` is that of the alias."""
    every = [str(finding) for finding in findings]
    rest = len(every) - MOST
    more = [f"and {rest} findings more; scons report/{image} shows all"] if rest > 0 else []
    return every[:MOST] + more


def some(paths: Iterable[bytes]) -> str:
    """Return the first of `paths` as text, and how many more there are."""
    return show_some([*paths], _NAMED)
