"""A push: blobs and manifests go from an archive to a registry, without an engine.

Only missing ones are sent: blobs first, several at once, then manifests, then the tags. So a tag
never means an image of which a part is missing. A blob that another repository of the registry
has, as far as we have seen or sent it there, is mounted and not sent.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from .. import progress
from ..errors import InputError
from ..fs.digest import Digest
from ..image import archive
from ..image.archive import Document, Layout
from .registry import Repository, Tag
from .registry_client import CONNECTIONS, retry

_places: dict[tuple[str, Digest], str] = {}
"""A repository that is likely to have a blob, by the registry's host."""

_locks: dict[tuple[str, Digest], threading.Lock] = {}
"""Held while a blob is sent to a registry: another thread can mount it afterwards."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push."""

    digest: Digest
    """Of the image or index, as registries have it."""
    sent: int
    """Bytes of blobs that were sent; of one that was begun again, those since then."""


def recall(path: bytes) -> None:
    """Learn from `path`, the target of an earlier push, where its blobs are likely to be.

    The archive beside it names the blobs. Both files may be gone, or no longer true: a registry
    that cannot mount a blob takes an upload instead.
    """
    stem = path.removesuffix(b".pushed")
    for suffix in (b".oci.tar", b".index.oci.tar"):
        with suppress(OSError, InputError):
            blobs = archive.layout(stem + suffix).blobs
            for tag, digest in itertools.product(tags_in(path), blobs):
                _places.setdefault((tag.host, digest), tag.path)


def tags_in(path: bytes) -> list[Tag]:
    """Return the tags in `path`, the target (hostile) of an earlier push."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        return [Tag.parse(f"://{line.partition('@')[0]}") for line in lines]


def push(path: bytes, tags: Sequence[Tag]) -> Pushed:
    """Give registries the image or index in the archive `path` under `tags`.

    InputError when the archive is broken; RegistryError when a registry cannot be reached, refuses,
    or its answer cannot be trusted. Requests that may succeed later are retried for a while.
    """
    layout, sent = archive.layout(path), 0
    for tag, own in itertools.groupby(sorted(tags), key=lambda tag: replace(tag, name="")):
        sent += _Push(layout, tag).run([each.name for each in own])
    return Pushed(layout.documents[-1].digest, sent)


class _Push:
    """The push of an image to one repository."""

    def __init__(self, layout: Layout, place: Tag) -> None:
        self._layout = layout
        self._place = place
        self._progress = progress.current()
        self._sent = dict.fromkeys(layout.blobs, 0)
        self._repository = Repository(place.origin, place.path)

    def run(self, names: Sequence[str]) -> int:
        """Send all that is missing, then set the tags `names`; return the bytes sent."""
        self._progress.expect(sum(blob.size for blob in self._layout.blobs.values()))
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(self._send_blob, self._layout.blobs):
                pass
        for document in self._layout.documents:
            self._send(str(document.digest), document)
        for name in names:
            self._send(name, self._layout.documents[-1])
        return sum(self._sent.values())

    def _send_blob(self, digest: Digest) -> None:
        key = self._place.host, digest
        with _locks.setdefault(key, threading.Lock()):
            retry(lambda: self._put_blob(digest))
            _places[key] = self._place.path
        # A blob that was there already counts as done, too.
        self._progress.add(self._layout.blobs[digest].size - self._sent[digest])

    def _put_blob(self, digest: Digest) -> None:
        if not self._repository.has_blob(digest):
            size = self._layout.blobs[digest].size
            source = _places.get((self._place.host, digest), "")
            self._repository.put_blob(digest, size, lambda: self._data(digest), source)

    def _data(self, digest: Digest) -> Iterator[bytes]:
        self._progress.add(-self._sent[digest])
        self._sent[digest] = 0
        for chunk in self._layout.chunks(digest):
            yield chunk
            self._sent[digest] += len(chunk)
            self._progress.add(len(chunk))

    def _send(self, name: str, document: Document) -> None:
        retry(lambda: self._put(name, document))

    def _put(self, name: str, document: Document) -> None:
        # A registry may refuse a tag a second time, even for the same image.
        if self._repository.digest_of(name) != document.digest:
            self._repository.put_manifest(name, document.media_type, document.data)
