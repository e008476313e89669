"""The image that a tree was made of: its settings, and the size of its files.

They lie in a private file beside the tree, and a `FileSystem` of the tree has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .paths import show
from .private_file import Format

_FORMAT = Format("image", 1)


@dataclass(frozen=True, slots=True)
class BaseImage:
    """The image that a tree was made of."""

    name: str = ""
    """Its tag or digest, as the project names it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """JSON texts by name, as `image.base_settings` writes them."""
    files: int = 0
    """Number of its regular files."""
    size: int = 0
    """Bytes in them."""
    packages: int = 0
    """Number of its Debian packages."""

    def text(self) -> bytes:
        """Return the image as its file has it."""
        sizes = [self.files, self.size, self.packages]
        return _FORMAT.write({"name": self.name, "settings": dict(self.settings), "sizes": sizes})


def read(path: bytes) -> BaseImage:
    """Return the image in the file `path`, an empty one where there is none; InputError else."""
    try:
        with open(path, "rb") as stream:
            found = _FORMAT.read(stream.read(), _image)
    except FileNotFoundError:
        return BaseImage()
    if found is None:
        raise InputError(f"read image {show(path)}", "it is damaged", "delete it and build again")
    return found


def _image(values: dict[str, Any]) -> BaseImage:
    files, size, packages = values["sizes"]
    texts = [values["name"], *values["settings"], *values["settings"].values()]
    if {*map(type, texts)} - {str} or {*map(type, (files, size, packages))} - {int}:
        raise ValueError
    return BaseImage(values["name"], values["settings"], files, size, packages)
