"""A project: its images, their tags, and their aliases, made when somebody names them."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import SCons.Node
import SCons.Script

from ..errors import InputError
from ..image.reference import Reference
from .command_line import WORDS
from .nodes import step_of
from .sconscript import user_place
from .variables import read

if TYPE_CHECKING:
    from .terminal import Terminal


@dataclass
class DeclaredImage:
    """One call of `ScratchImage`."""

    stem: str
    """Path of its files without the suffix, from the top directory."""
    words: frozenset[str]
    """Requests that the command line can mean: only these get nodes, because nodes take time."""
    declare: Callable[[], None] | None = None
    """Gives nodes to its steps, while these have none."""
    requested: dict[str, list[Any]] = field(default_factory=dict)
    """Targets of each request, by its word."""
    archives: list[Any] = field(default_factory=list)
    """Its archives, and their index: the targets that have its tags."""
    unloaded: list[Any] = field(default_factory=list)
    """Its archives, where no engine answers."""
    unloaded_files: Sequence[tuple[str, str]] = ()
    """The same while they have no nodes: addresses of engines, each with an archive."""
    alias: Any = None
    """The alias that builds it, and may find it up to date without a look at its nodes."""

    _nodes: list[Any] = field(default_factory=list)

    @property
    def nodes(self) -> list[Any]:
        """Its targets."""
        if self.declare:
            self.declare()
        return self._nodes

    def find_unloaded(self) -> list[tuple[str, str]]:
        """Return the archives that no engine has, if the image was up to date in this build.

        Each follows the address of the engine.
        """
        if any(node.get_state() for nodes in self.requested.values() for node in nodes):
            return []
        sealed = self.alias is not None and self.alias.get_state() == SCons.Node.up_to_date
        if sealed and self.declare:
            return [*self.unloaded_files]
        return [
            (node.attributes.step.address, str(node))
            for node in self.unloaded
            if node.get_state() == SCons.Node.up_to_date or (sealed and not node.get_state())
        ]


class Project:
    """State of one project, kept by the node of its top directory: SCons has one for each."""

    def __init__(self) -> None:
        """Begin without images."""
        self.images: list[DeclaredImage] = []
        """All that are declared so far, in that order."""
        self.tags: dict[str, tuple[str, str]] = {}
        """The target that gives each tag to its image, and the place that declares it."""
        self.words: frozenset[str] | None = None
        """Requests for images of the tree that is being read; None outside of trees."""
        self.deferral: Any = None
        """The calls of the SConscript of a tree that is being read (see `deferral`)."""
        self.caches: dict[str, Any] = {}
        """The caches of results that this build uses, by address."""
        self.cache_lock = threading.Lock()
        self._aliases: dict[str, Callable[[str], Any]] = {}
        """Functions that declare the aliases ``WORD/PLACE`` of a place for a word."""
        self._declared: set[str] = set()
        self._answers: dict[str, bool] = {}

    @classmethod
    def of(cls, env: Any) -> Project:
        """Return the project that `env` belongs to."""
        attributes = env.fs.Top.attributes
        if not hasattr(attributes, "scratch_image"):
            attributes.scratch_image = cls()
            SCons.Node.arg2nodes_lookups.append(attributes.scratch_image.find)
            # As SCons's manual has it for what comes after a build.
            atexit.register(attributes.scratch_image.print_unloaded)
        found: Project = attributes.scratch_image
        return found

    def answers(self, address: str) -> bool:
        """Tell whether an engine answers at `address`: one look for all images."""
        from ..publish import ping

        if address not in self._answers:
            self._answers[address] = ping.answers(address)
        return self._answers[address]

    @functools.cached_property
    def terminal(self) -> Terminal:
        """Where the lines of steps go."""
        from .terminal import Terminal

        return Terminal(sys.stdout, os.environ)

    def offer(self, env: Any, place: str, declare: Callable[[str], Any]) -> None:
        """Have `declare` make the alias ``WORD/place`` when SCons looks that up.

        It gets the word and returns the node, or None where there is no such alias.
        """
        self._aliases[place] = declare
        for word in WORDS:
            if f"{word}/{place}" in env.ans:
                self.find(f"{word}/{place}")  # The project has that alias, too: join both.

    def find(self, name: str, **_: Any) -> Any:
        """Declare the alias `name` and return it; None where none is offered. SCons calls this."""
        word, _slash, place = name.partition("/")
        declare = self._aliases.get(place) if word in WORDS else None
        if declare is None or name in self._declared:
            return None
        self._declared.add(name)
        return declare(word)

    def print_unloaded(self) -> None:
        """Print, for each engine that does not answer, an archive that is up to date, not loaded.

        A step that makes an archive prints that itself.
        """
        silent = ("silent", "no_exec", "question", "clean", "help")
        if SCons.Script.GetBuildFailures() or any(map(SCons.Script.GetOption, silent)):
            return
        unloaded: dict[str, list[str]] = {}
        for address, archive in (each for image in self.images for each in image.find_unloaded()):
            unloaded.setdefault(address, []).append(archive)
        for address, archives in unloaded.items():
            more = "" if len(archives) == 1 else f" for one of {len(archives)} images"
            print(f"no engine answers at {address}: docker load -i {archives[0]}{more}")  # noqa: T201


def request_nodes(images: Iterable[DeclaredImage], word: str) -> list[Any]:
    """Return what `word` asks for of all `images`."""
    return [node for image in images for node in image.requested.get(word, ())]


def tags_of(name: str, env: Any) -> tuple[Reference, ...]:
    """Return the tags of the image whose files have the stem `name`; InputError for a bad tag."""
    return tuple(map(Reference.parse, read(env, "IMAGE_TAG") or [name]))


def archive_tags(archive: Any, name: str, env: Any) -> tuple[Reference, ...]:
    """Return the tags of the image whose `archive` is a node: those in it, if we make it."""
    step = step_of(archive)
    return step.references if step else tags_of(name, env)


def claim_tags(name: str, env: Any, target: Any) -> tuple[Reference, ...]:
    """Return the tags of the image `target`; InputError when another image has one of them."""
    tags = tags_of(name, env)
    claim(Project.of(env), tags, target.get_internal_path())
    return tags


def claim(project: Project, tags: Iterable[Reference], image: str) -> None:
    """Note that the target `image` has the `tags`; InputError when another one has one of them."""
    for tag in tags:
        owner, place = project.tags.setdefault(tag.canonical, (image, user_place()))
        if owner != image:
            raise InputError(
                f"tag image {tag.familiar}",
                f"{owner} ({place}) has that tag",
                "give each image its own",
            )
