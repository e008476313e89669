"""Directories of data, modules and headers that belong to the image's own code, as a whole.

A program names its directory, as gawk does with /usr/share/awk, or lies in it, as that of a JVM
does. Runs use some files there, and other inputs need others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator

from ..fs.paths import is_under, show
from ..trace.record import Use
from .exclusions import is_of_interpreter
from .finding import Examined, Finding, Rank
from .own_code import OwnFile

_ENOUGH = 0.9
"""The part of a directory that counts as all of it: notes and the like stay out."""

_FEW = 4
"""Files in a directory of which no run used one; fewer are most often notes."""

_HEADERS = b"/usr/include"

_TOP = re.compile(
    rb"(/usr(?:/local)?/(?:share|lib(?:exec|32|64)?(?:/\w+-linux-\w+)?)/(?!\w+-linux-\w+(?:/|$))"
    rb"[^/]+|%b)(?:/.*)?" % _HEADERS
)
"""The directory that a program or package has for itself, and a path in it."""

_OF_OTHERS = re.compile(
    rb".*/(zoneinfo|locale|fonts|terminfo|gconv|man|doc|info|icons|mime|X11|i18n|debug|systemd|"
    rb"ssl|ca-certificates|GConf|glib-2\.0|fontconfig|misc|pkgconfig|bash-completion)"
)
"""Directories that all programs share: some have findings of their own."""


def find(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    """Yield a finding for each directory of own code of which the image lacks files.

    A directory that a run listed has a finding of its own where it lacks files.
    """
    seen = {use.path for use in image.uses if use.kind is Use.LIST}
    for directory in (path for path in _directories(image, code) if path not in seen):
        listed, every = image.count(image.files(directory))
        if listed < every * _ENOUGH and (listed or every >= _FEW):
            yield Finding(
                Rank.POSSIBLE,
                f"an input that needs another file of {show(directory)}",
                f"the image has {listed} of its {every}",
                f"list {show(directory)}",
            )


def _directories(image: Examined, code: Collection[OwnFile]) -> list[bytes]:
    """Return the directories that own code names or runs started it from, one below each top."""
    named = {path.rstrip(b"/") for file in code for path in file.paths}
    own = {os.path.dirname(path) for path in image.executed}
    groups: dict[bytes, set[bytes]] = {}
    for path in own | named:
        found = _TOP.fullmatch(path)
        if found and not _OF_OTHERS.fullmatch(found[1]) and _is_data(image, path):
            groups.setdefault(found[1], set()).add(path)
    common = (_common(image, top, paths) for top, paths in groups.items())
    return sorted(path for path in common if path)


def _is_data(image: Examined, path: bytes) -> bool:
    return b"/../" not in path and not is_of_interpreter(path) and image.is_directory(path)


def _common(image: Examined, top: bytes, paths: Iterable[bytes]) -> bytes:
    """Return the directory below `top` that has `paths`, and all that runs used there.

    Nothing for headers of which no run used one: programs name those for others.
    """
    files = (entry.path for entry in image.entries if entry.kind == "file")
    used = {os.path.dirname(path) for path in files if path in image.used and is_under(path, top)}
    every = {*paths, *used}
    deepest = [path for path in every if not any(is_under(each, path) for each in every - {path})]
    return os.path.commonpath(deepest) if used or top != _HEADERS else b""
