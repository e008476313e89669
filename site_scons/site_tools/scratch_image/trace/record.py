"""The record of a run: what it used, wrote and did not find; and its text form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..errors import InputError
from ..fs.paths import escape, is_plain, unescape

HEADER = b"# scratch_image trace 1\n"


class Use(StrEnum):
    """How a run used a path, the strongest first; the value is the word in text records."""

    WRITE = "write"
    """Opened for writing, changed, renamed or removed."""
    CREATE = "create"
    """Made, or opened so that it would have been made. Only in logs; in records it is WRITE."""
    EXEC = "exec"
    """Executed: read by the kernel, its interpreters with it."""
    READ = "read"
    """Opened for reading."""
    LIST = "list"
    """A directory whose names were read."""
    STAT = "stat"
    """Looked at without reading: stat, access, extended attributes, chdir."""
    LINK = "link"
    """A symbolic link that a lookup went through. Only in records: a log does not show it."""
    ABSENT = "absent"
    """Looked for, and not there."""


@dataclass(frozen=True, slots=True)
class Used:
    """One line of a record."""

    kind: Use
    """The strongest use that the run made of `path`; compares equal to its word."""
    path: bytes
    """Link-free image path."""


@dataclass(frozen=True, slots=True)
class Record:
    """The paths of a run."""

    uses: tuple[Used, ...]
    """One for each path, sorted by path."""

    @property
    def found(self) -> int:
        """How many paths the run used and found."""
        return sum(use.kind not in (Use.ABSENT, Use.WRITE) for use in self.uses)

    @property
    def absent(self) -> int:
        """How many paths the run looked for in vain."""
        return sum(use.kind is Use.ABSENT for use in self.uses)


_WORDS = {use.value.encode(): use for use in Use if use is not Use.CREATE}


def write_record(record: Record) -> bytes:
    """Return the text of `record`: a header, and a line ``KIND PATH`` for each path."""
    lines = (b"%b %b\n" % (use.kind.value.encode(), escape(use.path)) for use in record.uses)
    return HEADER + b"".join(lines)


def read_record(text: bytes) -> Record:
    """Return the record of `text` (hostile); InputError names a line that is wrong."""
    lines = text.split(b"\n")
    if lines[0] + b"\n" != HEADER or lines[-1] != b"":
        raise _bad_line(1, "it is no whole record")
    uses: list[Used] = []
    for number, line in enumerate(lines[1:-1], start=2):
        word, _, name = line.partition(b" ")
        path = unescape(name)
        if word not in _WORDS or not is_plain(path) or escape(path) != name:
            raise _bad_line(number, "it is no kind and link-free path")
        if uses and path <= uses[-1].path:
            raise _bad_line(number, "it is out of order")
        uses.append(Used(_WORDS[word], path))
    return Record(tuple(uses))


def _bad_line(number: int, cause: str) -> InputError:
    return InputError(f"read line {number} of a trace record", cause, "build it again")
