"""Where a dynamic loader searches for a library, in its order; nothing is executed.

glibc: ld.so(8), elf/dl-load.c and elf/dl-hwcaps*.c of 2.36, without the legacy hwcaps
subdirectories that 2.37 dropped. musl: ldso/dynlink.c of 1.2. Relative directories are seen from
``/``, where a container starts.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..fs.paths import is_under, join
from ..fs.root import Aspect, Root
from ..fs.status import FileKind
from .loader_cache import Candidate, LoaderCache, loader_cache
from .machines import MACHINES, X86_64, machine
from .processor import LEVELS, Processor, cpuinfo
from .reader import Elf

PRELOAD = b"/etc/ld.so.preload"

_HOME = re.compile(rb"(?:/usr)?(/lib(?:32|64|x32)?(?:/[^/]+)?)")
_TOKEN = re.compile(
    rb"\$(?:\{(?P<curly>ORIGIN|LIB|PLATFORM)\}|(?P<bare>ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))"
)
_ORIGIN = re.compile(rb"\$(?:\{ORIGIN\}|ORIGIN(?![A-Za-z0-9_]))")
_MUSL_PATH = re.compile(rb"(?:[^$]|\$ORIGIN|\$\{ORIGIN\})*", re.DOTALL)
_MUSL_ORIGIN = re.compile(rb"\$(?:ORIGIN|\{ORIGIN\})")
_MUSL_SELF = re.compile(rb"lib(?:c|pthread|rt|m|dl|util|xnet)\.")

_MAX_TEXT = 1 << 16
"""Bytes read of a list of directories or libraries."""


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
    for row in MACHINES.values():
        found = root.walk(row.loader) if row.loader else None
        if found and found.status is not None:
            directories = system_directories(os.path.dirname(found.real), row.bits)
            if directory in (root.walk(each).real for each in directories):
                return True
    return False


def needs_cache(root: Root, path: bytes) -> bool:
    """Tell whether programs of `root` find the library `path`, link-free, by ld.so.cache only."""
    directory, name = os.path.split(path)
    if b".so" not in name or is_system_directory(root, directory):
        return False
    root.look(name, Aspect.SONAME)
    cached = loader_cache(root).paths(name)
    return directory in {root.walk(os.path.dirname(each)).real for each in cached}


@dataclass(frozen=True, slots=True, eq=False)
class LoadedFile:
    """An ELF file in a process."""

    path: bytes
    """As the loader opened it."""
    origin: bytes
    """The value of ``$ORIGIN``: its directory, of the program the link-free one."""
    elf: Elf
    by: LoadedFile | None = None
    """The file that needed it first; None for the program."""

    def line(self) -> Iterator[LoadedFile]:
        """Yield it, who needed it, and so on up to the program."""
        here: LoadedFile | None = self
        while here is not None:
            yield here
            here = here.by


def loader_of(elf: Elf) -> bytes | None:
    """Return the path of the loader for `elf`: its own, or for a library that of its ABI."""
    if elf.interpreter is not None:
        return elf.interpreter
    if any(name == b"libc.so" or name.startswith(b"libc.musl-") for name in elf.needed):
        return b"/lib/ld-musl-%s.so.1" % elf.machine_name.encode()
    return machine(elf.machine).loader or None


class Glibc:
    """The search of glibc's ld.so for one program."""

    is_gnu = True
    """Whether DT_SONAME, DT_FILTER, DT_AUXILIARY and DT_AUDIT mean anything."""

    def __init__(
        self, root: Root, program: LoadedFile, home: bytes, library_path: bytes, *, secure: bool
    ) -> None:
        """Take where the loader lies, LD_LIBRARY_PATH, and whether the program is set-id."""
        self.root = root
        self.program = program
        self.secure = secure
        self.processor = Processor.of(cpuinfo(), program.elf)
        self.system = system_directories(home, program.elf.bits)
        found = _HOME.fullmatch(home)
        self.lib = found[1][1:] if found else b"lib"
        self.library_path = self._directories(library_path.replace(b";", b":"), program)

    def is_loader(self, name: bytes) -> bool:
        """Tell whether `name` always means the loader itself."""
        return False

    def can_use(self, candidate: Candidate) -> bool:
        """Tell whether this machine's processor is good enough for `candidate`."""
        return candidate.level is None or candidate.level in self.processor.levels

    def expand(self, text: bytes, by: LoadedFile) -> bytes:
        """Return `text` of the file `by` with the values of its ``$`` tokens."""
        values = {b"ORIGIN": by.origin, b"LIB": self.lib, b"PLATFORM": self.processor.platform}
        return _TOKEN.sub(lambda found: values[found["curly"] or found["bare"]], text)

    def candidates(self, name: bytes, by: LoadedFile) -> Iterator[Candidate]:
        """Yield where the loader looks for `name` when `by` needs it, in its order."""
        if b"/" in name:
            yield Candidate(join(b"/", name))
            return
        for directory in dict.fromkeys(self._named_directories(by)):
            yield from self._in(directory, name)
        self.root.look(name, Aspect.SONAME)
        for cached in self._cache.lookup(name, self.program.elf):
            if not (by.elf.avoids_default_directories and is_under(cached.path, *self.system)):
                yield cached
        if not by.elf.avoids_default_directories:
            for directory in self.system:
                yield from self._in(directory, name)

    @functools.cached_property
    def _cache(self) -> LoaderCache:
        return loader_cache(self.root)

    def _named_directories(self, by: LoadedFile) -> Iterator[bytes]:
        """Yield the directories that the files themselves and the environment name."""
        if by.elf.runpath is None:
            for each in by.line():
                if each.elf.runpath is None:
                    yield from self._directories(each.elf.rpath or b"", each)
        yield from self.library_path
        yield from self._directories(by.elf.runpath or b"", by)

    def _in(self, directory: bytes, name: bytes) -> Iterator[Candidate]:
        if (self.program.elf.bits, self.program.elf.machine) == (64, X86_64):
            for level in LEVELS:
                yield Candidate(join(directory, b"glibc-hwcaps/%s/%s" % (level, name)), level)
        yield Candidate(join(directory, name))

    def _directories(self, path: bytes, by: LoadedFile) -> list[bytes]:
        """Return the directories of the search path `path` that stands in the file `by`."""
        if not path:
            return []
        parts = [(part, self.expand(part, by)) for part in path.split(b":")]
        return [
            join(b"/", directory).rstrip(b"/") or b"/"
            for part, directory in parts
            if not self.secure or self._is_trusted(part, directory, by)
        ]

    def _is_trusted(self, part: bytes, directory: bytes, by: LoadedFile) -> bool:
        """Tell whether a set-id program may look there: ``$ORIGIN`` is in its caller's hand."""
        origin = _ORIGIN.search(part)
        if origin is None:
            return True
        if origin.start() or part[origin.end() : origin.end() + 1] not in (b"", b"/"):
            return False
        return by is not self.program or is_under(os.path.normpath(directory), *self.system)


class Musl:
    """The search of musl's loader for one program."""

    is_gnu = False
    """Whether DT_SONAME, DT_FILTER, DT_AUXILIARY and DT_AUDIT mean anything."""

    def __init__(
        self, root: Root, program: LoadedFile, loader: bytes, library_path: bytes, *, secure: bool
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

    def expand(self, text: bytes, by: LoadedFile) -> bytes:
        """Return `text`: musl knows no tokens outside of search paths."""
        return text

    def candidates(self, name: bytes, by: LoadedFile) -> Iterator[Candidate]:
        """Yield where the loader looks for `name` when `by` needs it, in its order."""
        if b"/" in name:
            yield Candidate(join(b"/", name))
            return
        named = (directory for each in by.line() for directory in self._directories(each))
        for directory in dict.fromkeys((*self.library_path, *named, *self.system)):
            yield Candidate(join(directory, name))

    def _directories(self, by: LoadedFile) -> list[bytes]:
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
    if found.status is None or found.status.kind is not FileKind.FILE:
        return [b"/lib", b"/usr/local/lib", b"/usr/lib"]
    with root.open(found.real) as stream:
        return _musl_split(stream.read(_MAX_TEXT))


def _musl_split(path: bytes) -> list[bytes]:
    return [join(b"/", part) for part in re.split(rb"[:\n\0]+", path) if part]


def rules(
    root: Root, program: LoadedFile, environment: Mapping[bytes, bytes], *, secure: bool
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
    if found and found.status is not None and found.status.kind is FileKind.FILE:
        with root.open(found.real) as stream:
            text = re.sub(rb"#[^\n]*", b"", stream.read(_MAX_TEXT))
        names += re.split(rb"[\s:\0]+", text)
    return [name for name in names if name]
