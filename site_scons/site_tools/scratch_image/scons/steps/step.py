"""A step, its kind, and the plan of a builder call.

A step is a frozen value: it is made while SConscripts are read, and runs when its target is built.
It looks at files only through the root that it is given, whose record becomes the target's
footprint. It writes to a temporary name and renames: a target is whole, or it is as it was before.

A module that a step needs is imported when the step runs: most builds have nothing to do.
"""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InputError

if TYPE_CHECKING:
    from ...cache.share import Share
    from ...fs.root import Root


@dataclass(frozen=True)
class Step(ABC):
    """The work of one target's action."""

    name: str
    """Name of the target in the line that the step ends with."""

    def inherit(self, root: Root) -> Step:
        """Return the step with the settings that it takes from the image `root` was made of."""
        return self

    @abstractmethod
    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write `targets` from `sources`, absolute paths; return the lines about it.

        ScratchImageError when a target cannot be made, OSError when it cannot be written.
        """

    def tools(self) -> tuple[str, ...]:
        """Return the programs, libraries and processor that decide over the targets' bytes."""
        return ()

    def shared_words(self) -> tuple[str, ...] | None:
        """Return all of the step that decides over its result, in words of any machine.

        None for a step whose results are not shared: to make them is cheaper than to fetch them, or
        an engine, a registry or the network decides over them.
        """
        return None

    def join(self, share: Share, code: str) -> Step:
        """Return the step with what it takes from the cache `share` while it runs."""
        return self

    def has_work(self) -> bool:
        """Tell whether there is anything to do: an image without a registry is not pushed."""
        return True


@dataclass(frozen=True)
class Plan:
    """The meaning of a builder call."""

    step: Step
    targets: Sequence[Any]
    sources: Sequence[Any]
    before: Sequence[Any] = ()
    """Nodes that are to be built first, but whose content alone does not make the target old."""
    mentions: Callable[[], Iterable[str]] = tuple
    """Names more of these by absolute path, once the sources are there."""
    beside: Sequence[bytes] = ()
    """Absolute paths that the step makes as well; they are removed with the targets."""
    has_root: bool = True
    """Whether the step looks at files through the root that the environment names."""
    has_suite: bool = False
    """Whether it runs a test suite, which may look at files that other steps make."""


@dataclass(frozen=True, slots=True)
class ImageParts:
    """Nodes that `ScratchImage` has declared for an image, or for one platform of it."""

    stem: str
    """Path of the image's files without a suffix, as builders take it."""
    archive: Sequence[Any]
    """The image archive; of several platforms the index."""
    traces: Sequence[Any] = ()
    ldd: Sequence[Any] = ()
    extra_lists: Sequence[Any] = ()
    files: Sequence[Any] = ()
    layers: Sequence[Any] = ()
    load: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class StepKind:
    """A kind of step: all that builders, help and reference know of it."""

    label: str
    """First word of its lines on the terminal."""
    plan: Callable[[str, list[Any], list[Any], Any], Plan]
    """Makes a plan of a call's stem, targets, sources and environment; documents the builder."""
    suffixes: tuple[str, ...]
    """Suffixes that a target may have; a name without any of them gets the first."""
    help: str = ""
    """For a kind that is built on request: the result, as ``scons --help`` says it."""
    request: Callable[[ImageParts], Iterable[tuple[str, Sequence[Any]]]] = lambda _: ()
    """Return the target and the sources of each builder call of the request for an image."""
    follow: Callable[[Any, Mapping[str, Any], ImageParts, list[Any]], list[Any]] = lambda *_: []
    """Declares what follows from the nodes of a request; returns the targets.

    It gets an environment, the variables of the call, the image's parts, and the nodes.
    """
    is_per_platform: bool = True
    """Whether a request is for each platform by itself, and not for all of them together."""


def require_sources(
    verb: str, target: list[Any], source: list[Any], wanted: str, most: int = 1
) -> None:
    """Raise InputError when a target has no source, or more than `most`."""
    if not 1 <= len(source) <= most:
        raise InputError(f"{verb} {target[0]}", f"it has {len(source)} sources", f"name {wanted}")


def content(path: bytes) -> bytes:
    """Return the content of the file `path`."""
    with open(path, "rb") as stream:
        return stream.read()


def neighbours(target: bytes, suffix: bytes) -> list[bytes]:
    """Return the files with `suffix` of the images of the same tree as `target`, but for its own.

    Each image of a tree has a directory of its own.
    """
    around = glob.escape(os.path.dirname(os.path.dirname(target)))
    found = glob.glob(os.path.join(around, b"*", b"*" + suffix))
    return sorted(path for path in found if path != target)


_ROOM = 40
"""Columns that names have in a line of 100."""


def shorten(names: Sequence[str]) -> str:
    """Return as many of `names` as a line has room for, and how many more there are."""
    shown = list(names[:1])
    for name in names[1:]:
        if len(", ".join([*shown, name])) > _ROOM:
            break
        shown.append(name)
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
