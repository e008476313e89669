"""A repository of images: ``images/NAME/SConscript``, read only where it is asked for."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from typing import Any

import SCons.Script

from . import commands
from .alias import image_alias
from .builders import cleans
from .chain import explain
from .checks import File, checked
from .plans import step_of
from .project import TOLD, WORDS, Image, Project, asked_words, command_line_targets, requested
from .sconscript import refuse
from .steps import PushStep


@checked("ImageTree", directory=File("a directory", '"images"'))
def image_tree(env: Any, directory: str) -> list[Any]:
    """Read the SConscripts below `directory` that the command line asks for; return their targets.

    Each ``DIRECTORY/NAME/SConscript`` is read with `env` exported, as variant directory
    ``build/DIRECTORY/NAME``, and the alias ``DIRECTORY/NAME`` builds what it declares. The alias
    ``DIRECTORY`` builds all. ``test/DIRECTORY/NAME`` and ``test/DIRECTORY`` test the images,
    ``report/...`` make their reports, ``sbom/...`` write their bills of materials,
    ``seccomp/...`` their profiles, and ``push/...`` push those that have a tag with a registry.
    ``why/DIRECTORY/NAME`` tells why the path that ``WHY=PATH`` names is in an image, or is not.
    ``help/DIRECTORY`` and ``scons --help`` tell of all these, and of variables;
    ``help/DIRECTORY/NAME`` tells which values these have for one image.
    """
    top = str(env.Dir(directory).srcnode())
    if not os.path.isdir(env.Dir(directory).srcnode().get_abspath()):
        refuse(f"cannot read images: there is no directory {top}; make it")
    names = _names(env.Dir(directory).srcnode().get_abspath())
    project = Project.of(env)
    outside, project.words = project.words, asked_words(f"{re.escape(top)}(?:/[^/]+)?")
    first = len(project.images)
    aliases = [_read(env, top, name) for name in _wanted(top, names)]
    project.words = outside
    images = project.images[first:]
    image_alias(env, top, aliases)
    project.offer(env, top, functools.partial(_alias, env, top, names, images))
    explain(env, top, names)
    # `scons images/`, with the slash of tab completion, means the directory, not the alias.
    env.Depends(env.Dir(f"#{top}"), aliases)
    return [node for image in images for node in image.nodes]


def _names(directory: str) -> list[str]:
    return sorted(
        name
        for name in os.listdir(directory)
        if os.path.isfile(os.path.join(directory, name, "SConscript"))
    )


def _alias(env: Any, top: str, names: list[str], images: Sequence[Image], word: str) -> Any:
    """Declare the alias of a word for all images of a tree; return its node, if there is one."""
    if word == "help":
        return commands.tells(env, functools.partial(_help, env, top, names), f"help/{top}")
    nodes = [node for node in requested(images, word) if not _is_nothing(node)]
    return env.Alias(f"{word}/{top}", nodes)[0] if word in WORDS else None


def _help(env: Any, top: str, names: list[str]) -> str:
    from . import help_text

    return f"{help_text.targets(top, names)}\n{help_text.variables(env.get)}"


def _is_nothing(node: Any) -> bool:
    """Tell whether `node` pushes an image that has no tag with a registry."""
    step = step_of(node)
    return isinstance(step, PushStep) and not step.tags


def _read(env: Any, top: str, name: str) -> Any:
    project = Project.of(env)
    before = len(project.images)
    env.SConscript(
        f"#{top}/{name}/SConscript",
        variant_dir=f"#build/{top}/{name}",
        duplicate=0,
        exports={"env": env},
    )
    images = project.images[before:]
    targets = [node for image in images for node in image.nodes]
    seal = os.path.join(env.Dir(f"#build/{top}/{name}").get_abspath(), ".seal")
    alias = image_alias(env, f"{top}/{name}", targets, seal)
    for image in images:
        image.alias = alias
    if cleans():
        env.Clean(targets, seal)
    commands.offer(env, f"{top}/{name}", images)
    return alias


def _wanted(top: str, names: list[str]) -> list[str]:
    """Return the names that the command line's targets can mean; all where one is not known."""
    if SCons.Script.GetOption("help"):
        return []
    wanted: set[str] = set()
    targets = command_line_targets()
    if not targets:
        return names
    for target in targets:
        if target == f"help/{top}":
            continue
        name = _image_name(target, top)
        if name is None:
            return names
        wanted.add(name)
    return [name for name in names if name in wanted]


def _image_name(target: str, top: str) -> str | None:
    for place in ("", "build/", *(f"{word}/" for word in (*WORDS, *TOLD))):
        if target.startswith(f"{place}{top}/"):
            return target.removeprefix(f"{place}{top}/").split("/")[0]
    return None
