"""The layers of an image, the lowest first: what is in each, and the blobs that hold them.

Which files share a layer follows from the image's own file list by fixed rules: other images change
nothing. So two images with the same files of a package have the very same layer. A layer also has
the directories above its files; they are all that two layers of an image have in common.

A stack is a text, a line for each layer, and a directory of blobs beside it. A blob that another
image's stack has is a hard link to that one: it is packed and compressed once.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import progress
from ..errors import InputError
from ..fs.digest import Digest, Tally
from ..fs.paths import parents, show
from ..fs.root import Aspect
from ..fs.target import replacing
from . import layer
from .compression import MEDIA_TYPES, compress, compressor, suffix_of
from .layer import Layer

if TYPE_CHECKING:
    from ..files.entry import Entry
    from ..fs.overlay import Overlay

SUFFIX = b".layers"
"""Of the text's name."""

SMALL = "(small)"
"""Name of the layer of all packages that have none of their own."""
OWN = "(own)"
"""Name of the layer of files that no package brought: the project's own."""

_LARGE = 64 << 10
"""Bytes of a package's files from which on it has a layer of its own."""

_BUDGET = 40
"""Layers of an image at most; overlay2 and containerd can stack 127."""

_RANKS = (
    *("libc", "libgcc-s", "libstdc++", "zlib1g", "libssl", "libzstd", "liblzma", "libbz"),
    *("libcrypt", "libtinfo", "libpcre", "libselinux", "libgmp", "libsystemd", "libcap"),
    *("libglib", "libexpat", "libxml", "libsqlite", "libreadline"),
)
"""Packages that many others need, the most needed first, without the version in their names.

Graph drivers share a layer only where all below it are the same.
"""

_VERSION = r"[0-9.-]*(?:t64)?(?::.*)?\Z"

_HEADER = b"# scratch_image layers 1, compressor "
_LINE = rb"(sha256:[0-9a-f]{64}) (sha256:[0-9a-f]{64}) ([0-9]{1,15}) (\S+) (\S+)"


@dataclass(frozen=True, slots=True)
class Group:
    """The entries of one layer."""

    name: str
    """dpkg's name of the package, `SMALL` or `OWN`."""
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer, and the file that holds it."""

    layer: Layer
    path: bytes
    name: str = ""
    """Of the group."""


_Key = tuple[str, Digest]
"""Compressor and diff ID, which decide over the bytes of a blob."""

_known: dict[_Key, Blob] = {}
"""A blob that some stack is likely to have."""

_locks: dict[_Key, threading.Lock] = {}
"""Held while a blob is made: another thread can link it afterwards."""


def plan(view: Overlay, entries: Sequence[Entry]) -> tuple[Group, ...]:
    """Return the layers of an image of `entries`, the lowest first; there is always one.

    A package with many bytes has a layer of its own, all others share one, and the rest, which
    changes most, is the last one. ListError when dpkg's database cannot be read.
    """
    keys = _keys(view, entries)
    large = _large(view, entries, keys)
    found: dict[str, list[Entry]] = {name: [] for name in (*large, SMALL, OWN)}
    directories = {entry.path: entry for entry in entries if entry.kind == "dir"}
    above = {path for entry in entries if entry.kind != "dir" for path in parents(entry.path)}
    for entry in entries:
        key = keys.get(entry.path, "")
        if entry.path not in above:
            found[key if key in large else SMALL if key else OWN].append(entry)
    groups = [Group(name, (*_above(own, directories), *own)) for name, own in found.items() if own]
    return tuple(groups) or (Group(OWN, ()),)


def size(groups: Iterable[Group], view: Overlay) -> int:
    """Return how many bytes go through `pack` for `groups`, each of which it packs twice."""
    return 2 * sum(layer.size(group.entries, view) for group in groups)


def _keys(view: Overlay, entries: Iterable[Entry]) -> dict[bytes, str]:
    """Return the package of each path; of one more name of a file that of the file."""
    from ..files import package_records

    keys: dict[bytes, str] = {}
    for entry in entries:
        keys[entry.path] = (
            keys.get(entry.target, "") if entry.kind == "hard" else package_records.key(view, entry)
        )
    return keys


def _large(view: Overlay, entries: Iterable[Entry], keys: dict[bytes, str]) -> list[str]:
    """Return the packages that get a layer of their own, in the order of these."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        if keys[entry.path] and entry.kind == "file" and not entry.text:
            # Its content is packed: that puts the size on record.
            status = view.status(entry.path, Aspect.CONTENT)
            sizes[keys[entry.path]] += status.size if status else 0
    large = sorted((-size, key) for key, size in sizes.items() if size >= _LARGE)
    return sorted((key for _, key in large[: _BUDGET - 2]), key=_rank)


def _rank(key: str) -> tuple[int, str]:
    stem = re.sub(_VERSION, "", key)
    return _RANKS.index(stem) if stem in _RANKS else len(_RANKS), key


def _above(entries: Sequence[Entry], directories: dict[bytes, Entry]) -> list[Entry]:
    """Return the listed directories above `entries` that are not among them."""
    paths = {path for entry in entries for path in parents(entry.path)}
    paths -= {entry.path for entry in entries}
    return [directories[path] for path in sorted(paths & directories.keys())]


# Blobs


def pack(text_path: bytes, group: Group, view: Overlay, suffix: str) -> tuple[Blob, bool]:
    """Return the blob of `group` in the stack `text_path`, and whether it had to be made.

    `suffix` says how it is compressed: one of `MEDIA_TYPES`. ListError when an entry cannot be
    packed; OSError when the blob cannot be written.
    """
    with open(os.devnull, "wb") as nowhere:
        written = layer.write(nowhere, group.entries, view)
    key = compressor(suffix), written.diff_id
    directory = blobs(text_path)
    os.makedirs(directory, exist_ok=True)
    with _locks.setdefault(key, threading.Lock()):
        known = _known.get(key)
        found = known and _link(known, directory, group.name)
        blob = found or _write_blob(directory, group, view, suffix)
        if found:
            progress.current().add(written.size)
        _known[key[0], blob.layer.diff_id] = blob
    return blob, not found


def blobs(text_path: bytes) -> bytes:
    """Return the directory of the blobs of the stack `text_path`."""
    return text_path.removesuffix(SUFFIX) + b".blobs"


def _file(directory: bytes, diff_id: Digest, suffix: str) -> bytes:
    return os.path.join(directory, f"{diff_id.hex}{suffix}".encode())


def _link(known: Blob, directory: bytes, name: str) -> Blob | None:
    """Return the blob `known`, linked into `directory`; None when its file has changed."""
    suffix = suffix_of(known.path)
    path = _file(directory, known.layer.diff_id, suffix)
    with suppress(OSError):
        if not _holds(path, known.layer.digest):
            if not _holds(known.path, known.layer.digest):
                return None
            if os.path.lexists(path):
                os.unlink(path)
            os.link(known.path, path)
        return Blob(known.layer, path, name)
    return None


def _holds(path: bytes, digest: Digest) -> bool:
    if not os.path.lexists(path):
        return False
    with open(path, "rb", buffering=0) as file:
        return Digest.of_stream(file) == digest


def _write_blob(directory: bytes, group: Group, view: Overlay, suffix: str) -> Blob:
    made = os.path.join(directory, b"new")
    with replacing(made) as sink:
        tally = Tally(sink=sink)
        with compress(tally, suffix) as stream:
            diff_id = layer.write(stream, group.entries, view).diff_id
    path = _file(directory, diff_id, suffix)
    os.replace(made, path)
    return Blob(Layer(MEDIA_TYPES[suffix], tally.digest, tally.size, diff_id), path, group.name)


def keep(text_path: bytes, kept: Collection[Blob]) -> None:
    """Remove all blobs of the stack `text_path` but `kept`."""
    directory, names = blobs(text_path), {os.path.basename(blob.path) for blob in kept}
    for name in sorted(os.listdir(directory)):
        if name not in names:
            os.unlink(os.path.join(directory, name))


# The text


def write(stack: Iterable[Blob], compressor: str) -> bytes:
    """Return the text of `stack`, of which `read` makes the same again."""
    lines = [_HEADER, compressor.encode(), b"\n"]
    for blob in stack:
        made = blob.layer
        words = (made.diff_id, made.digest, made.size, suffix_of(blob.path), blob.name)
        lines.append(f"{' '.join(map(str, words))}\n".encode())
    return b"".join(lines)


def read(path: bytes, take: Callable[[Iterator[bytes]], None] | None = None) -> tuple[Blob, ...]:
    """Return the layers of the file `path` (hostile): of a stack's text all, else that one.

    `take` gets the content of each, as by `layer.read`. InputError when it is neither, or when a
    blob is missing or has another content.
    """
    if not path.endswith(SUFFIX):
        return (Blob(layer.read(path, take or layer.drain), path),)
    with open(path, "rb") as stream:
        found = tuple(blob for _, blob in _parse(path, stream.read()))
    for blob in found:
        if not os.path.isfile(blob.path):
            raise _unreadable(path, f"{show(os.path.basename(blob.path))} is missing")
        if take and layer.read(blob.path, take) != blob.layer:
            raise _unreadable(path, f"{show(os.path.basename(blob.path))} has another content")
    return found


def files(path: bytes) -> tuple[bytes, ...]:
    """Return the paths of the layers of the file `path`: of a stack's text (hostile) all, else it.

    InputError as by `read`; a single layer is not looked at.
    """
    return tuple(blob.path for blob in read(path)) if path.endswith(SUFFIX) else (path,)


def recall(path: bytes) -> None:
    """Remember the blobs of the stack's text `path`, all of which may be gone."""
    with suppress(OSError, InputError), open(path, "rb") as stream:
        for compressor, blob in _parse(path, stream.read()):
            _known.setdefault((compressor, blob.layer.diff_id), blob)


def _parse(path: bytes, text: bytes) -> Iterator[tuple[str, Blob]]:
    """Yield the blobs of a stack's text (hostile), each with its compressor."""
    first, *lines = text.split(b"\n")
    if not first.startswith(_HEADER) or lines[-1:] != [b""]:
        raise _unreadable(path, "it is not a list of layers, or its end is missing")
    compressor = first.removeprefix(_HEADER).decode("utf-8", "replace")
    for line in lines[:-1]:
        match = re.fullmatch(_LINE, line)
        suffix = match[4].decode("ascii", "replace") if match else ""
        if match is None or suffix not in MEDIA_TYPES:
            raise _unreadable(path, "a line is malformed")
        diff_id, digest = Digest(match[1].decode()), Digest(match[2].decode())
        made = Layer(MEDIA_TYPES[suffix], digest, int(match[3]), diff_id)
        yield compressor, Blob(made, _file(blobs(path), diff_id, suffix), os.fsdecode(match[5]))


def _unreadable(path: bytes, cause: str) -> InputError:
    return InputError(f"read layers {show(path)}", cause, "delete it and build it again")
