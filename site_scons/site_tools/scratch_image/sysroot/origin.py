"""Origins of a sysroot: the tar of a root file system, or an image that an engine has."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..fs.root import Aspect, Root
from ..image.compression import decompress, suffix_of

_PINNED = re.compile(r"(?:^|@)sha256:[0-9a-f]{64}$")


class Origin(ABC):
    """The origin of a sysroot's files."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str:
        """Return a name for it, of one line."""

    @abstractmethod
    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the bytes of the tree's tar; the directory `work` is for temporary files.

        Looks at files go on the record of `root`, the machine's. ScratchImageError when there is
        no tar; ValueError when it cannot be read.
        """

    def config(self, root: Root) -> Mapping[str, Any] | None:
        """Return the config (hostile) of the image that was unpacked; None when it was none."""
        return None

    def settle(self, tree: bytes) -> dict[bytes, bytes]:
        """Check the unpacked `tree`; return the files that belong to it, none by default."""
        return {}


@dataclass(frozen=True, slots=True)
class TarOrigin(Origin):
    """A tar of a root file system: the one source, .tar, .tar.gz or .tar.zst."""

    name: str

    def __str__(self) -> str:
        return f"archive {self.name}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the tar, decompressed."""
        with open(sources[0], "rb", buffering=0) as blob:
            yield from decompress(blob, suffix_of(sources[0]))


@dataclass(frozen=True, slots=True)
class EngineOrigin(Origin):
    """An image that an engine has."""

    address: str
    reference: str
    """Its tag, or its name and digest."""

    def __str__(self) -> str:
        return f"image {self.reference}"

    def tar(
        self, root: Root, sources: Sequence[bytes], work: bytes
    ) -> Generator[bytes, None, None]:
        """Yield the export of a container of the image; the container never runs."""
        from ..publish import engine_images

        found = engine_images.image_id(self.address, self.reference)
        # A digest names the same image for ever; a tag may move, also while this one is exported.
        if found and not _PINNED.search(self.reference):
            root.know(self._tag, Aspect.IMAGE, found)
        yield from engine_images.export(self.address, found or self.reference)

    def config(self, root: Root) -> Mapping[str, Any]:
        """Return the config of the image whose files `tar` has yielded."""
        from ..publish import engine_images

        found = root.known.get((self._tag, Aspect.IMAGE), self.reference)
        return engine_images.config(self.address, found)

    @property
    def _tag(self) -> bytes:
        return f"{self.address} {self.reference}".encode()
