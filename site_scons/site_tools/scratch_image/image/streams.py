"""Streams of bytes: where they come from, where they go, and their size and digest on the way."""

from __future__ import annotations

import hashlib
from typing import Protocol

from ..fs.digest import Digest
from ..progress import Progress


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
