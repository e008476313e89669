"""The targets on the command line, as far as they are images, or requests for images."""

from __future__ import annotations

import os
import re

import SCons.Node.FS
import SCons.Script

from .steps.table import ON_REQUEST

REQUESTS = tuple(ON_REQUEST.values())
"""First words of the aliases of an image for which there are targets."""

ANSWERS = ("help", "why")
"""First words of the aliases of an image that print something, and make nothing."""

WORDS = (*REQUESTS, *ANSWERS)


def targets() -> list[str]:
    """Return the targets as paths from the top; none if the command line may mean other ones."""
    if SCons.Script.GetOption("climb_up") or SCons.Script.GetOption("interactive"):
        return []
    return [_relative(str(target)) for target in SCons.Script.COMMAND_LINE_TARGETS]


def _relative(target: str) -> str:
    """Return `target` as a path from the top directory, without ``#``, ``./`` or a last slash."""
    return os.path.normpath(target.removeprefix("#").lstrip("/") if target[:1] == "#" else target)


def requests(place: str) -> frozenset[str]:
    """Return those of `REQUESTS` with which the command line can ask for images.

    `place` is a regular expression for names of images. A target that is no such name, with or
    without a word before it, may need anything.
    """
    found = targets()
    pattern = re.compile(rf"(?:({'|'.join(WORDS)})/)?{place}")
    matches = [match for target in found if (match := pattern.fullmatch(target))]
    if not found or len(matches) < len(found):
        return frozenset(REQUESTS)
    return frozenset({match[1] for match in matches} & {*REQUESTS})


def are_images(tree: str) -> bool:
    """Tell whether each target is an image of the `tree`, or the tree itself, or of another."""
    pattern = re.compile(rf"{re.escape(tree)}(?:/[^/]+)?")
    found = targets()
    return bool(found) and all(pattern.fullmatch(each) or _is_in_tree(each) for each in found)


def _is_in_tree(target: str) -> bool:
    """Tell whether `target` is a directory as that of a tree, or of one of its images.

    Trees that are declared later are known by their files alone. `scons .` means all files.
    """
    if target == ".":
        return False
    place = os.path.join(SCons.Node.FS.get_default_fs().Top.get_abspath(), target)
    return any(os.path.isfile(path) for path in (f"{place}/SConscript", *_sconscripts(place)))


def _sconscripts(directory: str) -> list[str]:
    """Return where the images of a tree in `directory` would have their SConscripts."""
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return [f"{directory}/{name}/SConscript" for name in names]


def image_names(tree: str, names: list[str]) -> list[str]:
    """Return those of `names`, the images of a `tree`, that the targets can mean.

    If one of the targets may be something else, all images can be meant.
    """
    if SCons.Script.GetOption("help"):
        return []
    found = [target for target in targets() if target != f"help/{tree}"]
    chosen = [_image_name(target, tree) for target in found]
    if not targets() or None in chosen:
        return names
    return [name for name in names if name in chosen]


def _image_name(target: str, tree: str) -> str | None:
    for place in ("", "build/", *(f"{word}/" for word in WORDS)):
        if target.startswith(f"{place}{tree}/"):
            return target.removeprefix(f"{place}{tree}/").split("/")[0]
    return None
