"""The nodes that a project stages, by their places in an image."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import SCons.Node.FS

if TYPE_CHECKING:
    from ..fs.staging import Staging


@dataclass(frozen=True, slots=True, repr=False)
class StagedNode:
    """A file or directory for an image, and how it is to be there."""

    node: Any
    """A node, or a name for one."""
    mode: int | None = None
    """Permission bits; None for those that the file has, without what the umask decides."""
    owner: str = ""
    """``USER`` or ``USER:GROUP``, names or numbers; empty for root."""

    def __repr__(self) -> str:
        """Return what an SConscript says, for the help about an image."""
        if self.mode is None and not self.owner:
            return str(self.node)
        mode = None if self.mode is None else oct(self.mode)
        return f"Staged({str(self.node)!r}, mode={mode}, owner={self.owner!r})"

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, with all below it."""
        return isinstance(self.node, SCons.Node.FS.Dir)


class StagedNodes(dict[bytes, StagedNode]):
    """Staged nodes by image path: made once for an image, and read by each of its steps."""

    places: Staging | None = None
    """Where they lie, as the steps of the image have found it; None when it is to be found."""
    made: list[Any] | None = None
    """The nodes that something builds at or below them; None when these are to be found."""

    @functools.cached_property
    def text(self) -> str:
        """All of it as text."""
        return repr(
            sorted((path, str(each.node), each.mode, each.owner) for path, each in self.items())
        )

    @functools.cached_property
    def chosen(self) -> dict[bytes, StagedNode]:
        """Those with a mode or an owner."""
        return {path: each for path, each in self.items() if each.mode is not None or each.owner}

    @functools.cached_property
    def nodes(self) -> list[Any]:
        """The nodes alone."""
        return [each.node for each in self.values()]
