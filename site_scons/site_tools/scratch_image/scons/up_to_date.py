"""The seal of an image: it is up to date as a whole while nothing that its steps looked at moves.

A footprint tells what has changed, and costs a state for each path and step. A seal asks each path
once, by lstat(2), as the index of git does. Where it holds, every footprint would say the same as
before; where it does not, it says nothing, and the footprints decide. The seal of an SConscript has
the images that it declared, as far as a build without work has to know them.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..fs.digest import Digest
from ..fs.private_file import Format, to_bytes, to_text
from ..image.reference import Reference
from .remote import REMOTE, remote_state

if TYPE_CHECKING:
    from ..fs.root import Root
    from .footprint import Footprint


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


_FORMAT = Format("seal", 3)

_SETTLED = 2 * 10**9
"""Nanoseconds for which a file has to have been left alone before it is sealed.

A file that changes twice between two ticks of its file system's clock may look as it did after the
first time. Two seconds is the longest tick there is, that of FAT.
"""

Remote = tuple[bytes, str, str]
"""The "path" and the aspect of what an engine or a registry has, and its state."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where steps have looked."""

    whole: frozenset[bytes] = frozenset()
    """Paths on the machine of which any change counts."""
    directories: frozenset[bytes] = frozenset()
    """Paths on the machine of which, as long as they are directories, only mode and owner count."""
    remotes: frozenset[Remote] = frozenset()

    @classmethod
    def of(cls, footprint: Footprint, root: Root) -> Places:
        """Return where the step has looked, in `root`, that left `footprint`."""
        from ..fs.root import Aspect

        whole, directories, remotes = set(_databases(footprint, root)), set(), set()
        for (path, aspect), found in footprint.states.items():
            # Files in a hidden directory are not seen.
            lists = aspect is Aspect.LISTING and (path, Aspect.VIEW) not in footprint.states
            if aspect in REMOTE:
                remotes.add((path, aspect, found))
            elif found[:4] == "dir " and not lists:
                directories.add(root.files.host_path(path))
            elif aspect not in (Aspect.SONAME, Aspect.VIEW, Aspect.SETTING):
                whole.add(root.files.host_path(path))
        return cls(frozenset(whole), frozenset(directories), frozenset(remotes))

    def __or__(self, other: Places) -> Places:
        """Return the places of both."""
        return Places(
            self.whole | other.whole,
            self.directories | other.directories,
            self.remotes | other.remotes,
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """The files that an image's steps looked at, as they were when all steps were up to date."""

    signature: str
    """All else that decides: another text is another image."""
    identity: str
    """Digest of the results of lstat(2)."""
    places: Places
    declaration: Declaration | None = None
    """The images; None where one of them is not fully known."""

    @classmethod
    def take(
        cls, signature: str, places: Places, declaration: Declaration | None = None
    ) -> Seal | None:
        """Return the seal of `places` as they are now; None when one has changed just now.

        To be taken before the steps are looked at, so that what changes meanwhile breaks it.
        """
        now = time.time_ns()
        identity, latest = _identity(places)
        taken = cls(signature, identity, places, declaration)
        return taken if latest < now - _SETTLED else None

    def holds(self, signature: str) -> bool:
        """Tell whether all is as it was; False also where that is not known."""
        return self.signature == signature and self.is_unmoved()

    def is_unmoved(self) -> bool:
        """Tell whether all files and remote images are as they were; False if that is unknown."""
        return self.identity == _identity(self.places)[0] and all(
            remote_state(path, aspect) == found for path, aspect, found in self.places.remotes
        )

    def text(self) -> bytes:
        """Return the seal as its file has it."""
        places = self.places
        remotes = [(aspect, to_text(path), found) for path, aspect, found in places.remotes]
        return _FORMAT.write(
            {
                "signature": self.signature,
                "lstat": self.identity,
                "whole": sorted(map(to_text, places.whole)),
                "directories": sorted(map(to_text, places.directories)),
                "remotes": sorted(remotes),
                "declaration": self.declaration.values() if self.declaration else None,
            }
        )


def load(file: str) -> Seal | None:
    """Return the seal in `file`; None when there is no seal of this version."""
    try:
        with open(file, "rb") as stream:
            return read(stream.read())
    except OSError:
        return None


def read(text: bytes) -> Seal | None:
    """Return the seal that `text` holds; None when it is not one of this version."""
    return _FORMAT.read(text, _seal)


def _seal(values: dict[str, Any]) -> Seal:
    whole, directories = (frozenset(map(to_bytes, values[key])) for key in ("whole", "directories"))
    remotes = frozenset(
        (to_bytes(path), _aspect(word), str(found)) for word, path, found in values["remotes"]
    )
    places = Places(whole, directories, remotes)
    declaration = Declaration.read(values["declaration"]) if values["declaration"] else None
    return Seal(str(values["signature"]), str(values["lstat"]), places, declaration)


def _aspect(word: str) -> str:
    """Return `word` if it names a remote aspect; ValueError if not."""
    return REMOTE[REMOTE.index(word)]


def _databases(footprint: Footprint, root: Root) -> Iterator[bytes]:
    """Yield the files whose answers are in `footprint`."""
    from ..elf import loader_cache
    from ..files import dpkg
    from ..fs.accounts import ACCOUNTS
    from ..fs.root import Aspect

    aspects = {aspect for _, aspect in footprint.states}
    if Aspect.SONAME in aspects:
        yield root.files.host_path(root.walk(loader_cache.CACHE).real)
    if any(owner.strip("0123456789:") for owner in root.files.staging.owners()):
        yield from (root.files.host_path(root.files.walk(path).real) for path in ACCOUNTS)
    if Aspect.OWNER in aspects:
        yield from map(root.files.host_path, dpkg.FILES)


def _identity(places: Places) -> tuple[str, int]:
    """Return a digest of what lstat(2) tells of `places`, and the latest change, in ns."""
    found = [_lstat(path, whole=True) for path in sorted(places.whole)]
    latest = max((each[0] for each in found), default=0)
    found += [_lstat(path, whole=False) for path in sorted(places.directories - places.whole)]
    return Digest.of(repr(found).encode()).hex, latest


def _lstat(path: bytes, *, whole: bool) -> tuple[int, ...]:
    """Return when the file last changed in any way, in ns, and the rest of what it is known by."""
    try:
        found = os.lstat(path)
    except OSError as error:
        return 0, error.errno or 0
    if not whole and stat.S_ISDIR(found.st_mode):
        return 0, found.st_mode, found.st_uid, found.st_gid
    return (
        found.st_ctime_ns,
        found.st_mtime_ns,
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_uid,
        found.st_gid,
        found.st_size,
    )
