"""The image: config, manifest and index as frozen values, each with one canonical JSON form.

https://github.com/opencontainers/image-spec/blob/v1.1.0/ (config.md, manifest.md, image-index.md)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .digest import Digest
from .errors import InputError

if TYPE_CHECKING:
    from .layer import Layer

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

_ARCHITECTURES = {
    3: "386",
    8: "mips64le",
    21: "ppc64le",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}
"""GOARCH by ELF e_machine, for those that Docker has; the byte order is the one it supports."""

_MAX_NAME = 255
"""Characters of a repository name with its domain, as the reference grammar limits them."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp|sctp))?")
_SIGNAL = re.compile(r"SIG[A-Z0-9+-]+|[0-9]{1,2}")


def canonical(document: object) -> bytes:
    """Return `document` as JSON in UTF-8: keys sorted, no white space.

    InputError when a text in it has bytes that are not UTF-8 (`os.fsdecode` lets them through).
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"cannot write image settings: {text[max(0, error.start - 20) : error.end]!r} "
            "has bytes that are not UTF-8; JSON cannot hold them"
        ) from error


def architecture(machine: int) -> str:
    """Return Docker's name (GOARCH) of the ELF e_machine `machine`; InputError without one."""
    if machine not in _ARCHITECTURES:
        raise InputError(
            f"cannot name the architecture of ELF machine {machine}: Docker has no name for it; "
            f"build for one of {', '.join(_ARCHITECTURES.values())}"
        )
    return _ARCHITECTURES[machine]


@dataclass(frozen=True, slots=True)
class Reference:
    """The name and tag of an image, complete: ``docker.io/library/hello:latest``.

    https://github.com/distribution/reference/blob/main/reference.go
    """

    domain: str
    """Host of the registry, with its port."""
    path: str
    """The repository on that host."""
    tag: str

    def __str__(self) -> str:
        return self.familiar

    @property
    def canonical(self) -> str:
        """The complete form, as containerd stores it."""
        return f"{self.domain}/{self.path}:{self.tag}"

    @property
    def familiar(self) -> str:
        """The short form, as Docker shows it."""
        if self.domain != "docker.io":
            return self.canonical
        return f"{self.path.removeprefix('library/')}:{self.tag}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that a user means by `text`; InputError when it is not one."""
        name, tag = text, "latest"
        if ":" in text.rpartition("/")[2]:
            name, _, tag = text.rpartition(":")
        domain, path = _domain(name)
        _check_reference(text, domain, path, tag)
        return cls(domain, path, tag)


def _domain(name: str) -> tuple[str, str]:
    """Return the registry and the repository of `name`, by Docker's rules."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    if first == "index.docker.io":
        first = "docker.io"
    if first == "docker.io" and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _check_reference(text: str, domain: str, path: str, tag: str) -> None:
    if not text:
        raise _untaggable(text, "it is empty", "write NAME or NAME:TAG")
    if "@" in text:
        raise _untaggable(text, "it has a digest", "write NAME:TAG; the digest comes of itself")
    if re.fullmatch("[0-9a-f]{64}", text):
        raise _untaggable(text, "64 hex digits are an image ID", "choose another name")
    if len(tag) > 128:
        raise _untaggable(text, "the tag has more than 128 characters", "shorten it")
    if not _TAG.fullmatch(tag):
        raise _untaggable(
            text, f"the tag {tag!r} is not made of letters, digits, _ . and -", "rename it"
        )
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise _untaggable(text, f"the name has more than {_MAX_NAME} characters", "shorten it")
    if path != path.lower():
        raise _untaggable(text, "the name has upper case letters", f"write {path.lower()}")
    if not _PATH.fullmatch(path):
        raise _untaggable(
            text,
            "the name is not made of words of letters and digits, joined by one of / . _ __ -",
            "rename it",
        )
    if not _DOMAIN.fullmatch(domain):
        raise _untaggable(text, f"{domain!r} is not a host", "write HOST:PORT/NAME:TAG")


def _untaggable(text: str, cause: str, mend: str) -> InputError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return InputError(f"cannot tag image {shown!r}: {cause}; {mend}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user sets of an image, all but its files."""

    architecture: str
    """Name as `architecture` gives it."""
    created: int = 0
    """Seconds since 1970."""
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """``NAME``, ``UID``, or either with ``:GROUP``."""
    workdir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[str] = ()
    """``8080``, ``53/udp``."""
    volumes: Sequence[str] = ()
    """Absolute paths."""
    stop_signal: str = ""
    """``SIGTERM`` or a number."""

    def document(self) -> dict[str, Any]:
        """Return the object `config` of a config; InputError when a setting cannot be one."""
        values: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.cmd),
            "Env": [_env(name, value) for name, value in sorted(self.env.items())],
            "User": self.user,
            "WorkingDir": _absolute("working directory", self.workdir) if self.workdir else "",
            "Labels": dict(self.labels),
            "ExposedPorts": {_port(port): {} for port in self.ports},
            "Volumes": {_absolute("volume", path): {} for path in self.volumes},
            "StopSignal": _signal(self.stop_signal) if self.stop_signal else "",
        }
        return {key: value for key, value in values.items() if value}


def _env(name: str, value: str) -> str:
    if not name or "=" in name or "\0" in name + value:
        raise InputError(
            f"cannot set variable {name!r} of the image: the name is empty, or has a = or a NUL in "
            "it; rename it"
        )
    return f"{name}={value}"


def _absolute(what: str, path: str) -> str:
    if not path.startswith("/"):
        raise InputError(
            f"cannot set {what} {path!r} of the image: it is not absolute; begin it with /"
        )
    return path


def _port(text: str) -> str:
    found = _PORT.fullmatch(text)
    if not found or not 0 < int(found[1]) < 65536:
        raise InputError(
            f"cannot expose port {text!r} of the image: it is not a port; write 8080 or 53/udp"
        )
    return f"{int(found[1])}/{found[2] or 'tcp'}"


def _signal(text: str) -> str:
    if not _SIGNAL.fullmatch(text):
        raise InputError(
            f"cannot stop the image by {text!r}: it is not a signal; write SIGTERM or its number"
        )
    return text


def _time(epoch: int) -> str:
    """Return `epoch` (seconds since 1970) as RFC 3339 writes it."""
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError) as error:
        raise InputError(
            f"cannot date image {epoch}: no calendar has that year; give seconds since 1970"
        ) from error


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What one document says of another: its kind, digest and size, and any more."""

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
            made["platform"] = {"architecture": self.architecture, "os": "linux"}
        if self.annotations:
            made["annotations"] = dict(self.annotations)
        return made


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
                "architecture": self.settings.architecture,
                "os": "linux",
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

    def json(self) -> bytes:
        """Return the blob; its digest is what registries and containerd call the image."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": self.config.document(),
                "layers": [layer.document() for layer in self.layers],
            }
        )


@dataclass(frozen=True, slots=True)
class Index:
    """Which manifests an OCI layout holds."""

    manifests: tuple[Descriptor, ...]

    def json(self) -> bytes:
        """Return the file."""
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "manifests": [manifest.document() for manifest in self.manifests],
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
            _described(CONFIG_TYPE, self.config.json()),
            tuple(Descriptor(each.media_type, each.digest, each.size) for each in self.layers),
        )

    def index(self, references: Sequence[Reference]) -> Index:
        """Return the index that names the image by each of `references`.

        containerd takes the name from the first annotation, and shows an image only by its
        canonical form; the second one is the specification's, and holds the tag as `docker save`
        writes it.
        """
        manifest = self.manifest.json()
        return Index(
            tuple(
                Descriptor(
                    MANIFEST_TYPE,
                    Digest.of(manifest),
                    len(manifest),
                    self.settings.architecture,
                    {
                        "io.containerd.image.name": reference.canonical,
                        "org.opencontainers.image.ref.name": reference.tag,
                    },
                )
                for reference in references
            )
        )


def _described(media_type: str, blob: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(blob), len(blob))
