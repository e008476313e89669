"""The SCons node that stands for the state of all that a target's step looked at.

SCons's own File nodes miss modes, links, absence and listings, and cost more than forty times as
much for each path on a null build. A footprint is one dependency of one target: its signature is
the digest of the state text (see `footprint`) that lies beside the target, with every state taken
afresh; what .sconsign keeps is the digest of the text as the step left it.

This leans on a few things that SCons does not document: `Value.get_ninfo` runs again after a
build, `scan` may name nodes, and ``_memo_lookup_map`` turns a stored name back into a node.
Tests hold them on the oldest and the newest SCons that are supported.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import SCons.Node
import SCons.Node.FS
import SCons.Node.Python
import SCons.Script

from ..errors import ScratchImageError
from ..fs import target
from .nodes import existing_node, is_derived, made_below
from .staged import StagedNodes

if TYPE_CHECKING:
    from ..fs.root import Root
    from . import footprint


_NONE = "none"
"""Signature where there is no whole footprint: it never equals one that a build has stored."""


class FootprintNode(SCons.Node.Python.Value):  # type: ignore[misc]  # SCons has no types
    """State of every path that the last build of `owner` looked at."""

    def __init__(self, owner: Any, make_root: Callable[..., Root]) -> None:
        """`owner` is a File node; `make_root` makes the root that its step sees."""
        name = f"footprint of {owner.get_internal_path()}"
        super().__init__(name, name=name)
        self.owner = owner
        self.file = os.path.join(owner.dir.get_abspath(), f".{owner.name}.footprint")
        self.make_root = make_root
        self.staged = StagedNodes()
        """The staged nodes of that root."""
        self.is_shared = False
        """Whether no step makes the base of that root, so that other steps have the same."""
        self.view = ""
        """The base of that root, and what is staged there, as text."""
        self.files = [self.file]
        """The private files that it depends on: its own, and those that the root needs."""
        self.mentions: Callable[[], Iterable[str]] = tuple
        """Names the project's files that the step's sources name, absolute."""
        self._stored: footprint.Footprint | None = None
        self._read = False
        self._fresh: str | None = None
        self._told = False
        self.Decider(_is_other)
        SCons.Node.Python._memo_lookup_map[hash((name, None))] = self

    def root(self) -> Root:
        """Return the root that the step sees; ScratchImageError when there can be none."""
        return self.make_root(self.staged)

    def _compared_root(self) -> Root:
        """Return the root for a comparison of states.

        As long as nothing is built for it, all steps of an image have the same places in it.
        """
        if not self.is_shared or self._made_for_staging():
            return self.root()
        root = self.make_root(self.staged, self.staged.places)
        self.staged.places = root.files.staging
        return root

    def discard(self) -> None:
        """Take the footprint away: from here on the target is not up to date."""
        self._stored, self._read = None, True
        if os.path.lexists(self.file):
            os.unlink(self.file)

    def keep(self, root: Root) -> tuple[bytes, ...]:
        """Write down the state of all that `root` has on record: the target is whole.

        Return the paths that changed while the step ran: the next build runs it again.
        """
        from . import footprint

        taken = footprint.take(root)
        target.write(os.fsencode(self.file), [taken.text()])
        self._stored = taken
        return taken.moved_paths()

    def adopt(self, fresh: footprint.Footprint) -> None:
        """Write down the states `fresh`, for which a cache had the target: it is whole."""
        self._stored = fresh.with_nonce()
        target.write(os.fsencode(self.file), [self._stored.text()])

    def read_stored(self) -> footprint.Footprint | None:
        """Return the footprint that the last build left; None when there is no whole one."""
        if not self._read:
            from . import footprint

            self._read = True
            try:
                with open(self.file, "rb") as stream:
                    self._stored = footprint.read(stream.read())
            except OSError:
                self._stored = None
        return self._stored

    def fresh(self) -> footprint.Footprint | None:
        """Return the stored footprint with every state taken afresh; None when there is none."""
        stored = self.read_stored()
        try:
            return stored and stored.again(self._compared_root())
        except (ScratchImageError, OSError, ValueError):
            return None

    # The interface of SCons's nodes. None of these may raise: an exception that leaves a node's
    # method while a target is being booked as built stops every other thread of a parallel build
    # for ever.

    def scan(self) -> None:
        """Name the derived files among the paths: they are built before the state is taken."""
        if self.implicit is None:
            self.implicit, self.implicit_set = [], set()
            self._children_reset()
            nodes = self.needed_nodes(self.read_stored())
            self._add_child(self.implicit, self.implicit_set, nodes)

    def needed_nodes(self, footprint: footprint.Footprint | None) -> list[Any]:
        """Return the nodes that something builds, and whose files `footprint` has."""
        found = derived_nodes(self.owner.fs, self._looked_paths(footprint), self.mentions())
        return [node for node in [*self._made_for_staging(), *found] if node != self.owner]

    def _made_for_staging(self) -> list[Any]:
        """Return the nodes that something builds for what is staged."""
        if self.staged.made is None:
            nodes = self.staged.nodes
            self.staged.made = [made for node in nodes for made in made_below(node)]
        return self.staged.made

    def _looked_paths(self, footprint: footprint.Footprint | None) -> set[str]:
        """Return where the paths in the project lie that `footprint` has."""
        if footprint is None:
            return set()
        top = os.fsencode(self.owner.fs.Top.get_abspath()) + b"/"
        try:
            # Nodes that are built for staging are known already.
            root = self.make_root(StagedNodes())
        except (ScratchImageError, OSError, ValueError):
            return set()
        looked = {path for path, _ in footprint.states}
        machine = looked if self.is_shared else map(root.files.host_path, looked)
        return {os.fsdecode(path) for path in machine if path.startswith(top)}

    def get_ninfo(self) -> Any:
        """Return the node information with the signature that is true now."""
        if self.ninfo is None:
            self.ninfo = self.new_ninfo()
        self.ninfo.csig = self._signature()
        return self.ninfo

    def _signature(self) -> str:
        stored = self.read_stored() if self.owner.get_state() == SCons.Node.executed else None
        if stored is not None:
            return stored.signature()
        if self._fresh is None:
            for node in self.owner.get_executor().get_all_targets():
                trust_time(node)
            fresh = self.fresh()
            self._fresh = _NONE if fresh is None else fresh.signature()
            self._note(fresh)
        return self._fresh

    def _note(self, fresh: footprint.Footprint | None) -> None:
        """Write down that another database of dpkg, or other files, give the same states.

        Reading these takes time: where that cannot be written, the next build reads them, too.
        """
        stored = self.read_stored()
        if fresh is None or stored is None or stored == fresh:
            return
        reads_only = SCons.Script.GetOption("no_exec") or SCons.Script.GetOption("question")
        if self._fresh == stored.signature() and not reads_only:
            with contextlib.suppress(OSError):
                target.write(os.fsencode(self.file), [fresh.text()])

    def get_csig(self) -> str:
        """Return the signature that is true now."""
        return str(self.get_ninfo().csig)

    def get_text_contents(self) -> str:
        """Return what SCons shows as this node's contents."""
        return self.get_csig()

    def clear(self) -> None:
        """Forget what was found: ``--interactive`` builds again in the same process."""
        super().clear()
        self.staged.places = self.staged.made = None
        if chain := getattr(self.owner.attributes, "chain", None):
            chain.clear()
        self._read, self._fresh, self._told = False, None, False

    def tell(self) -> None:
        """Print, once, each path that changed and how, for ``--debug=explain``."""
        if self._told or "explain" not in SCons.Script.GetOption("debug"):
            return
        from . import footprint

        self._told = True
        stored, fresh = self.read_stored(), self.fresh()
        for phrase in footprint.explain(stored, fresh) if stored and fresh else ():
            print(f"scons: {self.owner.get_internal_path()}: {phrase}")  # noqa: T201


def trust_time(node: Any) -> None:
    """Let SCons take the target `node` for what it was if its time and size are the same.

    Targets are always new files. SCons alone would read a large layer on every null build. It
    tells times in seconds: what this build has made may look like what it was.
    """
    if node.get_state() == SCons.Node.executed:
        return
    was = node.get_stored_info().ninfo
    # A stored node may lack any of these, and nothing may be raised here.
    csig = getattr(was, "csig", None)
    now = (node.get_timestamp(), node.get_size() if node.exists() else None)
    if csig and now == (getattr(was, "timestamp", None), getattr(was, "size", None)):
        node.get_ninfo().csig = csig


def derived_nodes(fs: Any, looked: Iterable[str], mentioned: Iterable[str]) -> list[Any]:
    """Return the nodes that something builds at the paths `looked`, and at or below `mentioned`."""
    nodes = [node for path in sorted(looked) if is_derived(node := existing_node(fs, path))]
    for path in sorted(mentioned):
        if node := existing_node(fs, path):
            nodes += made_below(node)
    return list(dict.fromkeys(nodes))


def _is_other(node: Any, target: Any, prev_ni: Any, repo_node: Any = None) -> bool:  # noqa: ARG001
    """Tell whether `node`, a footprint, differs from what SCons stored: a decider."""
    changed: bool = node.get_csig() != getattr(prev_ni, "csig", None)
    if changed:
        node.tell()
    return changed
