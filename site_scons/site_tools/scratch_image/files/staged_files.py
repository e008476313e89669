"""The staged files of a project, requested for its image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..fs.lookup import FileKind
from ..fs.paths import join
from ..fs.root import Aspect, Root
from .request import Request


def from_staged(root: Root, paths: Iterable[bytes]) -> Iterator[Request]:
    """Yield all that is staged at `paths` of `root`, and below those that are directories."""
    for path in paths:
        for place in _tree(root, path):
            yield Request(place, "staged")


def _tree(root: Root, path: bytes) -> Iterator[bytes]:
    """Yield `path` and what is staged below it, but nothing that the base has there."""
    yield path
    found = root.walk(path)
    if found.real in root.files.staging.merged:
        for directory in root.files.staging.merged[found.real]:
            # To see it before its names are taken.
            root.status(directory, Aspect.LISTING)
            for name in root.listing(directory):
                yield from _tree(root, join(found.real, name))
    elif found.real in root.files.staging:
        yield from _below(root, found.real)


def _below(root: Root, path: bytes) -> Iterator[bytes]:
    status = root.status(path)
    if status is not None and status.kind is FileKind.DIR:
        for name in root.listing(path):
            yield join(path, name)
            yield from _below(root, join(path, name))
