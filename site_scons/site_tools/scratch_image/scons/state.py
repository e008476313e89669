"""The state of what a step looked at: taken when it has run, compared before it runs again.

A footprint is text: one line for each (path, aspect) that the step's root has on record, with the
state that was found. The same lines taken afresh are equal if, and only if, nothing that the step
depends on has changed.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..elf.loader_cache import CACHE, loader_cache
from ..errors import ScratchImageError
from ..files import dpkg
from ..fs.digest import Digest
from ..fs.file_system import FileSystem
from ..fs.paths import escape, join, show, unescape
from ..fs.root import Aspect, Root
from ..fs.sights import Sights, is_fresh
from ..fs.status import FileKind, Status
from ..publish import engine, registry
from ..publish.registry_tag import Tag

_HEADER = b"# scratch_image footprint 1\n"

_WORDS = {aspect: aspect.value.encode() for aspect in Aspect}
_ASPECTS = {word: aspect for aspect, word in _WORDS.items()}

_MOVED = b"moved"
"""State of what changed while the step ran: it equals no state that is taken afresh."""

_HIDDEN, _SHOWN = b"hidden", b"shown"
"""States of what a root hides of its base, and of what it shows all the same."""

REMOTE = (Aspect.IMAGE, Aspect.TAG)
"""What is on no file system: an engine or a registry has it."""

_CHANGES = {
    Aspect.CONTENT: "content",
    Aspect.SIZE: "size",
    Aspect.MAGIC: "kind of content",
    Aspect.TRUST: "use of certificates",
    Aspect.SECRET: "secret in it",
    Aspect.LISTING: "listing",
    Aspect.HARD: "hard links",
    Aspect.CAPABILITIES: "capabilities",
    Aspect.ACL: "access control list",
    Aspect.MTIME: "modification time",
    Aspect.TIME: "modification time",
    Aspect.SONAME: "answer of ld.so.cache",
    Aspect.OWNER: "Debian package",
    Aspect.IMAGE: "image in the engine",
    Aspect.TAG: "image in the registry",
}

_BARE = (
    *REMOTE, Aspect.SONAME, Aspect.OWNER, Aspect.MTIME, Aspect.TIME, Aspect.HARD, Aspect.ACL,
    Aspect.CAPABILITIES,
)  # fmt: skip
"""Aspects whose states do not begin with kind, mode and owner."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a step looked at, and what it found."""

    nonce: bytes
    """Random word of the build that took it, so that no two builds leave the same footprint.

    Without it, a build killed before SCons noted it, and its cause taken back, would leave a
    target made from what is no longer there and a footprint that says otherwise.
    """
    stamp: bytes
    """dpkg's database when it was taken: as long as that is the same, so are its answers.

    No part of the signature: the same answers may come from another database.
    """
    states: dict[tuple[bytes, Aspect], bytes]
    """Each path and aspect with its state, a few words of text."""

    def text(self) -> bytes:
        """Return the footprint as sorted text, a line for each path and aspect."""
        words = b"nonce %s\ndpkg %s\n" % (self.nonce, self.stamp)
        return b"".join([_HEADER, words, *self._lines()])

    def _lines(self) -> Iterator[bytes]:
        for (path, aspect), found in sorted(self.states.items(), key=_order):
            yield b"%s %s %s\n" % (_WORDS[aspect], escape(path), found)

    def signature(self) -> str:
        """Return the digest of the text without the stamp."""
        return str(Digest.of(b"".join([self.nonce, b"\n", *self._lines()])))

    def moved(self) -> tuple[bytes, ...]:
        """Return the sorted paths that changed while the step ran."""
        return tuple(sorted({path for (path, _), found in self.states.items() if found == _MOVED}))

    def again(self, root: Root) -> Footprint:
        """Return the same footprint with every state taken afresh in `root`."""
        views = [(key[0], was) for key, was in self.states.items() if key[1] is Aspect.VIEW]
        hidden, shown = ([path for path, was in views if was == word] for word in (_HIDDEN, _SHOWN))
        root.hide(hidden, shown)
        kept, stamp = {}, _stamp(root.files, self.states)
        if self.stamp == stamp:
            kept = {key: was for key, was in self.states.items() if key[1] is Aspect.OWNER}
        fresh = _states(root.files, self.states.keys() - kept.keys())
        return Footprint(self.nonce, stamp, {**fresh, **kept})


def take(root: Root) -> Footprint:
    """Return the footprint of all that `root` has on record, as the step has seen it.

    Of what the root has watched and what changed meanwhile, the state is one that nothing has.
    """
    # Looks from here on are not the step's.
    sights, files, looked = root.end_watch(), root.files, root.looked
    # The stamp first: what dpkg does from now on is seen by the next build.
    stamp = _stamp(files, looked)
    states = _states(files, looked - root.known.keys()) | root.known
    # Only now: the states were read from files that might change under the reader's hands.
    if sights is not None:
        states |= dict.fromkeys(_moved(files, sights, looked), _MOVED)
    return Footprint(secrets.token_hex(8).encode(), stamp, states)


def _moved(
    files: FileSystem, sights: Sights, keys: Iterable[tuple[bytes, Aspect]]
) -> Iterator[tuple[bytes, Aspect]]:
    """Yield what has changed since a step first saw it."""
    databases = {
        Aspect.SONAME: sights.has_changed(files, files.walk(CACHE).real, listed=False),
        Aspect.OWNER: any(sights.has_changed(files, path, listed=True) for path in dpkg.FILES),
    }
    for path, aspect in keys:
        if aspect in databases:
            moved = databases[aspect]
        else:
            moved = sights.has_changed(files, path, listed=aspect is Aspect.LISTING)
        if moved and aspect not in (*REMOTE, Aspect.VIEW):
            yield path, aspect


def _stamp(files: FileSystem, keys: Iterable[tuple[bytes, Aspect]]) -> bytes:
    """Return the stamp of dpkg's database; a word for none where it was not asked."""
    return dpkg.stamp(files) if any(aspect is Aspect.OWNER for _, aspect in keys) else b"-"


def read(text: bytes) -> Footprint | None:
    """Return the footprint that `text` holds; None when it is not one of this version."""
    lines = text.split(b"\n")
    marks = [line.partition(b" ")[0] for line in lines[1:3]]
    if lines[0] != _HEADER.rstrip() or marks != [b"nonce", b"dpkg"] or lines[-1]:
        return None
    states = {}
    for line in lines[3:-1]:
        aspect, _, rest = line.partition(b" ")
        word, _, found = rest.partition(b" ")
        path = unescape(word)
        if aspect not in _ASPECTS or b"\0" in path:
            return None
        states[path, _ASPECTS[aspect]] = found
    return Footprint(lines[1][6:], lines[2][5:], states)


def explain(old: Footprint, new: Footprint) -> list[str]:
    """Return what changed from `old` to `new`, a phrase for each path: ``PATH: content``."""
    phrases = []
    for (path, aspect), was in sorted(old.states.items(), key=_order):
        now = new.states[path, aspect]
        if was != now:
            phrases.append(f"{show(path)}: {_change(aspect, was, now)}")
    return list(dict.fromkeys(phrases))


def _change(aspect: Aspect, was: bytes, now: bytes) -> str:
    if was == _MOVED:
        return "changed while the step ran"
    old, new = was.split(b" "), now.split(b" ")
    if b"absent" in (old[0], new[0]):
        return "appeared" if old[0] == b"absent" else "vanished"
    if aspect in _BARE:
        return f"{_CHANGES[aspect]} changed"
    if old[0] != new[0]:
        return f"{old[0].decode()} became {new[0].decode()}"
    if old[0] == b"link":
        return f"link changed from {old[1].decode()} to {new[1].decode()}"
    if old[1:3] != new[1:3]:
        return f"mode or owner changed from {b' '.join(old[1:3]).decode()} to " + (
            b" ".join(new[1:3]).decode()
        )
    return f"{_CHANGES.get(aspect, 'state')} changed"


def _order(item: tuple[tuple[bytes, Aspect], bytes]) -> tuple[bytes, bytes]:
    (path, aspect), _ = item
    return path, _WORDS[aspect]


def _states(
    files: FileSystem, keys: Iterable[tuple[bytes, Aspect]]
) -> dict[tuple[bytes, Aspect], bytes]:
    status = functools.cache(files.status)
    return {(path, aspect): _state(files, path, aspect, status) for path, aspect in keys}


def _state(
    files: FileSystem, path: bytes, aspect: Aspect, status: Callable[[bytes], Status | None]
) -> bytes:
    """Return the state as words of text; never raises for what machine, engine or registry hold."""
    try:
        if aspect is Aspect.SONAME:
            return str(Digest.of(loader_cache(files).answer(path))).encode()
        if aspect is Aspect.OWNER:
            return str(Digest.of(dpkg.answer(files, path))).encode()
        if aspect in REMOTE:
            return remote(path, aspect)
        if aspect is Aspect.VIEW:
            return _HIDDEN if path in files.hidden else _SHOWN
        found = status(path)
        return b"absent" if found is None else _words(files, path, aspect, found)
    except ScratchImageError as error:
        return _unknown(error)


def remote(path: bytes, aspect: Aspect) -> bytes:
    """Return the state of what an engine (IMAGE) or a registry (TAG) has; never raises."""
    try:
        if aspect is Aspect.TAG:
            tag = Tag.parse(path.decode())
            return str(registry.digest_of(tag) or "absent").encode()
        address, _, name = path.decode().partition(" ")
        return (engine.image_id(address, name) or "absent").encode()
    except (ScratchImageError, UnicodeDecodeError) as error:
        return _unknown(error)


def _unknown(error: Exception) -> bytes:
    """Return the state of a file that may not be read, or of an engine that is down.

    A state like any other: the step that runs because of it will say what is wrong.
    """
    return b"unknown " + escape(str(error).encode())


def _words(files: FileSystem, path: bytes, aspect: Aspect, status: Status) -> bytes:
    if status.kind is FileKind.LINK:
        return b"link " + escape(status.target)
    if aspect is Aspect.ACL:
        return b"yes" if files.has_access_list(path) else b"no"
    words = b"%s %04o %d:%d" % (status.kind.value.encode(), status.mode, status.uid, status.gid)
    if aspect is Aspect.LISTING and status.kind is FileKind.DIR:
        return words + b" " + _listing(files, path)
    if status.kind is not FileKind.FILE:
        return words
    if aspect in _ALONE:
        return _ALONE[aspect](files, path, status)
    if aspect in _BESIDE:
        return words + b" " + _BESIDE[aspect](files, path, status)
    return words


def _listing(files: FileSystem, path: bytes) -> bytes:
    kinds = []
    for name in files.listing(path):
        status = files.status(join(path, name))
        kinds.append(b"%s/%s" % (name, status.kind.value.encode() if status else b""))
    return str(Digest.of(b"\0".join(kinds))).encode()


_Finder = Callable[[FileSystem, bytes], bytes]

_found: dict[tuple[_Finder, bytes], tuple[tuple[int, ...], bytes]] = {}
"""What was found in each file on the machine, with the identity that it had when it was read."""


def _once(find: _Finder, files: FileSystem, path: bytes, status: Status) -> bytes:
    """Return what `find` finds in the file, read once for all steps that look at it."""
    identity = (*status.inode, status.size, status.ctime_ns)
    key = find, files.host_path(path)
    known = _found.get(key)
    if known is not None and known[0] == identity:
        return known[1]
    # A fresh file may change, and look the same.
    is_settled = not is_fresh(status)
    found = find(files, path)
    if is_settled:
        _found[key] = identity, found
    return found


def _digest(files: FileSystem, path: bytes) -> bytes:
    with files.open(path) as stream:
        return str(Digest.of_stream(stream)).encode()


def _secret(files: FileSystem, path: bytes) -> bytes:
    from ..files import secret

    found = secret.in_file(files, path)
    return escape(found.kind.encode()) if found else b"none"


def _trust(files: FileSystem, path: bytes) -> bytes:
    return b"yes" if files.trusts(path) else b"no"


_ALONE: dict[Aspect, Callable[[FileSystem, bytes, Status], bytes]] = {
    Aspect.MTIME: lambda _files, _path, status: b"%d" % status.mtime,
    Aspect.TIME: lambda _files, _path, status: b"%d" % status.own_mtime,
    Aspect.HARD: lambda _files, _path, status: (
        b"%d" % status.inode[1] if status.names > 1 else b"single"
    ),
    Aspect.CAPABILITIES: lambda files, path, _status: (
        escape(files.capabilities(path).encode()) or b"none"
    ),
}
"""What the whole state of a file is."""

_BESIDE: dict[Aspect, Callable[[FileSystem, bytes, Status], bytes]] = {
    Aspect.CONTENT: functools.partial(_once, _digest),
    Aspect.TRUST: functools.partial(_once, _trust),
    Aspect.SECRET: lambda files, path, _status: _secret(files, path),
    Aspect.MAGIC: lambda files, path, _status: files.magic(path).encode(),
    Aspect.SIZE: lambda _files, _path, status: b"%d" % status.size,
}
"""What of a file stands after its kind, mode and owner."""
