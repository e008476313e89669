"""The members of any tar (hostile), read in order.

Headers as we write them are read by our own hand, several times faster than by `tarfile`. From the
first other header on, `tarfile` reads the rest: so there are no rules of other tars to get wrong.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from ..fs.digest import CHUNK
from ..fs.lookup import FileKind, Status
from .tar_header import BLOCK, CAPABILITIES, END, FILE, KINDS, SPARSE, Header, parse_header

if TYPE_CHECKING:
    import tarfile

_CUT = "the end of the tar is missing"

_MAX_HEADER = 4 << 20
"""Bytes of a PAX or GNU header, which may hold a path and a link's text."""


class StreamedTar(io.RawIOBase):
    """The bytes that an iterator yields, read once.

    No read returns more than it was called for: tarfile would copy the rest.
    """

    mode: Final = "r|"

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = filter(None, chunks)
        self._chunk = self._last = b""
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, the rest of a chunk if it is negative; none at the end."""
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
        """Pass `size` bytes; return whether there were as many."""
        # Most are at hand, and need not be copied.
        passed = min(size, len(self._chunk) - self._at)
        self._at += passed
        while passed < size and (more := len(self.read(size - passed))):
            passed += more
        return passed == size

    def put_back(self, data: bytes) -> None:
        """Let `data`, which was taken last, come once more."""
        self._chunk, self._at = data + self._chunk[self._at :], 0

    def drain(self) -> bytes:
        """Read all that is left; return the last bytes of all, as many as `END` has."""
        self._at = len(self._chunk)
        while self.read():
            pass
        return self._last


class SeekableTar:
    """A tar in a file, whose contents are passed over and not read."""

    mode: Final = "r:"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(0, os.SEEK_END)
        self.tell = file.tell
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Return `size` bytes of a header; fewer at the end, or of a header without end."""
        return self._file.read(min(size, _MAX_HEADER))

    take = read

    def seek(self, position: int) -> None:
        """Go to `position` in the file, or to its end if that is nearer."""
        self._file.seek(min(position, self._end))

    def skip(self, size: int) -> bool:
        """Pass `size` bytes; return whether there were as many."""
        position = self.tell() + size
        self.seek(position)
        return position <= self._end

    def put_back(self, data: bytes) -> None:
        """Let `data`, which was taken last, come once more."""
        self.seek(self.tell() - len(data))


class TarReader:
    """The headers of a tar, once, and the content of the member whose header came last.

    ValueError, with the cause as its text, when it is no tar, or a member is cut off. The end of
    the source is taken for that of the tar: the caller compares its last bytes with `END`.
    """

    def __init__(self, source: StreamedTar | SeekableTar) -> None:
        self._source = source
        self._left = 0
        """Bytes of the content that were not read yet."""
        self._content: IO[bytes] | None = None
        """The content by `tarfile`, once that reads."""

    def __iter__(self) -> Iterator[Header]:
        while found := parse_header(block := self._source.take(BLOCK)):
            self._left = found.size
            yield found
            if not self._source.skip(self._left + -found.size % BLOCK):
                raise ValueError(_CUT)
        self._source.put_back(block)
        if block.strip(b"\0"):
            yield from self._others()

    def _others(self) -> Iterator[Header]:
        import tarfile

        with (
            _tarfile_errors(),
            tarfile.open(  # type: ignore[call-overload]
                fileobj=self._source,
                mode=self._source.mode,
                encoding="utf-8",
                errors="surrogateescape",
            ) as tar,
        ):
            for member in tar:
                self._content = tar.extractfile(member) if member.isreg() else io.BytesIO()
                yield _header(member)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes of the content; none at its end."""
        if self._content is not None:
            with _tarfile_errors():
                return self._content.read(size)
        due = min(size, self._left)
        data = self._source.take(due)
        if len(data) < due:
            raise ValueError(_CUT)
        self._left -= due
        return data

    def content(self) -> Iterator[bytes]:
        """Yield the chunks of the content."""
        return iter(lambda: self.read(CHUNK), b"")


@contextmanager
def _tarfile_errors() -> Iterator[None]:
    import tarfile

    try:
        yield
    except (tarfile.TarError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not a whole tar ({error})") from error


def _header(member: tarfile.TarInfo) -> Header:
    flag = SPARSE if member.issparse() else FILE if member.isreg() else member.type
    kind = KINDS.get(flag, FileKind.OTHER)
    link = _encode(member.linkname)
    return Header(
        _encode(member.name),
        flag,
        Status(kind, member.mode & 0o7777, member.uid, member.gid, target=link),
        member.size,
        member.mtime,
        _encode(member.pax_headers.get(CAPABILITIES, "")),
    )


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
