"""The claims of an archive about its images, computed again.

It shares no reader with what writes archives. Beyond what the OCI specification asks for, an
archive of ours has its members in one order, JSON in its canonical form, and no path in two layers
of an image: no byte of a layer is ever hidden by another one.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Sequence
from itertools import zip_longest
from typing import IO, Any

import zstandard
from scratch_image.errors import InputError
from scratch_image.fs.digest import Digest
from scratch_image.fs.paths import show
from scratch_image.image.reference import Reference

_MAX_DOCUMENT = 4 << 20
"""Bytes of a JSON document; containerd takes no larger one."""

_OCI = "application/vnd.oci.image."
_INDEX, _MANIFEST, _CONFIG = (f"{_OCI}{kind}.v1+json" for kind in ("index", "manifest", "config"))
_OPENERS: dict[str, Any] = {
    f"{_OCI}layer.v1.tar": lambda blob: blob,
    f"{_OCI}layer.v1.tar+gzip": lambda blob: gzip.GzipFile(fileobj=blob),
    f"{_OCI}layer.v1.tar+zstd": lambda blob: zstandard.ZstdDecompressor().stream_reader(
        blob, read_across_frames=True
    ),
}
"""Give the tar in a layer's blob, by media type."""

_HEAD = ["oci-layout", "index.json"]
_DIRECTORIES = ["blobs/", "blobs/sha256/"]


def validate(path: bytes) -> list[str]:
    """Recompute every digest, size and diff ID that the archive `path` (hostile) claims.

    Return one line for each claim that does not hold, so none for a sound archive, be it of one
    image or of an index. InputError when it is no archive of an image.
    """
    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as tar:
            return _Audit(tar).run()
    except (InputError, LookupError, TypeError, AttributeError, RecursionError, UnicodeError):
        cause = "its JSON is not that of an image"
    except (ValueError, tarfile.TarError, OverflowError) as error:
        cause = str(error)
    raise InputError(f"read image archive {show(path)}", cause, "delete it and build it again")


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return the members of `tar` by name, in their order; ValueError when it is not whole."""
    found: dict[str, tarfile.TarInfo] = {}
    for each in tar:
        name = f"{each.name}/" if each.isdir() else each.name
        if name in found or not (each.isreg() or each.isdir()):
            raise ValueError(f"{name!r} is not a file, or not the only one")
        found[name] = each
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(1025) != bytes(1024):
        raise ValueError("its end is missing, or not the end")
    return found


class _Audit:
    """One archive, and what is wrong with it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.wrong: list[str] = []
        self._tar = tar
        self._members = _members(tar)
        self._expected: list[str] = []
        self._described: dict[str, Any] = {}
        self._images: list[tuple[Any, Any]] = []

    def run(self) -> list[str]:
        """Return what is wrong."""
        self._documents()
        self._blobs()
        for manifest, config in self._images:
            self._layers(manifest["layers"], config["rootfs"]["diff_ids"])
        self._order()
        return self.wrong

    def _tell(self, is_wrong: bool, text: str) -> None:
        if is_wrong:
            self.wrong.append(text)

    def _documents(self) -> None:
        layout, index = self._json("oci-layout"), self._json("index.json")
        self._tell(layout != {"imageLayoutVersion": "1.0.0"}, "oci-layout: not version 1.0.0")
        tops = index["manifests"]
        self._tell(len({each["digest"] for each in tops}) > 1, "index.json: more than one image")
        self._describe(tops)
        if tops[0]["mediaType"] == _INDEX:
            self._expected += [*_HEAD, *_DIRECTORIES, _blob(tops[0])]
            listed = self._json(_blob(tops[0]))["manifests"]
            self._describe(listed)
            for each in listed:
                manifest = self._image(each)
                layers = map(_blob, manifest["layers"])
                self._expected += [_blob(each), _blob(manifest["config"]), *layers]
        else:
            manifest = self._image(tops[0])
            self._expected += [*_HEAD, "manifest.json", *_DIRECTORIES]
            layers = map(_blob, manifest["layers"])
            self._expected += [_blob(manifest["config"]), _blob(tops[0]), *layers]
            self._docker(tops, manifest)

    def _docker(self, tops: Any, manifest: Any) -> None:
        """Compare the document that Docker reads with the layout."""
        docker = self._json("manifest.json")[0]
        names = [each["annotations"]["io.containerd.image.name"] for each in tops]
        told = [Reference.parse(each).canonical for each in docker["RepoTags"]]
        self._tell(names != told, "index.json: other names than in manifest.json")
        other = docker["Config"] != _blob(manifest["config"])
        self._tell(other, "manifest.json: another config than in the manifest")
        other = docker["Layers"] != [_blob(each) for each in manifest["layers"]]
        self._tell(other, "manifest.json: other layers than in the manifest")

    def _image(self, descriptor: Any) -> Any:
        """Look at one manifest and its config; return the manifest."""
        name = _blob(descriptor)
        manifest = self._json(name)
        config = self._json(_blob(manifest["config"]))
        self._describe([manifest["config"], *manifest["layers"]])
        self._images.append((manifest, config))
        kinds = [descriptor["mediaType"], manifest["mediaType"], manifest["config"]["mediaType"]]
        other = kinds != [_MANIFEST, _MANIFEST, _CONFIG]
        self._tell(other, f"{name}: other media types than of a manifest and its config")
        own = {key: config[key] for key in ("architecture", "os", "variant") if key in config}
        other = descriptor["platform"] != own
        self._tell(other, f"{name}: described for another platform than its config's")
        filled = [step for step in config["history"] if not step.get("empty_layer")]
        numbers = {len(filled), len(manifest["layers"]), len(config["rootfs"]["diff_ids"])}
        self._tell(len(numbers) > 1, f"{name}: layers, history and diff IDs differ in number")
        return manifest

    def _describe(self, descriptors: Sequence[Any]) -> None:
        for each in descriptors:
            name, member = _blob(each), self._members.get(_blob(each))
            other = member is not None and member.size != each["size"]
            self._tell(other, f"{name}: {member and member.size} bytes, not {each['size']}")
            self._tell(member is None and name not in self._described, f"{name}: missing")
            self._described[name] = each

    def _blobs(self) -> None:
        for name in self._members:
            if name.startswith("blobs/") and not name.endswith("/"):
                digest = _Hashed(self._open(name)).drain()
                other = name != f"blobs/sha256/{digest.removeprefix('sha256:')}"
                self._tell(other, f"{name}: the content has digest {digest}")

    def _layers(self, layers: Sequence[Any], diff_ids: Sequence[str]) -> None:
        """Look into the layers of one image."""
        paths = _Paths()
        for layer, diff_id in zip(layers, diff_ids, strict=False):
            name = _blob(layer)
            if name in self._members:
                content = _Hashed(_OPENERS[layer["mediaType"]](self._open(name)))
                try:
                    paths.add(content)
                except ValueError as error:
                    self.wrong.append(f"{name}: {error}")
                told = f"the uncompressed content has digest {content.digest}, not {diff_id}"
                self._tell(content.digest != diff_id, f"{name}: {told}")
        self.wrong += [f"{show(path)}: packed more than once" for path in paths.twice]

    def _order(self) -> None:
        present = [name for name in dict.fromkeys(self._expected) if name in self._members]
        pairs = zip_longest(self._members, present)
        first = next((name for name, other in pairs if name != other), None)
        self._tell(first is not None, f"{first}: not a member that is due here")

    def _json(self, name: str) -> Any:
        """Return the document `name`."""
        data = self._open(name).read(_MAX_DOCUMENT + 1)
        if len(data) > _MAX_DOCUMENT:
            raise ValueError(f"{name} is larger than 4 MiB")
        try:
            document = json.loads(data)
        except ValueError as error:
            raise ValueError(f"{name} is not JSON") from error
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self._tell(text.encode() != data, f"{name}: its JSON is not canonical")
        return document

    def _open(self, name: str) -> IO[bytes]:
        content = self._tar.extractfile(self._members[name]) if name in self._members else None
        if content is None:
            raise ValueError(f"{name} is missing")
        return content


class _Hashed:
    """A source of bytes, which are hashed as they are read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._hasher = hashlib.sha256()

    def read(self, size: int) -> bytes:
        try:
            data = self._source.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"it is not a whole gzip file ({error})") from error
        self._hasher.update(data)
        return data

    def drain(self) -> str:
        """Read all that is left; return the digest of all."""
        while self.read(1 << 20):
            pass
        return self.digest

    @property
    def digest(self) -> str:
        """The digest of the bytes so far."""
        return f"sha256:{self._hasher.hexdigest()}"


class _Paths:
    """The paths that layers hold together."""

    def __init__(self) -> None:
        self.twice: list[bytes] = []
        """Paths that came more than once, but for a directory that several layers have alike."""
        self._found: dict[bytes, object] = {}

    def add(self, source: _Hashed) -> None:
        """Add the members of a layer, all of which is read; ValueError when it is not a tar."""
        own = set()
        try:
            stream: Any = source
            with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as tar:
                for each in tar:
                    path = os.path.normpath(b"/" + os.fsencode(each.name.strip("/")))
                    state = each.isdir() and (each.mode, each.uid, each.gid)
                    if path in self._found and (
                        not state or state != self._found[path] or path in own
                    ):
                        self.twice.append(path)
                    own.add(path)
                    self._found[path] = state
        except (tarfile.TarError, OverflowError) as error:
            raise ValueError(f"it is not a whole tar ({error})") from error
        finally:
            source.drain()


def _blob(descriptor: Any) -> str:
    return f"blobs/sha256/{Digest.parse(descriptor['digest']).hex}"
