"""Programs, libraries, the processor and our own code, as far as they decide over a target's bytes.

Programs, libraries and the processor are no paths of a step's root, so they are in no footprint:
they are part of the signature of each step that uses them.
"""

from __future__ import annotations

import functools
import os
import shutil

from ..elf import processor as cpu
from ..errors import ProcessError
from ..fs.digest import Digest
from ..fs.paths import SEARCH_PATH, show

_PATIENCE = 10.0
"""Seconds for a program to print its version."""


@functools.cache
def plugin_code() -> Digest:
    """Return the digest of the plugin's own modules: other modules may make other bytes."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    contents = []
    for directory, directories, names in os.walk(package):
        directories[:] = sorted({*directories} - {"__pycache__"})
        for name in sorted(names):
            if name.endswith((".py", ".html", ".c")):
                with open(f"{directory}/{name}", "rb", buffering=0) as file:
                    contents.append(file.read())
    return Digest.of(b"\0".join(contents))


def program(name: bytes) -> str:
    """Return where the program `name` lies, with its size and time: an upgrade changes these.

    `name` is a path, or a name to be looked for where programs are.
    """
    path = _find(name)
    try:
        found = os.stat(path) if path else None
    except OSError:
        found = None
    return (
        f"{show(path)} {found.st_size} {found.st_mtime_ns}"
        if path and found
        else f"no {show(name)}"
    )


@functools.cache
def _find(name: bytes) -> bytes | None:
    """Return the path of a program, as `process.find`, which takes longer to import."""
    found = shutil.which(os.fsdecode(name), path=os.fsdecode(SEARCH_PATH))
    return None if found is None else os.fsencode(os.path.abspath(found))


@functools.cache
def release(name: bytes) -> str:
    """Return the first line that the program `name` prints of its version, wherever it lies."""
    from ..sandbox import process

    path = _find(name)
    if path is None:
        return f"no {show(name)}"
    try:
        answer = process.run([path, b"--version"], timeout=_PATIENCE)
    except ProcessError:
        return f"no {show(name)}"
    return show(answer.stdout.partition(b"\n")[0])


@functools.cache
def libraries(*names: str) -> str:
    """Return the versions of the distributions `names`; a word for one that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


@functools.cache
def elf_reader() -> str:
    """Return the version of the library that reads ELF files, without the cost of `libraries`."""
    import elftools

    return f"pyelftools {elftools.__version__}"


@functools.cache
def processor() -> str:
    """Return the processor's architecture and the variants of libraries that are loaded for it."""
    levels = cpu.levels(cpu.cpuinfo())
    return f"{os.uname().machine} {b' '.join(levels).decode()}"
