"""Link maps: a program as its loader fills the process, or a library with all that it needs."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..fs.paths import join
from . import search_path
from .loader_cache import Candidate
from .reader import ElfFile, ElfFiles
from .search_path import LoadedFile, Loader


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
    """A library that the loader would not find, or the loader itself."""

    name: bytes
    needed_by: bytes
    """Path of the file that needs it first."""
    searched: tuple[bytes, ...]
    """Directories, in the loader's order; none for the loader itself."""

    @property
    def is_loader(self) -> bool:
        """Whether it is the loader, which the kernel opens by its path."""
        return self.name.startswith(b"/") and not self.searched


@dataclass(frozen=True, slots=True)
class _Match:
    """A file that the loader could take for a name."""

    name: bytes
    by: LoadedFile
    candidate: Candidate
    file: ElfFile


class LinkMap:
    """The files that are loaded for a program, or for a library of a process that runs."""

    def __init__(
        self,
        files: ElfFiles,
        loader: Loader,
        start: LoadedFile,
        environment: Mapping[bytes, bytes],
        *,
        secure: bool,
        process: LinkMap | None = None,
    ) -> None:
        """Take what runs already, if `start` is a library that a file of it loads: `process`."""
        self.start = start
        self.environment = environment
        self.process = process
        self.secure = secure
        self.libraries: list[Library] = []
        self.missing: dict[bytes, Missing] = {}
        self.entered: list[LoadedFile] = [start] if process is None else process.entered
        """The program and its loader, which need no library that names them."""
        self.names: dict[bytes, LoadedFile] = {}
        """The names that need no search any more, with the files that have them."""
        self.files: dict[tuple[int, int], LoadedFile] = {}
        """By inode, in the order in which they were loaded; without `start`."""
        self._elf_files = files
        self._loader = loader
        self._todo = deque([start])
        self._variants: deque[_Match] = deque()

    @functools.cached_property
    def search(self) -> search_path.Glibc | search_path.Musl:
        """The rules of the program's loader."""
        if self.process is not None:
            return self.process.search
        return search_path.rules(
            self._elf_files, self._loader, self.start, self.environment, secure=self.secure
        )

    def run(self) -> None:
        """Load all that `start` needs, then all that other processors would load instead."""
        self._know(self.start.path, self.start)
        if not self._enter_loader():
            return
        for name in self._extras():
            self._need(name, self.start, optional=True)
        self._drain()
        while self._variants:
            self._keep(self._variants.popleft(), variant=True)
            self._drain(variant=True)

    def _enter_loader(self) -> bool:
        """Enter the program's loader, which the kernel opens; tell whether it is there."""
        interpreter = self.start.elf.interpreter
        if interpreter is None:
            return True
        path = join(b"/", interpreter)
        found = self._elf_files.find(path)
        if found is None:
            self.missing[path] = Missing(path, self.start.path, ())
            return False
        loader = LoadedFile(path, os.path.dirname(path), found.elf, self.start)
        self.files[found.inode] = loader
        self.entered.append(loader)
        self._know(interpreter, loader)
        return True

    def loaded_file(self, name: bytes) -> LoadedFile | None:
        """Return the file that is loaded under `name`, here or before in the process."""
        before = self.process.loaded_file(name) if self.process is not None else None
        return before or self.names.get(name)

    def may_find(self, names: Iterable[bytes]) -> bool:
        """Tell whether a library that `start` loads may find some of `names` only because of it."""
        elf = self.start.elf
        has_path = elf.rpath is not None or (elf.runpath is not None and not self.search.is_gnu)
        return has_path or any(self.loaded_file(name) for name in names)

    def _extras(self) -> Iterator[bytes]:
        """Yield the names that are loaded first; the program starts without them, too."""
        if self.process is not None:
            return
        if self.search.is_gnu:
            for audit in self.start.elf.audits:
                yield from filter(None, audit.split(b":"))
        yield from search_path.preloads(self._elf_files.root, self.environment, self.search)

    def _drain(self, *, variant: bool = False) -> None:
        """Load what the files that were loaded last need, and what that needs."""
        while self._todo:
            by = self._todo.popleft()
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
            if self.search.expand(name, by) in self.names:
                return
        for name in names[:1]:
            self._need(name, by, variant=variant)

    def _need(
        self, name: bytes, by: LoadedFile, *, variant: bool = False, optional: bool = False
    ) -> None:
        """Load `name` for `by`; if it is not `optional`, its absence is noted."""
        name = self.search.expand(name, by)
        if name in self.names or name in self.missing or self.search.is_loader(name):
            return
        shared = self.process.loaded_file(name) if self.process is not None else None
        if shared is not None:
            self._share(name, shared, by, variant=variant)
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

    def _share(self, name: bytes, shared: LoadedFile, by: LoadedFile, *, variant: bool) -> None:
        """Take a file that the process has loaded under `name`, wherever it lies."""
        self._know(name, shared)
        assert self.process is not None
        if shared not in self.process.entered:
            self.libraries.append(Library(name, shared.path, by.path, variant))
            self._todo.append(shared)

    def _matches(self, name: bytes, by: LoadedFile) -> Iterator[_Match]:
        """Yield the files that would do, up to the first that every processor can run.

        So the files are the same ones on all build machines, whichever of them is loaded there.
        """
        for candidate in self.search.candidates(name, by):
            found = self._elf_files.find(candidate.path)
            if found is not None and found.elf.abi == self.start.elf.abi:
                yield _Match(name, by, candidate, found)
                if candidate.level is None:
                    return

    def _keep(self, found: _Match, *, variant: bool) -> None:
        """Put a library on the list; load it, unless it is loaded under another path."""
        path = found.candidate.path
        self.libraries.append(Library(found.name, path, found.by.path, variant))
        loaded = LoadedFile(path, os.path.dirname(path), found.file.elf, found.by)
        if found.file.inode not in self.files:
            self.files[found.file.inode] = loaded
            self._todo.append(loaded)
        self._know(found.name, loaded)

    def _know(self, name: bytes, file: LoadedFile) -> None:
        """Note the names that need no search any more."""
        self.names.setdefault(name, file)
        if file.elf.soname is not None and self.search.is_gnu:
            self.names.setdefault(file.elf.soname, file)
