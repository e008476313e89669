"""The alias of an image: it names the image's steps, but only if something has moved.

SCons takes about a millisecond to find one target up to date, whatever that depends on. Where the
image's seal holds (see `up_to_date`) nothing of its steps can be out of date, so the alias depends
on no more than what other builders make for them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import SCons.Environment
import SCons.Node
import SCons.Node.Alias
import SCons.Node.FS
import SCons.Script

from ..errors import ScratchImageError
from ..fs import target
from ..fs.digest import Digest
from . import up_to_date
from .builders import signature
from .deferral import Deferral
from .footprint_node import FootprintNode, derived_nodes, trust_time
from .nodes import host_path, is_derived, made_below, repositories_of, top_of
from .up_to_date import Declaration, DeclaredCall, Places, Seal


class _AliasInfo(SCons.Node.Alias.AliasNodeInfo):  # type: ignore[misc]  # SCons has no types
    """The signature of an alias, once somebody has asked for it."""

    __slots__ = ()

    def update(self, node: Any) -> None:
        """Take no signature after a build: all steps of all images would need nodes for it."""


class ImageAlias(SCons.Node.Alias.Alias):  # type: ignore[misc]  # SCons has no types
    """Stands for the steps of an image, or for several such aliases."""

    NodeInfo = _AliasInfo

    def __init__(
        self, name: str, steps: Sequence[Any], file: str = "", deferral: Deferral | None = None
    ) -> None:
        """Take the nodes `steps`, what it stands for; its seal lies in `file`, if it has one.

        The `deferral` is that of the images whose steps these are.
        """
        super().__init__(name)
        self.steps = steps
        self.file = file
        self.deferral = deferral
        self._decided: list[Any] | None = None
        self._taken: Seal | None = None

    # SCons calls these. Like those of a footprint none of them may raise.

    def scan(self) -> None:
        """Name what is to be looked at: steps, or what has to be there to know whether any."""
        self.implicit: list[Any] = []
        self.implicit_set: set[Any] = set()
        self._children_reset()
        self._add_child(self.implicit, self.implicit_set, self._needs())

    def make_ready(self) -> None:
        """Take no signature: who depends on the alias asks for it."""

    def visited(self) -> None:
        """Store nothing: nothing of an alias is."""

    def get_contents(self) -> str:
        """Return what the signature is made of: that of all steps, whatever is walked."""
        for node in self.steps:
            if isinstance(node, SCons.Node.FS.File):
                trust_time(node)
        return "".join(node.get_csig() for node in [*self.sources, *self.depends, *self.steps])

    def is_up_to_date(self) -> bool:
        """Tell whether nothing was built; if so, all that was looked at is sealed."""
        states = {node.get_state() for node in self.children(scan=False)}
        if states - {SCons.Node.no_state, SCons.Node.up_to_date}:
            return False
        self._keep()
        return not self.always_build

    def clear(self) -> None:
        """Forget what was found: ``--interactive`` builds again in the same process."""
        super().clear()
        self._decided, self._taken = None, None

    def _needs(self) -> list[Any]:
        if self._decided is None and self.deferral and self.deferral.is_waiting():
            before = self.deferral.built_before()
            if _are_waiting(before):
                return before
            self._decided = before if self.deferral.holds() else None
        if self._decided is None and not self._has_seal():
            self._decided = [*self.steps]
        return self._look() if self._decided is None else self._decided

    def _look(self) -> list[Any]:
        """Return what is to be looked at where all steps have nodes."""
        steps, stored = _Steps(self.steps), up_to_date.load(self.file)
        before = steps.built_before(stored) if stored else []
        if _are_waiting(before):
            return before
        is_known = not self.deferral or (stored is not None and self.deferral.is_known(stored))
        holds = is_known and stored is not None and stored.holds(steps.signature)
        calls = self.deferral.calls() if self.deferral else None
        self._taken = None if holds else steps.seal(calls)
        self._decided = before if holds else [*before, *self.steps]
        return self._decided

    def _has_seal(self) -> bool:
        """Tell whether a seal can stand for the steps, and the user need not see each of them."""
        return bool(self.file) and not shows_all() and all(map(_is_as_declared, self.steps))

    def _keep(self) -> None:
        reads_only = SCons.Script.GetOption("no_exec") or SCons.Script.GetOption("question")
        if self._taken and not reads_only:
            # Where that cannot be, the next build walks all steps, too.
            with contextlib.suppress(OSError):
                target.write(os.fsencode(self.file), [self._taken.text()])


def _is_directory(node: Any) -> bool:
    return isinstance(node, SCons.Node.FS.Dir)


def _are_waiting(nodes: Iterable[Any]) -> bool:
    """Tell whether some of `nodes` have still to be built."""
    return any(node.get_state() <= SCons.Node.executing for node in nodes)


def shows_all() -> bool:
    """Tell whether the user has to see each target, as ``-c`` and ``--tree`` name them."""
    return bool(SCons.Script.GetOption("clean") or SCons.Script.GetOption("tree_printers"))


class _Steps:
    """The steps of an image, as its seal sees them."""

    def __init__(self, nodes: Sequence[Any]) -> None:
        self._nodes = nodes
        self._footprints: list[FootprintNode] = list(
            dict.fromkeys(node.attributes.footprint for node in nodes)
        )
        executors = [each.owner.get_executor() for each in self._footprints]
        self._sources = [executor.get_all_sources() for executor in executors]
        needed = [executor.get_all_prerequisites() for executor in executors]
        needed += [each.staged.nodes for each in self._footprints]
        self._made = {*nodes}
        self._inputs = [
            node
            for node in dict.fromkeys(itertools.chain(*self._sources, *needed))
            if node not in self._made
        ]
        """Sources and prerequisites of the steps that none of the steps makes."""
        self._own = self._files()

    def _files(self) -> frozenset[bytes]:
        """Return where the targets, their footprints and their sources lie."""
        made = [node.get_abspath() for node in self._nodes]
        made += [path for each in self._footprints for path in each.files]
        files = [node for node in self._inputs if isinstance(node, SCons.Node.FS.File)]
        # Where a variant directory has copies, it is the sources that users change.
        made += [node.srcnode().get_abspath() for node in files]
        return frozenset([*map(os.fsencode, made), *map(host_path, files)])

    @functools.cached_property
    def signature(self) -> str:
        """Digest of what the steps are, and of what they are made from, in hex."""
        places = [*sorted(self._own), *repositories_of(self._nodes[0])]
        words = list(map(os.fsdecode, places))
        for each, sources in zip(self._footprints, self._sources, strict=True):
            words += [signature([each.owner], sources, None, True), each.view, *map(str, sources)]
        return Digest.of("\0".join(words).encode("utf-8", "surrogateescape")).hex

    def built_before(self, stored: Seal) -> list[Any]:
        """Return what other builders make for the steps."""
        directories = filter(_is_directory, self._inputs)
        looked = map(os.fsdecode, self._looked_paths(stored.places))
        found = derived_nodes(self._nodes[0].fs, looked, self._mentions())
        return [
            *filter(is_derived, self._inputs),
            *itertools.chain(*map(made_below, directories)),
            *(node for node in found if node not in self._made),
        ]

    def _looked_paths(self, places: Places) -> Iterator[bytes]:
        """Yield the project's files among `places` that are no parts of the steps themselves."""
        top = top_of(self._nodes[0]) + b"/"
        nodes = list(filter(_is_directory, self._inputs))
        sources = [each for node in nodes for each in (node, node.srcnode())]
        staged = tuple(os.fsencode(each.get_abspath()) + b"/" for each in sources)
        places_in_project = (path for path in places.whole - self._own if path.startswith(top))
        return (path for path in places_in_project if not path.startswith(staged))

    def _mentions(self) -> list[str]:
        return [name for each in self._footprints for name in each.mentions()]

    def seal(self, calls: tuple[DeclaredCall, ...] | None) -> Seal | None:
        """Take the seal to be kept if all steps are found up to date from now on."""
        places = Places(self._own)
        for each in self._footprints:
            found = _places(each)
            if found is None:
                return None
            places |= found
        declaration = None if calls is None else self._declaration(calls, places)
        return Seal.take(self.signature, places, declaration)

    def _declaration(self, calls: tuple[DeclaredCall, ...], places: Places) -> Declaration:
        return Declaration(
            calls,
            targets=frozenset(os.fsencode(node.get_abspath()) for node in self._nodes),
            inputs=frozenset(
                [os.fsencode(node.get_abspath()) for node in self._inputs]
                + [*self._looked_paths(places)]
            ),
            mentions=frozenset(map(os.fsencode, self._mentions())),
            tools=frozenset(text for node in self._nodes for text in node.attributes.step.tools()),
            repositories=repositories_of(self._nodes[0]),
        )


def _places(footprint: FootprintNode) -> Places | None:
    """Return where the step has looked; None where it has to look again."""
    stored = footprint.read_stored()
    try:
        return Places.of(stored, footprint.root()) if stored else None
    except ScratchImageError:
        return None


def _is_as_declared(node: Any) -> bool:
    """Tell whether the project has added nothing to what decides over the target `node`."""
    executor = node.get_executor()
    return (
        executor is not None
        and node.depends == [node.attributes.footprint]
        and not node.always_build
        and not executor.pre_actions
        and not executor.post_actions
    )


def image_alias(
    env: Any, name: str, steps: Sequence[Any], file: str = "", deferral: Deferral | None = None
) -> Any:
    """Declare the alias `name` for the nodes `steps` and return it; see `ImageAlias`."""
    if name in env.ans:
        return env.Alias(name, steps)[0]
    env.ans[name] = ImageAlias(name, steps, file, deferral)
    return SCons.Environment.AliasBuilder(env, name, [])[0]
