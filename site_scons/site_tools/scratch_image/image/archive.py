"""The image archive: one tar that is an OCI layout and what `docker load` has always taken.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md allows both in one: the
blobs lie where the layout wants them, and Docker's ``manifest.json`` points at them. The small
files come first, so that a reader of a stream knows what follows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, BinaryIO

from .. import progress
from ..errors import InputError
from ..fs.digest import CHUNK, Digest, Source, Tally
from ..fs.paths import show
from .config import INDEX_TYPE, MANIFEST_TYPE, Descriptor, Image, Index, canonical, layout_index
from .reference import Reference
from .tar_header import BLOCK, DIR, END, FILE, format_header, padding
from .tar_reader import SeekableTar, TarReader

_LAYOUT = {"imageLayoutVersion": "1.0.0"}

_MAX_DOCUMENT = 4 << 20
"""Bytes of a JSON document; containerd takes no larger one."""

_MAX_LAYERS = 125
"""Layers that Docker stacks; containerd takes two more."""

_MAX_MEMBERS = 1000
"""Members of an archive, which has few besides its layers."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, and where it lies there, in bytes from the start."""

    name: str
    start: int
    """Where its header begins."""
    data: int
    """Where its content begins."""
    size: int
    """Bytes of the content."""

    @property
    def end(self) -> int:
        """Where the next member begins."""
        return self.data + self.size + len(padding(self.size))


@dataclass(frozen=True, slots=True)
class Archive:
    """The content of an archive of one image, as the archive describes it, unverified."""

    path: bytes
    """The archive."""
    members: tuple[Member, ...]
    """In the order of the file."""
    references: tuple[Reference, ...]
    """The names that the image will have."""
    manifest: Digest
    """The image ID in a containerd store."""
    config: Digest
    """The image ID in a graph driver's store."""
    layers: tuple[Digest, ...]
    """Digests of the layer blobs, the lowest first."""
    diff_ids: tuple[Digest, ...]
    """Digests of the uncompressed layers, in the same order."""
    architecture: str
    """Docker's name of the machine that it is for."""

    @property
    def descriptor(self) -> Descriptor:
        """The image's manifest, as an index describes it."""
        size = self.blobs[self.manifest].size
        return Descriptor(MANIFEST_TYPE, self.manifest, size, self.architecture)

    @property
    def blobs(self) -> dict[Digest, Member]:
        """The image's own blobs, as far as they are there: manifest, config, and layers."""
        members = {member.name: member for member in self.members}
        digests = (self.manifest, self.config, *self.layers)
        return {each: members[_blob(each)] for each in digests if _blob(each) in members}

    def chunks(self, omit: Collection[Digest] = ()) -> Iterator[bytes]:
        """Yield the bytes of the archive, without the blobs in `omit`."""
        left_out = {_blob(digest) for digest in omit}
        members = [member for member in self.members if member.name not in left_out]
        done = progress.current()
        done.expect(sum(member.end - member.start for member in members))
        with open(self.path, "rb") as file:
            for member in members:
                span = _Span(file, member.start, member.end - member.start)
                while chunk := span.read(CHUNK):
                    yield chunk
                    done.add(len(chunk))
        yield END


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, byte for byte."""

    media_type: str
    digest: Digest
    """Of `data`."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """The content of an archive that goes to a registry; blobs are not verified."""

    path: bytes
    """The archive."""
    documents: tuple[Document, ...]
    """The last one is the image; before it, for several platforms, the manifest of each."""
    blobs: Mapping[Digest, Member]
    """Configs and layers, each once."""

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """Yield the bytes of a blob."""
        member = self.blobs[digest]
        with open(self.path, "rb") as file:
            span = _Span(file, member.data, member.size)
            yield from iter(lambda: span.read(CHUNK), b"")


class _Span:
    """A part of an open file, as a source."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        file.seek(start)
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def write(
    sink: BinaryIO, image: Image, layers: Sequence[bytes], references: Sequence[Reference]
) -> None:
    """Write the archive of `image`, named by each of `references`, to `sink`.

    `layers` are the paths of the files that `image.layers` describes, in the same order.
    InputError when there is no reference, when there are more layers than an engine takes, or
    when such a file has changed; OSError when `sink` cannot be written.
    """
    if not references:
        raise InputError("write image archive", "it has no tag", "give it one")
    if len(layers) > _MAX_LAYERS:
        raise InputError(
            "write image archive",
            f"it has {len(layers)} layers, and engines take {_MAX_LAYERS}",
            "join some",
        )
    config, manifest = image.config.json(), image.manifest.json()
    _add(sink, "oci-layout", canonical(_LAYOUT))
    _add(sink, "index.json", image.index(references).json())
    _add(sink, "manifest.json", canonical(_docker_manifest(image, references)))
    _add_directories(sink)
    _add(sink, _blob(Digest.of(config)), config)
    _add(sink, _blob(Digest.of(manifest)), manifest)
    paths = dict(zip((layer.digest for layer in image.layers), layers, strict=True))
    sizes = {layer.digest: layer.size for layer in image.layers}
    for digest, path in paths.items():
        with open(path, "rb", buffering=0) as file:
            _add_blob(sink, digest, sizes[digest], file, f"layer {show(path)}")
    sink.write(END)


def write_index(
    sink: BinaryIO,
    images: Sequence[Archive],
    references: Sequence[Reference],
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> Digest:
    """Write an OCI layout with one image for several platforms to `sink`; return its digest.

    `images` are sound, of one platform each; their order is that of the index, in which a client
    takes the first that it can run. InputError when two are for one platform, when there is no
    image or no reference, or when a blob is missing or has changed.
    """
    _check_index(images, references)
    index = Index(tuple(image.descriptor for image in images), annotations)
    document = index.json()
    _add(sink, "oci-layout", canonical(_LAYOUT))
    _add(sink, "index.json", layout_index(index, references).json())
    _add_directories(sink)
    _add(sink, _blob(Digest.of(document)), document)
    added: set[Digest] = set()
    for image in images:
        with open(image.path, "rb") as file:
            for digest, member in image.blobs.items():
                if digest not in added:
                    added.add(digest)
                    span = _Span(file, member.data, member.size)
                    _add_blob(sink, digest, member.size, span, f"{digest} of {show(image.path)}")
    sink.write(END)
    return Digest.of(document)


def _check_index(images: Sequence[Archive], references: Sequence[Reference]) -> None:
    if not images or not references:
        raise InputError("write image index", "it has no image or no tag", "give it both")
    seen: dict[str, Archive] = {}
    for image in images:
        first = seen.setdefault(image.architecture, image)
        if first is not image:
            raise InputError(
                "write image index",
                f"{show(first.path)} and {show(image.path)} are both for {image.architecture}",
                "give one image for each platform",
            )
        if len(image.blobs) != len({image.manifest, image.config, *image.layers}):
            raise _unreadable(image.path, "a blob is missing")


def _add(sink: BinaryIO, name: str, data: bytes) -> None:
    sink.write(format_header(name.encode(), size=len(data)) + data + padding(len(data)))


def _add_directories(sink: BinaryIO) -> None:
    # Without these, skopeo makes the directories for root, which an ordinary user may not do.
    for directory in ("blobs/", "blobs/sha256/"):
        sink.write(format_header(directory.encode(), DIR, mode=0o755))


def _add_blob(sink: BinaryIO, digest: Digest, size: int, source: Source, shown: str) -> None:
    """Add what `source`, called `shown` in messages, holds: `size` bytes of that digest."""
    sink.write(format_header(_blob(digest).encode(), size=size))
    tally = Tally(source=source, progress=progress.current())
    while chunk := tally.read(CHUNK):
        sink.write(chunk)
    if (tally.digest, tally.size) != (digest, size):
        raise InputError(
            "write image archive",
            f"{shown} changed while it was read",
            "build again when nothing writes to it",
        )
    sink.write(padding(size))


def _blob(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _docker_manifest(image: Image, references: Sequence[Reference]) -> list[dict[str, Any]]:
    return [
        {
            "Config": _blob(image.manifest.config.digest),
            "RepoTags": [reference.familiar for reference in references],
            "Layers": [_blob(layer.digest) for layer in image.layers],
        }
    ]


def read(path: bytes) -> Archive:
    """Return the content of the archive `path` (hostile), of the kind that `write` makes.

    Layers are not read, and may be left out. InputError when it is not such an archive.
    """
    with _json_errors(path, "its JSON is not that of one image"), open(path, "rb") as file:
        members = _members(file)
        index = _document(file, members, "index.json")
        docker = _document(file, members, "manifest.json")
        digest = Digest.parse(index["manifests"][0]["digest"])
        manifest = _document(file, members, _blob(digest))
        config = _document(file, members, _blob(Digest.parse(manifest["config"]["digest"])))
        found = Archive(
            path,
            tuple(members.values()),
            tuple(Reference.parse(text) for text in docker[0]["RepoTags"]),
            digest,
            Digest.parse(manifest["config"]["digest"]),
            tuple(Digest.parse(layer["digest"]) for layer in manifest["layers"]),
            tuple(Digest.parse(text) for text in config["rootfs"]["diff_ids"]),
            str(config["architecture"]),
        )
        if not found.references or len(found.layers) != len(found.diff_ids):
            raise TypeError
        return found


def layout(path: bytes) -> Layout:
    """Return the content of the archive `path` (hostile), of one image or an index, for a registry.

    InputError when it is not such an archive, a document has another digest, or a blob is missing.
    """
    with _json_errors(path, "its JSON is not that of an image"), open(path, "rb") as file:
        members = _members(file)
        descriptor = _document(file, members, "index.json")["manifests"][0]
        top = _verified_document(file, members, descriptor)
        children = []
        if top.media_type == INDEX_TYPE:
            listed = _json(top.data, _blob(top.digest))["manifests"]
            children = [_verified_document(file, members, each) for each in listed]
        documents = tuple(dict.fromkeys([*children, top]))
        blobs = [blob for each in children or [top] for blob in _blobs(members, each)]
        return Layout(path, documents, dict(blobs))


@contextmanager
def _json_errors(path: bytes, cause: str) -> Iterator[None]:
    """Turn errors about the archive `path` into a line; `cause` is for JSON of another shape."""
    try:
        yield
    except ValueError as error:
        raise _unreadable(path, str(error)) from error
    except (InputError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, cause) from error


def _verified_document(file: BinaryIO, members: dict[str, Member], descriptor: Any) -> Document:
    digest = Digest.parse(descriptor["digest"])
    data = _bytes(file, members, _blob(digest))
    if Digest.of(data) != digest:
        raise ValueError(f"{_blob(digest)} has another content")
    return Document(str(descriptor["mediaType"]), digest, data)


def _blobs(members: dict[str, Member], manifest: Document) -> Iterator[tuple[Digest, Member]]:
    document = _json(manifest.data, _blob(manifest.digest))
    for descriptor in [document["config"], *document["layers"]]:
        digest = Digest.parse(descriptor["digest"])
        if _blob(digest) not in members:
            raise ValueError(f"{_blob(digest)} is missing")
        yield digest, members[_blob(digest)]


def _unreadable(path: bytes, cause: str) -> InputError:
    return InputError(f"read image archive {show(path)}", cause, "delete it and build it again")


def _document(file: BinaryIO, members: dict[str, Member], name: str) -> Any:
    return _json(_bytes(file, members, name), name)


def _json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON") from error


def _bytes(file: BinaryIO, members: dict[str, Member], name: str) -> bytes:
    """Return the content of the document `name`; ValueError when there is none."""
    member = members.get(name)
    if member is None:
        raise ValueError(f"{name} is missing")
    if member.size > _MAX_DOCUMENT:
        raise ValueError(f"{name} is larger than 4 MiB")
    return _Span(file, member.data, member.size).read(member.size)


def _members(file: BinaryIO) -> dict[str, Member]:
    """Return the members of the tar `file` by name, in order; ValueError when it is broken."""
    found: dict[str, Member] = {}
    start = 0
    for header in TarReader(SeekableTar(file)):
        name = header.name.decode("ascii", "replace")
        if header.flag not in (FILE, DIR) or name in found or len(found) == _MAX_MEMBERS:
            raise ValueError(f"{name!r} is not a file, or not the only one, or one too many")
        found[name] = Member(name, start, file.tell(), header.size)
        start = found[name].end
    file.seek(start)
    if file.read(BLOCK) != bytes(BLOCK):
        raise ValueError("the end of the tar is missing")
    return found
