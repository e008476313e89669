"""Facts for a report: what the layers and the archive of an image say of it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..fs.digest import CHUNK, Digest, Tally
from ..fs.paths import show
from ..image import archive, layer_stack
from ..image.compression import decompress, suffix_of
from ..image.tar_header import FILE
from ..image.tar_reader import StreamedTar, TarReader

_LAYERS = {
    "": "all files",
    layer_stack.SMALL: "small packages",
    layer_stack.OWN: "files of no package",
}
"""Names of layers that are no package's."""

_PLATFORM = ("os", "architecture", "variant")


@dataclass(frozen=True, slots=True)
class Content:
    """A regular file in a layer."""

    size: int
    """Bytes."""
    digest: Digest


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """A layer, and the regular files in it."""

    name: str
    """The package that it holds, or how else its files were chosen."""
    compressed: int
    """Bytes of the file that holds it."""
    size: int
    """Bytes of the uncompressed tar."""
    contents: Mapping[bytes, Content]
    """By path."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """The facts about an image that its archive holds."""

    id: Digest
    """Of the config; in a containerd store the manifest's digest is the ID."""
    manifest: Digest
    layers: Sequence[Digest]
    """The lowest first, compressed as they are."""
    settings: Mapping[str, Sequence[str]]
    """Values by what they set; what is not set has none."""


def read_layers(path: bytes) -> tuple[LayerFacts, ...]:
    """Return the layers of the file `path`, which is one or the text of a stack.

    InputError when it is neither, or when one is damaged.
    """
    if not path.endswith(layer_stack.SUFFIX):
        return (_read_layer(path, ""),)
    return tuple(_read_layer(blob.path, blob.name) for blob in layer_stack.read(path))


def _read_layer(path: bytes, name: str) -> LayerFacts:
    found, size = {}, 0

    def count(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            size += len(chunk)
            yield chunk

    try:
        with open(path, "rb") as stream:
            source = StreamedTar(count(decompress(stream, suffix_of(path))))
            for header in (tar := TarReader(source)):
                if header.flag == FILE:
                    content = Tally(source=tar)
                    while content.read(CHUNK):
                        pass
                    found[b"/" + header.name] = Content(content.size, content.digest)
            source.drain()
    except ValueError as error:
        raise InputError(f"report on layer {show(path)}", str(error), "build it again") from error
    return LayerFacts(_LAYERS.get(name, name), os.path.getsize(path), size, found)


def read_image(path: bytes) -> ImageFacts:
    """Return what the image archive `path` says; InputError when it is no archive of one image."""
    found, layout = archive.read(path), archive.layout(path)
    config = json.loads(b"".join(layout.chunks(found.config)))
    annotations = json.loads(layout.documents[-1].data).get("annotations", {})
    settings = {
        "Tags": [each.familiar for each in found.references],
        "Platform": ["/".join(config[each] for each in _PLATFORM if each in config)],
        **_settings(config.get("config", {})),
        "Annotations": _pairs(annotations),
        "Created": [config["created"]],
    }
    return ImageFacts(found.config, found.manifest, found.layers, settings)


def _settings(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the values of the member `config` of a config, as one reads them."""
    return {
        "Entrypoint": _command(config.get("Entrypoint")),
        "Command": _command(config.get("Cmd")),
        "Environment": list(config.get("Env", ())),
        "User": [config["User"]] if "User" in config else [],
        "Working directory": [config["WorkingDir"]] if "WorkingDir" in config else [],
        "Ports": list(config.get("ExposedPorts", ())),
        "Volumes": list(config.get("Volumes", ())),
        "Labels": _pairs(config.get("Labels", {})),
        "Health check": _health_check(config.get("Healthcheck", {})),
        "Stop signal": [config["StopSignal"]] if "StopSignal" in config else [],
    }


def _command(words: Sequence[str] | None) -> list[str]:
    return [shlex.join(words)] if words else []


def _pairs(members: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in members.items()]


def _health_check(check: Mapping[str, Any]) -> list[str]:
    times = {"Interval": "every", "Timeout": "timeout", "StartPeriod": "start period"}
    return [
        *_command(check.get("Test", ())[1:]),
        *(f"{name} {check[key] / 1e9:g} s" for key, name in times.items() if key in check),
        *(f"{check[key]} retries" for key in ("Retries",) if key in check),
    ]
