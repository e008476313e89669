"""Where a dynamic loader looks for a library, in its order: nothing is executed.

glibc: ld.so(8), elf/dl-load.c, elf/dl-cache.c and elf/dl-hwcaps*.c of 2.36, without the legacy
hwcaps subdirectories that 2.37 dropped. musl: ldso/dynlink.c of 1.2. Relative directories are
seen from ``/``, where a container starts.
"""

from __future__ import annotations

import functools
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ElfError
from ..fs.paths import is_under, join, show
from ..fs.root import Aspect, Kind, Root

if TYPE_CHECKING:
    from .reader import Elf

CACHE = b"/etc/ld.so.cache"
PRELOAD = b"/etc/ld.so.preload"

LEVELS = (b"x86-64-v4", b"x86-64-v3", b"x86-64-v2")
"""Subdirectories of ``glibc-hwcaps`` on x86-64, the best first."""

_I386, _X86_64, _AARCH64 = 3, 62, 183

_V2 = frozenset(b"cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3".split())
_V3 = _V2 | frozenset(b"abm avx avx2 bmi1 bmi2 f16c fma movbe".split())
_V4 = _V3 | frozenset(b"avx512bw avx512cd avx512dq avx512f avx512vl".split())
_HASWELL = frozenset(b"abm avx2 bmi1 bmi2 fma movbe popcnt".split())

_LOADERS = {
    _X86_64: b"/lib64/ld-linux-x86-64.so.2",
    _I386: b"/lib/ld-linux.so.2",
    _AARCH64: b"/lib/ld-linux-aarch64.so.1",
}
"""The ABI's own loader path: for a library, which names none."""

_CACHE_FLAGS = {(64, _X86_64): (0x303,), (32, _I386): (3, 1), (64, _AARCH64): (0xA03,)}
"""By (bits, machine): which entries of the cache are meant for it (sysdeps/generic/ldconfig.h)."""

_HOME = re.compile(rb"(?:/usr)?(/lib(?:32|64|x32)?(?:/[^/]+)?)")
_TOKEN = re.compile(
    rb"\$(?:\{(?P<curly>ORIGIN|LIB|PLATFORM)\}|(?P<bare>ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))"
)
_ORIGIN = re.compile(rb"\$(?:\{ORIGIN\}|ORIGIN(?![A-Za-z0-9_]))")
_MUSL_PATH = re.compile(rb"(?:[^$]|\$ORIGIN|\$\{ORIGIN\})*", re.DOTALL)
_MUSL_ORIGIN = re.compile(rb"\$(?:ORIGIN|\{ORIGIN\})")
_MUSL_SELF = re.compile(rb"lib(?:c|pthread|rt|m|dl|util|xnet)\.")

_MAGIC = b"glibc-ld.so.cache1.1"
_EXTENSIONS_MAGIC = 0xEAA42174
_HWCAPS_EXTENSION = 1
_NAMED_HWCAP = 1 << 62
_ISA_LEVEL = 0x3FF << 32
_MAX_CACHE = 1 << 24
_MAX_NAME = 4096
_MAX_TEXT = 1 << 16
"""Bytes read of a list of directories or libraries."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """What of a processor decides which libraries are loaded."""

    levels: tuple[bytes, ...]
    """Which of LEVELS it can run, the best first."""
    platform: bytes
    """What ``$PLATFORM`` stands for."""

    @classmethod
    def of(cls, cpuinfo: bytes, elf: Elf) -> Cpu:
        """Return what `cpuinfo`, the text of /proc/cpuinfo, means for programs like `elf`."""
        name = elf.machine_name.encode()
        if (elf.bits, elf.machine) != (64, _X86_64):
            return cls((), b"i686" if elf.machine == _I386 else name)
        haswell = _field(cpuinfo, b"vendor_id") == b"GenuineIntel" and _flags(cpuinfo) >= _HASWELL
        return cls(levels(cpuinfo), b"haswell" if haswell else name)


def levels(cpuinfo: bytes) -> tuple[bytes, ...]:
    """Return which of LEVELS the processor of `cpuinfo` can run, the best first."""
    flags = _flags(cpuinfo)
    needs = zip(LEVELS, (_V4, _V3, _V2), strict=True)
    return tuple(level for level, need in needs if need <= flags)


def _flags(cpuinfo: bytes) -> frozenset[bytes]:
    return frozenset(_field(cpuinfo, b"flags").split())


def _field(cpuinfo: bytes, name: bytes) -> bytes:
    found = re.search(rb"^%s[ \t]*:[ \t]*(.*)$" % name, cpuinfo, re.MULTILINE)
    return found[1] if found else b""


@functools.cache
def cpuinfo() -> bytes:
    """Return what /proc/cpuinfo says of this machine's first processor.

    Off the record: it is part of each signature for which it matters (see `tools`). The kernel
    asks every processor for its frequency, so the others, which are alike, are not read.
    """
    with open("/proc/cpuinfo", "rb", buffering=0) as stream:
        text = b""
        while b"\n\n" not in text and (more := stream.read(4096)):
            text += more
        return text.partition(b"\n\n")[0]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path where the loader may find what it looks for."""

    path: bytes
    level: bytes | None = None
    """The one of LEVELS that it was made for; None: every processor runs it."""


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    flags: int
    level: bytes | None
    path: bytes


class LdCache:
    """The loader's cache as ldconfig(8) wrote it: library names and where they are."""

    def __init__(self, entries: Mapping[bytes, tuple[_CacheEntry, ...]]) -> None:
        self._entries = entries

    @classmethod
    def parse(cls, data: bytes, path: bytes = CACHE) -> LdCache:
        """Return the cache that `data` (hostile) holds; `path` is its name in messages.

        Without glibc's mark it is empty, as for the loader. ElfError when it has the mark and is
        malformed all the same.
        """
        start = data.find(_MAGIC)
        if start < 0:
            return cls({})
        try:
            return cls(_CacheReader(data, start).entries())
        except (struct.error, ValueError) as error:
            raise _bad_cache(path) from error

    def lookup(self, soname: bytes, elf: Elf) -> tuple[Candidate, ...]:
        """Return where `soname` is for a process of `elf`, the best level first."""
        flags = _CACHE_FLAGS.get((elf.bits, elf.machine))
        order = (*LEVELS, None)
        entries = [
            entry
            for entry in self._entries.get(soname, ())
            if (flags is None or entry.flags in flags) and entry.level in order
        ]
        entries.sort(key=lambda entry: order.index(entry.level))
        return tuple(Candidate(entry.path, entry.level) for entry in entries)

    def answer(self, soname: bytes) -> bytes:
        """Return all entries of `soname` as text: equal texts, equal look-ups."""
        return b"".join(
            b"%x %s %s\n" % (entry.flags, entry.level or b"-", entry.path)
            for entry in self._entries.get(soname, ())
        )


def _bad_cache(path: bytes) -> ElfError:
    return ElfError(f"read loader cache {show(path)}", "it is malformed", "run ldconfig")


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


Identity = tuple[int, int, int, int, int]


def identity(stream: BinaryIO) -> Identity:
    """Return what changes when the open file is replaced or written: a key for what it holds."""
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


_caches: dict[bytes, tuple[Identity, LdCache]] = {}
"""By path on the machine: the cache is asked hundreds of times in a build."""


def ld_cache(root: Root) -> LdCache:
    """Return the loader's cache of `root`, off the record; empty when there is none."""
    found = root.walk(CACHE)
    if found.status is None or found.status.kind is not Kind.FILE:
        return LdCache({})
    machine = root.machine(found.real)
    with root.open(found.real, aspect=None) as stream:
        key = identity(stream)
        if machine not in _caches or _caches[machine][0] != key:
            data = stream.read(_MAX_CACHE + 1)
            if len(data) > _MAX_CACHE:
                raise _bad_cache(CACHE)
            _caches[machine] = key, LdCache.parse(data)
    return _caches[machine][1]


def answer(root: Root, soname: bytes) -> bytes:
    """Return all that ld.so.cache of `root` says of `soname`; equal texts, equal look-ups."""
    return ld_cache(root).answer(soname)


def system_directories(home: bytes, bits: int) -> tuple[bytes, ...]:
    """Return the directories built into the glibc loader that lies in `home`, a link-free path.

    Debian builds it for its multiarch directory, ``/lib`` and ``/usr/lib``; others for
    ``/lib64`` and ``/usr/lib64``, even where the loader itself lies in ``/lib``.
    """
    found = _HOME.fullmatch(home)
    if not found:
        return (home,)
    own = (found[1], b"/usr" + found[1])
    common = (b"/lib", b"/usr/lib")
    if own == common and bits == 64:
        return (b"/lib64", b"/usr/lib64", *common)
    return own if own in ((b"/lib64", b"/usr/lib64"), common) else own + common


def is_system_directory(root: Root, directory: bytes) -> bool:
    """Tell whether a loader of `root` looks in the link-free `directory` without its cache."""
    for machine, loader in _LOADERS.items():
        found = root.walk(loader)
        if found.status is not None:
            bits = 32 if machine == _I386 else 64
            directories = system_directories(os.path.dirname(found.real), bits)
            if directory in (root.walk(each).real for each in directories):
                return True
    return False


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An ELF file in a process."""

    path: bytes
    """As the loader opened it."""
    origin: bytes
    """What ``$ORIGIN`` stands for: its directory, of the program the link-free one."""
    elf: Elf
    by: Loaded | None = None
    """Who needed it first; None: it is the program."""

    def line(self) -> Iterator[Loaded]:
        """Yield it, who needed it, and so on up to the program."""
        here: Loaded | None = self
        while here is not None:
            yield here
            here = here.by


def loader_of(elf: Elf) -> bytes | None:
    """Return the path of the loader for `elf`: its own, or for a library that of its ABI."""
    if elf.interpreter is not None:
        return elf.interpreter
    if any(name == b"libc.so" or name.startswith(b"libc.musl-") for name in elf.needed):
        return b"/lib/ld-musl-%s.so.1" % elf.machine_name.encode()
    return _LOADERS.get(elf.machine)


class Glibc:
    """The search of glibc's ld.so for one program."""

    is_gnu = True
    """Whether DT_SONAME, DT_FILTER, DT_AUXILIARY and DT_AUDIT mean anything."""

    def __init__(
        self, root: Root, program: Loaded, home: bytes, library_path: bytes, *, secure: bool
    ) -> None:
        """Take where the loader lies, LD_LIBRARY_PATH, and whether the program is set-id."""
        self.root = root
        self.program = program
        self.secure = secure
        self.cpu = Cpu.of(cpuinfo(), program.elf)
        self.system = system_directories(home, program.elf.bits)
        found = _HOME.fullmatch(home)
        self.lib = found[1][1:] if found else b"lib"
        self.library_path = self._directories(library_path.replace(b";", b":"), program)

    def is_loader(self, name: bytes) -> bool:
        """Tell whether `name` always means the loader itself."""
        return False

    def can_use(self, candidate: Candidate) -> bool:
        """Tell whether this machine's processor is good enough for `candidate`."""
        return candidate.level is None or candidate.level in self.cpu.levels

    def expand(self, text: bytes, by: Loaded) -> bytes:
        """Return `text` of the file `by` with the values of its ``$`` tokens."""
        values = {b"ORIGIN": by.origin, b"LIB": self.lib, b"PLATFORM": self.cpu.platform}
        return _TOKEN.sub(lambda found: values[found["curly"] or found["bare"]], text)

    def candidates(self, name: bytes, by: Loaded) -> Iterator[Candidate]:
        """Yield where the loader looks for `name` when `by` needs it, in its order."""
        if b"/" in name:
            yield Candidate(join(b"/", name))
            return
        for directory in dict.fromkeys(self._named_directories(by)):
            yield from self._in(directory, name)
        self.root.look(name, Aspect.SONAME)
        for cached in self._cache.lookup(name, self.program.elf):
            if not (by.elf.avoids_default_directories and self._is_system(cached.path)):
                yield cached
        if not by.elf.avoids_default_directories:
            for directory in self.system:
                yield from self._in(directory, name)

    @functools.cached_property
    def _cache(self) -> LdCache:
        return ld_cache(self.root)

    def _named_directories(self, by: Loaded) -> Iterator[bytes]:
        """Yield the directories that the files themselves and the environment name."""
        if by.elf.runpath is None:
            for each in by.line():
                if each.elf.runpath is None:
                    yield from self._directories(each.elf.rpath or b"", each)
        yield from self.library_path
        yield from self._directories(by.elf.runpath or b"", by)

    def _in(self, directory: bytes, name: bytes) -> Iterator[Candidate]:
        if (self.program.elf.bits, self.program.elf.machine) == (64, _X86_64):
            for level in LEVELS:
                yield Candidate(join(directory, b"glibc-hwcaps/%s/%s" % (level, name)), level)
        yield Candidate(join(directory, name))

    def _directories(self, path: bytes, by: Loaded) -> list[bytes]:
        """Return the directories of the search path `path` that stands in the file `by`."""
        if not path:
            return []
        parts = [(part, self.expand(part, by)) for part in path.split(b":")]
        return [
            join(b"/", directory).rstrip(b"/") or b"/"
            for part, directory in parts
            if not self.secure or self._is_trusted(part, directory, by)
        ]

    def _is_trusted(self, part: bytes, directory: bytes, by: Loaded) -> bool:
        """Tell whether a set-id program may look there: ``$ORIGIN`` is in its caller's hand."""
        origin = _ORIGIN.search(part)
        if origin is None:
            return True
        if origin.start() or part[origin.end() : origin.end() + 1] not in (b"", b"/"):
            return False
        return by is not self.program or self._is_system(os.path.normpath(directory))

    def _is_system(self, path: bytes) -> bool:
        return any(is_under(path, directory) for directory in self.system)


class Musl:
    """The search of musl's loader for one program."""

    is_gnu = False
    """Whether DT_SONAME, DT_FILTER, DT_AUXILIARY and DT_AUDIT mean anything."""

    def __init__(
        self, root: Root, program: Loaded, loader: bytes, library_path: bytes, *, secure: bool
    ) -> None:
        """Take the loader's path as PT_INTERP tells it, LD_LIBRARY_PATH, and if it is set-id."""
        self.program = program
        self.loader = loader
        self.secure = secure
        self.library_path = _musl_split(library_path)
        self.system = _musl_directories(root, loader)

    def is_loader(self, name: bytes) -> bool:
        """Tell whether `name` always means the loader itself, which is libc as well."""
        return name == self.loader or _MUSL_SELF.match(name) is not None

    def can_use(self, candidate: Candidate) -> bool:
        """Tell whether this machine's processor is good enough for `candidate`."""
        return candidate.level is None

    def expand(self, text: bytes, by: Loaded) -> bytes:
        """Return `text`: musl knows no tokens outside of search paths."""
        return text

    def candidates(self, name: bytes, by: Loaded) -> Iterator[Candidate]:
        """Yield where the loader looks for `name` when `by` needs it, in its order."""
        if b"/" in name:
            yield Candidate(join(b"/", name))
            return
        named = (directory for each in by.line() for directory in self._directories(each))
        for directory in dict.fromkeys((*self.library_path, *named, *self.system)):
            yield Candidate(join(directory, name))

    def _directories(self, by: Loaded) -> list[bytes]:
        path = by.elf.runpath if by.elf.runpath is not None else by.elf.rpath or b""
        untrusted = self.secure and by is self.program and b"$" in path
        # With a token that it does not know musl takes no part of the path.
        if untrusted or not _MUSL_PATH.fullmatch(path):
            return []
        return _musl_split(_MUSL_ORIGIN.sub(lambda _: by.origin, path))


def _musl_directories(root: Root, loader: bytes) -> list[bytes]:
    """Return the directories of /etc/ld-musl-ARCH.path, or musl's own where there is none."""
    prefix = os.path.dirname(os.path.dirname(loader)).rstrip(b"/")
    name = os.path.basename(loader).partition(b".so")[0]
    found = root.walk(join(prefix or b"/", b"etc/%s.path" % name))
    if found.status is None or found.status.kind is not Kind.FILE:
        return [b"/lib", b"/usr/local/lib", b"/usr/lib"]
    with root.open(found.real) as stream:
        return _musl_split(stream.read(_MAX_TEXT))


def _musl_split(path: bytes) -> list[bytes]:
    return [join(b"/", part) for part in re.split(rb"[:\n\0]+", path) if part]


def rules(
    root: Root, program: Loaded, environment: Mapping[bytes, bytes], *, secure: bool
) -> Glibc | Musl:
    """Return the search for `program`; of `environment` only LD_LIBRARY_PATH counts."""
    loader = loader_of(program.elf) or b"/lib/ld.so"
    library_path = b"" if secure else environment.get(b"LD_LIBRARY_PATH", b"")
    if os.path.basename(loader).startswith(b"ld-musl-"):
        return Musl(root, program, loader, library_path, secure=secure)
    found = root.walk(loader)
    home = os.path.dirname(loader if found.status is None else found.real)
    return Glibc(root, program, home, library_path, secure=secure)


def preloads(
    root: Root, environment: Mapping[bytes, bytes], search: Glibc | Musl
) -> Iterable[bytes]:
    """Return the names of LD_PRELOAD and, for glibc, of /etc/ld.so.preload."""
    names = [] if search.secure else re.split(rb"[\s:]+", environment.get(b"LD_PRELOAD", b""))
    found = root.walk(PRELOAD) if isinstance(search, Glibc) else None
    if found and found.status is not None and found.status.kind is Kind.FILE:
        with root.open(found.real) as stream:
            text = re.sub(rb"#[^\n]*", b"", stream.read(_MAX_TEXT))
        names += re.split(rb"[\s:\0]+", text)
    return [name for name in names if name]
