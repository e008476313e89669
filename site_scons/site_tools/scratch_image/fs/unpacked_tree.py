"""The private files beside an unpacked tree: its true owners, and the image it was made of.

An ordinary user can give files to no other user, and has to be able to read the tree. So the
owners, modes and capabilities that its file system did not keep lie in a file beside it, and a
`FileSystem` shows them.
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

_OWNERS = Format("owners", 2)
_IMAGE = Format("image", 1)


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
        return _OWNERS.write(
            {
                "roots": self.roots,
                "listed": {to_text(path): one for path, one in self.listed.items()},
                "capabilities": {to_text(path): text for path, text in self.capabilities.items()},
            }
        )


def read_owners(path: bytes) -> Owners:
    """Return the record in the file `path`, an empty one where there is none; InputError else."""
    try:
        with open(path, "rb") as stream:
            found = _OWNERS.read(stream.read(), _owners)
    except FileNotFoundError:
        return Owners()
    if found is None:
        raise InputError(f"read owners {show(path)}", "it is damaged", "delete it and build again")
    return found


def _owners(values: dict[str, Any]) -> Owners:
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


def lost_owners(
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


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The image that a tree was made of."""

    name: str = ""
    """Its tag or digest, as the project names it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """JSON texts by name, as `image.base_settings` writes them."""
    files: int = 0
    """Number of its regular files."""
    size: int = 0
    """Bytes in them."""
    packages: int = 0
    """Number of its Debian packages."""

    def text(self) -> bytes:
        """Return the image as its file has it."""
        sizes = [self.files, self.size, self.packages]
        return _IMAGE.write({"name": self.name, "settings": dict(self.settings), "sizes": sizes})


def read_image(path: bytes) -> BaseImage:
    """Return the image in the file `path`, an empty one where there is none; InputError else."""
    try:
        with open(path, "rb") as stream:
            found = _IMAGE.read(stream.read(), _image)
    except FileNotFoundError:
        return BaseImage()
    if found is None:
        raise InputError(f"read image {show(path)}", "it is damaged", "delete it and build again")
    return found


def _image(values: dict[str, Any]) -> BaseImage:
    files, size, packages = values["sizes"]
    texts = [values["name"], *values["settings"], *values["settings"].values()]
    if {*map(type, texts)} - {str} or {*map(type, (files, size, packages))} - {int}:
        raise ValueError
    return BaseImage(values["name"], values["settings"], files, size, packages)
