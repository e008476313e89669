"""Modules that programs import and no run loaded: presets that bring them, and findings.

``python-imports``  what programs in Python import, and the codecs
``perl-modules``    what programs in Perl load
``node-modules``    what programs in JavaScript load
``siblings``        all files of the directories out of which a run loaded a module by dlopen(3)

Nothing is executed. Sources are searched for the statements that import a module, also where they
stand in a function that no run called. A name that leads to no file is a module of another system,
or an optional one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..errors import ListError
from ..fs.paths import show
from . import siblings
from .finding import Examined, Finding, Rank
from .node_modules import NodeModules
from .perl_modules import PerlModules
from .python_imports import PythonImports
from .request import Request

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
    paths = siblings.paths(image.view, image.entries)
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
    yield from siblings.find(image)
    yield from siblings.find_unloaded(image)


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
