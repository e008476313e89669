"""A sysroot's origin whose tar a cache may have: to install packages takes minutes.

The tar is unpacked and checked as one that was made here: the cache replaces nothing but the
installation.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from ..fs.paths import join
from ..fs.root import Root
from ..image.compression import compress, decompress
from ..sysroot.origin import Origin
from .key import weak_key
from .result import StepResult
from .share import Share

_PACKED = ".tar.zst"


class SharedOrigin(Origin):
    """`origin`, whose tar is shared where all that decides over it is known before."""

    def __init__(self, origin: Origin, share: Share, code: str) -> None:
        """`code` is the digest of the plugin."""
        self._origin = origin
        self._share: Share | None = share
        self._code = code
        self._is_found = False
        self._key = ""
        self._packed = b""
        """A whole tar that was made here, as the cache is to have it."""
        self._seconds = 0.0

    def __str__(self) -> str:
        return str(self._origin)

    def note(self) -> str:
        """Return more words for the line about the tree."""
        return ", from the cache" if self._is_found else ""

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the tar, from the cache or from the origin."""
        words = self._origin.shared_words(root) if self._share else None
        if self._share is None or words is None:
            yield from self._origin.tar(root, sources, work)
            return
        self._key = weak_key([self._code, type(self._origin).__name__, *words])
        packed = join(work, b"shared" + _PACKED.encode())
        seconds = self._share.fetch_file(str(self), self._key, packed)
        self._is_found = seconds is not None
        self._share.count_step(None if seconds is None else StepResult((), "", seconds))
        if self._is_found:
            with open(packed, "rb", buffering=0) as blob:
                yield from decompress(blob, _PACKED)
            return
        begun = time.monotonic()
        with open(packed, "wb") as file, compress(file, _PACKED) as sink:
            for chunk in self._origin.tar(root, sources, work):
                sink.write(chunk)
                yield chunk
        self._packed, self._seconds = packed, time.monotonic() - begun

    def forget(self) -> bool:
        """Take no tar from the cache any more; tell whether there was one."""
        self._share = None
        was_found, self._is_found = self._is_found, False
        return was_found

    def config(self, root: Root) -> Mapping[str, Any] | None:
        """Return the config of the image, if the origin is one."""
        return self._origin.config(root)

    def settle(self, tree: bytes) -> dict[bytes, bytes]:
        """Check the tree as the origin does; then keep its tar."""
        files = self._origin.settle(tree)
        if self._share and self._packed and os.path.exists(self._packed):
            self._share.keep_file(str(self), self._key, self._packed, self._seconds)
        return files
