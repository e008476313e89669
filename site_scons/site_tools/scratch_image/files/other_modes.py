"""Programs and directories that the image's own code uses only in other modes than the traced ones.

A program names some programs by path, or in a command, as gcc does with ``as``. Others lie in a
directory of their own: that of git has its commands, that of gcc its passes. And a program names
its directory of data, modules or headers, as gawk does with /usr/share/awk, or lies in it, as that
of a JVM does. Runs use some files there, and other inputs need others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from ..elf.reader import interpreter_of_script
from ..errors import ListError
from ..fs.lookup import FileKind
from ..fs.paths import is_under, join, show
from ..trace.record import Use
from . import dpkg
from .exclusions import is_of_interpreter
from .finding import Examined, Finding, Rank, some
from .own_code import OwnFile, read_commands

SHELL_CALLS = (b"system", b"popen")
"""Functions of libc that start a shell."""

START_CALLS = (*SHELL_CALLS, b"execvp", b"execvpe", b"execlp", b"posix_spawnp")
"""Functions of libc that start a program by its name."""

_SHELL = b"/bin/sh"

_NODE = (b"node", b"nodejs")
"""Node.js starts a shell by its own means: its JavaScript names it."""

_PRIVATE = re.compile(rb"(/usr(/local)?/(lib(exec|32|64)?|share)|/opt)/.+")
"""Directories that are no search path of programs."""

_SEARCHED = (b"bin", b"sbin", b"games")
"""Names of directories whose programs people start by name."""

_FEW_PROGRAMS = 4
"""Programs of a directory that one of them would start; fewer are most often started by others."""

_PLACE = re.compile(rb"/(usr|bin|sbin|opt)/.+")


def find_programs(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    """Yield a finding for each set of programs that code names, and each directory of such."""
    users: dict[tuple[bytes, ...], list[bytes]] = {}
    for file in code:
        is_node = os.path.basename(file.path) in _NODE
        shell = [_SHELL] if is_node or file.calls(SHELL_CALLS) else []
        named = (*file.paths, *shell, *_commands(image, file))
        absent = {path for path in named if _is_absent(image, path)}
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
    for directory in _private_directories(image, code):
        yield from _in_directory(image, directory)


def _commands(image: Examined, file: OwnFile) -> list[bytes]:
    """Return the programs that `file` can start by name, of packages on which its own depends.

    Any other program of that name is a word: hundreds of programs have names like ``file``.
    """
    if not file.calls(START_CALLS):
        return []
    with suppress(ListError):
        programs = dpkg.needed_programs(image.view.below.files, file.path)
        names = read_commands(image, file.path, {*map(os.path.basename, programs)})
        return [path for path in programs if os.path.basename(path) in names]
    return []


def _is_absent(image: Examined, path: bytes) -> bool:
    """Tell whether `path` is a program that exists and is not listed."""
    is_program = _PLACE.fullmatch(path) and b".so" not in os.path.basename(path)
    return bool(is_program) and _is_program(image, path) and not image.has(path)


def _is_program(image: Examined, path: bytes) -> bool:
    with suppress(ListError):
        status = image.view.walk(path).status
        return status is not None and status.kind is FileKind.FILE and bool(status.mode & 0o111)
    return False


_BECOMES_WORDS = re.compile(rb'^[ \t]*exec[ \t]+"?\$(?:[@*]|\{[@*]\})', re.MULTILINE)
"""A line by which a shell script becomes the program that its words name."""

_MOST = 1 << 20
"""Bytes of a script that are searched."""


def find_wrappers(image: Examined, code: Iterable[OwnFile]) -> Iterator[Finding]:
    """Yield a finding for each script that starts the program of its words, and got none.

    A script of which no run started anything else has shown no program that the image needs.
    """
    for path in (file.path for file in code if file.path in image.executed):
        if image.view.magic(path) != "script":
            continue
        with image.view.open(path) as stream:
            text = stream.read(_MOST)
        if _BECOMES_WORDS.search(text) and not _starts_another(image, path, text):
            name = os.path.basename(path)
            yield Finding(
                Rank.LIKELY,
                f"a command for {show(path)}",
                'it becomes the program that its words name (exec "$@"), and no run gave it one',
                f"add a run that does (RUNS='{show(name)} PROGRAM')",
            )


def _starts_another(image: Examined, script: bytes, text: bytes) -> bool:
    """Tell whether a run executed more than `script`, its interpreter, and a loader."""
    shell = image.view.walk(interpreter_of_script(text) or b"/").real
    others = image.executed - {script, shell}
    return any(b".so" not in os.path.basename(path) for path in others)


def _private_directories(image: Examined, code: Collection[OwnFile]) -> list[bytes]:
    """Return the private directories that code names, or of which a run executed a file."""
    named = {path.rstrip(b"/") for file in code for path in file.paths}
    found = named | {os.path.dirname(path) for path in image.executed}
    private = filter(_PRIVATE.fullmatch, found)
    return sorted(path for path in private if os.path.basename(path) not in _SEARCHED)


def _in_directory(image: Examined, directory: bytes) -> Iterator[Finding]:
    paths = [join(directory, name) for name in image.names(directory) if b".so" not in name]
    programs = [path for path in paths if _is_program(image, path)]
    listed = sum(image.has(path) for path in programs)
    if listed < len(programs) and (listed or len(programs) >= _FEW_PROGRAMS):
        yield Finding(
            Rank.LIKELY,
            f"an argument that starts another program of {show(directory)}",
            f"the image has {listed} of its {len(programs)}",
            f"list {show(directory)}",
        )


_ENOUGH = 0.9
"""The part of a directory that counts as all of it: notes and the like stay out."""

_FEW_FILES = 4
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


def find_directories(image: Examined, code: Collection[OwnFile]) -> Iterator[Finding]:
    """Yield a finding for each directory of own code of which the image lacks files.

    A directory that a run listed has a finding of its own where it lacks files.
    """
    seen = {use.path for use in image.uses if use.kind is Use.LIST}
    for directory in (path for path in _data_directories(image, code) if path not in seen):
        listed, every = image.count(image.files(directory))
        if listed < every * _ENOUGH and (listed or every >= _FEW_FILES):
            yield Finding(
                Rank.POSSIBLE,
                f"an input that needs another file of {show(directory)}",
                f"the image has {listed} of its {every}",
                f"list {show(directory)}",
            )


def _data_directories(image: Examined, code: Collection[OwnFile]) -> list[bytes]:
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
