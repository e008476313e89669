"""Config, manifest and index of an image as frozen values, each with one canonical JSON form.

https://github.com/opencontainers/image-spec/blob/v1.1.0/ (config.md, manifest.md, image-index.md)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..elf.machines import MACHINES, machine
from ..errors import InputError
from ..fs.digest import Digest
from .reference import Reference
from .settings import Settings

if TYPE_CHECKING:
    from .layer import Layer

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def canonical(document: object) -> bytes:
    """Return `document` as JSON in UTF-8: keys sorted, no white space.

    InputError when a text in it has bytes that are not UTF-8 (`os.fsdecode` lets them through).
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "write image settings",
            f"{text[max(0, error.start - 20) : error.end]!r} has bytes that are not UTF-8",
            "write them in UTF-8",
        ) from error


def architecture(number: int) -> str:
    """Return Docker's name (GOARCH) of the ELF machine `number`; InputError without one."""
    name = machine(number).architecture
    if not name:
        raise InputError(
            f"name the architecture of ELF machine {number}",
            "Docker has no name for it",
            f"build for one of {', '.join(row.architecture for row in MACHINES.values())}",
        )
    return name


def platform(architecture: str) -> dict[str, str]:
    """Return the JSON members that name Linux on `architecture`, with the variant if one is due."""
    named = {"architecture": architecture, "os": "linux"}
    variants = {row.architecture: row.variant for row in MACHINES.values()}
    if variants.get(architecture):
        named["variant"] = variants[architecture]
    return named


def architecture_of(name: str) -> str:
    """Return the architecture of the platform `name`: ``linux/amd64``, ``linux/arm64/v8``.

    InputError when images for it cannot be made here.
    """
    rows = MACHINES.values()
    known = {f"linux/{row.architecture}": row.architecture for row in rows}
    known |= {
        f"linux/{row.architecture}/{row.variant}": row.architecture for row in rows if row.variant
    }
    if name not in known:
        raise InputError(
            f"build for platform {name!r}",
            "it is not one that Docker has",
            f"write one of {', '.join(known)}",
        )
    return known[name]


def _time(epoch: int) -> str:
    """Return `epoch` (seconds since 1970) as RFC 3339 writes it."""
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError) as error:
        raise InputError(
            f"date image {epoch}", "no calendar has that year", "give seconds since 1970"
        ) from error


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A document as another one describes it: by kind, digest, size, and possibly more."""

    media_type: str
    digest: Digest
    size: int
    """Bytes."""
    architecture: str = ""
    """Of the image that a manifest describes; else empty."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        made: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.architecture:
            made["platform"] = platform(self.architecture)
        return made | _annotations_member(self.annotations)


@dataclass(frozen=True, slots=True)
class Config:
    """How a container of the image runs, and the diff IDs of its layers."""

    settings: Settings
    diff_ids: tuple[Digest, ...]
    """The lowest layer first."""

    def json(self) -> bytes:
        """Return the blob; its digest is what graph-driver engines call the image ID."""
        created = _time(self.settings.created)
        step = {"created": created, "created_by": "scratch_image"}
        return canonical(
            {
                **platform(self.settings.architecture),
                "created": created,
                "config": self.settings.document(),
                "rootfs": {"type": "layers", "diff_ids": [str(each) for each in self.diff_ids]},
                "history": [step for _ in self.diff_ids],
            }
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """Which config and which layers make an image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    """The lowest first."""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> bytes:
        """Return the blob; its digest is what registries and containerd call the image."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": self.config.document(),
                "layers": [layer.document() for layer in self.layers],
                **_annotations_member(self.annotations),
            }
        )


def _annotations_member(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the member `annotations` of a document, which has none where there is nothing."""
    return {"annotations": dict(annotations)} if annotations else {}


@dataclass(frozen=True, slots=True)
class Index:
    """Which manifests an OCI layout holds, or an image for several platforms."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> bytes:
        """Return the file."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "manifests": [manifest.document() for manifest in self.manifests],
                **_annotations_member(self.annotations),
            }
        )


@dataclass(frozen=True, slots=True)
class Image:
    """An image, all but the bytes of its layers."""

    settings: Settings
    layers: tuple[Layer, ...]
    """The lowest first."""

    @property
    def config(self) -> Config:
        """The config."""
        return Config(self.settings, tuple(layer.diff_id for layer in self.layers))

    @property
    def manifest(self) -> Manifest:
        """The manifest."""
        return Manifest(
            _descriptor(CONFIG_TYPE, self.config.json()),
            tuple(Descriptor(each.media_type, each.digest, each.size) for each in self.layers),
            self.settings.annotations,
        )

    def index(self, references: Sequence[Reference]) -> Index:
        """Return the index that names the image by each of `references`."""
        described = _descriptor(MANIFEST_TYPE, self.manifest.json())
        return _name(replace(described, architecture=self.settings.architecture), references)


def _names(reference: Reference) -> dict[str, str]:
    """Return the annotations by which an archive names what it holds.

    containerd takes the name from the first one, and shows an image only by its canonical form;
    the second one is the specification's, and holds the tag as `docker save` writes it.
    """
    return {
        "io.containerd.image.name": reference.canonical,
        "org.opencontainers.image.ref.name": reference.tag,
    }


def _descriptor(media_type: str, blob: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(blob), len(blob))


def layout_index(index: Index, references: Sequence[Reference]) -> Index:
    """Return the index of an OCI layout that names the image index `index` by `references`."""
    return _name(_descriptor(INDEX_TYPE, index.json()), references)


def _name(described: Descriptor, references: Sequence[Reference]) -> Index:
    return Index(tuple(replace(described, annotations=_names(each)) for each in references))
