"""The remainder of a base that was an image: all that a file list leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind, Status
from . import dpkg
from .entry import Entry


def describe(files: FileSystem, entries: Iterable[Entry]) -> str:
    """Return a line about the part of the image in `files` that `entries` do not take.

    Nothing where `files` were not made of an image. Looks at them go on no record.
    """
    image = files.image
    if not image.name:
        return ""
    taken = dict(_taken_files(files, entries))
    size = sum({status.inode: status.size for status in taken.values()}.values())
    inodes = {status.inode for status in taken.values()}
    owners = {path: dpkg.lookup(files, path) for path in taken if image.packages}
    packages = {found.package.key for found in owners.values() if found}
    parts = [f"{image.files - len(inodes)} files"]
    if image.packages:
        parts.append(f"{image.packages - len(packages)} packages")
    return (
        f"{', '.join(parts)} and {(image.size - size) / 1e6:.1f} MB of {image.name} stay behind; "
        "a path in an extra list brings it, scons why/IMAGE WHY=/PATH explains it"
    )


def _taken_files(files: FileSystem, entries: Iterable[Entry]) -> Iterator[tuple[bytes, Status]]:
    """Yield the files of the base among `entries`, by their paths there."""
    for entry in entries:
        place = entry.source or entry.path
        status = None if entry.text or place in files.staged else files.status(place)
        if status is not None and status.kind is FileKind.FILE:
            yield place, status
