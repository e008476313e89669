"""Entries of a cache: the messages of the Remote Execution API that a shared result is made of.

A key is the digest of an `Action`, and its entry is an `ActionResult`: every cache for Bazel takes
both. The few messages are written and read here, field by field.
https://github.com/bazelbuild/remote-apis/blob/main/build/bazel/remote/execution/v2/remote_execution.proto
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

MAX_ENTRY = 4 << 20
"""Bytes that an entry has at most: gRPC takes no larger messages."""

_MAX_BLOB = 1 << 30
"""Bytes that a blob has at most: it is read into memory."""

_MAX_FIELDS = 20_000
"""Fields that a message has at most."""

_HEX = re.compile(r"[0-9a-f]{64}")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""


class EntryError(Exception):
    """Something out of a cache is not what it should be; the text says in which way."""


@dataclass(frozen=True, slots=True, order=True)
class BlobDigest:
    """The SHA-256 and the size of a blob: they name it in every cache."""

    hex: str
    """64 lower case hex digits."""
    size: int
    """Bytes of the blob."""

    @classmethod
    def of(cls, blob: bytes) -> BlobDigest:
        """Return the digest of `blob`."""
        return cls(hashlib.sha256(blob).hexdigest(), len(blob))

    def write(self) -> bytes:
        """Return the message `Digest`."""
        return _bytes(1, self.hex.encode()) + _number(2, self.size)

    @classmethod
    def read(cls, message: bytes) -> BlobDigest:
        """Return what the message `Digest` (hostile) holds; EntryError when it is none."""
        fields = dict(read_fields(message))
        text, size = _text(fields.get(1, b"")), fields.get(2, 0)
        if not _HEX.fullmatch(text) or not isinstance(size, int) or size > _MAX_BLOB:
            raise EntryError("a digest is malformed")
        return cls(text, size)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file of a result."""

    path: str
    """Its name, which says which file of the step it is."""
    digest: BlobDigest

    def write(self) -> bytes:
        """Return the message `OutputFile`."""
        return _bytes(1, self.path.encode()) + _bytes(2, self.digest.write())

    @classmethod
    def read(cls, message: bytes) -> OutputFile:
        """Return what the message `OutputFile` (hostile) holds; EntryError when it is none."""
        fields = dict(read_fields(message))
        path = _text(fields.get(1, b""))
        if not path.isprintable() or not path or "/" in path:
            raise EntryError("the name of a file is malformed")
        return cls(path, BlobDigest.read(_blob(fields.get(2, b""))))


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An `ActionResult`: what a cache has for a key."""

    files: tuple[OutputFile, ...] = ()
    stdout: bytes = b""
    """Content that is small enough to come with the entry itself."""
    stderr: bytes = b""
    """The signature of the entry, in caches whose entries have one."""

    def write(self) -> bytes:
        """Return the message `ActionResult`."""
        files = b"".join(_bytes(2, each.write()) for each in self.files)
        return files + _bytes(5, self.stdout) + _bytes(7, self.stderr)

    @classmethod
    def read(cls, message: bytes) -> CacheEntry:
        """Return what the message `ActionResult` (hostile) holds; EntryError when it is none."""
        if len(message) > MAX_ENTRY:
            raise EntryError("an entry is too large")
        fields = list(read_fields(message))
        last = dict(fields)
        if last.get(4, 0) != 0:
            raise EntryError("an entry is about a failure")
        files = tuple(OutputFile.read(_blob(found)) for number, found in fields if number == 2)
        return cls(files, _blob(last.get(5, b"")), _blob(last.get(7, b"")))


@dataclass(frozen=True, slots=True)
class Key:
    """The key of an entry: an `Action` whose command names what it is the result of."""

    digest: BlobDigest
    """Of the action."""
    blobs: Mapping[BlobDigest, bytes]
    """Action, command and input root: a cache that checks its entries wants them as well."""

    @classmethod
    def of(cls, *words: str) -> Key:
        """Return the key that `words` name."""
        command = b"".join(_bytes(1, word.encode()) for word in words)
        root = b""
        action = _bytes(1, BlobDigest.of(command).write()) + _bytes(2, BlobDigest.of(root).write())
        blobs = {BlobDigest.of(blob): blob for blob in (command, root, action)}
        return cls(BlobDigest.of(action), blobs)


# The wire format


def write_varint(number: int) -> bytes:
    """Return `number`, zero or more, as a varint."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def write_field(number: int, value: int | bytes) -> bytes:
    """Return the field `number` of a message; nothing for a value that is the default one."""
    return _bytes(number, value) if isinstance(value, bytes) else _number(number, value)


def write_fields(fields: Iterable[tuple[int, int | bytes]]) -> bytes:
    """Return a message of `fields`, each with its number and value."""
    return b"".join(write_field(number, value) for number, value in fields)


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of `message` (hostile); EntryError when it is none."""
    at = 0
    for _ in range(_MAX_FIELDS):
        if at == len(message):
            return
        tag, at = _read_varint(message, at)
        wire = tag & 7
        if wire == _VARINT:
            number, at = _read_varint(message, at)
            yield tag >> 3, number
            continue
        sizes = {_FIXED64: 8, _FIXED32: 4}
        size, at = _read_varint(message, at) if wire == _BYTES else (sizes.get(wire, -1), at)
        if size < 0 or at + size > len(message):
            break
        yield tag >> 3, message[at : at + size]
        at += size
    raise EntryError("a message is malformed")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        number |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return number, at
    raise EntryError("a message is malformed")


def _number(number: int, value: int) -> bytes:
    return write_varint(number << 3 | _VARINT) + write_varint(value) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    return write_varint(number << 3 | _BYTES) + write_varint(len(value)) + value if value else b""


def _blob(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise EntryError("a message is malformed")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _blob(value).decode()
    except UnicodeDecodeError as error:
        raise EntryError("a text is malformed") from error
