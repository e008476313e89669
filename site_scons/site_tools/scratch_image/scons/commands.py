"""The aliases that ask more of images than to be built: ``test/IMAGE``, ``why/IMAGE``, ..."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import SCons.Action
import SCons.Script

from ..errors import ScratchImageError
from ..fs.paths import show
from .plans import machine_path, step_of
from .project import Image, Project, requested
from .steps import ImageStep, ListStep


def offer(env: Any, name: str, images: Sequence[Image], *, builds: bool = True) -> None:
    """Offer the aliases of `images`, each ``WORD/name``; `builds`: `name` is an alias, too.

    Where it is none, but a path, the project's files count: ``test/hello`` is no alias where there
    is a directory ``test``.
    """
    Project.of(env).offer(env, name, functools.partial(_alias, env, name, images, builds))


def _alias(env: Any, name: str, images: Sequence[Image], builds: bool, word: str) -> Any:
    alias = f"{word}/{name}"
    beside = os.path.dirname(os.path.join(env.fs.Top.get_abspath(), alias))
    if not builds and os.path.isdir(beside):
        return None
    if word == "why":
        return _why_alias(env, images, alias)
    if word == "help":
        return tells(env, functools.partial(_help, name, images, builds), alias)
    return env.Alias(alias, requested(images, word))[0]


def tells(env: Any, text: Callable[[], str], alias: str) -> Any:
    """Declare the `alias` that writes `text`; return its node."""

    def tell(target: list[Any], source: list[Any], env: Any) -> None:  # noqa: ARG001
        sys.stdout.write(text())

    return env.AlwaysBuild(env.Alias(alias, [], SCons.Action.Action(tell, None)))[0]


def _help(name: str, images: Sequence[Image], builds: bool) -> str:
    """Return what there is to know of the `images` that have this `name`."""
    from . import help_text

    texts = [
        help_text.variables(node.get_build_env().get, f"Variables of {node}, as they are set:\n")
        for image in images
        for node in image.nodes
        if isinstance(step_of(node), ImageStep)
    ]
    return "\n".join([help_text.targets_of(name, builds=builds), *texts])


def _why_alias(env: Any, images: Sequence[Image], alias: str) -> Any:
    nodes = [node for image in images for node in image.nodes]
    lists = [node for node in nodes if isinstance(step_of(node), ListStep)]
    # Without a path there is nothing to build first.
    made = env.Alias(alias, lists if _is_path(_path()) else [], SCons.Action.Action(_why, None))
    return env.AlwaysBuild(made)[0]


def _path() -> bytes:
    return os.fsencode(SCons.Script.ARGUMENTS.get("WHY", ""))


def _is_path(path: bytes) -> bool:
    return path[:1] == b"/"


def _why(target: list[Any], source: list[Any], env: Any) -> str | None:  # noqa: ARG001
    """Tell why a path is in the images whose file lists are `source`."""
    path = _path()
    if not path:
        return f"cannot tell why a path is there: none is named; say scons {target[0]} WHY=/PATH"
    if not _is_path(path):
        return f"cannot tell why {show(path)!r} is there: it is no path; say WHY=/PATH"
    try:
        for node in source:
            for line in _reasons(node, path):
                sys.stdout.write(f"{line}\n")
    except ScratchImageError as error:
        return str(error)
    return None


def _reasons(node: Any, path: bytes) -> Iterator[str]:
    """Yield lines that tell why `path` is in the file list `node`, or is not."""
    root = node.attributes.footprint.root()
    sources = [machine_path(each) for each in node.sources]
    return iter(step_of(node).why(root, machine_path(node), sources, path))
