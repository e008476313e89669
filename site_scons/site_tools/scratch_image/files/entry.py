r"""The entries of a file list: every path of the image, a line each, with its reasons.

A line is ``KIND MODE UID:GID PATH [-> TARGET] [<- SOURCE] [= TEXT] [+ CAPABILITIES] REASON...``, in
words that `paths.escape` made:

    dir 0755 0:0 /usr/games parent
    file 0755 0:0 /usr/games/fortune program run:default
    file 0755 0:0 /usr/bin/ping + cap_net_raw=ep program run:default
    link 0777 0:0 /lib -> usr/lib loader-of:/usr/games/fortune
    file 0644 0:0 /etc/nginx/nginx.conf <- images/nginx/nginx.conf extra:images/nginx/nginx.extra
    file 0644 0:0 /etc/group = root:x:0:\012 preset:passwd

``hard`` is another name of the file that its target names. Lines are sorted by path, component by
component, so a directory comes before what lies in it.

The reasons:

=======================  =================================================================
``program``              the image's program
``staged``               placed there by the project
``run:NAME``             used by the program under run NAME
``needed-by:PATH``       a shared library that PATH needs
``loader-of:PATH``       the ELF interpreter (PT_INTERP) of PATH
``interpreter-of:PATH``  named by the first line of the script PATH
``extra:FILE``           named by the extra list FILE
``preset:NAME``          part of the preset NAME
``packages``             a record of Debian's packages, for scanners
``listed-by:NAME``       in a directory that run NAME listed and that comes whole
``target-of:PATH``       the target of the symbolic link PATH
``output-dir:NAME``      a directory into which run NAME wrote
``parent``               a directory above another path
=======================  =================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import InputError
from ..fs.capabilities import attribute
from ..fs.overlay import Overlay
from ..fs.paths import escape, is_plain, show, unescape
from ..fs.root import Root

HEADER = b"# scratch_image file list 1\n"


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
    source: bytes = b""
    """Place of a file's content if it is not `path`: absolute, or relative to the project."""
    text: bytes = b""
    """The content of a file that exists in no file system."""
    capabilities: str = ""
    """Capabilities of a program: ``cap_net_raw=ep``."""


def write_entries(entries: Iterable[Entry]) -> bytes:
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
    if entry.source:
        words += [b"<-", escape(entry.source)]
    if entry.text:
        words += [b"=", escape(entry.text)]
    if entry.capabilities:
        words += [b"+", escape(entry.capabilities.encode())]
    return b" ".join([*words, *(reason.encode() for reason in entry.reasons)]) + b"\n"


def read_entries(text: bytes, name: str) -> tuple[Entry, ...]:
    """Return the entries of the file list `text`, the file `name`; InputError names a bad line."""
    lines = text.split(b"\n")
    if lines[0] + b"\n" != HEADER or lines[-1] != b"":
        raise InputError(f"read file list {name}", "it is not a whole one", "build it again")
    return tuple(_parse(line, f"{name}:{at}") for at, line in enumerate(lines[1:-1], start=2))


def read_list(root: Root, top: bytes, path: bytes) -> tuple[tuple[Entry, ...], Overlay]:
    """Return the entries of the file list `path`, and `root` with their sources in place.

    `top` is the project's directory. InputError as by `read_entries`.
    """
    with open(path, "rb") as stream:
        entries, view = read_entries(stream.read(), show(path)), Overlay(root, top)
    for each in entries:
        if each.source:
            view.place_source(each.path, each.source)
    return entries, view


def _parse(line: bytes, where: str) -> Entry:
    try:
        kind, mode, owner, path, *rest = line.split(b" ")
        uid, gid = owner.split(b":")
        target, source, text, capable = (_after(mark, rest) for mark in (b"->", b"<-", b"=", b"+"))
        reasons = tuple(word.decode() for word in rest)
        entry = Entry(
            kind.decode(), int(mode, 8), int(uid), int(gid), unescape(path), target, reasons,
            source, text, capable.decode(),
        )  # fmt: skip
    except (ValueError, IndexError):
        entry = None
    if entry is None or _line(entry) != line + b"\n" or not _is_sound(entry):
        raise InputError(f"read file list {where}", "the line is malformed", "build it again")
    return entry


def _after(mark: bytes, words: list[bytes]) -> bytes:
    """Take `mark` and the word after it from the front of `words`; return that word, unescaped."""
    if words[:1] != [mark]:
        return b""
    word = words[1]
    del words[:2]
    return unescape(word)


def _is_sound(entry: Entry) -> bool:
    linked = entry.kind in ("link", "hard")
    return (
        is_plain(entry.path)
        and entry.kind in ("dir", "file", "link", "hard")
        and bool(entry.target) == linked
        and bool(entry.source) + bool(entry.text) <= (entry.kind == "file")
        and b"\0" not in entry.source
        and b".." not in entry.source.split(b"/")
        and 0 <= entry.mode <= 0o7777
        and min(entry.uid, entry.gid) >= 0
        and (not entry.capabilities or _has_sound_capabilities(entry))
    )


def _has_sound_capabilities(entry: Entry) -> bool:
    """Tell whether `entry` may have capabilities, and these are sound."""
    try:
        return entry.kind in ("file", "hard") and bool(attribute(entry.capabilities))
    except ValueError:
        return False
