"""The aliases ``WORD/IMAGE``: requests, as ``test/IMAGE``, and the answers ``why`` and ``help``."""

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
from .nodes import host_path, step_of
from .project import DeclaredImage, Project, request_nodes


def offer(env: Any, name: str, images: Sequence[DeclaredImage], *, builds: bool = True) -> None:
    """Offer the aliases of `images`, each ``WORD/name``; `builds`: `name` is an alias, too.

    Where it is none, but a path, the project's files count: ``test/hello`` is no alias where there
    is a directory ``test``.
    """
    Project.of(env).offer(env, name, functools.partial(_alias, env, name, images, builds))


def _alias(env: Any, name: str, images: Sequence[DeclaredImage], builds: bool, word: str) -> Any:
    alias = f"{word}/{name}"
    beside = os.path.dirname(os.path.join(env.fs.Top.get_abspath(), alias))
    if not builds and os.path.isdir(beside):
        return None
    if word == "why":
        return _why_alias(env, images, alias)
    if word == "help":
        return print_alias(env, functools.partial(_help, name, images, builds), alias)
    return env.Alias(alias, request_nodes(images, word))[0]


def print_alias(env: Any, text: Callable[[], str], alias: str) -> Any:
    """Declare the `alias` that prints `text`; return its node."""

    def write(target: list[Any], source: list[Any], env: Any) -> None:  # noqa: ARG001
        sys.stdout.write(text())

    return env.AlwaysBuild(env.Alias(alias, [], SCons.Action.Action(write, None)))[0]


def _help(name: str, images: Sequence[DeclaredImage], builds: bool) -> str:
    """Return the help about the `images` that have this `name`."""
    from . import help_text
    from .steps.image import ImageStep

    texts = [
        help_text.variables(node.get_build_env().get, f"Variables of {node}, as they are set:\n")
        for image in images
        for node in image.nodes
        if isinstance(step_of(node), ImageStep)
    ]
    return "\n".join([help_text.targets_of(name, builds=builds), *texts])


def _why_alias(env: Any, images: Sequence[DeclaredImage], alias: str) -> Any:
    from .steps.file_list import ListStep

    nodes = [node for image in images for node in image.nodes]
    lists = [node for node in nodes if isinstance(step_of(node), ListStep)]
    # Without a path there is nothing to build first.
    why = env.Alias(alias, lists if _is_path(_path()) else [], SCons.Action.Action(_why, None))
    return env.AlwaysBuild(why)[0]


def _path() -> bytes:
    return os.fsencode(SCons.Script.ARGUMENTS.get("WHY", ""))


def _is_path(path: bytes) -> bool:
    return path[:1] == b"/"


def _why(target: list[Any], source: list[Any], env: Any) -> str | None:  # noqa: ARG001
    """Print why a path is in the images whose file lists are `source`."""
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
    """Return lines that say why `path` is in the file list `node`, or is not."""
    root = node.attributes.footprint.root()
    sources = [host_path(each) for each in node.sources]
    lines: Iterator[str] = step_of(node).inherit(root).why(root, host_path(node), sources, path)
    return lines
