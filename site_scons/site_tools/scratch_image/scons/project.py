"""A project: its images, and the aliases of theirs that are made when somebody asks for them."""

from __future__ import annotations

import atexit
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import SCons.Node
import SCons.Script

from ..publish import engine
from .terminal import Terminal

WORDS = ("push", "report", "sbom", "seccomp", "test")
"""First words of the aliases of an image for which nodes are declared, if they may be asked for."""

TOLD = ("help", "why")
"""First words of those that make nothing, but tell of an image."""


@dataclass
class Image:
    """One call of `ScratchImage`."""

    stem: str
    """Path of its files without the suffix, from the top directory."""
    words: frozenset[str]
    """Those of WORDS that the command line can mean: nodes that nobody needs take time."""
    nodes: list[Any] = field(default_factory=list)
    """The targets that make it."""
    requested: dict[str, list[Any]] = field(default_factory=dict)
    """Targets that only a word asks for, by that word."""
    unloaded: list[Any] = field(default_factory=list)
    """Its archives, where no engine answers."""
    alias: Any = None
    """The alias that builds it, which may know it up to date without a look at its nodes."""

    def waiting(self) -> list[Any]:
        """Return the archives that no engine has, if the image was asked for and is as it was."""
        if any(node.get_state() for nodes in self.requested.values() for node in nodes):
            return []
        sealed = self.alias is not None and self.alias.get_state() == SCons.Node.up_to_date
        return [
            node
            for node in self.unloaded
            if node.get_state() == SCons.Node.up_to_date or (sealed and not node.get_state())
        ]


class Project:
    """State of one project, kept by the node of its top directory: SCons has one for each."""

    def __init__(self) -> None:
        """Begin without images."""
        self.images: list[Image] = []
        """All that are declared so far, in that order."""
        self.tags: dict[str, tuple[str, str]] = {}
        """The target that gives each tag to its image, and the place that declares it."""
        self.words: frozenset[str] | None = None
        """Words for images of the tree that is being read; None outside of trees."""
        self._places: dict[str, Callable[[str], Any]] = {}
        self._made: set[str] = set()
        self.answers = functools.cache(engine.answers)
        """Tell whether an engine answers at an address: one look for all images."""

    @classmethod
    def of(cls, env: Any) -> Project:
        """Return the project that `env` belongs to."""
        attributes = env.fs.Top.attributes
        if not hasattr(attributes, "scratch_image"):
            attributes.scratch_image = cls()
            SCons.Node.arg2nodes_lookups.append(attributes.scratch_image.find)
            # As SCons's manual has it for what comes after a build.
            atexit.register(attributes.scratch_image.tell_unloaded)
        found: Project = attributes.scratch_image
        return found

    @functools.cached_property
    def terminal(self) -> Terminal:
        """Where the lines of steps go."""
        return Terminal(sys.stdout, os.environ)

    def offer(self, env: Any, place: str, make: Callable[[str], Any]) -> None:
        """Have `make` declare the alias ``WORD/place`` for a word, once that is looked up.

        It returns the node, or None where there is no such alias.
        """
        self._places[place] = make
        for word in (*WORDS, *TOLD):
            if f"{word}/{place}" in env.ans:
                self.find(f"{word}/{place}")  # The project has that alias: both are joined.

    def find(self, name: str, **_: Any) -> Any:
        """Return the alias `name`, newly made; None where none is offered. SCons calls this."""
        word, _slash, place = name.partition("/")
        make = self._places.get(place) if word in (*WORDS, *TOLD) else None
        if make is None or name in self._made:
            return None
        self._made.add(name)
        return make(word)

    def tell_unloaded(self) -> None:
        """Write, for each engine that does not answer, what is up to date and not loaded.

        A step that makes an archive says so itself.
        """
        silent = ("silent", "no_exec", "question", "clean", "help")
        if SCons.Script.GetBuildFailures() or any(map(SCons.Script.GetOption, silent)):
            return
        waiting: dict[str, list[Any]] = {}
        for node in (node for image in self.images for node in image.waiting()):
            waiting.setdefault(node.attributes.step.address, []).append(node)
        for address, nodes in waiting.items():
            more = "" if len(nodes) == 1 else f" for one of {len(nodes)} images"
            print(f"no engine answers at {address}: docker load -i {nodes[0]}{more}")  # noqa: T201


def command_line_targets() -> list[str]:
    """Return what the command line asks for, from the top; nothing if it may mean other things."""
    if SCons.Script.GetOption("climb_up") or SCons.Script.GetOption("interactive"):
        return []
    return [_relative(str(target)) for target in SCons.Script.COMMAND_LINE_TARGETS]


def _relative(target: str) -> str:
    """Return `target` as a path from the top directory, without ``#``, ``./`` or a last slash."""
    return os.path.normpath(target.removeprefix("#").lstrip("/") if target[:1] == "#" else target)


def asked_words(place: str) -> frozenset[str]:
    """Return those of WORDS by which the command line can ask for images.

    `place` is a regular expression for names of images. A target that is no such name, nor one
    after a word, may need anything.
    """
    targets = command_line_targets()
    if not targets:
        return frozenset(WORDS)
    names = re.compile(rf"(?:({'|'.join((*WORDS, *TOLD))})/)?{place}")
    found = [names.fullmatch(target) for target in targets]
    if not all(found):
        return frozenset(WORDS)
    return frozenset({match[1] for match in found if match} & {*WORDS})


def requested(images: Iterable[Image], word: str) -> list[Any]:
    """Return what `word` asks for of all `images`."""
    return [node for image in images for node in image.requested.get(word, ())]
