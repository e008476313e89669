"""ld.so.cache: where ldconfig(8) has found each library (sysdeps/generic/dl-cache.h of glibc 2.36).

Whoever uses an answer puts the soname on record (`Aspect.SONAME`): the file itself changes with
every library of the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ElfError
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind
from ..fs.paths import show
from ..fs.root import Root
from .machines import machine
from .processor import LEVELS
from .reader import Elf, Identity, identity

CACHE = b"/etc/ld.so.cache"

_MAGIC = b"glibc-ld.so.cache1.1"
_EXTENSIONS_MAGIC = 0xEAA42174
_HWCAPS_EXTENSION = 1
_NAMED_HWCAP = 1 << 62
_ISA_LEVEL = 0x3FF << 32
_MAX_CACHE = 1 << 24
_MAX_NAME = 4096


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path where the loader may find what it looks for."""

    path: bytes
    level: bytes | None = None
    """The one of LEVELS that it is for; None: every processor runs it."""


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    flags: int
    level: bytes | None
    path: bytes


class LoaderCache:
    """The loader's cache as ldconfig(8) wrote it: library names and where they are."""

    def __init__(self, entries: Mapping[bytes, tuple[_CacheEntry, ...]]) -> None:
        self._entries = entries

    @classmethod
    def parse(cls, data: bytes) -> LoaderCache:
        """Return the cache that `data` (hostile) holds.

        Without glibc's mark it is empty, as for the loader. ElfError when it has the mark and is
        malformed all the same.
        """
        start = data.find(_MAGIC)
        if start < 0:
            return cls({})
        try:
            return cls(_CacheReader(data, start).entries())
        except (struct.error, ValueError) as error:
            raise _cache_error() from error

    def lookup(self, soname: bytes, elf: Elf) -> tuple[Candidate, ...]:
        """Return where `soname` is for a process of `elf`, the best level first."""
        row = machine(elf.machine)
        flags = row.cache_flags if row.bits == elf.bits else ()
        order = (*LEVELS, None)
        entries = [
            entry
            for entry in self._entries.get(soname, ())
            if (not flags or entry.flags in flags) and entry.level in order
        ]
        entries.sort(key=lambda entry: order.index(entry.level))
        return tuple(Candidate(entry.path, entry.level) for entry in entries)

    def paths(self, soname: bytes) -> list[bytes]:
        """Return where `soname` is for any machine and processor."""
        return [entry.path for entry in self._entries.get(soname, ())]

    def answer(self, soname: bytes) -> bytes:
        """Return all entries of `soname` as text: equal texts, equal look-ups."""
        return b"".join(
            b"%x %s %s\n" % (entry.flags, entry.level or b"-", entry.path)
            for entry in self._entries.get(soname, ())
        )


def _cache_error() -> ElfError:
    return ElfError(f"read loader cache {show(CACHE)}", "it is malformed", "run ldconfig")


class _CacheReader:
    """Reads the format of sysdeps/generic/dl-cache.h; ValueError or struct.error when malformed."""

    def __init__(self, data: bytes, start: int) -> None:
        """Take the file; what is before `start` is a table for old loaders."""
        self.data = data
        self.start = start
        self.order = ">" if data[start + 28 : start + 29] == b"\3" else "<"
        # Names may share their ends, no more; malformed ones could add up to any size.
        self.left = 4 * len(data)

    def entries(self) -> dict[bytes, tuple[_CacheEntry, ...]]:
        count, extensions = self._numbers("I8xI", self.start + 20)
        if count * 24 > len(self.data):
            raise ValueError
        levels = self._levels(extensions) if extensions else []
        found: dict[bytes, list[_CacheEntry]] = {}
        for index in range(count):
            flags, name, path, hwcap = self._numbers("iII4xQ", self.start + 48 + index * 24)
            if not hwcap:
                level = None
            elif hwcap & ~_ISA_LEVEL & ~0xFFFFFFFF == _NAMED_HWCAP:
                level = levels[hwcap & 0xFFFFFFFF] if hwcap & 0xFFFFFFFF < len(levels) else b"?"
            else:
                level = b"legacy"
            entry = _CacheEntry(flags, level, self._string(path))
            found.setdefault(self._string(name), []).append(entry)
        return {name: tuple(entries) for name, entries in found.items()}

    def _levels(self, start: int) -> list[bytes]:
        """Return the names of the glibc-hwcaps subdirectories that entries refer to by number."""
        magic, count = self._numbers("II", start)
        if magic != _EXTENSIONS_MAGIC or count * 16 > len(self.data):
            raise ValueError
        for index in range(count):
            tag, _, offset, size = self._numbers("IIII", start + 8 + index * 16)
            if tag == _HWCAPS_EXTENSION and size <= len(self.data):
                names = self._numbers(f"{size // 4}I", offset)
                return [self._string(name) for name in names]
        return []

    def _numbers(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + layout, self.data, offset)

    def _string(self, offset: int) -> bytes:
        begin = self.start + offset
        end = self.data.index(b"\0", begin, begin + _MAX_NAME)
        self.left -= end - begin
        if self.left < 0:
            raise ValueError
        return self.data[begin:end]


_caches: dict[bytes, tuple[Identity, LoaderCache]] = {}
"""By host path: a build looks into the cache hundreds of times."""


def loader_cache(root: Root | FileSystem) -> LoaderCache:
    """Return ld.so.cache of `root`; empty where there is none.

    Its path goes on the record, its content does not: see `Aspect.SONAME`.
    """
    found = root.walk(CACHE)
    if found.status is None or found.status.kind is not FileKind.FILE:
        return LoaderCache({})
    host_path = root.files.host_path(found.real)
    with root.files.open(found.real) as stream:
        key = identity(stream)
        if host_path not in _caches or _caches[host_path][0] != key:
            data = stream.read(_MAX_CACHE + 1)
            if len(data) > _MAX_CACHE:
                raise _cache_error()
            _caches[host_path] = key, LoaderCache.parse(data)
    return _caches[host_path][1]
