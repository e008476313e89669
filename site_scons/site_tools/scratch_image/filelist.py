"""The file list: every path of the image, a line each, with the reasons it is there.

A line is ``KIND MODE UID:GID PATH [-> TARGET] REASON...``, in words that `paths.escape` made:

    dir 0755 0:0 /usr/games parent
    file 0755 0:0 /usr/games/fortune program run:default
    link 0777 0:0 /lib -> usr/lib loader-of:/usr/games/fortune

``hard`` is one more name of the file that its target names. Lines are sorted by path, component by
component, so a directory comes before what lies in it.

The reasons:

=======================  =================================================================
``program``              the image's program
``staged``               placed there by the project
``run:NAME``             used by the program under run NAME
``needed-by:PATH``       a shared library that PATH needs
``loader-of:PATH``       the ELF interpreter (PT_INTERP) of PATH
``interpreter-of:PATH``  named by the first line of the script PATH
``extra:FILE``           the extra list FILE asks for it
``target-of:PATH``       the symbolic link PATH leads there
``output-dir:NAME``      run NAME wrote something into this directory
``parent``               something else lies below
=======================  =================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from . import ldso
from .closure import Row
from .errors import InputError, ListError
from .extras import Extra
from .paths import escape, is_under, join, parents, show, unescape
from .root import Aspect, Kind, Root, Status
from .tracer import Record

HEADER = b"# scratch_image file list 1\n"

KERNEL_TREES = (b"/proc", b"/sys", b"/dev")
"""File systems that the kernel makes; every container gets its own."""

RUNTIME_FILES = frozenset({b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf", b"/etc/mtab"})
"""Files that the container's runtime puts there, with what is true of the container."""

LD_CACHE = b"/etc/ld.so.cache"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of the image."""

    kind: str
    """``dir``, ``file``, ``link`` or ``hard`` (another name of a file listed before)."""
    mode: int
    """Permission bits, 0 to 0o7777."""
    uid: int
    gid: int
    path: bytes
    """Where it lies in the image."""
    target: bytes = b""
    """A link's text; for ``hard`` the image path of the first name."""
    reasons: tuple[str, ...] = ()
    """Why it is in the image, sorted."""


@dataclass(frozen=True, slots=True)
class Want:
    """A path that somebody wants in the image."""

    path: bytes
    """Absolute image path; links in it are followed when it is looked up."""
    reason: str
    """One of the reasons above, as one word."""
    must: bool = True
    """Whether it is an error when there is no such path, or none that an image can hold."""


def of_record(record: Record, run: str) -> Iterator[Want]:
    """Yield what the run named `run` used: its inputs, and the directories it wrote into."""
    outputs = {use.path for use in record.uses if use.kind == "write"}
    for use in record.uses:
        if use.kind == "write":
            above = os.path.dirname(use.path)
            if above not in outputs:
                yield Want(above, f"output-dir:{run}", must=False)
        elif use.kind != "absent":
            yield Want(use.path, f"run:{run}", must=use.kind in ("exec", "read"))


def of_ldd(rows: Iterable[Row]) -> Iterator[Want]:
    """Yield the programs of an ldd text, their loaders, interpreters and libraries."""
    words = {"library": "needed-by", "loader": "loader-of", "interpreter": "interpreter-of"}
    for row in rows:
        user = f":{_text(row.needed_by)}" if row.needed_by else ""
        yield Want(row.path, "program" if row.kind == "program" else words[row.kind] + user)


def of_extras(root: Root, extras: Iterable[Extra]) -> Iterator[Want]:
    """Yield what an extra list names, directories with all that lies below them.

    ListError tells all that does not exist at once.
    """
    absent = []
    for extra in extras:
        reason = f"extra:{_text(os.fsencode(extra.name))}"
        if root.walk(extra.path).status is None:
            absent.append(f"{extra.name}:{extra.line}: {show(extra.path)}")
            continue
        for path in _tree(root, extra.path):
            yield Want(path, reason)
    if absent:
        raise ListError(
            f"cannot find extra files: {', '.join(absent)}; "
            "install or make them, or take their lines out of the list"
        )


def _tree(root: Root, path: bytes) -> Iterator[bytes]:
    """Yield `path` and, for a directory, all paths below; links below it are not followed."""
    yield path
    found = root.walk(path)
    if found.status is not None and found.status.kind is Kind.DIR:
        for name in root.listing(found.real):
            below = join(found.real, name)
            status = root.status(below)
            if status is not None and status.kind is Kind.DIR:
                yield from _tree(root, below)
            elif status is not None and status.kind is not Kind.OTHER:
                yield below


def merge(root: Root, wants: Iterable[Want]) -> tuple[Entry, ...]:
    """Return the file list that gives everybody what they want; ListError when it cannot.

    Every symbolic link on the way to a wanted path is listed, with what it leads to; so are the
    directories above. The order of `wants` does not matter.
    """
    reasons: dict[bytes, set[str]] = {}
    for want in wants:
        for path, reason in _lookup(root, want):
            if not _is_made_by_runtime(path):
                reasons.setdefault(path, set()).add(reason)
    if LD_CACHE in reasons and not _cache_is_needed(root, reasons):
        del reasons[LD_CACHE]
    for path in list(reasons):
        for above in parents(path)[1:]:
            reasons.setdefault(above, {"parent"})
    entries = [_entry(root, path, reasons[path]) for path in sorted(reasons, key=_components)]
    return tuple(_with_hard_links(root, entries))


def _lookup(root: Root, want: Want) -> Iterator[tuple[bytes, str]]:
    """Yield the paths that `want` brings: the links it goes through, and where it ends."""
    named = root.walk(want.path, follow=False)
    found = root.walk(want.path)
    if named.status is None:
        if want.must:
            raise ListError(
                f"cannot list {show(want.path)}: it is gone ({want.reason}); "
                "build again, or put it back"
            )
        return
    for link in named.links:
        yield link, want.reason
    if named.status.kind is Kind.LINK:
        yield named.real, want.reason
        for link in found.links[len(named.links) + 1 :]:
            yield link, f"target-of:{_text(named.real)}"
    if found.status is None:
        return
    if found.status.kind is not Kind.OTHER:
        own = named.status.kind is not Kind.LINK
        yield found.real, want.reason if own else f"target-of:{_text(named.real)}"
    elif want.must and not _is_made_by_runtime(found.real):
        raise ListError(
            f"cannot list {show(want.path)}: it is a device, FIFO or socket ({want.reason}); "
            "leave it out, the container's runtime has to provide it"
        )


def _is_made_by_runtime(path: bytes) -> bool:
    if path == b"/":
        return True
    return path in RUNTIME_FILES or any(is_under(path, tree) for tree in KERNEL_TREES)


def _cache_is_needed(root: Root, paths: Iterable[bytes]) -> bool:
    """Tell whether a listed library is found by ld.so.cache only.

    Libraries in the loader's own directories are found without it, and the cache itself tells
    of every library on the build machine.
    """
    for path in sorted(paths):
        directory, name = os.path.split(path)
        if b".so" in name and not ldso.is_system_directory(root, directory):
            root.look(name, Aspect.SONAME)
            if directory in _cached_directories(root, name):
                return True
    return False


def _cached_directories(root: Root, soname: bytes) -> set[bytes]:
    lines = ldso.answer(root, soname).splitlines()
    return {root.walk(os.path.dirname(line.split(b" ", 2)[2])).real for line in lines}


def _entry(root: Root, path: bytes, reasons: set[str]) -> Entry:
    status = root.status(path)
    if status is None:
        raise ListError(f"cannot list {show(path)}: it is gone; build again, or put it back")
    kept = reasons - {"parent"} or reasons
    return Entry(
        status.kind.value, status.mode, status.uid, status.gid, path, status.target,
        tuple(sorted(kept)),
    )  # fmt: skip


def _with_hard_links(root: Root, entries: Iterable[Entry]) -> Iterator[Entry]:
    first: dict[tuple[int, int], bytes] = {}
    for entry in entries:
        status = _inode(root, entry)
        if status is None or status.names == 1:
            yield entry
        elif status.inode in first:
            yield replace(entry, kind="hard", target=first[status.inode])
        else:
            first[status.inode] = entry.path
            yield entry


def _inode(root: Root, entry: Entry) -> Status | None:
    return root.status(entry.path, Aspect.HARD) if entry.kind == "file" else None


def _components(path: bytes) -> list[bytes]:
    return path.split(b"/")


def _text(word: bytes) -> str:
    return escape(word).decode()


def write(entries: Iterable[Entry]) -> bytes:
    """Return the text of the file list."""
    return HEADER + b"".join(_line(entry) for entry in entries)


def _line(entry: Entry) -> bytes:
    words = [
        entry.kind.encode(),
        b"%04o" % entry.mode,
        b"%d:%d" % (entry.uid, entry.gid),
        escape(entry.path),
    ]
    if entry.target:
        words += [b"->", escape(entry.target)]
    return b" ".join([*words, *(reason.encode() for reason in entry.reasons)]) + b"\n"


def read(text: bytes, name: str) -> tuple[Entry, ...]:
    """Return the entries of the file list `text`, the file `name`; InputError names a bad line."""
    lines = text.split(b"\n")
    if lines[0] + b"\n" != HEADER or lines[-1] != b"":
        raise InputError(f"cannot read file list {name}: it is not a whole one; build it again")
    return tuple(_parse(line, f"{name}:{at}") for at, line in enumerate(lines[1:-1], start=2))


def _parse(line: bytes, where: str) -> Entry:
    try:
        kind, mode, owner, path, *rest = line.split(b" ")
        uid, gid = owner.split(b":")
        target = b""
        if rest[:1] == [b"->"]:
            target, rest = unescape(rest[1]), rest[2:]
        reasons = tuple(word.decode() for word in rest)
        entry = Entry(
            kind.decode(), int(mode, 8), int(uid), int(gid), unescape(path), target, reasons
        )
    except (ValueError, IndexError):
        entry = None
    if entry is None or _line(entry) != line + b"\n" or not _is_sound(entry):
        raise InputError(f"cannot read file list {where}: the line is malformed; build it again")
    return entry


def _is_sound(entry: Entry) -> bool:
    parts = entry.path.split(b"/")[1:]
    clean = entry.path == b"/" or not {b"", b".", b".."}.intersection(parts)
    linked = entry.kind in ("link", "hard")
    return (
        entry.path[:1] == b"/"
        and clean
        and b"\0" not in entry.path
        and entry.kind in ("dir", "file", "link", "hard")
        and bool(entry.target) == linked
        and 0 <= entry.mode <= 0o7777
        and min(entry.uid, entry.gid) >= 0
    )
