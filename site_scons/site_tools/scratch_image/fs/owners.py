"""What a file system does not keep of an unpacked tree: owners, some modes, capabilities.

An ordinary user can give files to nobody, and has to be able to read what was unpacked. So the
true owners and modes lie in a text file beside the tree, and a `Root` answers with them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from . import capabilities
from .paths import escape, show, unescape

_HEADER = b"# scratch_image owners 1"
_LINE = re.compile(rb"(/[!-~\x80-\xff]*) (?:([0-7]{4}) ([0-9]{1,10}):([0-9]{1,10})|\+ ([!-~]+))")
_ALL = b"all 0:0"

NONROOT = ("nonroot", 65532)
"""The user who is nobody else: a name that brings its own account; the number is customary."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Modes and owners of a tree, where they are not those that lstat(2) tells."""

    roots: bool = False
    """Whether all that is not listed belongs to root."""
    listed: Mapping[bytes, tuple[int, int, int]] = field(default_factory=dict)
    """Mode, user and group of a path in the tree."""
    capabilities: Mapping[bytes, str] = field(default_factory=dict)
    """File capabilities of a path in the tree, as `capabilities.text` writes them."""

    def true(self, path: bytes, mode: int, uid: int, gid: int) -> tuple[int, int, int]:
        """Return mode, user and group of `path`, for which lstat(2) tells the others."""
        return self.listed.get(path, (mode, 0, 0) if self.roots else (mode, uid, gid))

    def text(self) -> bytes:
        """Return the record as sorted text, a line for each path."""
        lines = [_HEADER, *([_ALL] if self.roots else ())]
        for path, (mode, uid, gid) in sorted(self.listed.items()):
            lines.append(b"%s %04o %d:%d" % (escape(path), mode, uid, gid))
        for path, text in sorted(self.capabilities.items()):
            lines.append(b"%s + %s" % (escape(path), escape(text.encode())))
        return b"\n".join([*lines, b""])


def read(path: bytes) -> Owners:
    """Return what the file `path` (hostile) says, by default nothing; InputError for no record."""
    try:
        with open(path, "rb") as stream:
            lines = stream.read().split(b"\n")
    except FileNotFoundError:
        return Owners()
    roots = lines[1:2] == [_ALL]
    found = [_LINE.fullmatch(line) for line in lines[1 + roots : -1]]
    try:
        capable = {unescape(m[1]): _capabilities(m[5]) for m in found if m and m[5]}
        is_whole = lines[0] == _HEADER and not lines[-1] and all(found)
    except ValueError:
        is_whole = False
    if not is_whole:
        raise InputError(
            f"read owners {show(path)}",
            "it is not a whole record",
            "delete it, and the sysroot is made anew",
        )
    listed = {unescape(m[1]): (int(m[2], 8), int(m[3]), int(m[4])) for m in found if m and m[2]}
    return Owners(roots, listed, capable)


def _capabilities(word: bytes) -> str:
    """Return the capabilities that `word` tells; ValueError when these are none."""
    text = unescape(word).decode()
    return capabilities.text(capabilities.attribute(text))


def differing(
    directory: bytes,
    wanted: Mapping[bytes, tuple[int, int, int]],
    capabilities: Mapping[bytes, str],
) -> Owners:
    """Return what the tree `directory` could not keep of the modes and owners `wanted`.

    Of `capabilities` it keeps none.
    """
    roots = os.geteuid() != 0
    listed = {}
    for path, one in wanted.items():
        found = os.lstat(directory + path)
        kept = Owners(roots).true(path, found.st_mode & 0o7777, found.st_uid, found.st_gid)
        # A link's mode means nothing.
        if one[1:] != kept[1:] or (one[0] != kept[0] and found.st_mode & 0o170000 != 0o120000):
            listed[path] = one
    return Owners(roots, listed, capabilities)
