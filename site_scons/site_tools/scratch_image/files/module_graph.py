"""The modules that a program's files import, directly or through others; nothing is executed.

Sources are searched for the statements that import a module, also where they stand in a function
that no run called. A name that leads to no file is a module of another system, or an optional one.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..errors import ListError
from ..fs.paths import show
from .finding import Examined

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
