"""Modules that no run loaded: presets that bring them, and what lint says of them.

``python-imports``  what programs in Python import, and the codecs
``perl-modules``    what programs in Perl load
``node-modules``    what programs in JavaScript load
``siblings``        all files of the directories out of which a run loaded a module by dlopen(3)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress

from ..errors import ListError
from ..fs.paths import show
from . import siblings
from .finding import Examined, Finding, Rank
from .module_graph import Language, follow
from .node_modules import NodeModules
from .perl_modules import PerlModules
from .python_imports import PythonImports
from .request import Request

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
