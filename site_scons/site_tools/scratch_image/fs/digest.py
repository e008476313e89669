"""Digests as the OCI image specification writes them: ``sha256:<64 hex digits>``.

https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ..errors import InputError
from ..progress import Progress

CHUNK = 1 << 20
"""Bytes read at a time: large enough that hashing, not calling, takes the time."""

_TEXT = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The SHA-256 of some bytes."""

    text: str
    """``sha256:`` and 64 lower case hex digits."""

    def __str__(self) -> str:
        return self.text

    @property
    def hex(self) -> str:
        """The 64 hex digits: the name of the blob in an OCI layout."""
        return self.text.partition(":")[2]

    @property
    def short(self) -> str:
        """The digest for a line on a terminal: its first 12 hex digits, as Docker shows them."""
        return f"sha256:{self.hex[:12]}…"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that `text` (hostile) spells; InputError when it is not one."""
        if not _TEXT.fullmatch(text):
            raise InputError(
                f"read digest {text!r}",
                "it is not sha256: and 64 hex digits",
                "only SHA-256 digests are understood",
            )
        return cls(text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the digest of `data`."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}")

    @classmethod
    def of_stream(cls, stream: BinaryIO) -> Digest:
        """Return the digest of all that is left in `stream`, read in chunks."""
        hasher = hashlib.sha256()
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
        return cls(f"sha256:{hasher.hexdigest()}")


class Sink(Protocol):
    """A place for bytes: any binary file open for writing, or an object around one."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


class Source(Protocol):
    """An origin of bytes: any binary file open for reading, or an object around one."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


class Tally:
    """A sink or a source that counts and hashes the bytes that pass through to another one."""

    def __init__(
        self,
        *,
        sink: Sink | None = None,
        source: Source | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Wrap `sink` for writing, or `source` for reading; `progress` counts the bytes, too."""
        self.size = 0
        self._progress = progress or Progress()
        self._sink = sink
        self._source = source
        self._hasher = hashlib.sha256()

    @property
    def digest(self) -> Digest:
        """The digest of the bytes so far."""
        return Digest(f"sha256:{self._hasher.hexdigest()}")

    def write(self, data: bytes, /) -> None:
        """Pass `data` on to the sink, if there is one."""
        self._count(data)
        if self._sink is not None:
            self._sink.write(data)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes of the source."""
        data = self._source.read(size) if self._source is not None else b""
        self._count(data)
        return data

    def _count(self, data: bytes) -> None:
        self.size += len(data)
        self._progress.add(len(data))
        self._hasher.update(data)
