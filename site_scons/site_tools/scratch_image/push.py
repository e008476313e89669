"""A push: what is missing of an image goes from its archive to a registry, without an engine.

Blobs first, several at once, then what names them, then the tags: a tag never means an image of
which something is missing. A blob that another repository of the registry has, as far as we have
seen or brought it there, is mounted and not sent.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TextIO

from . import archive
from .archive import Document, Layout
from .digest import Digest
from .errors import InputError
from .registry import CONNECTIONS, Repository, Tag, patiently

_places: dict[tuple[str, Digest], str] = {}
"""A repository that is likely to have a blob, by the registry's host."""

_locks: dict[tuple[str, Digest], threading.Lock] = {}
"""Held while a blob is brought to a registry: who comes second can mount it."""


class Meter:
    """Counts what is sent, and tells of it where a person looks; for several threads at once."""

    def __init__(self, name: str, stream: TextIO) -> None:
        """Take `name`, with which the line begins, and `stream`, told only if it is a terminal."""
        self._name = name
        self._stream = stream if stream.isatty() else None
        self._blobs: dict[object, tuple[int, int]] = {}
        self._lock = threading.Lock()

    @property
    def sent(self) -> int:
        """Bytes that were sent; of a blob that was begun again, those since then."""
        return sum(done for done, _ in self._blobs.values())

    def count(self, blob: object, done: int, size: int) -> None:
        """Note that the first `done` of the `size` bytes of `blob` were sent."""
        with self._lock:
            self._blobs[blob] = done, size
            total = sum(size for _, size in self._blobs.values())
            self._tell(f"{self._name}  {self.sent / 1e6:.1f} of {total / 1e6:.1f} MB")

    def close(self) -> None:
        """Take the line away."""
        self._tell("")

    def _tell(self, line: str) -> None:
        if self._stream:
            self._stream.write(f"\r{line}\033[K")
            self._stream.flush()


def recall(path: bytes) -> None:
    """Learn from `path`, the target of an earlier push, where its blobs are likely to be.

    The archive beside it tells which these are. Both may be gone, or no longer true: a registry
    that cannot mount a blob takes an upload instead.
    """
    stem = path.removesuffix(b".pushed")
    for suffix in (b".oci.tar", b".index.oci.tar"):
        with suppress(OSError, InputError):
            blobs = archive.layout(stem + suffix).blobs
            with open(path) as lines:
                tags = [Tag.parse(f"://{line.partition('@')[0]}") for line in lines]
            for tag, digest in itertools.product(tags, blobs):
                _places.setdefault((tag.host, digest), tag.path)


def push(path: bytes, tags: Sequence[Tag], meter: Meter) -> Digest:
    """Give registries the image or index in the archive `path` under `tags`; return its digest.

    InputError when the archive is broken; RegistryError when a registry cannot be reached, does
    not take it, or answers what cannot be trusted. What may pass is tried again for a while.
    """
    layout = archive.layout(path)
    try:
        for tag, own in itertools.groupby(sorted(tags), key=lambda tag: replace(tag, name="")):
            _Push(layout, tag, meter).run([each.name for each in own])
    finally:
        meter.close()
    return layout.documents[-1].digest


class _Push:
    """What goes to one repository."""

    def __init__(self, layout: Layout, place: Tag, meter: Meter) -> None:
        self._layout = layout
        self._place = place
        self._meter = meter
        self._repository = Repository(place.origin, place.path)

    def run(self, names: Sequence[str]) -> None:
        """Bring all that is missing, then name it by the tags `names`."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(self._bring_blob, self._layout.blobs):
                pass
        for document in self._layout.documents:
            self._bring(str(document.digest), document)
        for name in names:
            self._bring(name, self._layout.documents[-1])

    def _bring_blob(self, digest: Digest) -> None:
        key = self._place.host, digest
        with _locks.setdefault(key, threading.Lock()):
            patiently(lambda: self._put_blob(digest))
            _places[key] = self._place.path

    def _put_blob(self, digest: Digest) -> None:
        if not self._repository.has_blob(digest):
            size = self._layout.blobs[digest].size
            source = _places.get((self._place.host, digest), "")
            self._repository.put_blob(digest, size, lambda: self._data(digest, size), source)

    def _data(self, digest: Digest, size: int) -> Iterator[bytes]:
        done = 0
        for chunk in self._layout.chunks(digest):
            yield chunk
            done += len(chunk)
            self._meter.count((self._place, digest), done, size)

    def _bring(self, name: str, document: Document) -> None:
        patiently(lambda: self._put(name, document))

    def _put(self, name: str, document: Document) -> None:
        # A registry may refuse to be given a tag a second time, even for the same image.
        if self._repository.digest_of(name) != document.digest:
            self._repository.put_manifest(name, document.media_type, document.data)
