"""Modules that no run loaded: presets that bring them, and findings; nothing is executed.

``python-imports``  what programs in Python import, and the codecs
``perl-modules``    what programs in Perl load
``node-modules``    what programs in JavaScript load
``siblings``        all files of the directories out of which a run loaded a module by dlopen(3)

Sources are searched for the statements that import a module, also where they stand in a function
that no run called. A name that leads to no file is a module of another system, or an optional one.

An ELF module that some file needs by name is a library. One that a run read though none needs it
was chosen at run time: a coder of an image library, an engine, a character set. Another input
chooses another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..elf.reader import read
from ..errors import ElfError, ListError
from ..fs.lookup import FileKind
from ..fs.overlay import OverlaidFiles, Overlay
from ..fs.paths import join, show
from . import dpkg
from .entry import Entry
from .exclusions import is_of_interpreter
from .finding import Examined, Finding, Rank, some
from .node_modules import NodeModules
from .own_code import is_elf_file, libc, needed_files
from .perl_modules import PerlModules
from .python_imports import PythonImports
from .request import Request

# Siblings: modules beside one that a run loaded.

_LIBRARIES = re.compile(rb"(/usr(/local)?)?/lib(32|64|x32)?(/[\w]+-linux-\w+)?")
"""Directories of libraries: their files are loaded by dlopen, too, and are no siblings."""

_CONFIGURED = re.compile(rb"/(engines-[\d.]+|ossl-modules|krb5|gconv|audit|ruby)/")
"""Modules that are loaded only if a configuration names them, or that others report."""

_SHARED_OBJECT = re.compile(rb".*\.so(\.[\d.]+)?")


def module_directories(view: Overlay | OverlaidFiles, entries: Collection[Entry]) -> list[bytes]:
    """Return the directories out of which a run loaded a module by name, sorted."""
    needed, home = needed_files(entries), os.path.dirname(libc(entries))
    modules = [
        entry.path
        for entry in entries
        if entry.kind == "file"
        and _SHARED_OBJECT.fullmatch(entry.path)
        and entry.path not in needed
        and any(reason.startswith("run:") for reason in entry.reasons)
        and not _is_of_others(os.path.dirname(entry.path), home)
    ]
    # A library that only a wrapper script finds, by LD_LIBRARY_PATH, is needed by its soname.
    names = _needed_names(view, entries) if modules else set()
    found = {os.path.dirname(path) for path in modules if os.path.basename(path) not in names}
    return sorted(found)


def _is_of_others(directory: bytes, home: bytes) -> bool:
    is_of_libraries = directory == home or _LIBRARIES.fullmatch(directory)
    return bool(is_of_libraries) or is_of_interpreter(directory)


def _needed_names(view: Overlay | OverlaidFiles, entries: Iterable[Entry]) -> set[bytes]:
    """Return the names of libraries that ELF files among `entries` need."""
    found: set[bytes] = set()
    for entry in entries:
        if is_elf_file(view, entry):
            with view.open(entry.path) as stream, suppress(ElfError):
                found |= {*read(stream, entry.path).needed}
    return found


def sibling_paths(view: Overlay | OverlaidFiles, entries: Collection[Entry]) -> list[bytes]:
    """Return the files in all such directories: modules, and the tables that name them."""
    return [path for each in module_directories(view, entries) for path in _files(view, each)]


def find_siblings(image: Examined) -> Iterator[Finding]:
    """Yield a finding for each such directory that lacks a module."""
    for directory in module_directories(image.view, image.entries):
        modules = filter(_SHARED_OBJECT.fullmatch, _files(image.view, directory))
        listed, every = image.count(modules)
        if listed < every:
            yield Finding(
                Rank.LIKELY,
                f"an input for another module of {show(directory)}",
                f"runs loaded {listed} of its {every}",
                "add the preset siblings",
            )


def find_unloaded(image: Examined) -> Iterator[Finding]:
    """Yield a finding for the modules of listed libraries, of which no run loaded any.

    A library and its modules are of one Debian package: gdk-pixbuf and its readers of images.
    """
    files = image.view if isinstance(image.view, OverlaidFiles) else image.view.files
    home = libc(image.entries)
    libraries = {path for path in needed_files(image.entries) if path != home}
    modules: list[bytes] = []
    with suppress(ListError):
        modules = [*filter(_SHARED_OBJECT.fullmatch, dpkg.paths_beside(files, sorted(libraries)))]
    of_library = {os.path.dirname(path) for path in modules if not _is_rare(path, home)}
    listed = {os.path.dirname(path) for path in image.paths if _SHARED_OBJECT.fullmatch(path)}
    if absent := sorted(of_library - listed):
        yield Finding(
            Rank.POSSIBLE,
            "an input for a module of a library",
            f"the image has none of {some(absent)}",
            f"list {show(absent[0])}" if len(absent) == 1 else "list those that it may load",
        )


def _is_rare(module: bytes, home: bytes) -> bool:
    return bool(_CONFIGURED.search(module)) or _is_of_others(
        os.path.dirname(module), os.path.dirname(home)
    )


def _files(view: Overlay | OverlaidFiles, directory: bytes) -> Iterator[bytes]:
    """Yield the paths in `directory` that lead to files."""
    names: Iterable[bytes] = ()
    with suppress(ListError):
        names = view.listing(directory)
    for path in (join(directory, name) for name in names):
        status = view.walk(path).status
        if status is not None and status.kind is FileKind.FILE:
            yield path


# The graph of imports.

MOST_MODULES = 20_000
"""A program that imports more is not followed to the end."""

LARGEST_SOURCE = 1 << 21
"""Bytes of a source that is read; larger ones are data in the form of a source."""


class Language(Protocol):
    """The modules of one language, as one image has them."""

    def programs(self) -> list[bytes]:
        """Return the files of the image that are programs of the language, not libraries."""

    def imports(self, path: bytes, source: bytes) -> Iterable[bytes]:
        """Yield the module files that the file `path` with that `source` (hostile) imports."""

    def is_standard(self, path: bytes) -> bool:
        """Tell whether the module file `path` comes with the interpreter."""

    def companions(self, path: bytes) -> Iterable[bytes]:
        """Yield the files that the module file `path` comes with."""

    def always(self) -> Iterable[bytes]:
        """Yield the modules that the interpreter loads by a name in data."""


@dataclass(frozen=True, slots=True)
class ModuleGraph:
    """The modules that the programs of an image import."""

    programs: tuple[bytes, ...]
    """The files that the search began at."""
    modules: tuple[bytes, ...]
    """The files of the modules, programs among them, sorted."""
    direct: frozenset[bytes]
    """Those that programs and installed packages import, not only modules of the interpreter."""
    unread: int
    """How many of these files are too large to be searched, or cannot be read."""


def follow(image: Examined, language: Language) -> ModuleGraph:
    """Return the modules that the programs of `language` in `image` import.

    ListError when there are more than MOST_MODULES.
    """
    programs = sorted(language.programs())
    found, todo, unread = set(programs), [*programs], 0
    direct: set[bytes] = set()
    while todo:
        path = todo.pop()
        source = _source(image, path)
        unread += source is None
        imported = {*language.imports(path, source or b"")}
        direct |= set() if language.is_standard(path) else imported
        todo += imported - found
        found |= imported
        if len(found) > MOST_MODULES:
            raise ListError(
                f"follow the imports of {show(programs[0])}",
                f"it imports more than {MOST_MODULES} modules",
                "name their directories in an extra list, and take the preset away",
            )
    return ModuleGraph(tuple(programs), tuple(sorted(found)), frozenset(direct), unread)


def _source(image: Examined, path: bytes) -> bytes | None:
    with suppress(ListError), image.view.open(path) as stream:
        source = stream.read(LARGEST_SOURCE + 1)
        return source if len(source) <= LARGEST_SOURCE else None
    return None


# Presets and findings.

LANGUAGES: dict[str, Callable[[Examined], Language]] = {
    "node-modules": NodeModules,
    "perl-modules": PerlModules,
    "python-imports": PythonImports,
}
"""By preset."""

_SIBLINGS = "siblings"

PRESETS = (*LANGUAGES, _SIBLINGS)


def requests(image: Examined, names: Collection[str]) -> Iterator[Request]:
    """Yield the modules that those of the presets `names` that are of `PRESETS` bring to `image`.

    ListError for a preset that finds no program of its language, and no module.
    """
    for name in sorted({*names} & {*PRESETS}):
        paths = _siblings(image) if name == _SIBLINGS else _modules(image, name)
        yield from (Request(path, f"preset:{name}", required=False) for path in paths)


def presets_with(image: Examined, path: bytes) -> Iterator[str]:
    """Yield the presets of `PRESETS` that would bring the link-free `path` to `image`."""
    for name in sorted(PRESETS):
        with suppress(ListError):
            if any(image.view.walk(each.path).real == path for each in requests(image, [name])):
                yield name


def _siblings(image: Examined) -> Iterable[bytes]:
    paths = sibling_paths(image.view, image.entries)
    if not paths:
        raise ListError(
            "use preset siblings",
            "no run loaded a module by dlopen out of a directory of its own",
            "add a run that loads one, or take the preset away",
        )
    return paths


def _modules(image: Examined, name: str) -> Iterator[bytes]:
    language = LANGUAGES[name](image)
    graph = follow(image, language)
    if not graph.programs:
        raise ListError(
            f"use preset {name}",
            "no file of the image is a program of this language",
            "stage the program, or take the preset away",
        )
    for path in (*graph.modules, *language.always()):
        yield path
        yield from language.companions(path)


def find(image: Examined) -> Iterator[Finding]:
    """Yield a finding for each language of which the image lacks modules, and for siblings."""
    for name in LANGUAGES:
        if name not in image.presets:
            with suppress(ListError):
                yield from _gaps(image, name)
    yield from find_siblings(image)
    yield from find_unloaded(image)


def _gaps(image: Examined, name: str) -> Iterator[Finding]:
    graph = follow(image, LANGUAGES[name](image))
    started = {*graph.programs} - graph.direct
    modules = [path for path in graph.modules if path not in started]
    absent = [path for path in modules if not image.has(path)]
    if absent:
        direct = [path for path in absent if path in graph.direct]
        program, example = show(graph.programs[0]), show((direct or absent)[0])
        numbers = f"{len(modules) - len(absent)} of {len(modules)}"
        unread = f", and {graph.unread} could not be searched" if graph.unread else ""
        yield Finding(
            Rank.LIKELY if direct else Rank.POSSIBLE,
            f"an argument for which {program} imports another module, such as {example}",
            f"runs loaded {numbers}{unread}",
            f"add the preset {name}",
        )
