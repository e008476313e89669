"""Archives for tests: built, read and written again."""

from __future__ import annotations

import dataclasses
import os
import tarfile
from pathlib import Path

from scratch_image.image import archive, compression, layer, tar_header
from scratch_image.image.config import Image
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings

TAR = (Path(__file__).parents[1] / "image" / "layer" / "small.tar").read_bytes()
SETTINGS = Settings("amd64", 1_700_000_000, entrypoint=["/bin/hello"])
REFERENCES = [Reference.parse("example/hello:1.2"), Reference.parse("hello")]


def build(
    path: Path,
    layers: list[bytes],
    references: list[Reference] = REFERENCES,
    suffix: str = ".tar",
    architecture: str = "amd64",
) -> Image:
    """Write the archive of an image of `layers`, uncompressed tars, to `path`."""
    files = []
    for number, data in enumerate(layers):
        file = path.with_name(f"{path.name}.{number}{suffix}")
        with file.open("wb") as output, compression.compress(output, suffix) as sink:
            sink.write(data)
        files.append(os.fsencode(file))
    made_for = dataclasses.replace(SETTINGS, architecture=architecture)
    image = Image(made_for, tuple(layer.read(file) for file in files))
    with path.open("wb") as sink:
        archive.write(sink, image, files, references)
    return image


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        streams = {member.name: tar.extractfile(member) for member in tar}
        return {name: stream.read() for name, stream in streams.items() if stream}


def rewrite(path: Path, members: dict[str, bytes]) -> None:
    path.write_bytes(
        b"".join(
            tar_header.format_header(name.encode(), size=len(data))
            + data
            + tar_header.padding(len(data))
            for name, data in members.items()
        )
        + tar_header.END
    )
