"""The tools of a debug image: busybox, strace and gdb of this machine, below one directory.

An image may have another C library than the machine, or none. So the tools bring their own loader
and libraries, and each is started by a script that names these. Nothing of the image is replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..elf import machines
from ..elf.closure import Closure, Closures
from ..errors import InputError
from ..files.entry import Entry
from ..files.merge import merge
from ..files.request import Request, tree
from ..fs.lookup import FileKind, Status
from ..fs.overlay import Overlay, Placed
from ..fs.paths import is_under, join, show
from ..sandbox import process

HOME = b"/debug"
"""The directory of the tools in the image."""

BUSYBOX = b"/bin/busybox"
_STRACE, _GDB = b"/usr/bin/strace", b"/usr/bin/gdb"
_PACKAGES = {_STRACE: "strace", _GDB: "gdb"}
"""The tools that may be left out, with the Debian package of each."""

_APPLET = re.compile(rb"[A-Za-z0-9\[._-]{1,64}")
_SECONDS = 10.0

_PYTHON = re.compile(rb"libpython(3\.[0-9]+)\.so.*")
_SKIPPED = {b"dist-packages", b"ensurepip", b"idlelib", b"lib2to3", b"test", b"tests", b"tkinter"}
"""Directories of Python's library that no debugger imports from."""

_START = b"""\
#!/debug/bin/busybox sh
exec %s/debug/lib/%s --library-path /debug/lib /debug/libexec/%s%s "$@"
"""
_GDB_VARIABLES = b"env SHELL=/debug/bin/sh PYTHONHOME=/debug "
_GDB_OPTIONS = (
    b" --data-directory=/debug/share/gdb -iex 'unset environment PYTHONHOME'"
    b" -iex 'set libthread-db-search-path /debug/lib' -iex 'add-auto-load-safe-path /debug'"
)


@dataclass(frozen=True, slots=True)
class DebugTools:
    """The files of the tools, as entries of a layer."""

    entries: tuple[Entry, ...]
    names: tuple[str, ...]
    missing: tuple[str, ...]
    """Debian packages of the tools that this machine lacks."""


def require_machine(number: int) -> None:
    """Raise InputError when an image is for another ELF machine than the tools of this one."""
    wanted, native = machines.machine(number), machines.machine(machines.native_machine())
    if wanted != native:
        raise InputError(
            "add debug tools",
            f"the image is for {wanted.name}, and this machine has tools for {native.name}",
            f"build it on a machine with {wanted.name}",
        )


def collect(view: Overlay) -> DebugTools:
    """Return the tools of the machine that `view` shows; `view` gets their files.

    InputError when there is no static busybox, the shell by which all others start.
    """
    _require_busybox(view)
    places = {HOME + b"/bin/busybox": BUSYBOX}
    found = [path for path in _PACKAGES if view.walk(path).status is not None]
    for path in found:
        places |= _files(view, path)
    for place, source in places.items():
        view.place_source(place, view.walk(source).real)
    starts = {_bin(path): _start(view, path) for path in found}
    made = [view.place(path, _script(text)) for path, text in starts.items()]
    links = [view.place(path, _LINK) for path in _applets(view) if path not in (*starts, *places)]
    requests = [Request(path, "debug") for path in (*places, *made, *links)]
    entries = [entry for entry in merge(view, requests) if is_under(entry.path, HOME)]
    missing = tuple(package for path, package in _PACKAGES.items() if path not in found)
    names = tuple(_PACKAGES[path] for path in found)
    return DebugTools(tuple(entries), ("busybox", *names), missing)


_LINK = Placed(Status(FileKind.LINK, 0o777, 0, 0, target=b"busybox"))


def _require_busybox(view: Overlay) -> None:
    found = Closures(view).find(BUSYBOX) if view.walk(BUSYBOX).status is not None else []
    if not found or not found[0].static:
        raise InputError(
            "add debug tools",
            f"there is no static {show(BUSYBOX)}",
            "apt-get install busybox-static",
        )


def _bin(path: bytes) -> bytes:
    return join(HOME + b"/bin", os.path.basename(path))


def _applets(view: Overlay) -> Iterator[bytes]:
    """Yield the paths by which the machine's busybox is started as one of its commands."""
    busybox = view.files.host_path(view.walk(BUSYBOX).real)
    ran = process.run([busybox, b"--list"], timeout=_SECONDS).check()
    for name in ran.stdout.splitlines():
        if _APPLET.fullmatch(name):
            yield join(HOME + b"/bin", name)


def _closure(view: Overlay, path: bytes) -> Closure:
    return Closures(view).find(path)[0]


def _files(view: Overlay, path: bytes) -> dict[bytes, bytes]:
    """Return where the files of the tool `path` come from, by their places in the image."""
    closure = _closure(view, path)
    libraries = [each.path for each in closure.libraries if not each.variant]
    loaded = [*libraries, *filter(None, [closure.loader])]
    places = {join(HOME + b"/lib", os.path.basename(each)): each for each in loaded}
    places[join(HOME + b"/libexec", os.path.basename(path))] = path
    if path == _GDB:
        homes = {os.path.dirname(each) for each in libraries if each.endswith(b"/libc.so.6")}
        threads = [join(home, b"libthread_db.so.1") for home in homes]
        found = [each for each in threads if view.walk(each).status is not None]
        places |= {join(HOME + b"/lib", os.path.basename(each)): each for each in found}
        places |= _tree(view, b"/usr/share/gdb", HOME + b"/share/gdb")
        for name in filter(None, (_PYTHON.fullmatch(os.path.basename(each)) for each in libraries)):
            modules = b"python" + name[1]
            places |= _tree(view, b"/usr/lib/" + modules, join(HOME + b"/lib", modules))
    return places


def _tree(view: Overlay, source: bytes, place: bytes) -> dict[bytes, bytes]:
    """Return where the Python sources and the descriptions below `source` come from."""
    found = {}
    for path in tree(view, source):
        below = path[len(source) :]
        skipped = _SKIPPED.intersection(below.split(b"/"))
        if path.endswith((b".py", b".xml", b".dtd")) and not skipped:
            found[place + below] = path
    return found


def _start(view: Overlay, path: bytes) -> bytes:
    """Return the script that starts the tool `path` by its own loader."""
    name, loader = os.path.basename(path), _closure(view, path).loader or b""
    before, after = (_GDB_VARIABLES, _GDB_OPTIONS) if path == _GDB else (b"", b"")
    return _START % (before, os.path.basename(loader), name, after)


def _script(text: bytes) -> Placed:
    return Placed(Status(FileKind.FILE, 0o755, 0, 0, len(text)), text=text)
