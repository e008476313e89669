"""A layer: one tar of which every byte follows from the file list and the files.

https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md tells what a layer may hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import progress
from ..errors import InputError, ListError
from ..fs import capabilities
from ..fs.digest import CHUNK, Digest, Sink, Tally
from ..fs.lookup import FileKind
from ..fs.paths import is_plain, show
from ..fs.root import Aspect, Root
from .compression import MEDIA_TYPES, decompress, suffix_of
from .tar_header import BLOCK, DIR, END, FILE, HARD, LINK, format_header, padding

if TYPE_CHECKING:
    from ..files.entry import Entry

_FLAGS = {"file": FILE, "hard": HARD, "link": LINK, "dir": DIR}
"""Type flags of tar members by the kind of an entry."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it lies in a file."""

    media_type: str
    """One of `MEDIA_TYPES`."""
    digest: Digest
    """Of the file, compressed as it is."""
    size: int
    """Bytes of the file."""
    diff_id: Digest
    """Digest of the uncompressed tar."""


def write(sink: Sink, entries: Iterable[Entry], root: Root) -> Layer:
    """Write `entries`, in any order, as one tar to `sink`; return it as an uncompressed layer.

    Contents and times of files come from `root`, all else from the entries. Members are sorted
    by the components of their paths. A file's time is what `root` says, all other times are the
    root's epoch: an image does not depend on when a directory changed. ListError when an entry
    cannot be in a layer or its file is not as listed; OSError when `sink` cannot be written.
    """
    tally = Tally(sink=sink, progress=progress.current())
    for piece in _join_parts(_parts(_in_order(entries), root)):
        tally.write(piece)
    return Layer(MEDIA_TYPES[".tar"], tally.digest, tally.size, tally.digest)


def size(entries: Iterable[Entry], root: Root) -> int:
    """Return how many bytes `write` will write, but for what long names take besides."""
    contents = [_size(entry, root) for entry in entries]
    return sum(BLOCK + size + len(padding(size)) for size in contents) + len(END)


def _size(entry: Entry, root: Root) -> int:
    if entry.kind != "file" or entry.text:
        return len(entry.text)
    # Off the record: it decides over no byte.
    status = root.files.status(entry.path)
    return status.size if status else 0


def _join_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `parts` joined: to write and hash each one would cost more than its bytes."""
    pending: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > CHUNK:
            yield b"".join(pending)
            pending, size = [], 0
        pending.append(part)
        size += len(part)
    yield b"".join(pending)


def _parts(entries: Iterable[Entry], root: Root) -> Iterator[bytes]:
    """Yield the tar of `entries`, in their order."""
    for entry in entries:
        if entry.text:
            yield _header(entry, len(entry.text), root.files.epoch)
            yield entry.text
            yield padding(len(entry.text))
        elif entry.kind == "file":
            yield from _file(entry, root)
        elif entry.kind == "hard":
            # Engines give the file the time of each of its names.
            first = root.files.status(entry.target)
            yield _header(entry, 0, first.mtime if first else root.files.epoch)
        else:
            yield _header(entry, 0, root.files.epoch)
    yield END


def drain(chunks: Iterator[bytes]) -> None:
    """Take `chunks`, and do nothing with them."""
    for _ in chunks:
        pass


def read(path: bytes, take: Callable[[Iterator[bytes]], None] = drain) -> Layer:
    """Return the layer in the file `path`, compressed as its suffix says; it is read once.

    `take` gets the chunks of the uncompressed tar, and has to take them all; it raises ValueError
    for wrong ones. InputError when it is not a whole tar of that kind.
    """
    suffix, tar, last = suffix_of(path), Tally(), b""
    with open(path, "rb", buffering=0) as file:
        blob = Tally(source=file, progress=progress.current())

        def content() -> Iterator[bytes]:
            nonlocal last
            for chunk in decompress(blob, suffix):
                tar.write(chunk)
                last = (last + chunk[-len(END) :])[-len(END) :]
                yield chunk

        try:
            take(content())
        except ValueError as error:
            raise _unreadable(path, str(error)) from error
    if last != END or tar.size % BLOCK:
        raise _unreadable(path, "the end of the tar is missing")
    return Layer(MEDIA_TYPES[suffix], blob.digest, blob.size, tar.digest)


def _unreadable(path: bytes, cause: str) -> InputError:
    return InputError(f"read layer {show(path)}", cause, "delete it and build it again")


def _header(entry: Entry, size: int, mtime: int) -> bytes:
    name = entry.path[1:] + b"/" * (entry.kind == "dir")
    return format_header(
        name if entry.path != b"/" else b"./",
        _FLAGS[entry.kind],
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=size,
        mtime=mtime,
        link=entry.target[1:] if entry.kind == "hard" else entry.target,
        # Each name has them: engines set the owner for each, and the kernel drops them then.
        capabilities=capabilities.attribute(entry.capabilities) if entry.capabilities else b"",
    )


def _file(entry: Entry, root: Root) -> Iterator[bytes]:
    """Yield the member of a file whose content `root` has."""
    status = root.status(entry.path, Aspect.MTIME)
    if status is None:
        raise _pack_error(entry, "it has gone", "build again to list it again")
    if status.kind is not FileKind.FILE:
        raise _pack_error(entry, "it is no longer a regular file", "build again to list it again")
    yield _header(entry, status.size, status.mtime)
    left = status.size
    with root.open(entry.path) as stream:
        while left and (chunk := stream.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
        # Whatever touches the file sets its ctime, growth and a change back included.
        changed = os.fstat(stream.fileno()).st_ctime_ns != status.ctime_ns
    if left or changed:
        raise _pack_error(
            entry, "it changed while it was read", "build again when nothing writes to it"
        )
    yield padding(status.size)


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return `entries` with each directory before what lies in it; ListError for a bad one."""
    ordered = sorted(entries, key=lambda entry: entry.path.split(b"/"))
    packed: dict[bytes, Entry] = {}
    for entry in ordered:
        _check(entry, packed)
        packed[entry.path] = entry
    return ordered


def _check(entry: Entry, packed: dict[bytes, Entry]) -> None:
    """Raise ListError when `entry` cannot follow those already `packed`."""
    if not is_plain(entry.path):
        raise _pack_error(entry, "it is not a plain absolute path", "write it without . .. and //")
    above, _, name = entry.path.rpartition(b"/")
    if name.startswith(b".wh."):
        raise _pack_error(
            entry, "names with .wh. in front mean deleted files in layers", "leave it out"
        )
    if entry.path in packed:
        raise _pack_error(entry, "it is listed twice", "list it once")
    if above and getattr(packed.get(above), "kind", "") != "dir":
        raise _pack_error(entry, f"{show(above)} is not listed as a directory", "list that, too")
    if entry.kind == "hard":
        _check_hard(entry, packed.get(entry.target))


def _check_hard(entry: Entry, first: Entry | None) -> None:
    if first is None or first.kind != "file":
        raise _pack_error(
            entry, f"no file {show(entry.target)} is listed before it", "list it as a file"
        )
    # A hard link sets mode, owner and capabilities of the one file that both names have.
    own, others = ((e.mode, e.uid, e.gid, e.capabilities) for e in (entry, first))
    if own != others:
        raise _pack_error(
            entry,
            f"mode, owner or capabilities differ from those of {show(first.path)}, the same file",
            "list both alike",
        )


def _pack_error(entry: Entry, cause: str, hint: str) -> ListError:
    return ListError(f"pack {show(entry.path)}", cause, hint)
