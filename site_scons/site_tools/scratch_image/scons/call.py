"""A call of `ScratchImage` as a value: all that decides over the steps that it declares."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
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
from .nodes import kind_of, step_of
from .project import Project
from .staged import StagedNode
from .substitution import literal, substitute
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
