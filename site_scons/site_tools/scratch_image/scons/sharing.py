"""Steps that share their results: their part of a unit, and what a cache has for them.

A cache has the steps of an image from its runs to its list as one unit. Where it has none for what
is here, each step is a unit by itself: so a program that is new, and reads the same files, brings
no new list. Nothing of this is imported by a build without a cache, or by one with nothing to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import SCons.Node

from ..cache.key import weak_key
from ..cache.path_set import Checkout, UnsharedError
from ..cache.result import StepResult
from ..cache.share import Looks, Share, Unit
from ..errors import ScratchImageError
from ..fs.digest import Digest
from ..fs.private_file import to_text
from ..fs.root import WatchedFileSystem, find_once
from ..fs.target import write
from . import footprint
from .nodes import host_path, is_derived, repositories_of, top_of
from .steps.step import content
from .steps.table import find_kind
from .steps.trace import TraceStep, find_obstacle

if TYPE_CHECKING:
    from ..fs.lookup import Status
    from ..fs.root import Root
    from .image_chain import ImageChain

_MOST = 1 << 29
"""Bytes of targets that are kept at most: they are in memory while they are sent."""

_READY = (SCons.Node.up_to_date, SCons.Node.executed)
"""States of a node that is as it will be at the end of the build."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One source of a step, as it was read for a key."""

    status: Status | None
    digest: str


@dataclass(frozen=True, slots=True)
class Part:
    """The result of one step of an image, and what it was made of."""

    words: list[Any]
    """Words of the step in the weak key of its image."""
    digests: dict[Any, str]
    """Of its sources, by node."""
    states: dict[Any, str]
    result: StepResult


@dataclass(frozen=True, slots=True)
class Offer:
    """The result of one step, as a cache has it."""

    digests: list[str]
    """Of the sources that the step has to have."""
    result: StepResult
    taken: footprint.Footprint


class SharedStep:
    """A step that shares, and the nodes of its targets and sources."""

    def __init__(self, owner: Any) -> None:
        """`owner` is its first target."""
        self.owner = owner
        self.step, self.footprint = owner.attributes.step, owner.attributes.footprint
        # SCons gives up a node's executor when it has built the node.
        self.targets, self.sources = owner.attributes.targets, owner.sources
        self.checkout = Checkout((top_of(owner), *repositories_of(owner)))
        label = find_kind(owner.attributes.builder).label
        self.title = f"{label} {self.step.name}"

    def words(self, root: Root, sources: Sequence[object]) -> list[Any] | None:
        """Return all that decides over the result and is known before the step runs.

        `sources` stand for their contents. None where that is not all that decides: an engine or a
        network does, too.
        """
        words = self.step.shared_words()
        if words is None:
            return None
        return [
            type(self.step).__name__,
            [node.get_internal_path() for node in self.targets],
            words,
            sources,
            [
                [to_text(at), self._name(each.node.get_abspath()), each.mode, each.owner]
                for at, each in sorted(self.footprint.staged.items())
            ],
            [[to_text(at), self._name(host)] for at, host in sorted(root.files.staged.items())],
            root.files.base != b"/",
            root.files.epoch,
            repr(root.files.image),
        ]

    def _name(self, path: str | bytes) -> str:
        return to_text(self.checkout.portable_path(os.fsencode(path)))

    def take(self, looks: Looks, *, is_early: bool) -> footprint.Footprint:
        """Return the states of `looks` here; UnsharedError where that is not possible.

        `is_early` says that it is not the step's turn: something may still be built that it sees.
        """
        asked = footprint.Footprint("", "", dict(looks))
        # Before the look: another thread may build it meanwhile.
        if is_early and not all(map(_is_ready, self.footprint.needed_nodes(asked))):
            raise UnsharedError("something that it looks at is still to be built")
        try:
            return asked.again(self.footprint.root())
        except (ScratchImageError, OSError, ValueError) as error:
            raise UnsharedError(str(error)) from error


def read_source(path: bytes) -> SourceFile:
    """Return the file `path` as it is now; a later change of it shows in its status."""
    files = WatchedFileSystem()
    files.watch()
    path = os.path.realpath(path)
    status = files.status(path)
    return SourceFile(
        status, find_once(footprint.read_digest, files, path, status) if status else ""
    )


def _is_ready(node: Any) -> bool:
    """Tell whether `node` is as it will be at the end of the build."""
    return not is_derived(node) or node.get_state() in _READY


class Sharing:
    """One step in a build that shares results."""

    def __init__(self, share: Share, code: str, owner: Any) -> None:
        """`code` is the digest of the plugin; `owner` is the first target, and the step is due."""
        self._share = share
        self._code = code
        self._member = SharedStep(owner)
        self._chain: ImageChain | None = getattr(owner.attributes, "chain", None)
        self._read = [read_source(host_path(node)) for node in self._member.sources]
        self._digests = [each.digest for each in self._read]

    def restore(self, root: Root, files: Sequence[bytes]) -> str | None:
        """Write the targets `files` as a cache has them; return the lines about the step.

        None when it has none for what is here.
        """
        offer = self._chain_offer()
        if offer is None and (offer := self._own_offer(root)):
            self._note(root, offer.taken, offer.result)
        self._share.count_step(offer.result if offer else None)
        if offer is None:
            return None
        for path, output in zip(files, offer.result.outputs, strict=True):
            write(path, [output])
        self._member.footprint.adopt(offer.taken)
        first, line, rest = offer.result.lines.partition("\n")
        return f"{first}, from the cache{line}{rest}"

    def keep(self, root: Root, files: Sequence[bytes], lines: str, seconds: float) -> None:
        """Keep the targets `files`, which the step has just made, for others."""
        taken = self._member.footprint.read_stored()
        if self._share.is_read_only or taken is None:
            return
        try:
            if sum(map(os.path.getsize, files)) > _MOST:
                return
            now = [read_source(host_path(node)) for node in self._member.sources]
            result = StepResult(tuple(map(content, files)), lines, seconds)
        except (ScratchImageError, OSError):
            return
        if now != self._read:
            return
        words = self._member.words(root, self._digests)
        if words is not None:
            unit = self._unit([self._member], [words])
            self._share.keep(
                unit, self._key([words], _own_view([self._member])), [taken.states], [result]
            )
            self._note(root, taken, result)

    def _own_offer(self, root: Root) -> Offer | None:
        words = self._member.words(root, self._digests)
        if words is None:
            return None
        found = self._share.look_up(self._unit([self._member], [words]))
        return Offer(self._digests, found.results[0], found.taken[0]) if found else None

    # The unit of the image

    def _chain_offer(self) -> Offer | None:
        """Return what the cache has for the step as a part of its image."""
        if self._chain is None:
            return None
        with self._chain.lock:
            if self._chain.offers is None:
                self._chain.offers = dict(self._offers([*map(SharedStep, self._chain.owners)]))
            offer: Offer | None = self._chain.offers.pop(self._member.owner, None)
        # Other builders may have made sources since.
        return offer if offer and offer.digests == self._digests else None

    def _offers(self, members: Sequence[SharedStep]) -> Iterator[tuple[Any, Offer]]:
        """Yield for each step of the image what the cache has for it, if its sources are built."""
        inner = _places_of_targets(members)
        outer = [node for each in members for node in each.sources if node not in inner]
        if not all(map(_is_ready, outer)):
            return
        digests = {node: read_source(host_path(node)).digest for node in outer}
        try:
            words = [
                each.words(each.footprint.root(), [{**inner, **digests}[n] for n in each.sources])
                for each in members
            ]
        except (ScratchImageError, OSError):
            return
        if None in words:
            return
        found = self._share.look_up(self._unit(members, words))
        if not found:
            return
        for each, result in zip(members, found.results, strict=True):
            digests |= {
                node: Digest.of(output).text
                for node, output in zip(each.targets, result.outputs, strict=True)
            }
        for each, result, taken in zip(members, found.results, found.taken, strict=True):
            yield each.owner, Offer([digests[node] for node in each.sources], result, taken)

    def _note(self, root: Root, taken: footprint.Footprint, result: StepResult) -> None:
        """Note the result of the step; keep those of its image once all are known."""
        chain = self._chain
        if chain is None or self._share.is_read_only:
            return
        members = [*map(SharedStep, chain.owners)]
        inner = _places_of_targets(members)
        digests = dict(zip(self._member.sources, self._digests, strict=True))
        sources = [inner.get(node, digests[node]) for node in self._member.sources]
        words = self._member.words(root, sources)
        with chain.lock:
            chain.parts[self._member.owner] = Part(words or [], digests, taken.states, result)
            parts = [chain.parts[each] for each in chain.owners if each in chain.parts]
        if len(parts) == len(members):
            self._keep_image(members, parts)

    def _keep_image(self, members: Sequence[SharedStep], parts: Sequence[Part]) -> None:
        made = {
            node: Digest.of(output).text
            for each, part in zip(members, parts, strict=True)
            for node, output in zip(each.targets, part.result.outputs, strict=True)
        }
        used = {node: digest for part in parts for node, digest in part.digests.items()}
        if any(made.get(node, digest) != digest for node, digest in used.items()):
            return
        words = [part.words for part in parts]
        unit = self._unit(members, words)
        states, results = [part.states for part in parts], [part.result for part in parts]
        self._share.keep(unit, self._key(words, _own_view(members)), states, results)

    # Keys

    def _unit(
        self, members: Sequence[SharedStep], words: Sequence[Any]
    ) -> Unit[footprint.Footprint]:
        title = members[0].title if len(members) == 1 else f"image {members[-1].step.name}"
        return Unit(
            title,
            (self._key(words, view) for view in _views(members)),
            members[0].checkout,
            tuple(len(each.targets) for each in members),
            lambda looks: [
                each.take(one, is_early=len(members) > 1)
                for each, one in zip(members, looks, strict=True)
            ],
        )

    def _key(self, words: Sequence[Any], view: list[Any]) -> str:
        return weak_key([self._code, view, *words])


def _places_of_targets(members: Sequence[SharedStep]) -> dict[Any, list[int]]:
    """Return the number of the step, and of the target, that makes each node."""
    return {
        node: [step, target]
        for step, each in enumerate(members)
        for target, node in enumerate(each.targets)
    }


def _views(members: Sequence[SharedStep]) -> Iterator[list[Any]]:
    """Yield the kinds of view that runs of `members` may have had, the best first.

    A private run is the same for everybody, and one machine may take it that can make none.
    """
    wanted = {each.step.view for each in members if isinstance(each.step, TraceStep)}
    if not wanted:
        yield []
    if wanted & {"auto", "private"}:
        yield ["private"]
    if "plain" in wanted or ("auto" in wanted and find_obstacle()):
        yield ["plain", os.geteuid(), os.getegid(), *sorted(os.getgroups())]


def _own_view(members: Sequence[SharedStep]) -> list[Any]:
    """Return the kind of view that runs of `members` have here."""
    views = list(_views(members))
    return views[-1]
