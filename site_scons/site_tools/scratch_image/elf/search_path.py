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

from ..fs.lookup import FileKind
from ..fs.paths import is_under, join
from ..fs.root import Aspect, Root
from .loader_cache import CACHE, Candidate, LoaderCache, loader_cache
from .machines import MACHINES, X86_64, machine
from .processor import LEVELS, Processor, cpuinfo
from .reader import Elf, ElfFiles

_MAX_LOADER = 1 << 24
"""Bytes of a loader that are searched."""

_MAX_TEXT = 1 << 16
"""Bytes read of a list of directories."""

_TABLE = re.compile(rb"(?<=\0)(?:/[^\0:]{1,4094}/\0)+")
_MUSL_FILE = re.compile(rb"/etc/(ld-musl-[^\0/%]{1,64})\.path\0")
_MUSL_DEFAULT = re.compile(rb"(?<=\0)/[^\0:]{0,4094}lib[^\0:]{0,4094}(?::/[^\0:]{1,4094})*(?=\0)")
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
            found = _MUSL_DEFAULT.search(content)
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


PRELOAD = b"/etc/ld.so.preload"

_TOKEN = re.compile(
    rb"\$(?:\{(?P<curly>ORIGIN|LIB|PLATFORM)\}|(?P<bare>ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))"
)
_ORIGIN = re.compile(rb"\$(?:\{ORIGIN\}|ORIGIN(?![A-Za-z0-9_]))")
_MUSL_PATH = re.compile(rb"(?:[^$]|\$ORIGIN|\$\{ORIGIN\})*", re.DOTALL)
_MUSL_ORIGIN = re.compile(rb"\$(?:ORIGIN|\{ORIGIN\})")
_MUSL_SELF = re.compile(rb"lib(?:c|pthread|rt|m|dl|util|xnet)\.")


def needs_cache(root: Root, loaders: Loaders, paths: Iterable[bytes]) -> bool:
    """Tell whether programs of `root` find a library of the link-free `paths` by ld.so.cache only.

    No loader that lies where its ABI has it searches the library's directory.
    """
    libraries = [os.path.split(path) for path in paths if b".so" in os.path.basename(path)]
    system = _system_directories(root, loaders) if libraries else ()
    for directory, name in libraries:
        if directory not in system:
            root.look(name, Aspect.SONAME)
            cached = loader_cache(root).paths(name)
            if directory in {root.walk(os.path.dirname(each)).real for each in cached}:
                return True
    return False


def _system_directories(root: Root, loaders: Loaders) -> frozenset[bytes]:
    """Return the link-free directories that the loaders of `root` search without their cache."""
    return frozenset(
        root.walk(each).real for loader in loaders.standard() for each in loader.directories
    )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedFile:
    """An ELF file in a process."""

    path: bytes
    """As the loader opened it."""
    origin: bytes
    """The value of ``$ORIGIN``: its directory, of the program the link-free one."""
    elf: Elf
    by: LoadedFile | None = None
    """The file that needed it first, or may load it by dlopen(3); None for the program."""

    def line(self) -> Iterator[LoadedFile]:
        """Yield it, who needed it, and so on up to the program."""
        here: LoadedFile | None = self
        while here is not None:
            yield here
            here = here.by


class Glibc:
    """The search of glibc's ld.so for one program."""

    is_gnu = True
    """Whether DT_SONAME, DT_FILTER, DT_AUXILIARY and DT_AUDIT mean anything."""

    def __init__(
        self,
        files: ElfFiles,
        program: LoadedFile,
        loader: Loader,
        library_path: bytes,
        *,
        secure: bool,
    ) -> None:
        """Take LD_LIBRARY_PATH, and whether the program is set-id."""
        self.files = files
        self.program = program
        self.secure = secure
        self.processor = Processor.of(cpuinfo(), program.elf)
        self.loader = loader
        self.library_path = self._directories(library_path.replace(b";", b":"), program)

    def is_loader(self, name: bytes) -> bool:
        """Tell whether `name` always means the loader itself."""
        return False

    def can_use(self, candidate: Candidate) -> bool:
        """Tell whether this machine's processor is good enough for `candidate`."""
        return candidate.level is None or candidate.level in self.processor.levels

    def expand(self, text: bytes, by: LoadedFile) -> bytes:
        """Return `text` of the file `by` with the values of its ``$`` tokens."""
        values = {
            b"ORIGIN": by.origin,
            b"LIB": self.loader.lib,
            b"PLATFORM": self.processor.platform,
        }
        return _TOKEN.sub(lambda found: values[found["curly"] or found["bare"]], text)

    def candidates(self, name: bytes, by: LoadedFile) -> Iterator[Candidate]:
        """Yield where the loader looks for `name` when `by` needs it, in its order."""
        if b"/" in name:
            yield Candidate(join(b"/", name))
            return
        for directory in dict.fromkeys(self._named_directories(by)):
            yield from self._in(directory, name)
        if self.loader.has_cache:
            yield from self._from_cache(name, by)
        if not by.elf.avoids_default_directories:
            for directory in self.loader.directories:
                yield from self._in(directory, name)

    def _from_cache(self, name: bytes, by: LoadedFile) -> Iterator[Candidate]:
        self.files.root.look(name, Aspect.SONAME)
        for cached in self._cache.lookup(name, self.program.elf):
            is_default = is_under(cached.path, *self.loader.directories)
            if not (is_default and by.elf.avoids_default_directories):
                yield cached

    @functools.cached_property
    def _cache(self) -> LoaderCache:
        return loader_cache(self.files.root)

    def _named_directories(self, by: LoadedFile) -> Iterator[bytes]:
        """Yield the directories that the files themselves and the environment name."""
        if by.elf.runpath is None:
            for each in by.line():
                if each.elf.runpath is None:
                    yield from self._directories(each.elf.rpath or b"", each)
        yield from self.library_path
        yield from self._directories(by.elf.runpath or b"", by)

    def _in(self, directory: bytes, name: bytes) -> Iterator[Candidate]:
        if self._has_levels(directory):
            for level in LEVELS:
                yield Candidate(join(directory, b"glibc-hwcaps/%s/%s" % (level, name)), level)
        yield Candidate(join(directory, name))

    def _has_levels(self, directory: bytes) -> bool:
        """Tell whether `directory` has variants for better processors."""
        if (self.program.elf.bits, self.program.elf.machine) != (64, X86_64):
            return False
        if self.files.directory(directory) is None:
            return False
        return self.files.directory(join(directory, b"glibc-hwcaps")) is not None

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
        system = self.loader.directories
        return by is not self.program or is_under(os.path.normpath(directory), *system)


class Musl:
    """The search of musl's loader for one program."""

    is_gnu = False
    """Whether DT_SONAME, DT_FILTER, DT_AUXILIARY and DT_AUDIT mean anything."""

    def __init__(
        self, program: LoadedFile, loader: Loader, library_path: bytes, *, secure: bool
    ) -> None:
        """Take LD_LIBRARY_PATH, and whether the program is set-id."""
        self.program = program
        self.loader = loader
        self.secure = secure
        self.library_path = split_path(library_path)

    def is_loader(self, name: bytes) -> bool:
        """Tell whether `name` always means the loader itself, which is libc as well."""
        return name == self.loader.path or _MUSL_SELF.match(name) is not None

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
        for directory in dict.fromkeys((*self.library_path, *named, *self.loader.directories)):
            yield Candidate(join(directory, name))

    def _directories(self, by: LoadedFile) -> tuple[bytes, ...]:
        path = by.elf.runpath if by.elf.runpath is not None else by.elf.rpath or b""
        untrusted = self.secure and by is self.program and b"$" in path
        # With a token that it does not know musl takes no part of the path.
        if untrusted or not _MUSL_PATH.fullmatch(path):
            return ()
        return split_path(_MUSL_ORIGIN.sub(lambda _: by.origin, path))


def rules(
    files: ElfFiles,
    loader: Loader,
    program: LoadedFile,
    environment: Mapping[bytes, bytes],
    *,
    secure: bool,
) -> Glibc | Musl:
    """Return the search of `loader` for `program`; of `environment` only LD_LIBRARY_PATH counts."""
    library_path = b"" if secure else environment.get(b"LD_LIBRARY_PATH", b"")
    if loader.is_musl:
        return Musl(program, loader, library_path, secure=secure)
    return Glibc(files, program, loader, library_path, secure=secure)


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
