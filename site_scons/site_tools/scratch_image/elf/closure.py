"""The libraries that a program needs, found as its loader finds them; nothing is executed."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import ElfError
from ..fs.paths import join, show
from ..fs.root import Aspect, Root
from ..fs.status import FileKind
from . import reader, search_path
from .loader_cache import Candidate
from .reader import SCRIPT_HEAD, Elf, is_elf
from .search_path import LoadedFile
from .shebang import command_of_env, interpreter_chain

MAX_INTERPRETERS = 5
"""``#!`` lines that the kernel follows for one program (fs/exec.c)."""

_SET_ID = 0o6000

_NO_ENVIRONMENT: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Library:
    """A file that the loader opens."""

    name: bytes
    """Usually a soname."""
    path: bytes
    """As the loader opens it: links are not resolved."""
    needed_by: bytes
    """Path of the file that needs it first."""
    variant: bool = False
    """Whether only another processor would load it."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A library that the loader would not find."""

    name: bytes
    needed_by: bytes
    """Path of the file that needs it first."""
    searched: tuple[bytes, ...]
    """Directories, in the loader's order."""


@dataclass(frozen=True, slots=True)
class Closure:
    """All files that are opened before the first instruction of a program runs."""

    path: bytes
    interpreters: tuple[bytes, ...]
    """Interpreters that the ``#!`` lines name, in order; the last one is an ELF file."""
    machine: int
    """EM_ number of the ELF file that runs."""
    loader: bytes | None
    """PT_INTERP of that file."""
    static: bool
    """Whether it runs without loader and libraries."""
    libraries: tuple[Library, ...]
    """In the loader's order, breadth first; then the variants with their libraries."""
    missing: tuple[Missing, ...]

    @property
    def program(self) -> bytes:
        """Path of the ELF file that runs: the last interpreter, or `path` itself."""
        return (self.path, *self.interpreters)[-1]


def closure(
    root: Root, path: bytes, environment: Mapping[bytes, bytes] = _NO_ENVIRONMENT
) -> Closure:
    """Return the closure of the program or library `path` in `root`.

    Of `environment` LD_LIBRARY_PATH and LD_PRELOAD count, unless the program is set-id.
    ElfError when `path` cannot run or a file on the way is no ELF file.
    """
    chain = _interpreters(root, path)
    where = root.walk(chain[-1], aspect=Aspect.CONTENT)
    elf = _read(root, where.real)
    program = LoadedFile(chain[-1], os.path.dirname(where.real), elf)
    static = elf.interpreter is None and not elf.needed
    secure = where.status is not None and bool(where.status.mode & _SET_ID)
    load = _Load(root, program, environment, secure=secure)
    if not static:
        load.run()
    return Closure(
        path=path,
        interpreters=tuple(chain[1:]),
        machine=elf.machine,
        loader=None if elf.interpreter is None else join(b"/", elf.interpreter),
        static=static,
        libraries=tuple(load.libraries),
        missing=tuple(load.missing.values()),
    )


def closures(root: Root, path: bytes, environment: Mapping[bytes, bytes]) -> list[Closure]:
    """Return the closure of `path`, and those of the programs that ``env`` starts for it.

    A program that ``env`` does not find is missing from the closure of its script.
    """
    found: list[Closure] = []
    while path not in {each.path for each in found}:
        each = closure(root, path, environment)
        script = (path, *each.interpreters)[-2:][0]
        with root.open(root.walk(script).real) as stream:
            command = command_of_env(stream.read(SCRIPT_HEAD), environment)
        program = command and command.find(root)
        if command and not program:
            places = tuple(environment.get(b"PATH", b"").split(b":"))
            each = replace(each, missing=(*each.missing, Missing(command.name, script, places)))
        found.append(each)
        if not command or not program:
            break
        path, environment = program, command.environment
    return found


def require(missing: Collection[Missing]) -> None:
    """Raise ElfError when there is a library in `missing`."""
    if missing:
        causes = (
            f"{show(each.needed_by)} needs {show(each.name)} "
            f"(searched: {', '.join(map(show, each.searched)) or 'nowhere'})"
            for each in missing
        )
        raise ElfError(
            f"find {', '.join(show(each.name) for each in missing)}",
            ", ".join(causes),
            "install its package, stage it, add its directory to the runpath, or add a run that "
            "loads it",
        )


def _interpreters(root: Root, path: bytes) -> list[bytes]:
    """Return `path` and the interpreters that its ``#!`` line and theirs name, an ELF file last."""
    chain: list[bytes] = []
    for each, head in interpreter_chain(root, path):
        if len(chain) > MAX_INTERPRETERS:
            raise ElfError(
                f"run {show(path)}",
                f"more than {MAX_INTERPRETERS} interpreters follow from its #! line",
                "name one that is a program",
            )
        if head is None and not chain:
            raise ElfError(f"run {show(path)}", "it does not exist", "build or install it")
        if head is None:
            raise ElfError(
                f"run {show(chain[-1])}",
                f"its interpreter {show(each)} does not exist",
                "install it or fix the #! line",
            )
        chain.append(each)
    if head is None or not is_elf(head):
        raise ElfError(
            f"run {show(chain[-1])}",
            "it is neither an ELF file nor a script with #!",
            "name a program, or give the script its #! line",
        )
    return chain


_files: dict[bytes, tuple[reader.Identity, Elf]] = {}
"""By host path: many programs need the same libraries."""


def _read(root: Root, real: bytes) -> Elf:
    host_path = root.files.host_path(real)
    with root.open(real) as stream:
        key = reader.identity(stream)
        if host_path not in _files or _files[host_path][0] != key:
            _files[host_path] = key, reader.read(stream, real)
    return _files[host_path][1]


@dataclass(frozen=True, slots=True)
class _Match:
    """A file that the loader could take for a name."""

    name: bytes
    by: LoadedFile
    candidate: Candidate
    inode: tuple[int, int]
    elf: Elf


class _Load:
    """One program as it is being loaded."""

    def __init__(
        self, root: Root, program: LoadedFile, environment: Mapping[bytes, bytes], *, secure: bool
    ) -> None:
        self.root = root
        self.program = program
        self.environment = environment
        self.secure = secure
        self.files = [program]
        self.libraries: list[Library] = []
        self.missing: dict[bytes, Missing] = {}
        self._done = 0
        self._names: set[bytes] = set()
        self._inodes: set[tuple[int, int]] = set()
        self._absent: dict[bytes, bool] = {}
        self._variants: deque[_Match] = deque()

    @functools.cached_property
    def search(self) -> search_path.Glibc | search_path.Musl:
        """The rules of the program's loader."""
        return search_path.rules(self.root, self.program, self.environment, secure=self.secure)

    def run(self) -> None:
        """Load all that the program needs, then all that other processors would load instead."""
        self._start()
        for name in self._extras():
            self._need(name, self.program, optional=True)
        self._drain()
        while self._variants:
            self._keep(self._variants.popleft(), variant=True)
            self._drain(variant=True)

    def _start(self) -> None:
        """Enter the program and its loader, which the kernel opens."""
        self._know(self.program.path, self.program.elf)
        loader = self.program.elf.interpreter
        if loader is None:
            return
        found = self.root.walk(loader, aspect=Aspect.CONTENT)
        if found.status is None:
            searched = (os.path.dirname(loader),)
            self.missing[loader] = Missing(loader, self.program.path, searched)
            return
        self._inodes.add(found.status.inode)
        self._know(loader, _read(self.root, found.real))

    def _extras(self) -> Iterator[bytes]:
        """Yield the names that are loaded first; the program starts without them, too."""
        if self.search.is_gnu:
            for audit in self.program.elf.audits:
                yield from filter(None, audit.split(b":"))
        yield from search_path.preloads(self.root, self.environment, self.search)

    def _drain(self, *, variant: bool = False) -> None:
        """Load what the files at the end of the list need, and what that needs."""
        while self._done < len(self.files):
            by = self.files[self._done]
            self._done += 1
            filters = by.elf.filters if self.search.is_gnu else ()
            for name in by.elf.needed + filters:
                self._need(name, by, variant=variant)
            for name in by.elf.auxiliaries if self.search.is_gnu else ():
                self._need(name, by, variant=variant, optional=True)
            for sonames in by.elf.dlopen:
                self._need_one(sonames, by, variant=variant)

    def _need_one(self, names: Sequence[bytes], by: LoadedFile, *, variant: bool) -> None:
        """Load the first of `names` that is there: all of them serve `by` alike."""
        for name in names:
            self._need(name, by, variant=variant, optional=True)
            if self.search.expand(name, by) in self._names:
                return
        for name in names[:1]:
            self._need(name, by, variant=variant)

    def _need(
        self, name: bytes, by: LoadedFile, *, variant: bool = False, optional: bool = False
    ) -> None:
        """Load `name` for `by`; if it is not `optional`, its absence is noted."""
        name = self.search.expand(name, by)
        if name in self._names or name in self.missing or self.search.is_loader(name):
            return
        matches = list(self._matches(name, by))
        usable = [match for match in matches if self.search.can_use(match.candidate)]
        if usable:
            self._keep(usable[0], variant=variant)
            self._variants += [match for match in matches if match is not usable[0]]
        elif not optional:
            paths = [each.path for each in self.search.candidates(name, by) if not each.level]
            searched = dict.fromkeys(os.path.dirname(path) for path in paths)
            self.missing[name] = Missing(name, by.path, tuple(searched))

    def _matches(self, name: bytes, by: LoadedFile) -> Iterator[_Match]:
        """Yield the files that would do, up to the first that every processor can run.

        So the files are the same ones on all build machines, whichever of them is loaded there.
        """
        for candidate in self.search.candidates(name, by):
            match = self._match(name, by, candidate)
            if match is not None:
                yield match
                if candidate.level is None:
                    return

    def _match(self, name: bytes, by: LoadedFile, candidate: Candidate) -> _Match | None:
        if candidate.level is not None and self._is_absent(os.path.dirname(candidate.path)):
            return None
        found = self.root.walk(candidate.path, aspect=Aspect.CONTENT)
        if found.status is None or found.status.kind is not FileKind.FILE:
            return None
        elf = _read(self.root, found.real)
        if elf.abi != self.program.elf.abi:
            return None
        return _Match(name, by, candidate, found.status.inode, elf)

    def _is_absent(self, directory: bytes) -> bool:
        if directory not in self._absent:
            self._absent[directory] = self.root.walk(directory).status is None
        return self._absent[directory]

    def _keep(self, found: _Match, *, variant: bool) -> None:
        """Put a library on the list; load it, unless it is loaded under another path."""
        path = found.candidate.path
        self.libraries.append(Library(found.name, path, found.by.path, variant))
        self._know(found.name, found.elf)
        if found.inode not in self._inodes:
            self._inodes.add(found.inode)
            self.files.append(LoadedFile(path, os.path.dirname(path), found.elf, found.by))

    def _know(self, name: bytes, elf: Elf) -> None:
        """Note the names that need no search any more."""
        self._names.add(name)
        if elf.soname is not None and self.search.is_gnu:
            self._names.add(elf.soname)
