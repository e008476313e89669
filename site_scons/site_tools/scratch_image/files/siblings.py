"""Siblings: the other modules in a directory out of which a run loaded one by dlopen(3).

A module that some ELF file needs by name is a library. One that a run read though none needs it was
chosen at run time: a coder of an image library, an engine, a character set. Another input chooses
another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from ..elf.reader import read
from ..errors import ElfError, ListError
from ..fs.lookup import FileKind
from ..fs.overlay import OverlaidFiles, Overlay
from ..fs.paths import join, show
from . import dpkg
from .entry import Entry
from .exclusions import is_of_interpreter
from .finding import Examined, Finding, Rank, some
from .own_code import is_elf_file, libc, needed_files

_LIBRARIES = re.compile(rb"(/usr(/local)?)?/lib(32|64|x32)?(/[\w]+-linux-\w+)?")
"""Directories of libraries: their files are loaded by dlopen, too, and are no siblings."""

_CONFIGURED = re.compile(rb"/(engines-[\d.]+|ossl-modules|krb5|gconv|audit|ruby)/")
"""Modules that are loaded only if a configuration names them, or that others report."""

_MODULE = re.compile(rb".*\.so(\.[\d.]+)?")


def directories(view: Overlay | OverlaidFiles, entries: Collection[Entry]) -> list[bytes]:
    """Return the directories out of which a run loaded a module by name, sorted."""
    needed, home = needed_files(entries), os.path.dirname(libc(entries))
    modules = [
        entry.path
        for entry in entries
        if entry.kind == "file"
        and _MODULE.fullmatch(entry.path)
        and entry.path not in needed
        and any(reason.startswith("run:") for reason in entry.reasons)
        and not _is_of_others(os.path.dirname(entry.path), home)
    ]
    # A library that only a wrapper script finds, by LD_LIBRARY_PATH, is needed by its soname.
    names = _needed_names(view, entries) if modules else set()
    found = {os.path.dirname(path) for path in modules if os.path.basename(path) not in names}
    return sorted(found)


def _is_of_others(directory: bytes, home: bytes) -> bool:
    is_of_libraries = directory == home or _LIBRARIES.fullmatch(directory)
    return bool(is_of_libraries) or is_of_interpreter(directory)


def _needed_names(view: Overlay | OverlaidFiles, entries: Iterable[Entry]) -> set[bytes]:
    """Return the names of libraries that ELF files among `entries` need."""
    found: set[bytes] = set()
    for entry in entries:
        if is_elf_file(view, entry):
            with view.open(entry.path) as stream, suppress(ElfError):
                found |= {*read(stream, entry.path).needed}
    return found


def paths(view: Overlay | OverlaidFiles, entries: Collection[Entry]) -> list[bytes]:
    """Return the files in all such directories: modules, and the tables that name them."""
    return [path for each in directories(view, entries) for path in _files(view, each)]


def find(image: Examined) -> Iterator[Finding]:
    """Yield a finding for each such directory that lacks a module."""
    for directory in directories(image.view, image.entries):
        modules = filter(_MODULE.fullmatch, _files(image.view, directory))
        listed, every = image.count(modules)
        if listed < every:
            yield Finding(
                Rank.LIKELY,
                f"an input for another module of {show(directory)}",
                f"runs loaded {listed} of its {every}",
                "add the preset siblings",
            )


def find_unloaded(image: Examined) -> Iterator[Finding]:
    """Yield a finding for the modules of listed libraries, of which no run loaded any.

    A library and its modules are of one Debian package: gdk-pixbuf and its readers of images.
    """
    files = image.view if isinstance(image.view, OverlaidFiles) else image.view.files
    home = libc(image.entries)
    libraries = {path for path in needed_files(image.entries) if path != home}
    modules: list[bytes] = []
    with suppress(ListError):
        modules = [*filter(_MODULE.fullmatch, dpkg.paths_beside(files, sorted(libraries)))]
    of_library = {os.path.dirname(path) for path in modules if not _is_rare(path, home)}
    listed = {os.path.dirname(path) for path in image.paths if _MODULE.fullmatch(path)}
    if absent := sorted(of_library - listed):
        yield Finding(
            Rank.POSSIBLE,
            "an input for a module of a library",
            f"the image has none of {some(absent)}",
            f"list {show(absent[0])}" if len(absent) == 1 else "list those that it may load",
        )


def _is_rare(module: bytes, home: bytes) -> bool:
    return bool(_CONFIGURED.search(module)) or _is_of_others(
        os.path.dirname(module), os.path.dirname(home)
    )


def _files(view: Overlay | OverlaidFiles, directory: bytes) -> Iterator[bytes]:
    """Yield the paths in `directory` that lead to files."""
    names: Iterable[bytes] = ()
    with suppress(ListError):
        names = view.listing(directory)
    for path in (join(directory, name) for name in names):
        status = view.walk(path).status
        if status is not None and status.kind is FileKind.FILE:
            yield path
