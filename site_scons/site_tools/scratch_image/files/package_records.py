"""The packages that scanners find in an image: Debian's, in the way of distroless images.

Each package that a listed file is of has its paragraph as /var/lib/dpkg/status.d/NAME, and the MD5
sums of those of its files that are listed as NAME.md5sums. /etc/os-release and /etc/debian_version
tell which Debian that is: without them scanners match no notices.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from ..fs.lookup import FileKind, Status
from ..fs.overlay import Overlay, Placed
from . import dpkg
from .dpkg import Owned, Package
from .entry import Entry
from .merge import merge
from .request import Request

REASON = "packages"

_STATUS = b"/var/lib/dpkg/status.d"
_SUMS = b".md5sums"
_RELEASE = (b"/etc/os-release", b"/etc/debian_version")


def owner(view: Overlay, entry: Entry) -> Owned | None:
    """Return what `entry` is of; None for directories, and for what no package brought there.

    A file of the project is its own, whatever dpkg has at that path. A link counts where it leads
    to a file: what leads to a directory is a directory to dpkg.
    """
    if entry.kind == "dir" or entry.text:
        return None
    if entry.kind == "link" and not _is_link_to_file(view, entry):
        return None
    place = _place(view, entry)
    return dpkg.owner(view.below, place) if place else None


def key(view: Overlay, entry: Entry) -> str:
    """Return what dpkg calls the package that `entry` is of, or that it tells scanners of.

    Nothing where there is none.
    """
    above, name = os.path.split(entry.path)
    if above == _STATUS and entry.text:
        return os.fsdecode(name.removesuffix(_SUMS))
    found = owner(view, entry)
    return found.package.key if found else ""


def _place(view: Overlay, entry: Entry) -> bytes:
    """Return where the content of `entry` lies in the base; nothing if it is the project's."""
    place = view.source(entry.source) if entry.source else entry.path
    staged = view.below.files.staging.host_path(place)
    if staged and view.files.in_project(staged):
        return b""
    if staged:
        # A file of the machine that is staged, too, is what it was.
        is_on_host = view.below.files.base == b"/"
        place = view.below.walk(staged).real if is_on_host else view.files.tops[0]
    return b"" if view.files.in_project(place) else place


def _is_link_to_file(view: Overlay, entry: Entry) -> bool:
    there, end = view.below.status(entry.path), view.walk(entry.path).status
    as_there = there is not None and there.target == entry.target
    return as_there and end is not None and end.kind is FileKind.FILE


def release_requests(
    view: Overlay, entries: Iterable[Entry], *, with_copyright: bool
) -> Iterator[Request]:
    """Yield what of the base tells of its release, if some package has a file among `entries`.

    With `with_copyright` comes what tells of the licences of each such package.
    """
    found = _packages(view, entries)
    if not found:
        return
    release = [Request(path, REASON, required=False) for path in _RELEASE]
    yield from release
    if with_copyright:
        for package in sorted(
            {*found, *_packages(view, merge(view, release))}, key=attrgetter("key")
        ):
            path = b"/usr/share/doc/%s/copyright" % package.name.encode()
            yield Request(path, REASON, required=False)


def _packages(view: Overlay, entries: Iterable[Entry]) -> set[Package]:
    return {found.package for entry in entries if (found := owner(view, entry))}


def record_requests(view: Overlay, entries: Iterable[Entry]) -> Iterator[Request]:
    """Place in `view` what tells of the packages of `entries`; yield it."""
    sums: dict[Package, list[bytes]] = {}
    for entry in entries:
        found = owner(view, entry)
        if found is not None:
            line = b"%s  %s\n" % (found.md5.encode(), entry.path[1:])
            sums.setdefault(found.package, []).extend([line] * bool(found.md5))
    for package in sorted(sums, key=attrgetter("key")):
        path = os.path.join(_STATUS, package.key.encode())
        yield from _write_file(view, path, [package.control])
        yield from _write_file(view, path + _SUMS, sums[package])


def _write_file(view: Overlay, path: bytes, lines: Sequence[bytes]) -> Iterator[Request]:
    text = b"".join(lines)
    if text:
        made = Placed(Status(FileKind.FILE, 0o644, 0, 0, len(text)), text=text)
        yield Request(view.place(path, made), REASON)
