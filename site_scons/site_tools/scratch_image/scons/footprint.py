"""Footprints: the state of all that a step looked at, taken after it, compared before the next.

A footprint is text: one line for each (path, aspect) that the step's root has on record, with the
state that was found. The same lines taken afresh are equal if, and only if, nothing that the step
depends on has changed.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..elf.loader_cache import CACHE, loader_cache
from ..errors import ListError, ScratchImageError
from ..files import dpkg
from ..fs.digest import Digest
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind, Status
from ..fs.paths import join, show
from ..fs.private_file import Format, to_bytes, to_text
from ..fs.root import Aspect, Root, Sights, find_once, is_fresh
from .remote import REMOTE, remote_state, unknown_state

_FORMAT = Format("footprint", 2)

_MOVED = "moved"
"""State of what changed while the step ran: it equals no state that is taken afresh."""

_HIDDEN, _SHOWN = "hidden", "shown"
"""States of what a root hides of its base, and of what it shows all the same."""

_READ = (Aspect.CONTENT, Aspect.MAGIC, Aspect.TRUST, Aspect.SECRET, Aspect.ACCOUNTS)
"""Aspects that say what is in a file: to find one, the file is read."""

_OF_IDENTITY = frozenset({*_READ, Aspect.STAT, Aspect.SIZE, Aspect.HARD})
"""Aspects whose states follow from the identity of a file."""

_StatusOf = Callable[[bytes], Status | None]

_CHANGES = {
    Aspect.CONTENT: "content",
    Aspect.SIZE: "size",
    Aspect.MAGIC: "kind of content",
    Aspect.TRUST: "use of certificates",
    Aspect.SECRET: "secret in it",
    Aspect.ACCOUNTS: "accounts that it names",
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
    Aspect.SETTING: "setting of the base image",
}

_BARE = (
    Aspect.IMAGE, Aspect.TAG, Aspect.SONAME, Aspect.OWNER, Aspect.MTIME, Aspect.TIME, Aspect.HARD,
    Aspect.ACL, Aspect.CAPABILITIES, Aspect.SETTING,
)  # fmt: skip
"""Aspects whose states do not begin with kind, mode and owner."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The looks of a step, and the states that it found."""

    nonce: str
    """Random word of the build that took it, so that no two builds leave the same footprint.

    Without it, a build killed before SCons noted it, and its cause taken back, would leave a
    target made from what is no longer there and a footprint that says otherwise.
    """
    stamp: str
    """dpkg's database when it was taken: as long as that is the same, so are its answers.

    No part of the signature: the same answers may come from another database.
    """
    states: dict[tuple[bytes, Aspect], str]
    """Each path and aspect with its state, a few words of text."""
    identities: dict[bytes, str] = field(default_factory=dict)
    """Each file that was read, by what lstat(2) said of it before.

    No part of the signature: as long as the file is the same, so is what is in it.
    """

    def text(self) -> bytes:
        """Return the footprint as its file has it."""
        identities = {to_text(path): found for path, found in self.identities.items()}
        return _FORMAT.write(
            {"dpkg": self.stamp, "identities": identities, **self._signed_fields()}
        )

    def _signed_fields(self) -> dict[str, Any]:
        states: dict[str, dict[str, str]] = {}
        for (path, aspect), found in self.states.items():
            states.setdefault(aspect, {})[to_text(path)] = found
        return {"nonce": self.nonce, "states": states}

    def signature(self) -> str:
        """Return the digest of the nonce and the states."""
        return str(Digest.of(_FORMAT.write(self._signed_fields())))

    def with_nonce(self) -> Footprint:
        """Return the same states as the footprint of another build."""
        return replace(self, nonce=secrets.token_hex(8))

    def moved_paths(self) -> tuple[bytes, ...]:
        """Return the sorted paths that changed while the step ran."""
        return tuple(sorted({path for (path, _), found in self.states.items() if found == _MOVED}))

    def again(self, root: Root) -> Footprint:
        """Return the same footprint with every state taken afresh in `root`."""
        views = [(key[0], was) for key, was in self.states.items() if key[1] is Aspect.VIEW]
        hidden, shown = ([path for path, was in views if was == word] for word in (_HIDDEN, _SHOWN))
        root.hide(hidden, shown)
        status = functools.cache(root.files.status)
        stamp, identities = _stamp(root.files, self.states), _identities(self.states, status)
        kept = {}
        if self.stamp == stamp:
            same = {path for path, _ in self.identities.items() & identities.items()}
            kept = {key: was for key, was in self.states.items() if _is_kept(*key, was, same)}
        fresh = _states(root.files, self.states.keys() - kept.keys(), status)
        return Footprint(self.nonce, stamp, {**fresh, **kept}, identities)


def take(root: Root) -> Footprint:
    """Return the footprint of all that `root` has on record, as the step has seen it.

    Of what the root has watched and what changed meanwhile, the state is one that nothing has.
    """
    # Looks from here on are not the step's.
    sights, files, looked = root.end_watch(), root.files, root.looked
    # The stamp first: what dpkg does from now on is seen by the next build.
    stamp, status = _stamp(files, looked), functools.cache(files.status)
    identities = _identities(looked, status)
    states = _states(files, looked - root.known.keys(), status) | root.known
    # Only now: the states were read from files that might change under the reader's hands.
    if sights is not None:
        states |= dict.fromkeys(_moved_paths(files, sights, looked), _MOVED)
    return Footprint(secrets.token_hex(8), stamp, states, identities)


def _moved_paths(
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
        if moved and aspect not in (*REMOTE, Aspect.VIEW, Aspect.SETTING):
            yield path, aspect


def _stamp(files: FileSystem, keys: Iterable[tuple[bytes, Aspect]]) -> str:
    """Return the stamp of dpkg's database; a word for none where no state depends on it."""
    depends = any(aspect in (Aspect.OWNER, Aspect.SECRET) for _, aspect in keys)
    return dpkg.stamp(files).decode() if depends else "-"


def _identities(keys: Iterable[tuple[bytes, Aspect]], status: _StatusOf) -> dict[bytes, str]:
    """Return the identity of each file that is to be read, but for fresh ones."""
    found = {}
    for path in {path for path, aspect in keys if aspect in _READ}:
        with contextlib.suppress(ListError):
            now = status(path)
            if now and now.kind is FileKind.FILE and now.ctime_ns and not is_fresh(now):
                device, inode = now.inode
                found[path] = (
                    f"{device} {inode} {now.size} {now.own_mtime} {now.ctime_ns} {now.mode} "
                    f"{now.uid} {now.gid}"
                )
    return found


def _is_kept(path: bytes, aspect: Aspect, was: str, same: Collection[bytes]) -> bool:
    """Tell whether a state need not be taken again; `same` are the files that are as they were."""
    is_sound = was.startswith("file ") or (aspect is Aspect.HARD and was != _MOVED)
    is_same = path in same and aspect in _OF_IDENTITY and is_sound
    return is_same or aspect is Aspect.OWNER


def read(text: bytes) -> Footprint | None:
    """Return the footprint that `text` holds; None when it is not one of this version."""
    return _FORMAT.read(text, _footprint)


def _footprint(values: dict[str, Any]) -> Footprint:
    states: dict[tuple[bytes, Aspect], str] = {}
    # Most paths occur with several aspects.
    path_of = functools.cache(to_bytes)
    for word, found in values["states"].items():
        aspect = Aspect(word)
        states |= {(path_of(path), aspect): state for path, state in found.items()}
    if not all(isinstance(each, str) for each in states.values()):
        raise ValueError
    identities = {path_of(path): str(found) for path, found in values["identities"].items()}
    return Footprint(str(values["nonce"]), str(values["dpkg"]), states, identities)


def explain(old: Footprint, new: Footprint) -> list[str]:
    """Return what changed from `old` to `new`, a phrase for each path: ``PATH: content``."""
    phrases = []
    for (path, aspect), was in sorted(old.states.items()):
        now = new.states[path, aspect]
        if was != now:
            phrases.append(f"{show(path)}: {_change(aspect, was, now)}")
    return list(dict.fromkeys(phrases))


def _change(aspect: Aspect, was: str, now: str) -> str:
    if was == _MOVED:
        return "changed while the step ran"
    old, new = was.split(" "), now.split(" ")
    if "absent" in (old[0], new[0]):
        return "appeared" if old[0] == "absent" else "vanished"
    if aspect in _BARE:
        return f"{_CHANGES[aspect]} changed"
    if old[0] != new[0]:
        return f"{old[0]} became {new[0]}"
    if old[0] == "link":
        return f"link changed from {old[1]} to {new[1]}"
    if old[1:3] != new[1:3]:
        return f"mode or owner changed from {' '.join(old[1:3])} to {' '.join(new[1:3])}"
    return f"{_CHANGES.get(aspect, 'state')} changed"


def _states(
    files: FileSystem, keys: Iterable[tuple[bytes, Aspect]], status: _StatusOf
) -> dict[tuple[bytes, Aspect], str]:
    return {(path, aspect): _state(files, path, aspect, status) for path, aspect in keys}


def _state(files: FileSystem, path: bytes, aspect: Aspect, status: _StatusOf) -> str:
    """Return the state as words of text; never raises for what machine, engine or registry hold."""
    try:
        if aspect is Aspect.SONAME:
            return str(Digest.of(loader_cache(files).answer(path)))
        if aspect is Aspect.OWNER:
            return str(Digest.of(dpkg.answer(files, path)))
        if aspect in REMOTE:
            return remote_state(path, aspect)
        if aspect is Aspect.SETTING:
            text = files.image.settings.get(to_text(path), "")
            return str(Digest.of(text.encode())) if text else "absent"
        if aspect is Aspect.VIEW:
            return _HIDDEN if path in files.hidden else _SHOWN
        found = status(path)
        return "absent" if found is None else _words(files, path, aspect, found)
    except ScratchImageError as error:
        return unknown_state(error)


def _words(files: FileSystem, path: bytes, aspect: Aspect, status: Status) -> str:
    if status.kind is FileKind.LINK:
        return f"link {show(status.target)}"
    if aspect is Aspect.ACL:
        return "yes" if files.has_access_list(path) else "no"
    words = f"{status.kind.value} {status.mode:04o} {status.uid}:{status.gid}"
    if aspect is Aspect.LISTING and status.kind is FileKind.DIR:
        return f"{words} {_listing(files, path)}"
    if status.kind is not FileKind.FILE:
        return words
    if aspect in _ALONE:
        return _ALONE[aspect](files, path, status)
    if aspect in _BESIDE:
        return f"{words} {_BESIDE[aspect](files, path, status)}"
    return words


def _listing(files: FileSystem, path: bytes) -> str:
    kinds = []
    for name in files.listing(path):
        status = files.status(join(path, name))
        kinds.append(b"%s/%s" % (name, status.kind.value.encode() if status else b""))
    return str(Digest.of(b"\0".join(kinds)))


def read_digest(files: FileSystem, path: bytes) -> str:
    """Return the digest of the file `path`."""
    with files.open(path) as stream:
        return str(Digest.of_stream(stream))


def _secret(files: FileSystem, path: bytes) -> str:
    from ..files import secret_search

    found = secret_search.in_file(files, path)
    return found.kind if found else "none"


def _accounts(files: FileSystem, path: bytes) -> str:
    from ..files import account_files

    names = account_files.find_names(files, path, account_files.all_accounts(files))
    return b",".join(names).decode("utf-8", "backslashreplace") or "none"


def _trust(files: FileSystem, path: bytes) -> str:
    return "yes" if files.trusts(path) else "no"


_ALONE: dict[Aspect, Callable[[FileSystem, bytes, Status], str]] = {
    Aspect.MTIME: lambda _files, _path, status: str(status.mtime),
    Aspect.TIME: lambda _files, _path, status: str(status.own_mtime),
    Aspect.HARD: lambda _files, _path, status: (
        str(status.inode[1]) if status.names > 1 else "single"
    ),
    Aspect.CAPABILITIES: lambda files, path, _status: files.capabilities(path) or "none",
}
"""The aspects that are the whole state of a file."""

_BESIDE: dict[Aspect, Callable[[FileSystem, bytes, Status], str]] = {
    Aspect.CONTENT: functools.partial(find_once, read_digest),
    Aspect.TRUST: functools.partial(find_once, _trust),
    Aspect.SECRET: lambda files, path, _status: _secret(files, path),
    Aspect.ACCOUNTS: lambda files, path, _status: _accounts(files, path),
    Aspect.MAGIC: lambda files, path, _status: files.magic(path),
    Aspect.SIZE: lambda _files, _path, status: str(status.size),
}
"""The aspect of a file that stands after its kind, mode and owner."""
