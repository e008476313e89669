"""The images of an SConscript, whose steps get nodes only where somebody needs these.

SCons takes as long to declare a target as to find it up to date, and a build needs no step of an
image whose seal holds. So each call of `ScratchImage` is read as a value, if it can be, and
compared with those that the seal knows. If they are equal, the steps are declared as soon as
anything looks at them: at the value of the call, at a file of theirs, or at the directory of these
files.
"""

from __future__ import annotations

import functools
import os
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import SCons.Environment
import SCons.Node.FS

from ..errors import InputError
from ..fs.digest import Digest
from ..image import health
from ..image.compression import compressor
from ..image.settings import HealthCheck
from ..sandbox.run import Run
from . import tools
from .checks import OneFile, WrongPartError
from .footprint_node import derived_nodes
from .nodes import is_beside, kind_of, repositories_of, step_of
from .project import DeclaredImage, Project, claim
from .staged import StagedNode
from .substitution import literal, substitute
from .up_to_date import DeclaredCall, Seal
from .variables import VARIABLES, read

_NAMES = tuple(row.name for row in VARIABLES)
_PLAIN = (str, bytes, int, float, bool, type(None), Run, HealthCheck)
"""Types whose values are fully known by their text."""

_FILE = OneFile("one file", '"hello.conf"')


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A call whose arguments are fully known by their text.

    It means the same wherever SCons is at work, and whatever becomes of its environment.
    """

    env: Any
    """The environment of the call."""
    target: str
    """Absolute path stem of the step files, as builders take it."""
    program: Any
    """As `ScratchImage` takes it; each file is a node. None for what the base's image starts."""
    values: Mapping[str, Any]
    """The variables that are set, as steps want them."""
    compiler: tuple[str, ...]
    """The C compiler, if it builds the program of a health check."""
    others: Mapping[str, Any]
    """Keywords of the call that are none of our variables."""
    digest: str
    """Digest of all that decides over the steps, but for tools and repositories, in hex."""

    @classmethod
    def read(
        cls, env: Any, target: str, program: Any, variables: Mapping[str, Any]
    ) -> ImageCall | None:
        """Return the call; None where its text does not say all, or where it has a mistake.

        A keyword of SCons itself changes how a builder takes its arguments.
        """
        others = {name: given for name, given in variables.items() if name not in _NAMES}
        if isinstance(env, SCons.Environment.OverrideEnvironment) or any(map(str.islower, others)):
            return None
        own = env.Override(variables)
        try:
            found = _program(own, program)
            values = _absolute(own, {name: read(own, name) for name in _NAMES if name in own})
            compiler = _compiler(own, values, others)
            known = {name: name in env for name in others}
            digest = _digest(own, [target, found, values, compiler, known])
        except (InputError, WrongPartError, TypeError, ValueError):
            return None
        return cls(env, target, found, values, compiler, others, digest)

    def tools(self) -> set[str]:
        """Return the tools that steps may use, as they are now."""
        programs = (self.values.get("STRACE", "strace"), *self.compiler[:1])
        found = {tools.program(os.fsencode(name)) for name in programs}
        return {*found, tools.processor(), tools.elf_reader()}

    def environment(self) -> Any:
        """Return a copy of the environment, with the variables as they were at the call."""
        own = self.env.Clone()
        for name in _NAMES:
            if name in self.values:
                own[name] = literal(self.values[name])
            elif name in own:
                del own[name]
        if self.compiler:
            own["CC"] = literal(shlex.join(self.compiler))
        return own


def _program(env: Any, program: Any) -> Any:
    """Return `program` with a node for each file."""
    if program is None:
        return None
    if not isinstance(program, Mapping):
        return _node(env, program)
    found = {}
    for path, given in program.items():
        by_platform = given if isinstance(given, Mapping) else {}
        nodes = {name: _node(env, each) for name, each in by_platform.items()}
        found[literal(substitute(env, path, "path"))] = nodes or _node(env, given)
    return found


def _node(env: Any, given: Any) -> Any:
    """Return the File node of `given`, staged as that is; TypeError for another kind of node."""
    if isinstance(given, StagedNode):
        return replace(given, node=_node(env, given.node))
    node = env.arg2nodes(_FILE(given), env.File)[0]
    if kind_of(node):
        raise TypeError
    return node


def _absolute(env: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with nodes or absolute paths for names of files; TypeError where unclear."""
    found = dict(values)
    for bases in ([values.get("ROOT", [])], values.get("IMAGE_PLATFORMS", {}).values()):
        if any(isinstance(base, str) and base != "/" for each in bases for base in each):
            raise TypeError
    if "EXTRA_FILES" in values:
        found["EXTRA_FILES"] = [_node(env, literal(each)) for each in values["EXTRA_FILES"]]
    if "RUNS" in values:
        found["RUNS"] = [_absolute_run(env, run) for run in values["RUNS"]]
    return found


def _compiler(env: Any, values: Mapping[str, Any], others: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the C compiler if the health check is a page; TypeError where the call names it."""
    check = values.get("IMAGE_HEALTHCHECK")
    if not check or check.command[0] != health.PROGRAM:
        return ()
    if "CC" in others:
        raise TypeError
    from .steps.health import compiler

    return compiler(env)


def _absolute_run(env: Any, run: Run) -> Run:
    if run.is_suite:  # It looks at files of the project by relative names.
        raise TypeError
    if run.stdin is None:
        return run
    node = env.File(literal(os.fsdecode(run.stdin)))
    return replace(run, stdin=os.fsencode(node.get_abspath()))


def _digest(env: Any, parts: list[Any]) -> str:
    """Return the digest of a call's `parts`, and of all else; TypeError for an unknown value."""
    values = parts[2]
    # A name that is nearly one of ours is a mistake.
    names = sorted(name for name in env.keys() if name.startswith("IMAGE_"))  # noqa: SIM118
    answers = Project.of(env).answers(read(env, "DOCKER_HOST"))
    suffix = values.get("LAYERTARSUFFIX", "")
    words = [str(tools.plugin_code()), _text(parts), _text(names), str(answers), compressor(suffix)]
    return Digest.of("\0".join(words).encode("utf-8", "surrogateescape")).hex


def _text(value: Any) -> str:
    """Return a text that no other value has; TypeError for a value of an unknown type."""
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, StagedNode):
        return _text([value.node, value.mode, value.owner, "staged"])
    if isinstance(value, SCons.Node.FS.File):
        step = step_of(value)
        places = value.get_abspath(), value.srcnode().get_abspath(), getattr(step, "tree", b"")
        return repr((*places, step))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}"
    raise TypeError


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
