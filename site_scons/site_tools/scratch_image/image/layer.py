"""Entries to a layer: one tar of which every byte follows from the file list and the files.

Headers are ustar, written here: that is several times faster than `tarfile`, and no Python
version can change a byte. A PAX record stands only where ustar cannot hold a value
(https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html). What a layer may hold:
https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .. import progress
from ..errors import InputError, ListError
from ..fs import capabilities as attributes
from ..fs.digest import CHUNK, Digest
from ..fs.paths import is_plain, show
from ..fs.root import Aspect, Kind, Root, Status
from ..progress import Progress

if TYPE_CHECKING:
    from ..files.file_list import Entry

BLOCK = 512
"""Bytes of a tar header; contents are padded to a multiple."""

END = bytes(2 * BLOCK)
"""What ends a tar. Filling up to 10240 bytes is for tapes; Docker does not do it either."""

MEDIA_TYPES = {
    ".tar": "application/vnd.oci.image.layer.v1.tar",
    ".tar.gz": "application/vnd.oci.image.layer.v1.tar+gzip",
    ".tar.zst": "application/vnd.oci.image.layer.v1.tar+zstd",
}
"""The suffixes that a layer file may have, and the OCI media type each stands for."""

FILE, HARD, LINK, DIR, PAX = b"0", b"1", b"2", b"5", b"x"
"""Type flags of tar members."""

_DIGITS = re.compile(rb"(?:[0-7]{7}\0){3}(?:[0-7]{11}\0){2}")
_KINDS = {FILE: Kind.FILE, HARD: Kind.FILE, LINK: Kind.LINK, DIR: Kind.DIR}
_TYPES = {"file": FILE, "hard": HARD, "link": LINK, "dir": DIR}

_USTAR = struct.Struct("100s48s8sc100s88s155s12s")
"""Name, numbers, checksum, type flag, link, what all headers have alike, prefix and zeros."""

_ALIKE = b"ustar\x0000".ljust(72, b"\0") + b"0000000\x000000000\0"
"""Magic, version, no names of user and group, and zeros as device numbers."""

_SUM = sum(b" " * 8 + _ALIKE)
"""What these add to a checksum, which counts for spaces in it."""

_SHORT, _LONG = 1 << 21, 1 << 33
"""The first numbers that the seven and the eleven octal digits of ustar fields cannot hold."""

CAPABILITIES = f"SCHILY.xattr.{attributes.ATTRIBUTE}"
"""The PAX record that engines take file capabilities from."""

_LIMITS = {"uid": _SHORT, "gid": _SHORT, "size": _LONG, "mtime": _LONG}

_NAME = 100
"""Bytes of a name or a link's text that a ustar field holds."""

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3


class Sink(Protocol):
    """Where bytes go: any binary file open for writing, and what wraps one."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


class Source(Protocol):
    """Where bytes come from: any binary file open for reading, and what wraps one."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


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


class Tally:
    """A sink or a source that counts and hashes the bytes that pass through to another one."""

    def __init__(
        self,
        *,
        sink: Sink | None = None,
        source: Source | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Wrap `sink` for writing, or `source` for reading; what passes is `progress`."""
        self.size = 0
        self._progress = progress or Progress()
        self._sink = sink
        self._source = source
        self._hasher = hashlib.sha256()

    @property
    def digest(self) -> Digest:
        """The digest of what has passed so far."""
        return Digest(f"sha256:{self._hasher.hexdigest()}")

    def write(self, data: bytes, /) -> None:
        """Pass `data` on to the sink, if there is one."""
        self.size += len(data)
        self._progress.add(len(data))
        self._hasher.update(data)
        if self._sink is not None:
            self._sink.write(data)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes of the source."""
        data = self._source.read(size) if self._source is not None else b""
        self.size += len(data)
        self._progress.add(len(data))
        self._hasher.update(data)
        return data


class Chunks(io.RawIOBase):
    """A file to be read once, of the bytes that an iterator yields, for tarfile.

    No read gives more than it asked for: tarfile copies the rest of one that does.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = filter(None, chunks)
        self._chunk = self._last = b""
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, what is at hand if it is negative; none at the end."""
        if self._at >= len(self._chunk):
            self._chunk, self._at = next(self._chunks, b""), 0
            self._last = (self._last + self._chunk[-len(END) :])[-len(END) :]
        end = len(self._chunk) if size < 0 else self._at + size
        found, self._at = self._chunk[self._at : end], end
        return found

    def take(self, size: int) -> bytes:
        """Return `size` bytes; fewer only at the end."""
        found = self.read(size)
        while len(found) < size and (more := self.read(size - len(found))):
            found += more
        return found

    def skip(self, size: int) -> bool:
        """Pass `size` bytes; tell whether there were as many."""
        # Most are at hand, and need not be copied.
        passed = min(size, len(self._chunk) - self._at)
        self._at += passed
        while passed < size and (more := len(self.read(size - passed))):
            passed += more
        return passed == size

    def drain(self) -> bytes:
        """Read what is left; return the last bytes of all, as many as `END` has."""
        self._at = len(self._chunk)
        while self.read():
            pass
        return self._last


def write(sink: Sink, entries: Iterable[Entry], root: Root) -> Layer:
    """Write `entries`, in any order, as one tar to `sink`; return it as an uncompressed layer.

    Contents and times of files come from `root`, all else from the entries. Members are sorted
    by the components of their paths. A file's time is what `root` says, all other times are the
    root's epoch: when a directory last changed is no matter of the image. ListError when an entry
    cannot be in a layer or its file is not as listed; OSError when `sink` cannot be written.
    """
    tally = Tally(sink=sink, progress=progress.current())
    for piece in _gathered(_members(_ordered(entries), root)):
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
    status = root.peek(entry.path)
    return status.size if status else 0


def _gathered(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield `parts` joined to pieces: to write and hash each one would cost more than its bytes."""
    pending: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > CHUNK:
            yield b"".join(pending)
            pending, size = [], 0
        pending.append(part)
        size += len(part)
    yield b"".join(pending)


def _members(entries: Iterable[Entry], root: Root) -> Iterator[bytes]:
    """Yield the tar of `entries`, in their order."""
    for entry in entries:
        if entry.text:
            yield _member(entry, len(entry.text), root.epoch)
            yield entry.text
            yield padding(len(entry.text))
        elif entry.kind == "file":
            yield from _file(entry, root)
        elif entry.kind == "hard":
            # Engines give the file the time of each of its names.
            first = root.peek(entry.target)
            yield _member(entry, 0, first.mtime if first else root.epoch)
        else:
            yield _member(entry, 0, root.epoch)
    yield END


def drain(chunks: Iterator[bytes]) -> None:
    """Take `chunks`, and do nothing with them."""
    for _ in chunks:
        pass


def read(path: bytes, take: Callable[[Iterator[bytes]], None] = drain) -> Layer:
    """Return what the layer file `path`, named by its suffix, holds; it is read once.

    `take` gets the chunks of the uncompressed tar, and has to take them all; it may find them
    wrong by a ValueError. InputError when it is not a whole tar of that kind.
    """
    kind, tar, last = suffix(path), Tally(), b""
    with open(path, "rb", buffering=0) as file:
        blob = Tally(source=file, progress=progress.current())

        def content() -> Iterator[bytes]:
            nonlocal last
            for chunk in decompress(blob, kind):
                tar.write(chunk)
                last = (last + chunk[-len(END) :])[-len(END) :]
                yield chunk

        try:
            take(content())
        except ValueError as error:
            raise _unreadable(path, str(error)) from error
    if last != END or tar.size % BLOCK:
        raise _unreadable(path, "the end of the tar is missing")
    return Layer(MEDIA_TYPES[kind], blob.digest, blob.size, tar.digest)


def _unreadable(path: bytes, cause: str) -> InputError:
    return InputError(f"read layer {show(path)}", cause, "delete it and build it again")


def suffix(path: bytes) -> str:
    """Return which key of `MEDIA_TYPES` the file name `path` ends in; InputError when in none."""
    for known in MEDIA_TYPES:
        if path.endswith(known.encode()):
            return known
    raise InputError(
        f"use tar {show(path)}",
        "its suffix tells no compression",
        f"end its name in one of {', '.join(MEDIA_TYPES)}",
    )


@contextmanager
def compress(sink: Sink, suffix: str) -> Iterator[Sink]:
    """Give a sink whose bytes reach `sink` compressed as `suffix` says; whole when it is left.

    The gzip header holds no name and no time. The zstd frame holds no content size, which is not
    known in a stream, and no checksum, since the digest is one. Neither depends on how the bytes
    are cut into writes.
    """
    if suffix == ".tar.gz":
        import gzip

        with gzip.GzipFile("", "wb", _GZIP_LEVEL, sink, mtime=0) as stream:  # type: ignore[call-overload]
            yield stream
    elif suffix == ".tar.zst":
        import zstandard

        codec = zstandard.ZstdCompressor(_ZSTD_LEVEL, write_content_size=False)
        with codec.stream_writer(sink, closefd=False) as writer:  # type: ignore[arg-type]
            yield writer
    else:
        yield sink


def compressor(suffix: str) -> str:
    """Name the compressor, its version and level: all that the compressed bytes depend on."""
    if suffix == ".tar.gz":
        # From Python 3.14 on, zlib may be zlib-ng, whose bytes differ.
        version = getattr(zlib, "ZLIBNG_VERSION", zlib.ZLIB_RUNTIME_VERSION)
        return f"zlib {version} level {_GZIP_LEVEL}"
    if suffix == ".tar.zst":
        import zstandard

        version = ".".join(map(str, zstandard.ZSTD_VERSION))
        return f"zstd {version} level {_ZSTD_LEVEL} by zstandard {zstandard.__version__}"
    return "none"


def decompress(source: Source, suffix: str) -> Iterator[bytes]:
    """Yield what `source` (hostile), compressed as `suffix` says, holds; all of it is read.

    ValueError, with the cause as its text, when it is not that, or when its end is missing.
    """
    if suffix == ".tar.gz":
        return _gunzip(source)
    if suffix == ".tar.zst":
        return _unzstd(source)
    return iter(lambda: source.read(CHUNK), b"")


def _gunzip(source: Source) -> Iterator[bytes]:
    import gzip

    try:
        with gzip.GzipFile("", "rb", fileobj=source) as stream:  # type: ignore[call-overload]
            while chunk := stream.read(CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"it is not a whole gzip file ({error})") from error


def _unzstd(source: Source) -> Iterator[bytes]:
    import zstandard

    codec = zstandard.ZstdDecompressor()
    frame = codec.decompressobj()
    try:
        # zstd packs up to 32768 bytes into one: a small piece keeps what it may hold in bounds.
        while piece := source.read(4096):
            while piece:
                frame = codec.decompressobj() if frame.eof else frame
                yield frame.decompress(piece)
                piece = frame.unused_data
    except zstandard.ZstdError as error:
        raise ValueError(f"it is not a zstd file ({error})") from error
    if not frame.eof:
        raise ValueError("the end of the zstd file is missing")


def header(
    name: bytes,
    kind: bytes = FILE,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    capabilities: bytes = b"",
) -> bytes:
    """Return the header of a tar member `name`, with a PAX header before it where one is needed.

    `size` is in bytes, `mtime` in seconds since 1970; `link` is a link's text, or the name of
    the member that a hard link is another name of; `capabilities` is the extended attribute that
    holds them. Content must follow, padded by `padding`.
    """
    prefix, base = _split(name)
    is_short = len(base) <= _NAME and len(link) <= _NAME and not capabilities
    if is_short and uid < _SHORT and gid < _SHORT and size < _LONG and mtime < _LONG:
        return _ustar(prefix, base, kind, mode, link, uid, gid, size, mtime)
    numbers = {"uid": uid, "gid": gid, "size": size, "mtime": mtime}
    records = {key: b"%d" % number for key, number in numbers.items() if number >= _LIMITS[key]}
    if len(base) > _NAME:
        records["path"] = name
    if len(link) > _NAME:
        records["linkpath"] = link
    if capabilities:
        records[CAPABILITIES] = capabilities
    numbers.update((key, 0) for key in records if key in numbers)
    return _pax(records) + _ustar(prefix, base, kind, mode, link, **numbers)


def member(block: bytes) -> tuple[bytes, bytes, int, Status] | None:
    """Return name, type flag, size and status that the header `block` (hostile) tells.

    The status has neither size nor time; its target is a link's text, or the first name of a hard
    link. None when the header is none as we write them, its checksum included: all else that tars
    may have is for `tarfile` to read.
    """
    if len(block) != BLOCK:
        return None
    base, digits, checksum, flag, link, alike, prefix, zeros = _USTAR.unpack(block)
    base, link, prefix = base.rstrip(b"\0"), link.rstrip(b"\0"), prefix.rstrip(b"\0")
    if checksum != _checksum(base, digits, flag, link, prefix) or not _DIGITS.fullmatch(digits):
        return None
    name, size = prefix + b"/" + base if prefix else base, int(digits[24:35], 8)
    if alike != _ALIKE or b"\0" in name or b"\0" in link or zeros.strip(b"\0"):
        return None
    if flag not in _KINDS or (size and flag != FILE):
        return None
    return name, flag, size, _status(flag, digits[:24], link)


@functools.lru_cache
def _status(flag: bytes, digits: bytes, target: bytes) -> Status:
    """Return what most members have in common with others, made once."""
    mode, uid, gid = [int(number, 8) for number in digits.split(b"\0")[:3]]
    return Status(_KINDS[flag], mode & 0o7777, uid, gid, target=target)


def padding(size: int) -> bytes:
    """Return the zeros that follow a content of `size` bytes."""
    return bytes(-size % BLOCK)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return ustar's prefix (up to 155 bytes) and name of `name`, cut at a slash.

    Without a fitting slash the prefix is empty, and the name longer than its 100 bytes.
    """
    if len(name) <= _NAME:
        return b"", name
    cut = name.find(b"/", len(name) - _NAME - 1)
    if 0 < cut <= 155 and cut + 1 < len(name):
        return name[:cut], name[cut + 1 :]
    return b"", name


def _pax(records: dict[str, bytes]) -> bytes:
    # Names that are not UTF-8 stand as they are, as GNU tar writes them: it warns of hdrcharset.
    data = b"".join(_record(key.encode(), value) for key, value in records.items())
    return (
        _ustar(b"", b"././@PaxHeader", PAX, 0o644, b"", size=len(data)) + data + padding(len(data))
    )


def _record(key: bytes, value: bytes) -> bytes:
    """Return one PAX record: its own length in digits, and ``key=value``."""
    body = b" %s=%s\n" % (key, value)
    length = len(body)
    while length != len(body) + len(b"%d" % length):
        length = len(body) + len(b"%d" % length)
    return b"%d%s" % (length, body)


def _ustar(
    prefix: bytes,
    name: bytes,
    kind: bytes,
    mode: int,
    link: bytes,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
) -> bytes:
    """Return one ustar header block; texts that are too long are cut, numbers must fit."""
    name, link = name[:_NAME], link[:_NAME]
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, mtime)
    checksum = _checksum(name, numbers, kind, link, prefix)
    return _USTAR.pack(name, numbers, checksum, kind, link, _ALIKE, prefix, b"")


def _checksum(*fields: bytes) -> bytes:
    """Return the checksum of a header with these fields, besides what all have alike."""
    # Zeros count for nothing: most of a header need not be added up.
    return b"%06o\0 " % (_SUM + sum(b"".join(fields)))


def _member(entry: Entry, size: int, mtime: int) -> bytes:
    name = entry.path[1:] + b"/" * (entry.kind == "dir")
    return header(
        name if entry.path != b"/" else b"./",
        _TYPES[entry.kind],
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=size,
        mtime=mtime,
        link=entry.target[1:] if entry.kind == "hard" else entry.target,
        # Each name has them: engines set the owner for each, and the kernel drops them then.
        capabilities=attributes.attribute(entry.capabilities) if entry.capabilities else b"",
    )


def _file(entry: Entry, root: Root) -> Iterator[bytes]:
    """Yield the member of a file whose content lies somewhere."""
    status = root.status(entry.path, Aspect.MTIME)
    if status is None:
        raise _unpackable(entry, "it has gone", "build again to list anew")
    if status.kind is not Kind.FILE:
        raise _unpackable(entry, "it is no longer a regular file", "build again to list anew")
    yield _member(entry, status.size, status.mtime)
    left = status.size
    with root.open(entry.path) as stream:
        while left and (chunk := stream.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
        # Whatever touches the file sets its ctime, growth and a change back included.
        changed = os.fstat(stream.fileno()).st_ctime_ns != status.ctime_ns
    if left or changed:
        raise _unpackable(entry, "it changed while it was read", "build again when it is at rest")
    yield padding(status.size)


def _ordered(entries: Iterable[Entry]) -> list[Entry]:
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
        raise _unpackable(entry, "it is not a plain absolute path", "write it without . .. and //")
    above, _, name = entry.path.rpartition(b"/")
    if name.startswith(b".wh."):
        raise _unpackable(
            entry, "names with .wh. in front mean deleted files in layers", "leave it out"
        )
    if entry.path in packed:
        raise _unpackable(entry, "it is listed twice", "list it once")
    if above and getattr(packed.get(above), "kind", "") != "dir":
        raise _unpackable(
            entry, f"{show(above)} is not listed as a directory", "list that, as well"
        )
    if entry.kind == "hard":
        _check_hard(entry, packed.get(entry.target))


def _check_hard(entry: Entry, first: Entry | None) -> None:
    if first is None or first.kind != "file":
        raise _unpackable(
            entry, f"no file {show(entry.target)} is listed before it", "list it as a file"
        )
    # A hard link sets mode, owner and capabilities of the one file that both names have.
    own, others = ((e.mode, e.uid, e.gid, e.capabilities) for e in (entry, first))
    if own != others:
        raise _unpackable(
            entry,
            f"mode, owner or capabilities differ from those of {show(first.path)}, the same file",
            "list both alike",
        )


def _unpackable(entry: Entry, cause: str, mend: str) -> ListError:
    return ListError(f"pack {show(entry.path)}", cause, mend)
