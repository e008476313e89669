"""The files of extra lists, placed in a view, and the requests for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from ..errors import ListError
from ..fs.globs import expand
from ..fs.lookup import FileKind, Status
from ..fs.overlay import Overlay, Placed
from ..fs.paths import escape, is_in_kernel_tree, is_under, join, show
from ..fs.root import Root
from .exclusions import is_made_by_runtime
from .extra_list import Extra, LineKind
from .request import Request


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
