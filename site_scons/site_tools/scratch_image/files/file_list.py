r"""The file list: every path of the image, a line each, with the reasons it is there.

A line is ``KIND MODE UID:GID PATH [-> TARGET] [<- SOURCE] [= TEXT] [+ CAPABILITIES] REASON...``, in
words that `paths.escape` made:

    dir 0755 0:0 /usr/games parent
    file 0755 0:0 /usr/games/fortune program run:default
    file 0755 0:0 /usr/bin/ping + cap_net_raw=ep program run:default
    link 0777 0:0 /lib -> usr/lib loader-of:/usr/games/fortune
    file 0644 0:0 /etc/nginx/nginx.conf <- images/nginx/nginx.conf extra:images/nginx/nginx.extra
    file 0644 0:0 /etc/group = root:x:0:\012 preset:passwd

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
``preset:NAME``          the preset NAME brings it
``packages``             tells scanners of Debian's packages
``listed-by:NAME``       in a directory that run NAME listed, and that was asked for as a whole
``target-of:PATH``       the symbolic link PATH leads there
``output-dir:NAME``      run NAME wrote something into this directory
``parent``               something else lies below
=======================  =================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..elf.closure import Closure
from ..elf.ldd_text import Row
from ..elf.loader_cache import CACHE
from ..elf.search_path import needs_cache
from ..errors import InputError, ListError
from ..fs.capabilities import attribute
from ..fs.globs import expand
from ..fs.kernel_trees import is_in_kernel_tree
from ..fs.overlay import Overlay, Placed
from ..fs.paths import escape, is_plain, is_under, join, parents, show, unescape
from ..fs.root import Aspect, Root
from ..fs.status import FileKind, Status
from ..trace.record import Record
from . import secret
from .extra_list import Extra
from .extra_list import Kind as Asked
from .secret_paths import secret_rule

HEADER = b"# scratch_image file list 1\n"

RUNTIME_FILES = frozenset({b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf", b"/etc/mtab"})
"""Files that the container's runtime puts there, with what is true of the container."""

NOISE = {
    "logs": rb"/var/log/.+",
    "process IDs": rb".+\.pid",
    "caches of name services": rb"(/var/cache|/run|/var/run)/nscd/.+|/var/lib/sss/.+",
    "identity of the machine": rb"/etc/machine-id|/var/lib/dbus/machine-id",
    "Python start files that are no package's": rb"/usr/local/lib/python3[^/]*/.*"
    rb"(\.pth|/(site|user)customize\.py|/__pycache__/(site|user)customize\..+\.pyc)",
}
"""Files that tell of the build machine: left out where a run alone used them.

Python starts without any ``.pth`` file. Those of a distribution's packages, in dist-packages below
/usr/lib, are the same on all machines and stay; those below /usr/local are what somebody installed.
"""

_NOISE = re.compile(b"|".join(b"(?:%s)" % rule for rule in NOISE.values()), re.DOTALL)

_TOLD = 20
"""Secrets that one message names at most."""


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
    """Where a file's content lies when not at `path`: absolute, or relative to the project."""
    text: bytes = b""
    """The content of a file that lies nowhere."""
    capabilities: str = ""
    """What a program may do beyond its user: ``cap_net_raw=ep``."""


@dataclass(frozen=True, slots=True)
class Want:
    """A path that somebody wants in the image."""

    path: bytes
    """Absolute image path; links in it are followed when it is looked up."""
    reason: str
    """One of the reasons above, as one word."""
    must: bool = True
    """Whether it is an error when there is no such path, or none that an image can hold."""
    where: str = ""
    """The line of the extra list that asks for it; empty where the reason says enough."""

    @property
    def named(self) -> bool:
        """Whether a line of an extra list names the path itself."""
        return self.must and bool(self.where)


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


def of_closure(found: Closure) -> Iterator[Want]:
    """Yield what the closure `found` has besides its path: interpreters, loader and libraries."""
    rows = [
        Row("interpreter", path, user)
        for path, user in zip(found.interpreters, (found.path, *found.interpreters), strict=False)
    ]
    rows += [Row("library", library.path, library.needed_by) for library in found.libraries]
    if found.loader is not None:
        rows.append(Row("loader", found.loader, found.program))
    return of_ldd(rows)


def of_extras(view: Overlay, extras: Iterable[Extra]) -> Iterator[Want]:
    """Place in `view` what the lists make, map or change; yield all that they ask for.

    ListError tells all that does not exist at once, and all that each container has anew.
    """
    absent, vain = [], []
    for extra in extras:
        if extra.kind is Asked.OUT:
            continue
        if extra.kind is not Asked.GLOB and (path := _in_each_container(extra)):
            vain.append(f"{show(path)} ({extra.where})")
        found = [*_asked(view, extra)]
        if not found:
            absent.append(f"{extra.where}: {show(extra.source or extra.path)}")
        named = extra.kind is not Asked.GLOB
        for path in found:
            must = named and path == found[0]
            yield Want(path, f"extra:{_text(os.fsencode(extra.name))}", must, extra.where)
    if absent:
        raise ListError(
            "find extra files",
            ", ".join(absent),
            "install or make them, or take their lines out of the list",
        )
    if vain:
        raise ListError(
            f"list {', '.join(vain)}",
            "the kernel or the engine makes it anew in each container",
            "take the line away, or list a copy at another path",
        )


def _in_each_container(extra: Extra) -> bytes:
    """Return the path in a line that no image can hold, or that is no file to copy; or nothing."""
    if is_made_by_runtime(extra.path):
        return extra.path
    of_kernel = is_in_kernel_tree(extra.source)
    return extra.source if of_kernel and extra.kind is Asked.MAP else b""


def _asked(view: Overlay, extra: Extra) -> Iterator[bytes]:
    """Yield the paths that `extra` means, the one that it names first; none if that is absent."""
    uid, gid = extra.owner or (0, 0)
    if extra.kind is Asked.DIR:
        mode = 0o755 if extra.mode is None else extra.mode
        yield view.place(extra.path, Placed(Status(FileKind.DIR, mode, uid, gid)))
    elif extra.kind is Asked.LINK:
        status = Status(FileKind.LINK, 0o777, 0, 0, target=extra.source)
        yield view.place(extra.path, Placed(status))
    else:
        for path in _existing(view, extra):
            if (extra.mode, extra.owner) != (None, None):
                view.change(view.walk(path).real, extra.mode, extra.owner)
            yield path


def _existing(view: Overlay, extra: Extra) -> Iterator[bytes]:
    if extra.kind is Asked.MAP:
        yield from _mapped(view, extra.path, extra.source)
    elif extra.kind is Asked.GLOB:
        for path in expand(view, extra.path):
            yield from tree(view, path)
    elif view.walk(extra.path).status is not None:
        yield from tree(view, extra.path)


def _mapped(view: Overlay, path: bytes, source: bytes) -> Iterator[bytes]:
    """Place what lies at `source` at `path`, directories with all below; yield where it lies."""
    found = view.below.walk(view.source(source))
    if found.status is None:
        return
    tops = [view.below.walk(top).real for top in view.files.tops] if source[:1] != b"/" else []
    own = (found.real[len(top) + 1 :] for top in tops if is_under(found.real, top))
    yield from _placed(view, path, next(own, found.real))


def _placed(view: Overlay, path: bytes, source: bytes) -> Iterator[bytes]:
    status = view.below.status(view.source(source))
    if status is None:
        return
    yield view.place_source(path, source)
    if status.kind is FileKind.DIR:
        for name in view.below.listing(view.source(source)):
            yield from _placed(view, join(path, name), os.path.join(source, name))


def tree(root: Root, path: bytes) -> Iterator[bytes]:
    """Yield `path` and, for a directory, all paths below; links below it are not followed."""
    yield path
    found = root.walk(path)
    if found.status is not None and found.status.kind is FileKind.DIR:
        for name in root.listing(found.real):
            below = join(found.real, name)
            status = root.status(below)
            if status is not None and status.kind is FileKind.DIR:
                yield from tree(root, below)
            elif status is not None:
                yield below


def of_listed(view: Root, record: Record, run: str, listed: Collection[bytes]) -> Iterator[Want]:
    """Yield what lies in the directories that a run listed, as far as `listed` has them.

    ``*`` in it means all of them. Directories among their entries come without what they hold.
    """
    for use in record.uses:
        if use.kind == "list" and (b"*" in listed or use.path in listed):
            for name in view.listing(use.path):
                yield Want(os.path.join(use.path, name), f"listed-by:{run}", must=False)


def merge(
    view: Overlay,
    wants: Iterable[Want],
    allow: Collection[bytes] = (),
    left_out: Sequence[re.Pattern[bytes]] = (),
) -> tuple[Entry, ...]:
    """Return the file list that gives everybody what they want; ListError when it cannot.

    Every symbolic link on the way to a wanted path is listed, with what it leads to; so are the
    directories above. The order of `wants` does not matter. What `left_out` fully matches is not
    listed. Secrets are an error, but for the paths in `allow` and what lies below these.
    """
    reasons: dict[bytes, set[str]] = {}
    wanted: dict[bytes, set[str]] = {}
    for want in wants:
        for path, reason in _lookup(view, want):
            if _is_left_out(view, path, want.reason, left_out):
                break
            reasons.setdefault(path, set()).add(reason)
            wanted.setdefault(path, set()).add(want.where or want.reason)
    if CACHE in reasons and not any(needs_cache(view, path) for path in sorted(reasons)):
        del reasons[CACHE]
    _refuse_secrets(view, {path: wanted[path] for path in reasons}, allow)
    for path in list(reasons):
        for above in parents(path)[1:]:
            reasons.setdefault(above, {"parent"})
    entries = [_entry(view, path, reasons[path]) for path in sorted(reasons, key=_components)]
    return tuple(_with_hard_links(view, entries))


def _is_left_out(
    view: Root, path: bytes, reason: str, left_out: Sequence[re.Pattern[bytes]]
) -> bool:
    """Tell whether `path` stays out, and with it what it leads to."""
    if is_made_by_runtime(path) or any(rule.fullmatch(path) for rule in left_out):
        return True
    if not reason.startswith("run:") or not _NOISE.fullmatch(path):
        return False
    status = view.files.status(path)
    return status is not None and status.kind is not FileKind.DIR


def _refuse_secrets(view: Overlay, wanted: dict[bytes, set[str]], allow: Collection[bytes]) -> None:
    """Raise ListError for the paths of `wanted` that no image gets, with who wants them."""
    secrets = []
    for path in sorted(wanted):
        rule = _secret(view, path)
        if rule and not any(is_under(path, allowed) for allowed in allow):
            who = ", ".join(sorted(wanted[path]))
            secrets.append(f"{show(path)}: it is a secret ({rule}), wanted by {who}")
    _refuse(secrets)


def _refuse(secrets: Sequence[str]) -> None:
    if secrets:
        more = len(secrets) - _TOLD
        told = ", ".join(secrets[:_TOLD]) + (f", and {more} more" if more > 0 else "")
        raise ListError(f"cannot list {told}; add it to IMAGE_ALLOW if it belongs into the image")


def refuse_content(view: Overlay, entries: Iterable[Entry], allow: Collection[bytes]) -> None:
    """Raise ListError for the files among `entries` that hold secrets, but for those in `allow`.

    What their Debian package has shipped is trusted.
    """
    secrets = []
    for entry in entries:
        if entry.kind != "file" or entry.text or any(is_under(entry.path, top) for top in allow):
            continue
        place = view.source(entry.source) if entry.source else entry.path
        view.below.look(place, Aspect.SECRET)
        found = secret.in_file(view.below.files, place)
        if found:
            who = ", ".join(entry.reasons)
            secrets.append(f"{show(entry.path)}: it holds a secret ({found}), wanted by {who}")
    _refuse(secrets)


def _secret(view: Overlay, path: bytes) -> str:
    """Return the rule that keeps `path` out of images, by its own name or its source's."""
    status = view.files.status(path)
    if status is not None and status.kind is FileKind.DIR:
        return ""
    own = view.files.is_own(path)
    # In whose home a sysroot was unpacked does not matter.
    source = view.files.host_path(path).removeprefix(view.files.base.rstrip(b"/"))
    return secret_rule(path, own=own) or secret_rule(source, own=own)


def _lookup(root: Root, want: Want) -> Iterator[tuple[bytes, str]]:
    """Yield the paths that `want` brings: the links it goes through, and where it ends."""
    named = root.walk(want.path, follow=False)
    found = root.walk(want.path)
    if named.status is None:
        if want.must:
            raise ListError(
                f"list {show(want.path)}",
                f"it is gone ({want.reason})",
                "build again, or put it back",
            )
        return
    for passed in (*named.links, *found.left):
        yield passed, want.reason
    if named.status.kind is FileKind.LINK:
        yield named.real, want.reason
        for link in found.links[len(named.links) + 1 :]:
            yield link, f"target-of:{_text(named.real)}"
    if found.status is None:
        return
    if found.status.kind is not FileKind.OTHER:
        own = named.status.kind is not FileKind.LINK
        yield found.real, want.reason if own else f"target-of:{_text(named.real)}"
    elif want.must and not is_made_by_runtime(found.real):
        raise ListError(
            f"list {show(want.path)}",
            f"it is a device, FIFO or socket ({want.reason})",
            "leave it out, the container's runtime has to provide it",
        )


def is_host_noise(path: bytes) -> bool:
    """Tell whether `path`, that a run used, is left out by a rule whatever the run did with it."""
    return is_made_by_runtime(path) or bool(_NOISE.fullmatch(path))


def is_made_by_runtime(path: bytes) -> bool:
    """Tell whether the kernel or the container's runtime puts `path` into each container."""
    if path == b"/":
        return True
    return path in RUNTIME_FILES or is_in_kernel_tree(path)


def _entry(view: Overlay, path: bytes, reasons: set[str]) -> Entry:
    status = view.status(path)
    if status is None:
        raise ListError(f"list {show(path)}", "it is gone", "build again, or put it back")
    kept = reasons - {"parent"} or reasons
    placed = view.files.placed.get(path, Placed(status))
    is_file = status.kind is FileKind.FILE
    capable = view.capabilities(path) if is_file and status.mode & 0o111 else ""
    return Entry(
        status.kind.value, status.mode, status.uid, status.gid, path, status.target,
        tuple(sorted(kept)), placed.source if is_file else b"", placed.text, capable,
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
    if entry.source:
        words += [b"<-", escape(entry.source)]
    if entry.text:
        words += [b"=", escape(entry.text)]
    if entry.capabilities:
        words += [b"+", escape(entry.capabilities.encode())]
    return b" ".join([*words, *(reason.encode() for reason in entry.reasons)]) + b"\n"


def read(text: bytes, name: str) -> tuple[Entry, ...]:
    """Return the entries of the file list `text`, the file `name`; InputError names a bad line."""
    lines = text.split(b"\n")
    if lines[0] + b"\n" != HEADER or lines[-1] != b"":
        raise InputError(f"read file list {name}", "it is not a whole one", "build it again")
    return tuple(_parse(line, f"{name}:{at}") for at, line in enumerate(lines[1:-1], start=2))


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
    """Take `mark` and the word after it from the front of `words`; return what that stands for."""
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
        and (not entry.capabilities or _is_capable(entry))
    )


def _is_capable(entry: Entry) -> bool:
    """Tell whether the capabilities of `entry` are some, and it can have any."""
    try:
        return entry.kind in ("file", "hard") and bool(attribute(entry.capabilities))
    except ValueError:
        return False
