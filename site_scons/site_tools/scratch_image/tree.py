"""A repository of images: ``images/NAME/SConscript``, read only where it is asked for."""

from __future__ import annotations

import os
from typing import Any

import SCons.Script

from .builders import declared, refuse, tests


def image_tree(env: Any, directory: str) -> list[Any]:
    """Read the SConscripts below `directory` that the command line asks for; return their targets.

    Each ``DIRECTORY/NAME/SConscript`` is read with `env` exported, as variant directory
    ``build/DIRECTORY/NAME``, and the alias ``DIRECTORY/NAME`` builds what it declares. The alias
    ``DIRECTORY`` builds all. ``test/DIRECTORY/NAME`` and ``test/DIRECTORY`` test the images.
    """
    top = str(env.Dir(directory).srcnode())
    if not os.path.isdir(env.Dir(directory).srcnode().get_abspath()):
        refuse(f"cannot read images: there is no directory {top}; make it")
    built: list[Any] = []
    for name in _wanted(top, _names(env.Dir(directory).srcnode().get_abspath())):
        built += _read(env, top, name)
    env.Alias(top, built)
    env.Alias(f"test/{top}", tests)
    # `scons images/`, with the slash of tab completion, means the directory, not the alias.
    env.Depends(env.Dir(f"#{top}"), built)
    return built


def _names(directory: str) -> list[str]:
    return sorted(
        name
        for name in os.listdir(directory)
        if os.path.isfile(os.path.join(directory, name, "SConscript"))
    )


def _read(env: Any, top: str, name: str) -> list[Any]:
    before, tested = len(declared), len(tests)
    env.SConscript(
        f"#{top}/{name}/SConscript",
        variant_dir=f"#build/{top}/{name}",
        duplicate=0,
        exports={"env": env},
    )
    targets = [node for nodes in declared[before:] for node in nodes]
    env.Alias(f"{top}/{name}", targets)
    env.Alias(f"test/{top}/{name}", tests[tested:])
    return targets


def _wanted(top: str, names: list[str]) -> list[str]:
    """Return the names that the command line's targets can mean; all where one is not known."""
    asked = [_relative(str(target)) for target in SCons.Script.COMMAND_LINE_TARGETS]
    if not asked or SCons.Script.GetOption("climb_up"):
        return names
    wanted: set[str] = set()
    for target in asked:
        name = _image_name(target, top)
        if name is None:
            return names
        wanted.add(name)
    return [name for name in names if name in wanted]


def _image_name(target: str, top: str) -> str | None:
    for prefix in (f"{top}/", f"build/{top}/", f"test/{top}/"):
        if target.startswith(prefix):
            return target[len(prefix) :].split("/")[0]
    return None


def _relative(target: str) -> str:
    """Return `target` as a path from the top directory, without ``#``, ``./`` or a last slash."""
    return os.path.normpath(target.removeprefix("#").lstrip("/") if target[:1] == "#" else target)
