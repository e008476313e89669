"""A directory as a store, in the layout of Bazel's ``--disk_cache``; it may lie on NFS.

Each file is written under another name and renamed: it is whole, or not there.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress

from ..fs.target import replacing
from .entry import MAX_ENTRY, BlobDigest
from .store import StoreError

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
"""A FIFO in the place of a file must not hang the build."""

_FILE, _DIRECTORY = 0o644, 0o755
"""Modes, whatever the umask is: others read what one user writes."""


class DirectoryStore:
    """Entries in ``ac/HH/HEX``, blobs in ``cas/HH/HEX``."""

    def __init__(self, directory: str) -> None:
        """Take the absolute `directory`, which is made when something is kept."""
        self._directory = os.fsencode(directory)
        self._lock = threading.Lock()

    def entry(self, key: BlobDigest) -> bytes | None:
        """Return the entry of `key`; None where there is none."""
        return self._content(self._path(b"ac", key), MAX_ENTRY)

    def blob(self, digest: BlobDigest) -> bytes | None:
        """Return the blob that `digest` names; None where there is none, or one of other size."""
        found = self._content(self._path(b"cas", digest), digest.size)
        return found if found is not None and len(found) == digest.size else None

    def missing(self, digests: Iterable[BlobDigest]) -> set[BlobDigest]:
        """Return those of `digests` whose blobs the store lacks."""
        return {each for each in digests if not self._has(each)}

    def keep(
        self,
        key: BlobDigest,
        entry: bytes,
        blobs: Mapping[BlobDigest, bytes],
        *,
        resend: bool = False,
    ) -> None:
        """Write those of `blobs` that are missing, with `resend` all; then `entry`, for `key`."""
        try:
            with self._lock:  # Several results may have one blob.
                self._keep(key, entry, blobs, resend=resend)
        except OSError as error:
            raise StoreError(str(error.strerror), writing=True) from error

    def _keep(
        self, key: BlobDigest, entry: bytes, blobs: Mapping[BlobDigest, bytes], *, resend: bool
    ) -> None:
        for digest in blobs if resend else self.missing(blobs):
            self._write(self._path(b"cas", digest), blobs[digest])
        self._write(self._path(b"ac", key), entry)

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _path(self, kind: bytes, digest: BlobDigest) -> bytes:
        name = digest.hex.encode()
        return os.path.join(self._directory, kind, name[:2], name)

    def _has(self, digest: BlobDigest) -> bool:
        with suppress(OSError):
            return os.stat(self._path(b"cas", digest)).st_size == digest.size
        return False

    def _content(self, path: bytes, most: int) -> bytes | None:
        """Return the first `most` bytes of the file `path`; None where there is no file."""
        try:
            with open(os.open(path, _READ), "rb") as stream:
                return stream.read(most + 1)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise StoreError(str(error.strerror)) from error

    def _write(self, path: bytes, content: bytes) -> None:
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):
            self._make(directory)
        with replacing(path) as sink:
            sink.write(content)
            os.fchmod(sink.fileno(), _FILE)

    def _make(self, directory: bytes) -> None:
        """Make `directory`, and those above it, with the rights of the store's own one."""
        for made in (self._directory, os.path.dirname(directory), directory):
            with suppress(FileExistsError):
                os.mkdir(made)
                rights = os.stat(self._directory).st_mode
                os.chmod(made, _DIRECTORY if made == self._directory else stat.S_IMODE(rights))
