"""Requests for paths of an image: each by a run, a program, an extra list or a preset."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ..elf.closure import Closure, LddRow
from ..elf.loader_cache import CACHE
from ..fs.lookup import FileKind
from ..fs.paths import escape, join
from ..fs.root import Root
from ..trace.record import Record
from .exclusions import is_of_interpreter


@dataclass(frozen=True, slots=True)
class Request:
    """A path requested for the image."""

    path: bytes
    """Absolute image path; links in it are followed when it is looked up."""
    reason: str
    """One of the reasons of `entry`, as one word."""
    required: bool = True
    """Whether it is an error if the path does not exist, or no image can hold it."""
    line: str = ""
    """The line of the extra list that requests it, ``FILE:LINE``; empty for other requests."""

    @property
    def is_explicit(self) -> bool:
        """Whether a line of an extra list names the path itself."""
        return self.required and bool(self.line)


def from_record(record: Record, run: str) -> Iterator[Request]:
    """Yield the inputs of the run named `run`, and the directories into which it wrote."""
    outputs = {use.path for use in record.uses if use.kind == "write"}
    for use in record.uses:
        if use.kind == "write":
            above = os.path.dirname(use.path)
            if above not in outputs:
                yield Request(above, f"output-dir:{run}", required=False)
        elif use.kind != "absent":
            yield Request(use.path, f"run:{run}", required=use.kind in ("exec", "read"))


def from_ldd(rows: Iterable[LddRow]) -> Iterator[Request]:
    """Yield the programs of an ldd text, their loaders, interpreters and libraries.

    With a loader comes its cache: see `Merge`, which drops that where no library needs it.
    """
    words = {"library": "needed-by", "loader": "loader-of", "interpreter": "interpreter-of"}
    for row in rows:
        user = f":{escape(row.needed_by).decode()}" if row.needed_by else ""
        yield Request(row.path, "program" if row.kind == "program" else words[row.kind] + user)
        if row.kind == "loader":
            yield Request(CACHE, f"needed-by:{escape(row.path).decode()}", required=False)


def from_closure(found: Closure) -> Iterator[Request]:
    """Yield the interpreters, the loader and the libraries of the closure `found`."""
    rows = [
        LddRow("interpreter", path, user)
        for path, user in zip(found.interpreters, (found.path, *found.interpreters), strict=False)
    ]
    rows += [LddRow("library", library.path, library.needed_by) for library in found.libraries]
    if found.loader is not None:
        rows.append(LddRow("loader", found.loader, found.program))
    return from_ldd(rows)


def from_listings(
    view: Root, record: Record, run: str, listed: Collection[bytes]
) -> Iterator[Request]:
    """Yield the entries of the directories that a run listed, as far as `listed` names them.

    ``*`` in it means all of them. Directories among the entries come without their content, but
    for packages: an empty one hides that a module is missing.
    """
    for use in record.uses:
        if use.kind == "list" and (b"*" in listed or use.path in listed):
            for path in (join(use.path, name) for name in view.listing(use.path)):
                if not _is_package(view, path):
                    yield Request(path, f"listed-by:{run}", required=False)


def _is_package(view: Root, path: bytes) -> bool:
    """Tell whether an interpreter imports the directory `path` as a package."""
    status = view.status(path)
    if status is None or status.kind is not FileKind.DIR:
        return False
    is_searched = is_of_interpreter(os.path.dirname(path))
    return is_searched or view.status(join(path, b"__init__.py")) is not None
