"""The images of an SConscript, as far as a build without work has to know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..fs.private_file import to_bytes, to_text
from ..image.reference import Reference


@dataclass(frozen=True, slots=True)
class DeclaredCall:
    """One call of `ScratchImage`."""

    digest: str
    """Digest of all that decides over the steps that it declares, in hex."""
    tags: tuple[tuple[Reference, str], ...]
    """Its tags, each with the target that has it, as a path from the top directory."""
    unloaded: tuple[tuple[str, str], ...]
    """Addresses of engines that do not answer, each with the archive that waits for it."""

    def values(self) -> list[Any]:
        """Return the call as JSON has it."""
        tags = [[tag.canonical, owner] for tag, owner in self.tags]
        return [self.digest, tags, list(map(list, self.unloaded))]

    @classmethod
    def read(cls, digest: Any, tags: Any, unloaded: Any) -> DeclaredCall:
        """Return the call that has these values, which are hostile; InputError for no tag."""
        parsed = ((Reference.parse(str(tag)), str(owner)) for tag, owner in tags)
        pairs = ((str(address), str(archive)) for address, archive in unloaded)
        return cls(str(digest), tuple(parsed), tuple(pairs))


@dataclass(frozen=True, slots=True)
class Declaration:
    """All images that an SConscript declared."""

    calls: tuple[DeclaredCall, ...]
    targets: frozenset[bytes]
    """All that their steps make."""
    inputs: frozenset[bytes]
    """Files in the project that steps use, or have looked at: another builder may make them."""
    mentions: frozenset[bytes]
    """Files and directories that extra lists name."""
    tools: frozenset[str]
    """Programs, libraries and the processor that decide over the bytes of targets."""
    repositories: tuple[bytes, ...]
    """Other directories in which SCons looks for the project's files."""

    def values(self) -> dict[str, Any]:
        """Return the declaration as JSON has it."""
        return {
            "calls": [call.values() for call in self.calls],
            "targets": sorted(map(to_text, self.targets)),
            "inputs": sorted(map(to_text, self.inputs)),
            "mentions": sorted(map(to_text, self.mentions)),
            "tools": sorted(self.tools),
            "repositories": list(map(to_text, self.repositories)),
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Declaration:
        """Return the declaration that has these `values`, which are hostile."""
        targets, inputs, mentions = (
            frozenset(map(to_bytes, values[key])) for key in ("targets", "inputs", "mentions")
        )
        return cls(
            tuple(DeclaredCall.read(*each) for each in values["calls"]),
            targets,
            inputs,
            mentions,
            frozenset(map(str, values["tools"])),
            tuple(map(to_bytes, values["repositories"])),
        )
