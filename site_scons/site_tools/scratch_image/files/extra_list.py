r"""The extra list: what the user adds to an image, maps into it and leaves out, a line each.

======================  ==========================================================================
``PATH``                a file, a link, or a directory with all that lies below it
``GLOB``                all that match: ``*``, ``?`` and ``[...]`` within a component, ``**`` for
                        any directories; see `globs`
``SOURCE -> PATH``      SOURCE at PATH; an absolute SOURCE is the machine's, any other one a file
                        of the project, seen from the list's directory; directories with all below
``dir PATH``            an empty directory, 0755 and root's
``link PATH -> TARGET`` a symbolic link
``!GLOB``               leave these paths out, and all below them, whoever wants them
``include FILE``        the lines of another list, seen from this one's directory
======================  ==========================================================================

A ``PATH``, ``GLOB``, mapping or ``dir`` may end in ``mode=0640`` and ``owner=33:33``. With them a
directory gets an x for each r of the mode. A file of the project has mode 0755 or 0644, by its x
bit, and is root's unless these words say otherwise. Of two lines for one path the later one counts.

Blank lines, and lines that start with ``#``, say nothing. Blanks inside a path stand for
themselves. A byte that a text file cannot hold, and whatever would mean something else (``\052`` is
an asterisk, ``\040`` a blank), is written as a backslash and three octal digits, a backslash as
``\134``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ..errors import InputError
from ..fs.globs import is_glob, matcher
from ..fs.paths import unescape

_ESCAPES = re.compile(rb"(?:[^\\]|\\[0-3][0-7]{2})*", re.DOTALL)
_OPTION = re.compile(rb"(.*\S)\s+(mode|owner)=(\S*)", re.DOTALL)
_VALUES = {b"mode": re.compile(rb"[0-7]{3,4}"), b"owner": re.compile(rb"(\d{1,9}):(\d{1,9})")}
_KEYWORD = re.compile(rb"(dir|link|include)\s+(.*)", re.DOTALL)
_ARROW = re.compile(rb"(.*\S)\s+->\s+(\S.*)", re.DOTALL)


class LineKind(StrEnum):
    """The kinds of lines."""

    PATH = "path"
    GLOB = "glob"
    MAP = "map"
    DIR = "dir"
    LINK = "link"
    OUT = "out"
    """A path to leave out."""


@dataclass(frozen=True, slots=True)
class Extra:
    """The request of one line of an extra list."""

    kind: LineKind
    path: bytes
    """Absolute image path, with neither ``.`` nor ``..``; GLOB and OUT have the glob as written."""
    name: str
    """Name of the list that has the line."""
    line: int
    """Number of the line."""
    source: bytes = b""
    """For MAP what lies there, absolute, or relative to the project; for LINK the link's text."""
    mode: int | None = None
    """Permission bits, where the line names them."""
    owner: tuple[int, int] | None = None
    """User and group ID, where the line names them."""

    @property
    def where(self) -> str:
        """The line as messages name it."""
        return f"{self.name}:{self.line}"


class _FaultError(Exception):
    """A line cannot be understood; the text says why."""


Reader = Callable[[str], bytes]
"""Returns the text of the list of that name; OSError when there is none."""


def parse(text: bytes, name: str, read: Reader) -> tuple[Extra, ...]:
    """Return what the extra list `text` and the lists that it includes ask for, in their order.

    `name` is the list's file name, relative to the project, and `read` gives the text of an
    included list. InputError tells every bad line of all of them.
    """
    reading = _Reading(read)
    extras = tuple(reading.lines(text, name, (name,)))
    if reading.faults:
        raise InputError(
            f"read extra list {name}",
            ", ".join(reading.faults),
            "write PATH, GLOB, SOURCE -> PATH, dir PATH, link PATH -> TARGET, !GLOB or include "
            "FILE, comments after # at a line's start",
        )
    return extras


def mentions(text: bytes, name: str, read: Reader) -> frozenset[str]:
    """Return the project's files that a list needs: those it includes, and those it maps.

    Lines that cannot be understood count for nothing; `parse` will tell of them.
    """
    included: set[str] = set()

    def note(other: str) -> bytes:
        included.add(other)
        return read(other)

    found = [*_Reading(note).lines(text, name, (name,))]
    mapped = {os.fsdecode(extra.source) for extra in found if extra.kind is LineKind.MAP}
    return frozenset(included | mapped)


class _Reading:
    """Reads a list with all that it includes, and gathers what is wrong with them."""

    def __init__(self, read: Reader) -> None:
        self.read = read
        self.faults: list[str] = []

    def lines(self, text: bytes, name: str, within: tuple[str, ...]) -> Iterator[Extra]:
        """Yield what `text` asks for; `within` are the lists that are being read."""
        for number, line in _lines(text):
            try:
                if not _ESCAPES.fullmatch(line):
                    raise _FaultError("a backslash stands before three octal digits only")
                keyword = _KEYWORD.fullmatch(line)
                if keyword and keyword[1] == b"include":
                    yield from self._include(_beside(name, _name(keyword[2])), within)
                else:
                    yield _extra(line, name, number)
            except _FaultError as fault:
                self.faults.append(f"{name}:{number}: {fault}")

    def _include(self, name: str, within: tuple[str, ...]) -> Iterator[Extra]:
        if name in within:
            raise _FaultError(f"{name} includes itself")
        try:
            text = self.read(name)
        except OSError as error:
            raise _FaultError(f"{name} cannot be read ({error.strerror})") from error
        yield from self.lines(text, name, (*within, name))


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    for number, raw in enumerate(text.split(b"\n"), start=1):
        line = raw.strip()
        if line and not line.startswith(b"#"):
            yield number, line


def _beside(name: str, other: bytes) -> str:
    """Return `other`, named in the list `name`, as that list is named."""
    return os.path.normpath(os.path.join(os.path.dirname(name), os.fsdecode(other)))


def _extra(line: bytes, name: str, number: int) -> Extra:
    rest, mode, owner = _options(line)
    kind, path, source = _statement(rest, name)
    if (mode, owner) != (None, None) and kind in (LineKind.LINK, LineKind.OUT):
        raise _FaultError("neither a link nor what is left out has a mode or an owner")
    return Extra(kind, path, name, number, source, mode, owner)


def _options(line: bytes) -> tuple[bytes, int | None, tuple[int, int] | None]:
    """Return `line` without the options at its end, and these."""
    mode, owner = None, None
    while option := _OPTION.fullmatch(line):
        line, key, value = option.groups()
        found = _VALUES[key].fullmatch(value)
        if not found:
            raise _FaultError("options are mode=0640 and owner=33:33, in digits")
        if key == b"mode":
            mode = int(value, 8)
        else:
            owner = int(found[1]), int(found[2])
    return line, mode, owner


def _statement(line: bytes, name: str) -> tuple[LineKind, bytes, bytes]:
    """Return the kind of `line`, its path, and its source or target."""
    keyword, arrow = _KEYWORD.fullmatch(line), _ARROW.fullmatch(line)
    if line.startswith(b"!"):
        return LineKind.OUT, _glob(line[1:].strip()), b""
    if keyword and keyword[1] == b"dir":
        return LineKind.DIR, _path(keyword[2]), b""
    if keyword and keyword[1] == b"link":
        link = _ARROW.fullmatch(keyword[2])
        if not link:
            raise _FaultError("a link has a target: link PATH -> TARGET")
        return LineKind.LINK, _path(link[1]), _name(link[2])
    if arrow:
        return LineKind.MAP, _path(arrow[2]), _source(_name(arrow[1]), name)
    if is_glob(line):
        return LineKind.GLOB, _glob(line), b""
    return LineKind.PATH, _path(line), b""


def _name(word: bytes) -> bytes:
    name = unescape(word)
    if b"\0" in name:
        raise _FaultError("a path cannot hold a NUL byte")
    return name


def _path(word: bytes) -> bytes:
    path = _name(word)
    if path[:1] != b"/":
        raise _FaultError("the path is not absolute")
    parts = [part for part in path.split(b"/") if part]
    if not parts:
        raise _FaultError("that is all of the root: name what is in it")
    if b"." in parts or b".." in parts:
        raise _FaultError("the path has a . or .. in it")
    return b"/" + b"/".join(parts)


def _glob(word: bytes) -> bytes:
    _path(word)
    try:
        matcher(word)
    except re.error as error:
        raise _FaultError("a set in the glob has no order") from error
    return word


def _source(source: bytes, name: str) -> bytes:
    """Return the `source` that the list `name` maps, seen from the project's top directory."""
    seen = os.path.normpath(os.path.join(os.path.dirname(os.fsencode(name)), source))
    if seen.split(b"/")[0] == b"..":
        raise _FaultError("the source lies outside of the project; write its absolute path")
    return seen
