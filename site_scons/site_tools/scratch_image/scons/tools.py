"""Programs, libraries and the processor, where they decide over the bytes of a target.

Programs, libraries and the processor are no paths of a step's root, so they are in no footprint:
they are part of the signature of each step that uses them.
"""

from __future__ import annotations

import functools
import os
import shutil

from ..elf import processor as cpu
from ..fs.paths import SEARCH_PATH, show


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
