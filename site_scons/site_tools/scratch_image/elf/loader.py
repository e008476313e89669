"""Dynamic loaders: where each searches for libraries, read in its own file.

glibc's loader has a table of its directories (``system_dirs`` of elf/dl-load.c), each with a slash
at its end, and the value of ``$LIB`` (``DL_DST_LIB``). musl's has its search path, and the name of
a file that replaces it (ldso/dynlink.c).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..fs.lookup import FileKind
from ..fs.paths import join
from ..fs.root import Aspect, Root
from .loader_cache import CACHE
from .machines import MACHINES, machine
from .reader import Elf

_MAX_LOADER = 1 << 24
"""Bytes of a loader that are searched."""

_MAX_TEXT = 1 << 16
"""Bytes read of a list of directories."""

_TABLE = re.compile(rb"(?<=\0)(?:/[^\0:]{1,4094}/\0)+")
_MUSL_FILE = re.compile(rb"/etc/(ld-musl-[^\0/%]{1,64})\.path\0")
_MUSL_PATH = re.compile(rb"(?<=\0)/[^\0:]{0,4094}lib[^\0:]{0,4094}(?::/[^\0:]{1,4094})*(?=\0)")
_MUSL_DIRECTORIES = (b"/lib", b"/usr/local/lib", b"/usr/lib")


@dataclass(frozen=True, slots=True)
class Loader:
    """A dynamic loader."""

    path: bytes
    """As the program, or the ABI, names it; seen from ``/``, where a container starts."""
    directories: tuple[bytes, ...]
    """The directories that it searches last, in its order."""
    lib: bytes = b"lib"
    """glibc: the value of ``$LIB``."""
    is_musl: bool = False
    has_cache: bool = True
    """glibc: whether it reads /etc/ld.so.cache."""

    @classmethod
    def parse(cls, path: bytes, bits: int, content: bytes) -> Loader:
        """Return the loader with this `content` (hostile).

        One of which neither library is known has glibc's own directories for `bits`.
        """
        if is_musl(path) or _MUSL_FILE.search(content):
            found = _MUSL_PATH.search(content)
            directories = split_path(found[0]) if found else _MUSL_DIRECTORIES
            return cls(path, directories, is_musl=True)
        tables = _TABLE.findall(content)
        if not tables:
            return cls(path, *_defaults(bits))
        table = max(tables, key=lambda each: each.count(b"\0"))
        directories = tuple(each.rstrip(b"/") or b"/" for each in table.split(b"\0") if each)
        return cls(
            path, directories, _lib(directories, content), False, b"\0%s\0" % CACHE in content
        )


def _defaults(bits: int) -> tuple[tuple[bytes, ...], bytes]:
    """Return the directories, and the value of ``$LIB``, of glibc's default configuration."""
    lib = b"lib64" if bits == 64 else b"lib"
    return (b"/" + lib, b"/usr/" + lib), lib


def _lib(directories: tuple[bytes, ...], content: bytes) -> bytes:
    """Return the value of ``$LIB``: the first of the directories, all of it or its last name."""
    first = directories[0].lstrip(b"/")
    choices = (first, os.path.basename(first))
    return next((each for each in choices if b"\0%s\0" % each in content), choices[1])


def is_musl(path: bytes) -> bool:
    """Tell whether the loader `path` is musl's by its name."""
    return os.path.basename(path).startswith(b"ld-musl-")


def split_path(path: bytes) -> tuple[bytes, ...]:
    """Return the directories in the search path `path`, as musl splits it."""
    return tuple(join(b"/", part) for part in re.split(rb"[:\n\0]+", path) if part)


def loader_path(elf: Elf) -> bytes:
    """Return the path of the loader for `elf`: its own, or for a library that of its ABI.

    Nothing for a library of an ABI that is not known here.
    """
    if elf.interpreter is not None:
        return join(b"/", elf.interpreter)
    if any(name == b"libc.so" or name.startswith(b"libc.musl-") for name in elf.needed):
        return b"/lib/ld-musl-%s.so.1" % elf.machine_name.encode()
    return machine(elf.machine).loader


class Loaders:
    """The loaders of a root, each read once in a step."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._known: dict[tuple[bytes, int], Loader] = {}

    def get(self, path: bytes, bits: int) -> Loader:
        """Return the loader `path` for programs of `bits` bits.

        Where the root has none, it is glibc's or musl's own, by its name.
        """
        if (path, bits) not in self._known:
            self._known[path, bits] = self._read(path, bits)
        return self._known[path, bits]

    def standard(self) -> Iterator[Loader]:
        """Yield those that lie where the ABI of a machine has them."""
        for row in MACHINES.values():
            if row.loader and self._root.walk(row.loader).status is not None:
                yield self.get(row.loader, row.bits)

    def _read(self, path: bytes, bits: int) -> Loader:
        found = self._root.walk(path, aspect=Aspect.CONTENT) if path else None
        content = b""
        if found and found.status is not None and found.status.kind is FileKind.FILE:
            with self._root.open(found.real) as stream:
                content = stream.read(_MAX_LOADER)
        loader = Loader.parse(path, bits, content)
        return self._with_path_file(loader, content) if loader.is_musl else loader

    def _with_path_file(self, loader: Loader, content: bytes) -> Loader:
        """Return musl's `loader` with the directories in its file, if there is one.

        The file lies in ``etc`` beside the directory of the loader.
        """
        prefix = os.path.dirname(os.path.dirname(loader.path)).rstrip(b"/")
        named = _MUSL_FILE.search(content)
        name = named[1] if named else os.path.basename(loader.path).partition(b".so")[0]
        found = self._root.walk(join(prefix or b"/", b"etc/%s.path" % name))
        if found.status is None and not found.barrier:
            return loader
        text = b""
        if found.status is not None and found.status.kind is FileKind.FILE:
            with self._root.open(found.real) as stream:
                text = stream.read(_MAX_TEXT)
        return Loader(loader.path, split_path(text), is_musl=True)
