"""Programs that the image's own code starts only in other modes than the traced ones.

A program names some of them by path. Others lie in a directory of their own: that of git has its
commands, that of gcc its passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress

from ..errors import ListError
from ..fs.lookup import FileKind
from ..fs.paths import join, show
from .finding import Examined, Finding, Rank, some
from .own_code import OwnFile

SHELL_CALLS = (b"system", b"popen")
"""Functions of libc that start a shell."""

_SHELL = b"/bin/sh"

_NODE = (b"node", b"nodejs")
"""Node.js starts a shell by its own means: its JavaScript names it."""

_PRIVATE = re.compile(rb"(/usr(/local)?/(lib(exec|32|64)?|share)|/opt)/.+")
"""Directories that are no search path of programs."""

_SEARCHED = (b"bin", b"sbin", b"games")
"""Names of directories whose programs people start by name."""

_FEW = 4
"""Programs of a directory that one of them would start; fewer are most often started by others."""

_PLACE = re.compile(rb"/(usr|bin|sbin|opt)/.+")


def find(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    """Yield a finding for each set of programs that code names, and each directory of such."""
    users: dict[tuple[bytes, ...], list[bytes]] = {}
    for file in code:
        is_node = os.path.basename(file.path) in _NODE
        shell = [_SHELL] if is_node or file.calls(SHELL_CALLS) else []
        absent = {path for path in (*file.paths, *shell) if _is_absent(image, path)}
        users.setdefault(tuple(sorted(absent)), []).append(file.path)
    for programs, paths in users.items():
        if programs:
            yield Finding(
                Rank.POSSIBLE,
                "an argument that starts another program",
                f"{some(paths)} can start {some(programs)}, and the image has none",
                f"list {show(programs[0])}"
                if len(programs) == 1
                else "list those that it may start",
            )
    for directory in _directories(image, code):
        yield from _in_directory(image, directory)


def _is_absent(image: Examined, path: bytes) -> bool:
    """Tell whether `path` is a program that exists and is not listed."""
    is_program = _PLACE.fullmatch(path) and b".so" not in os.path.basename(path)
    return bool(is_program) and _is_program(image, path) and not image.has(path)


def _is_program(image: Examined, path: bytes) -> bool:
    with suppress(ListError):
        status = image.view.walk(path).status
        return status is not None and status.kind is FileKind.FILE and bool(status.mode & 0o111)
    return False


def _directories(image: Examined, code: Collection[OwnFile]) -> list[bytes]:
    """Return the private directories that code names, or of which a run executed a file."""
    named = {path.rstrip(b"/") for file in code for path in file.paths}
    found = named | {os.path.dirname(path) for path in image.executed}
    private = filter(_PRIVATE.fullmatch, found)
    return sorted(path for path in private if os.path.basename(path) not in _SEARCHED)


def _in_directory(image: Examined, directory: bytes) -> Iterator[Finding]:
    paths = [join(directory, name) for name in image.names(directory) if b".so" not in name]
    programs = [path for path in paths if _is_program(image, path)]
    listed = sum(image.has(path) for path in programs)
    if listed < len(programs) and (listed or len(programs) >= _FEW):
        yield Finding(
            Rank.LIKELY,
            f"an argument that starts another program of {show(directory)}",
            f"the image has {listed} of its {len(programs)}",
            f"list {show(directory)}",
        )
