"""The claims of an archive about its images, computed again.

It shares no reader with what writes archives. Beyond what the OCI specification asks for, an
archive of ours has its members in one order, JSON in its canonical form, and no path in two layers
of an image: no byte of a layer is ever hidden by another one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import IO, TYPE_CHECKING, Any

from scratch_image.errors import InputError
from scratch_image.fs.digest import CHUNK, Digest
from scratch_image.fs.paths import show
from scratch_image.image.compression import MEDIA_TYPES, decompress
from scratch_image.image.config import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, canonical
from scratch_image.image.reference import Reference
from scratch_image.image.streams import Tally
from scratch_image.image.tar_header import DIR, END, FILE
from scratch_image.image.tar_reader import StreamedTar

if TYPE_CHECKING:
    import tarfile

_MAX_DOCUMENT = 4 << 20
"""Bytes of a JSON document; containerd takes no larger one."""

_SUFFIXES = {media_type: suffix for suffix, media_type in MEDIA_TYPES.items()}

_HEAD = ["oci-layout", "index.json"]
_DIRECTORIES = ["blobs/", "blobs/sha256/"]


def validate(path: bytes) -> list[str]:
    """Recompute every digest, size and diff ID that the archive `path` (hostile) claims.

    Return one line for each claim that does not hold, so none for a sound archive, be it of one
    image or of an index. InputError when it is no archive of an image.
    """
    import tarfile

    try:
        with tarfile.open(path, "r:", errors="surrogateescape") as tar:
            return _Audit(tar).run()
    except (InputError, LookupError, TypeError, AttributeError, RecursionError):
        cause = "its JSON is not that of an image"
    except (ValueError, tarfile.TarError, OverflowError) as error:
        cause = str(error)
    raise InputError(f"read image archive {show(path)}", cause, "delete it and build it again")


def _members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return the members of `tar` by name, in their order; ValueError when it is not whole."""
    found: dict[str, tarfile.TarInfo] = {}
    for each in tar:
        name = f"{each.name}/" if each.isdir() else each.name
        if name in found or each.type not in (FILE, DIR):
            raise ValueError(f"{name!r} is not a file, or not the only one")
        found[name] = each
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(len(END) + 1) != END:
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
        if tops[0]["mediaType"] == INDEX_TYPE:
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
        other = kinds != [MANIFEST_TYPE, MANIFEST_TYPE, CONFIG_TYPE]
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
                tally = Tally(source=self._open(name))
                while tally.read(CHUNK):
                    pass
                other = name != f"blobs/sha256/{tally.digest.hex}"
                self._tell(other, f"{name}: the content has digest {tally.digest}")

    def _layers(self, layers: Sequence[Any], diff_ids: Sequence[str]) -> None:
        """Look into the layers of one image."""
        paths = _Paths()
        for layer, diff_id in zip(layers, diff_ids, strict=False):
            name = _blob(layer)
            if name in self._members:
                tally = Tally()
                content = decompress(self._open(name), _SUFFIXES[layer["mediaType"]])
                try:
                    paths.add(_passed(content, tally))
                except ValueError as error:
                    self.wrong.append(f"{name}: {error}")
                other = str(tally.digest) != diff_id
                told = f"the uncompressed content has digest {tally.digest}, not {diff_id}"
                self._tell(other, f"{name}: {told}")
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
        self._tell(canonical(document) != data, f"{name}: its JSON is not canonical")
        return document

    def _open(self, name: str) -> IO[bytes]:
        content = self._tar.extractfile(self._members[name]) if name in self._members else None
        if content is None:
            raise ValueError(f"{name} is missing")
        return content


class _Paths:
    """The paths that layers hold together."""

    def __init__(self) -> None:
        self.twice: list[bytes] = []
        """Paths that came more than once, but for a directory that several layers have alike."""
        self._found: dict[bytes, object] = {}

    def add(self, chunks: Iterator[bytes]) -> None:
        """Add the members of a layer; ValueError when it is not a tar."""
        import tarfile

        source, own = StreamedTar(chunks), set()
        try:
            with tarfile.open(fileobj=source, mode="r|", errors="surrogateescape") as tar:
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


def _passed(chunks: Iterator[bytes], tally: Tally) -> Iterator[bytes]:
    """Yield `chunks`, and show each to `tally`."""
    for chunk in chunks:
        tally.write(chunk)
        yield chunk
