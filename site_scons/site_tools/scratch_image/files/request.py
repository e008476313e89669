"""Requests for paths of an image: each by a run, a program, an extra list or a preset."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from ..elf.closure import Closure, LddRow
from ..elf.loader_cache import CACHE
from ..errors import ListError
from ..fs.globs import expand
from ..fs.lookup import FileKind, Status
from ..fs.overlay import Overlay, Placed
from ..fs.paths import escape, is_in_kernel_tree, is_under, join, show
from ..fs.root import Aspect, Root
from ..trace.record import Record
from .exclusions import is_made_by_runtime, is_of_interpreter
from .extra_list import Extra, LineKind


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


def from_staged(root: Root, paths: Iterable[bytes]) -> Iterator[Request]:
    """Yield all that is staged at `paths` of `root`, and below those that are directories."""
    for path in paths:
        for place in _staged_tree(root, path):
            yield Request(place, "staged")


def _staged_tree(root: Root, path: bytes) -> Iterator[bytes]:
    """Yield `path` and what is staged below it, but nothing that the base has there."""
    yield path
    found = root.walk(path)
    if found.real in root.files.staging.merged:
        for directory in root.files.staging.merged[found.real]:
            # To see it before its names are taken.
            root.status(directory, Aspect.LISTING)
            for name in root.listing(directory):
                yield from _staged_tree(root, join(found.real, name))
    elif found.real in root.files.staging:
        yield from _below(root, found.real)


def _below(root: Root, path: bytes) -> Iterator[bytes]:
    status = root.status(path)
    if status is not None and status.kind is FileKind.DIR:
        for name in root.listing(path):
            yield join(path, name)
            yield from _below(root, join(path, name))


def from_extras(view: Overlay, extras: Iterable[Extra]) -> Iterator[Request]:
    """Place in `view` the files that lists make, map or change; yield all requests of the lists.

    ListError names all files that do not exist, or all that each container has of its own.
    """
    absent, useless = [], []
    for extra in extras:
        if extra.kind is LineKind.OUT:
            continue
        if extra.kind is not LineKind.GLOB and (path := _path_in_each_container(extra)):
            useless.append(f"{show(path)} ({extra.where})")
        found = [*_paths(view, extra)]
        if not found:
            absent.append(f"{extra.where}: {show(extra.source or extra.path)}")
        for path in found:
            required = extra.kind is not LineKind.GLOB and path == found[0]
            reason = f"extra:{escape(os.fsencode(extra.name)).decode()}"
            yield Request(path, reason, required, extra.where)
    if absent:
        raise ListError(
            "find extra files",
            ", ".join(absent),
            "install or make them, or remove their lines from the list",
        )
    if useless:
        raise ListError(
            f"list {', '.join(useless)}",
            "the kernel or the engine creates it in each container",
            "remove the line, or list a copy at another path",
        )


def _path_in_each_container(extra: Extra) -> bytes:
    """Return the path of a line that each container has of its own; empty if there is none."""
    if is_made_by_runtime(extra.path):
        return extra.path
    of_kernel = is_in_kernel_tree(extra.source)
    return extra.source if of_kernel and extra.kind is LineKind.MAP else b""


def _paths(view: Overlay, extra: Extra) -> Iterator[bytes]:
    """Yield the paths of the line `extra`, first the one that it names; none if that is absent."""
    uid, gid = extra.owner or (0, 0)
    if extra.kind is LineKind.DIR:
        mode = 0o755 if extra.mode is None else extra.mode
        yield view.place(extra.path, Placed(Status(FileKind.DIR, mode, uid, gid)))
    elif extra.kind is LineKind.LINK:
        status = Status(FileKind.LINK, 0o777, 0, 0, target=extra.source)
        yield view.place(extra.path, Placed(status))
    else:
        for path in _existing(view, extra):
            if (extra.mode, extra.owner) != (None, None):
                view.change(view.walk(path).real, extra.mode, extra.owner)
            yield path


def _existing(view: Overlay, extra: Extra) -> Iterator[bytes]:
    if extra.kind is LineKind.MAP:
        yield from _map(view, extra.path, extra.source)
    elif extra.kind is LineKind.GLOB:
        for path in expand(view, extra.path):
            yield from tree(view, path)
    elif view.walk(extra.path).status is not None:
        yield from tree(view, extra.path)


def _map(view: Overlay, path: bytes, source: bytes) -> Iterator[bytes]:
    """Place `source` at `path`, directories with all below; yield the places."""
    found = view.below.walk(view.source(source))
    if found.status is None:
        return
    tops = [view.below.walk(top).real for top in view.files.tops] if source[:1] != b"/" else []
    own = (found.real[len(top) + 1 :] for top in tops if is_under(found.real, top))
    yield from _place_tree(view, path, next(own, found.real))


def _place_tree(view: Overlay, path: bytes, source: bytes) -> Iterator[bytes]:
    status = view.below.status(view.source(source))
    if status is None:
        return
    yield view.place_source(path, source)
    if status.kind is FileKind.DIR:
        for name in view.below.listing(view.source(source)):
            yield from _place_tree(view, join(path, name), os.path.join(source, name))


def tree(root: Root, path: bytes) -> Iterator[bytes]:
    """Yield `path` and, for a directory, all paths below; links below it are not followed."""
    yield path
    found = root.walk(path)
    if found.status is not None and found.status.kind is FileKind.DIR:
        for name in root.listing(found.real):
            below = join(found.real, name)
            status = root.status(below)
            if status is not None and status.kind is FileKind.DIR:
                yield from tree(root, below)
            elif status is not None:
                yield below
