"""A repository of images: ``images/NAME/SConscript``, read only where it is asked for."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import SCons.Action
import SCons.Script

from .alias import image_alias
from .builders import clean_up
from .chain import asked, declared, explain, unasked, why
from .errors import ScratchImageError
from .paths import show
from .sconscript import refuse
from .steps import ImageStep, ListStep, PushStep

_TOLD = ("why", "help")
"""First words of aliases that make nothing, but tell of an image."""


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
    unasked.update({*asked, *_TOLD} - _words(top))
    first = len(declared)
    aliases = [_read(env, top, name) for name in _wanted(top, names)]
    unasked.clear()
    image_alias(env, top, aliases)
    for word, nodes in asked.items():
        env.Alias(f"{word}/{top}", [node for node in nodes if not _is_nothing(node)])
    _add_help(env, top, names)
    # `scons images/`, with the slash of tab completion, means the directory, not the alias.
    env.Depends(env.Dir(f"#{top}"), aliases)
    return [node for nodes in declared[first:] for node in nodes]


def _names(directory: str) -> list[str]:
    return sorted(
        name
        for name in os.listdir(directory)
        if os.path.isfile(os.path.join(directory, name, "SConscript"))
    )


def _is_nothing(node: Any) -> bool:
    """Tell whether `node` pushes an image that has no tag with a registry."""
    step = node.attributes.step
    return isinstance(step, PushStep) and not step.tags


def _read(env: Any, top: str, name: str) -> Any:
    before = len(declared)
    known = {word: len(nodes) for word, nodes in asked.items()}
    env.SConscript(
        f"#{top}/{name}/SConscript",
        variant_dir=f"#build/{top}/{name}",
        duplicate=0,
        exports={"env": env},
    )
    targets = [node for nodes in declared[before:] for node in nodes]
    seal = os.path.join(env.Dir(f"#build/{top}/{name}").get_abspath(), ".seal")
    alias = image_alias(env, f"{top}/{name}", targets, seal)
    clean_up(env, targets, [seal])
    for word in asked.keys() - unasked:
        env.Alias(f"{word}/{top}/{name}", asked[word][known[word] :])
    if "why" not in unasked:
        _add_why(env, f"why/{top}/{name}", targets)
    if "help" not in unasked:
        _add_text(env, f"help/{top}/{name}", functools.partial(_help_of, f"{top}/{name}", targets))
    return alias


def _add_help(env: Any, top: str, names: list[str]) -> None:
    """Add to ``scons --help``, and give a target to what tells of the images alone."""
    explain(env, top, names)

    def text() -> str:
        from . import guide

        return f"{guide.targets(top, names)}\n{guide.variables(env.get)}"

    _add_text(env, f"help/{top}", text)


def _help_of(image: str, targets: list[Any]) -> str:
    """Return what there is to know of the `image` that these are the `targets` of."""
    from . import guide

    made = [node for node in targets if isinstance(node.attributes.step, ImageStep)]
    texts = [
        guide.variables(node.get_build_env().get, f"Variables of {node}, as they are set:\n")
        for node in made
    ]
    return "\n".join([guide.targets_of(image), *texts])


def _add_text(env: Any, alias: str, text: Callable[[], str]) -> None:
    def tell(target: list[Any], source: list[Any], env: Any) -> None:  # noqa: ARG001
        sys.stdout.write(text())

    env.AlwaysBuild(env.Alias(alias, [], SCons.Action.Action(tell, None)))


def _add_why(env: Any, alias: str, targets: list[Any]) -> None:
    lists = [node for node in targets if isinstance(node.attributes.step, ListStep)]
    env.AlwaysBuild(env.Alias(alias, lists, SCons.Action.Action(_why, None)))


def _why(target: list[Any], source: list[Any], env: Any) -> str | None:  # noqa: ARG001
    """Tell why a path is in the images whose file lists are `source`."""
    path = os.fsencode(SCons.Script.ARGUMENTS.get("WHY", ""))
    if path[:1] != b"/":
        return f"cannot tell why {show(path)!r} is there: it is no path; say WHY=/PATH"
    try:
        for node in source:
            for line in why(node, path):
                sys.stdout.write(f"{line}\n")
    except ScratchImageError as error:
        return str(error)
    return None


def _targets() -> list[str]:
    """Return the command line's targets; none where they do not tell what will be built."""
    if SCons.Script.GetOption("climb_up") or SCons.Script.GetOption("interactive"):
        return []
    return [_relative(str(target)) for target in SCons.Script.COMMAND_LINE_TARGETS]


def _words(top: str) -> set[str]:
    """Return the first words of aliases that the targets can mean; all where one is not known."""
    words = "|".join([*asked, *_TOLD])
    images = re.compile(rf"(?:({words})/)?{re.escape(top)}(?:/[^/]+)?")
    found = [images.fullmatch(target) for target in _targets()]
    if not found or not all(found):
        return {*asked, *_TOLD}
    return {match[1] for match in found if match and match[1]}


def _wanted(top: str, names: list[str]) -> list[str]:
    """Return the names that the command line's targets can mean; all where one is not known."""
    if SCons.Script.GetOption("help"):
        return []
    wanted: set[str] = set()
    targets = _targets()
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
    for place in ("", "build/", *(f"{word}/" for word in (*asked, *_TOLD))):
        if target.startswith(f"{place}{top}/"):
            return target.removeprefix(f"{place}{top}/").split("/")[0]
    return None


def _relative(target: str) -> str:
    """Return `target` as a path from the top directory, without ``#``, ``./`` or a last slash."""
    return os.path.normpath(target.removeprefix("#").lstrip("/") if target[:1] == "#" else target)
