r"""The text of closures, as ldd(1) prints it, with the user of each file in the place of addresses.

::

    /usr/bin/cat:
    \tmachine 62 (x86_64)
    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (needed by /usr/bin/cat)
    \t/lib64/ld-linux-x86-64.so.2 (loader of /usr/bin/cat)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..fs.paths import escape, unescape
from .closure import Closure
from .load import Missing
from .machines import machine


@dataclass(frozen=True, slots=True)
class Row:
    """A path that an ldd text names."""

    kind: str
    """``program``, ``interpreter`` (of a script), ``loader`` or ``library``."""
    path: bytes
    needed_by: bytes | None
    """Path of the file that needs it, as far as the text tells; None for a program."""


_ADDRESS = rb"0x[0-9a-f]+"
_REASON = rb"(?P<word>interpreter of|loader of|(?:variant, )?needed by) (?P<by>\S+)"
_ENTRY = re.compile(
    rb"\t(?:(?P<name>.*?) => )?(?P<path>/.*?)(?: \((?:%s|%s)\))?" % (_ADDRESS, _REASON)
)
_MISSING = re.compile(
    rb"\t(?P<name>.*?) => not found"
    rb"(?: \(needed by (?P<by>\S+?)(?:, looked for in (?P<searched>.+))?\))?"
)
_NO_FILE = re.compile(
    rb"\t(?:linux-(?:vdso|gate)\S* (?:=> *)?\(%s\)|machine [0-9]+ \([^()]*\)|statically linked|"
    rb"not a dynamic executable)|ldd: warning: .*" % _ADDRESS
)
_MACHINE = re.compile(rb"^\tmachine ([0-9]{1,5}) \(", re.MULTILINE)
_LOADER = re.compile(rb".*/ld(?:-|64|\.so)[^/]*", re.DOTALL)
_KINDS = {b"interpreter of": "interpreter", b"loader of": "loader"}


def write(closures: Sequence[Closure]) -> bytes:
    """Return `closures` as ldd(1) would print them, each with its header line."""
    return b"".join(line + b"\n" for found in closures for line in _lines(found))


def _lines(found: Closure) -> Iterator[bytes]:
    yield escape(found.path) + b":"
    name = machine(found.machine).name.encode()
    yield b"\tmachine %d (%s)" % (found.machine, name)
    users = (found.path, *found.interpreters)
    for path, user in zip(found.interpreters, users, strict=False):
        yield b"\t%s (interpreter of %s)" % (escape(path), escape(user))
    for library in found.libraries:
        why = b"variant, needed by" if library.variant else b"needed by"
        yield b"\t%s => %s (%s %s)" % (
            escape(library.name), escape(library.path), why, escape(library.needed_by)
        )  # fmt: skip
    for missing in found.missing:
        searched = b", looked for in " + b", ".join(map(escape, missing.searched))
        yield b"\t%s => not found (needed by %s%s)" % (
            escape(missing.name), escape(missing.needed_by), searched if missing.searched else b""
        )  # fmt: skip
    if found.loader is not None:
        yield b"\t%s (loader of %s)" % (escape(found.loader), escape(found.program))
    if found.static:
        yield b"\tstatically linked"


def read(text: bytes, name: str = "ldd text") -> tuple[Row, ...]:
    """Return the paths in `text` (hostile): of `write`, or as ldd(1) printed it.

    With one program ldd prints no header line: then no row names the program. Missing libraries
    are left to `read_missing`. InputError names the line that is no line of ldd.
    """
    rows = []
    program = None
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or _NO_FILE.fullmatch(line) or _MISSING.fullmatch(line):
            continue
        row = _row(line, program, f"{name}, line {number}")
        program = row.path if row.kind == "program" else program
        rows.append(row)
    if not text.strip():
        raise InputError(
            f"read {name}", "it is empty", "delete it, and write it again by ldd or build it"
        )
    return tuple(rows)


def read_missing(text: bytes) -> tuple[Missing, ...]:
    """Return the libraries that `text`, as for `read`, names as not found."""
    missing = []
    program = b"the program"
    for line in text.split(b"\n"):
        found = _MISSING.fullmatch(line)
        if found:
            by = program if found["by"] is None else unescape(found["by"])
            searched = found["searched"].split(b", ") if found["searched"] else []
            missing.append(Missing(unescape(found["name"]), by, tuple(map(unescape, searched))))
        elif line[:1] == b"/":
            program = unescape(line.removesuffix(b":"))
    return tuple(missing)


def machine_number(text: bytes) -> int | None:
    """Return the EM_ number of the first program in `text` (hostile); None in a text of ldd(1)."""
    found = _MACHINE.search(text)
    return int(found[1]) if found else None


def _row(line: bytes, program: bytes | None, where: str) -> Row:
    entry = _ENTRY.fullmatch(line)
    if entry:
        absolute = entry["name"] is not None and entry["name"].startswith(b"/")
        path = unescape(entry["name"] if absolute else entry["path"])
        kind = _KINDS.get(entry["word"], "library")
        if entry["word"] is None and _LOADER.fullmatch(path):
            kind = "loader"
        row: Row | None = Row(kind, path, program if entry["by"] is None else unescape(entry["by"]))
    else:
        is_header = line.startswith(b"/") and line.endswith(b":")
        row = Row("program", unescape(line[:-1]), None) if is_header else None
    if row is None or b"\0" in row.path:
        raise InputError(
            f"read {where}",
            "it is not a line of ldd with an absolute path",
            "run ldd with absolute paths and keep its output as it is",
        )
    return row
