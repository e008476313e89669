"""The owners, modes and capabilities that a file system did not keep of an unpacked tree.

An ordinary user can give files to no other user, and has to be able to read the tree. So the true
owners and modes lie in a private file beside the tree, and a `FileSystem` shows them.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from . import capabilities
from .paths import is_plain, show
from .private_file import Format, to_bytes, to_text

_FORMAT = Format("owners", 2)

NONROOT = ("nonroot", 65532)
"""A user who owns nothing: the image gets an account for this name; the number is customary."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Modes and owners of a tree, where they differ from those of lstat(2)."""

    roots: bool = False
    """Whether all that is not listed belongs to root."""
    listed: Mapping[bytes, tuple[int, int, int]] = field(default_factory=dict)
    """Mode, user and group of a path in the tree."""
    capabilities: Mapping[bytes, str] = field(default_factory=dict)
    """File capabilities of a path in the tree, as `capabilities.text` writes them."""

    def true(self, path: bytes, mode: int, uid: int, gid: int) -> tuple[int, int, int]:
        """Return mode, user and group of `path`, for which lstat(2) reports the others."""
        return self.listed.get(path, (mode, 0, 0) if self.roots else (mode, uid, gid))

    def text(self) -> bytes:
        """Return the record as its file has it."""
        return _FORMAT.write(
            {
                "roots": self.roots,
                "listed": {to_text(path): one for path, one in self.listed.items()},
                "capabilities": {to_text(path): text for path, text in self.capabilities.items()},
            }
        )


def read(path: bytes) -> Owners:
    """Return the record in the file `path`, an empty one where there is none; InputError else."""
    try:
        with open(path, "rb") as stream:
            found = _FORMAT.read(stream.read(), _record)
    except FileNotFoundError:
        return Owners()
    if found is None:
        raise InputError(f"read owners {show(path)}", "it is damaged", "delete it and build again")
    return found


def _record(values: dict[str, Any]) -> Owners:
    listed = {to_bytes(path): _owner(*one) for path, one in values["listed"].items()}
    capable = {
        to_bytes(path): capabilities.text(capabilities.attribute(text))
        for path, text in values["capabilities"].items()
    }
    if not all(map(is_plain, (*listed, *capable))) or not isinstance(values["roots"], bool):
        raise ValueError
    return Owners(values["roots"], listed, capable)


def _owner(mode: int, uid: int, gid: int) -> tuple[int, int, int]:
    if mode > 0o7777 or max(uid, gid) >= 2**32 or min(mode, uid, gid) < 0:
        raise ValueError
    return operator.index(mode), operator.index(uid), operator.index(gid)


def differing(
    directory: bytes,
    wanted: Mapping[bytes, tuple[int, int, int]],
    capabilities: Mapping[bytes, str],
) -> Owners:
    """Return what the tree `directory` could not keep of the modes and owners `wanted`.

    It keeps none of `capabilities`.
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
