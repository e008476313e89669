"""The ELF files of a root, each looked up and read once in a step."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..fs.lookup import FileKind
from ..fs.paths import join
from ..fs.root import Aspect, Root
from . import reader
from .reader import Elf

_NO_NAMES = (b"", b".", b"..")
"""Last components that name no entry of the directory before them."""


@dataclass(frozen=True, slots=True)
class ElfFile:
    """An ELF file of a root."""

    real: bytes
    """Its link-free path."""
    inode: tuple[int, int]
    mode: int
    elf: Elf


class ElfFiles:
    """The ELF files of a root.

    Programs of one image search the same directories for the same libraries. So each look happens
    once in a step, and is on the root's record like any other: a later change is seen there.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._directories: dict[bytes, bytes | None] = {}
        self._files: dict[bytes, ElfFile | None] = {}

    def find(self, path: bytes) -> ElfFile | None:
        """Return the regular file that `path` leads to; None where there is none.

        ElfError when it is no ELF file.
        """
        if path not in self._files:
            self._files[path] = self._find(path)
        return self._files[path]

    def directory(self, path: bytes) -> bytes | None:
        """Return the link-free path of the directory `path`; None where there is none."""
        if path not in self._directories:
            self._directories[path] = self._directory(path)
        return self._directories[path]

    def _directory(self, path: bytes) -> bytes | None:
        """Look a directory up; the record needs no state of one that looks into it depend on."""
        found = self.root.files.walk(path)
        for passed in (*found.links, *found.left):
            self.root.look(passed, Aspect.STAT)
        if found.status is not None and found.status.kind is FileKind.DIR:
            return found.real
        self.root.look(found.barrier or found.real, Aspect.STAT)
        return None

    def _find(self, path: bytes) -> ElfFile | None:
        above, name = os.path.split(path)
        directory = self.directory(above)
        if directory is None:
            return None
        real = join(directory, name)
        status = self.root.files.status(real)
        if name in _NO_NAMES or (status is not None and status.kind is FileKind.LINK):
            found = self.root.walk(path, aspect=Aspect.CONTENT)
            real, status = found.real, found.status
        else:
            self.root.look(real, Aspect.CONTENT if status else Aspect.STAT)
        if status is None or status.kind is not FileKind.FILE:
            return None
        return ElfFile(real, status.inode, status.mode, _read(self.root, real))


_known: dict[bytes, tuple[reader.Identity, Elf]] = {}
"""By host path: steps of many images need the same libraries."""


def _read(root: Root, real: bytes) -> Elf:
    host_path = root.files.host_path(real)
    with root.open(real) as stream:
        key = reader.identity(stream)
        if host_path not in _known or _known[host_path][0] != key:
            _known[host_path] = key, reader.read(stream, real)
    return _known[host_path][1]
