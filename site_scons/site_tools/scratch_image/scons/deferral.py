"""The images of an SConscript, whose steps get nodes only where somebody needs these.

SCons takes as long to declare a target as to find it up to date, and a build needs no step of an
image whose seal holds. The calls of `ScratchImage` are compared with those that the seal knows; if
they are equal, the steps are declared as soon as anything looks at them: at the value of the call,
at a file of theirs, or at the directory of these files.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .call import ImageCall
from .declaration import DeclaredCall
from .footprint import derived_nodes
from .nodes import is_beside, repositories_of, step_of
from .project import DeclaredImage, Project, claim
from .seal import Seal


class Deferral:
    """The calls of `ScratchImage` in an SConscript, and those whose steps have no nodes yet."""

    def __init__(self, env: Any, stored: Seal | None) -> None:
        """Compare with the seal `stored`; without one each step gets its nodes at once."""
        self._env = env
        self._seal = stored
        self._declared = stored.declaration if stored else None
        self._calls: list[tuple[ImageCall | None, DeclaredImage]] = []
        self._waiting: list[tuple[DeclaredImage, Callable[[], None]]] = []
        self._lock = threading.RLock()

    def take(
        self, image: DeclaredImage, call: ImageCall | None, declare: Callable[[ImageCall], None]
    ) -> bool:
        """Take the `call` for an `image`; `declare` gives nodes to the steps of a call.

        Return whether that can wait. InputError when another image has one of the tags.
        """
        known = self._find_known(call, len(self._calls))
        self._calls.append((call, image))
        if call is None or known is None:
            self.declare()
            return False
        for tag, owner in known.tags:
            claim(Project.of(self._env), [tag], owner)
        image.unloaded_files = known.unloaded
        image.declare = self.declare
        if not self._waiting:
            self._watch()
        self._waiting.append((image, functools.partial(declare, call)))
        return True

    def _find_known(self, call: ImageCall | None, number: int) -> DeclaredCall | None:
        """Return what the seal knows of the call, which is the one of that `number`."""
        calls = self._declared.calls if self._declared else ()
        if call is None or number >= len(calls) or calls[number].digest != call.digest:
            return None
        return None if number == 0 and self._is_any_there() else calls[number]

    def _is_any_there(self) -> bool:
        """Tell whether the project has named one of the targets already."""
        try:
            return any(name in directory.entries for directory, name in self._places)
        except TypeError:  # Something that is no directory has its name.
            return True

    @functools.cached_property
    def _places(self) -> list[tuple[Any, str]]:
        """The directory and the name of each target that the seal knows."""
        targets = self._declared.targets if self._declared else ()
        paths = [os.path.split(os.fsdecode(path)) for path in targets]
        directories = {path: self._env.fs.Dir(path) for path in {path for path, _ in paths}}
        return [(directories[path], name) for path, name in paths]

    def _watch(self) -> None:
        """Have all steps declared as soon as somebody looks at one of the targets."""
        for directory, name in self._places:
            if not isinstance(directory.entries, _Entries):
                directory.entries = _Entries(directory.entries)
            directory.entries.waiting[name] = self.declare

    def end(self) -> None:
        """Take no more calls: where there are fewer than the seal knows, all steps get nodes."""
        if self._declared and len(self._calls) < len(self._declared.calls):
            self.declare()

    def declare(self) -> None:
        """Give nodes to all steps, also to those of later calls."""
        self._declared = None
        # An action of the project, in a thread of its own, may look as well.
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for _, declare in waiting:
                declare()
            for image, _ in waiting:
                image.declare = None

    def built_before(self) -> list[Any]:
        """Return what other builders make for the steps."""
        if self._declared is None:
            return []
        inputs, mentions = self._declared.inputs, self._declared.mentions
        return derived_nodes(self._env.fs, map(os.fsdecode, inputs), map(os.fsdecode, mentions))

    def is_waiting(self) -> bool:
        """Tell whether the steps have no nodes yet."""
        return bool(self._waiting)

    def holds(self) -> bool:
        """Tell whether steps that have no nodes are up to date."""
        return (
            self.is_waiting()
            and self._seal is not None
            and self._declared is not None
            and self._declared.repositories == repositories_of(self._env.fs.Top)
            and self._declared.tools <= self._tools()
            and self._seal.is_unmoved()
        )

    def _tools(self) -> set[str]:
        return {text for call, _ in self._calls if call for text in call.tools()}

    def is_known(self, stored: Seal) -> bool:
        """Tell whether the seal `stored` knows the calls."""
        return (stored.declaration.calls if stored.declaration else None) == self.calls()

    def calls(self) -> tuple[DeclaredCall, ...] | None:
        """Return what a seal is to know of the calls; None where one is not fully known."""
        found = [_declared_call(call, image) for call, image in self._calls if call]
        targets = {call.target for call, _ in self._calls if call}
        return tuple(found) if len(targets) == len(self._calls) else None


def _declared_call(call: ImageCall, image: DeclaredImage) -> DeclaredCall:
    tags = [
        (tag, archive.get_internal_path())
        for archive in image.archives
        for tag in step_of(archive).references
    ]
    unloaded = [(step_of(archive).address, str(archive)) for archive in image.unloaded]
    return DeclaredCall(call.digest, tuple(tags), tuple(unloaded))


class _Entries(dict[str, Any]):
    """The nodes of a directory, by name; all are there as soon as somebody looks."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        super().__init__(nodes)
        self.waiting: dict[str, Callable[[], None]] = {}
        """Functions that make the node of each name that has none yet."""

    def __missing__(self, name: str) -> Any:
        if name not in self.waiting:
            raise KeyError(name)
        self._declare([name])
        return self[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.waiting

    def __setitem__(self, name: str, node: Any) -> None:
        super().__setitem__(name, node)
        self._declare([*self.waiting] if is_beside(name) else [name])

    def _declare(self, names: Iterable[str]) -> None:
        for name in names:
            declare = self.waiting.pop(name, None)
            if declare:
                declare()

    def __iter__(self) -> Iterator[str]:
        self._declare([*self.waiting])
        return super().__iter__()

    def keys(self) -> Any:
        """Return all names."""
        self._declare([*self.waiting])
        return super().keys()

    def values(self) -> Any:
        """Return all nodes."""
        self._declare([*self.waiting])
        return super().values()

    def items(self) -> Any:
        """Return all names and nodes."""
        self._declare([*self.waiting])
        return super().items()
