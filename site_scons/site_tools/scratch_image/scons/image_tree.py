"""A repository of images: ``images/NAME/SConscript``, read only where a target can mean it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from typing import Any

from . import command_line, request_aliases, up_to_date
from .builders import cleans
from .checks import OneFile, check_arguments
from .deferral import Deferral
from .image_alias import image_alias, shows_all
from .nodes import LazyNodes, step_of
from .project import DeclaredImage, Project, request_nodes
from .sconscript import refuse
from .scratch_image import add_help


@check_arguments("ImageTree", directory=OneFile("a directory", '"images"'))
def image_tree(env: Any, directory: str) -> LazyNodes:
    """Read the SConscripts below `directory` that the targets can mean; return all their nodes.

    Each ``DIRECTORY/NAME/SConscript`` is read with `env` exported, as variant directory
    ``build/DIRECTORY/NAME``, and the alias ``DIRECTORY/NAME`` builds what it declares. The alias
    ``DIRECTORY`` builds all. ``test/DIRECTORY/NAME`` and ``test/DIRECTORY`` test the images,
    ``report/...`` make their reports, ``sbom/...`` write their bills of materials,
    ``seccomp/...`` their profiles, and ``push/...`` push those that have a tag with a registry;
    ``debug/...`` build images beside them that have tools to debug them with.
    ``why/DIRECTORY/NAME`` tells why the path that ``WHY=PATH`` names is in an image, or is not.
    ``help/DIRECTORY`` and ``scons --help`` tell of all these, and of variables;
    ``help/DIRECTORY/NAME`` tells which values these have for one image.
    """
    top = str(env.Dir(directory).srcnode())
    if not os.path.isdir(env.Dir(directory).srcnode().get_abspath()):
        refuse(f"cannot read images: there is no directory {top}; make it")
    names = _names(env.Dir(directory).srcnode().get_abspath())
    project = Project.of(env)
    outside, project.words = project.words, command_line.requests(f"{re.escape(top)}(?:/[^/]+)?")
    first = len(project.images)
    aliases = [_read(env, top, name) for name in command_line.image_names(top, names)]
    project.words = outside
    images = project.images[first:]
    image_alias(env, top, aliases)
    project.offer(env, top, functools.partial(_alias, env, top, names, images))
    add_help(env, top, names)
    # `scons images/`, with the slash of tab completion, means the directory, not the alias.
    env.Depends(env.Dir(f"#{top}"), aliases)
    return LazyNodes(make=lambda: [node for image in images for node in image.nodes])


def _names(directory: str) -> list[str]:
    return sorted(
        name
        for name in os.listdir(directory)
        if os.path.isfile(os.path.join(directory, name, "SConscript"))
    )


def _alias(env: Any, top: str, names: list[str], images: Sequence[DeclaredImage], word: str) -> Any:
    """Declare the alias of a word for all images of a tree; return its node, if there is one."""
    if word == "help":
        text = functools.partial(_help, env, top, names)
        return request_aliases.print_alias(env, text, f"help/{top}")
    nodes = [node for node in request_nodes(images, word) if step_of(node).has_work()]
    return env.Alias(f"{word}/{top}", nodes)[0] if word in command_line.REQUESTS else None


def _help(env: Any, top: str, names: list[str]) -> str:
    from . import help_text

    return f"{help_text.targets(top, names)}\n{help_text.variables(env.get)}"


def _read(env: Any, top: str, name: str) -> Any:
    project = Project.of(env)
    before = len(project.images)
    file = os.path.join(env.Dir(f"#build/{top}/{name}").get_abspath(), ".seal")
    # Requests need nodes of steps, and so does whoever wants to see all targets.
    can_wait = command_line.are_images(top) and not shows_all()
    deferral = Deferral(env, up_to_date.load(file)) if can_wait else None
    outside, project.deferral = project.deferral, deferral
    env.SConscript(
        f"#{top}/{name}/SConscript",
        variant_dir=f"#build/{top}/{name}",
        duplicate=0,
        exports={"env": env},
    )
    project.deferral = outside
    if deferral:
        deferral.end()
    images = project.images[before:]
    targets = LazyNodes(make=lambda: [node for image in images for node in image.nodes])
    alias = image_alias(env, f"{top}/{name}", targets, file, deferral)
    for image in images:
        image.alias = alias
    if cleans():
        env.Clean(targets, file)
    request_aliases.offer(env, f"{top}/{name}", images)
    return alias
