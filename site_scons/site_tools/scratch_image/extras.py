r"""The extra list: paths that the user adds to an image, a line each.

A line is the absolute path of a file, a symbolic link or a directory; a directory brings all that
lies below it. Blank lines, and lines that start with ``#``, say nothing. Blanks inside a path
stand for themselves; a byte that a text file cannot hold is written as a backslash and three octal
digits (``\012`` is a newline), a backslash as ``\134``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import InputError
from .paths import unescape

_ESCAPES = re.compile(rb"(?:[^\\]|\\[0-3][0-7]{2})*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Extra:
    """One path that an extra list names."""

    path: bytes
    """Absolute image path, with neither ``.`` nor ``..``."""
    name: str
    """The list's file name."""
    line: int
    """Number of the line that names the path."""


def parse(text: bytes, name: str) -> tuple[Extra, ...]:
    """Return what the extra list `text` names, in its own order.

    `name` is the list's file name, for messages and reasons. InputError tells every bad line.
    """
    extras, faults = [], []
    for number, raw in enumerate(text.split(b"\n"), start=1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        fault = _fault(line)
        if fault:
            faults.append(f"{name}:{number}: {fault}")
        else:
            path = b"/" + b"/".join(part for part in unescape(line).split(b"/") if part)
            extras.append(Extra(path, name, number))
    if faults:
        raise InputError(
            f"cannot read extra list {name}: {', '.join(faults)}; "
            "write one absolute path a line, comments after # at its start"
        )
    return tuple(extras)


def _fault(line: bytes) -> str:
    """Return what is wrong with `line`, or nothing."""
    if not _ESCAPES.fullmatch(line):
        return "a backslash stands before three octal digits only"
    path = unescape(line)
    if path[:1] != b"/":
        return "the path is not absolute"
    if b"\0" in path:
        return "a path cannot hold a NUL byte"
    if any(part in (b".", b"..") for part in path.split(b"/")):
        return "the path has a . or .. in it"
    return ""
