"""The file system that a traced program sees: a base, and files staged at their image paths.

Every step looks at files through a `Root` and nowhere else, and the root keeps the record of
what was looked at. That record is the step's exact dependency, misses and listings included:
a step cannot forget to name an input.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ..errors import InputError, ListError
from . import capabilities
from .owners import Owners
from .paths import is_under, join, parents, show

LATEST = 0o77777777777
"""The latest time, in seconds since 1970, that a tar header holds in its digits."""

MAX_LINKS = 40
"""Symbolic links followed in one lookup before the kernel answers ELOOP (path_resolution(7))."""


class Aspect(Enum):
    """What of a path was looked at; the value is the word in text records."""

    STAT = "stat"
    """Whether it exists; kind, mode, owner, link text."""
    SIZE = "size"
    """As STAT, and a regular file's size in bytes."""
    CONTENT = "content"
    """As STAT, and a regular file's bytes."""
    MAGIC = "magic"
    """As STAT, and what a regular file's first bytes say of its kind: see `Root.magic`."""
    TRUST = "trust"
    """As STAT, and whether a regular file looks for certificates: see `Root.trusts`."""
    SECRET = "secret"  # noqa: S105  # a word
    """As STAT, and which kind of secret a regular file holds: see `secret.of_file`."""
    LISTING = "listing"
    """As STAT, and a directory's names and their kinds."""
    HARD = "hard"
    """Which other paths are the same file."""
    MTIME = "mtime"
    """A regular file's modification time in whole seconds, none later than the epoch."""
    TIME = "time"
    """A regular file's modification time in whole seconds, whatever the epoch."""
    CAPABILITIES = "capabilities"
    """A regular file's capabilities: see `Root.capabilities`."""
    ACL = "acl"
    """Whether it has an access control list."""
    SONAME = "soname"
    """What ld.so.cache answers for a name; the "path" is the name."""
    OWNER = "owner"
    """The Debian package that a file is of, and what dpkg knows of both."""
    IMAGE = "image"
    """Which image an engine holds under a tag; the "path" is engine address and tag."""
    TAG = "tag"
    """What a registry holds under a tag; the "path" is what `registry.Tag` has as text."""
    VIEW = "view"
    """Whether what the base has there is hidden or shown: see `Root.hide`."""


class Kind(Enum):
    """The kinds of file; the value is the word in text records."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"
    OTHER = "other"
    """A device, FIFO or socket: never part of an image."""


@dataclass(frozen=True, slots=True)
class Status:
    """What lstat(2) tells of a path, with a link's text."""

    kind: Kind
    mode: int
    """Permission bits, 0 to 0o7777."""
    uid: int
    gid: int
    size: int = 0
    """Bytes of a regular file."""
    mtime: int = 0
    """Seconds since 1970, none later than the root's epoch."""
    target: bytes = b""
    """Text of a symbolic link."""
    inode: tuple[int, int] = (0, 0)
    """Device and inode number; zeros where the root made it up."""
    names: int = 1
    """Hard links; a staged file has one, whatever the build directory holds."""
    ctime_ns: int = 0
    """When content or metadata last changed, nanoseconds; 0 where the root made it up."""
    own_mtime: int = 0
    """Seconds since 1970, whatever the epoch and whoever's the file is; 0 where the root made it
    up."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One lookup of a path, component by component, as the kernel does it."""

    links: tuple[bytes, ...]
    """Symbolic links that were followed, in order, each by its own link-free path."""
    real: bytes
    """The link-free path where the lookup ended."""
    status: Status | None
    """Status of `real`; None when the lookup failed.

    Then `real` is the first missing path, or the file that is no directory and that ``..`` follows.
    """
    left: tuple[bytes, ...] = ()
    """Directories that ``..`` left, where neither `real` nor a link lies in them: without these
    the lookup fails."""


_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIR, stat.S_IFLNK: Kind.LINK}

_TRUST = (
    b"SSL_CTX_set_default_verify",
    b"x509_system_trust",
    b"trust_list_add_system_trust",
    b"/etc/ssl/cert",
    b"/ca-certificates.crt",
    b"/ca-bundle.crt",
)
"""Functions of OpenSSL and GnuTLS that load a system's certificates, and where these lie."""

_NO_ATTRIBUTE = (errno.ENODATA, errno.ENOTSUP, errno.ENOENT, errno.ENOTDIR)
"""What getxattr(2) says of a file without it, of a file system without any, and of no file."""

_ACL = "system.posix_acl_access"
"""The extended attribute that holds an access control list of more than the mode (acl(5))."""

_KEPT = Owners()
"""The file system keeps all."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How files are opened. O_NONBLOCK: a FIFO put in the file's place must not hang the build."""

_STAGED_DIR = Status(Kind.DIR, 0o755, 0, 0)

_ENTRY = ("kind", "mode", "uid", "gid", "target")
"""What of a directory, a link or a device counts: not how many entries or names it has."""

_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of linux/time.h, from which the kernel takes ctimes."""

_PATIENCE = 3.0
"""Seconds to wait at most for the clock of a file system: the longest tick, that of FAT, is two."""


class Sights:
    """Each path as a step first saw it: whether it is still the same when the step has ended.

    Of a file every change counts, a change back included: its ctime tells. Of a directory the
    mode, the owner and, where they were listed, the names count; other entries come and go.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, Status | None] = {}
        self._names: dict[bytes, list[bytes]] = {}
        self._moved: set[bytes] = set()

    def __contains__(self, path: bytes) -> bool:
        return path in self._seen

    def note(self, path: bytes, status: Status | None) -> None:
        """Note that `path` was seen as `status`."""
        first = self._seen.setdefault(path, status)
        if first is not status and not _is_same(first, status):
            self._moved.add(path)

    def note_names(self, path: bytes, names: list[bytes]) -> None:
        """Note that the directory `path` had the sorted `names`."""
        if self._names.setdefault(path, names) != names:
            self._moved.add(path)

    def differ(self, root: Root, path: bytes, *, listed: bool) -> bool:
        """Tell whether `path` has changed in `root` since it was first seen; False if it never was.

        `listed` says that the names in it count. Whoever listed it by other means than
        `Root.listing`, as a run does, saw those that it had when it last changed.
        """
        if path not in self._seen:
            return False
        first = self._seen[path]
        try:
            now = root.peek(path)
            self.note(path, now)
            if listed and path in self._names:
                self.note_names(path, root.listing(path))
            elif listed and first and now and first.ctime_ns != now.ctime_ns:
                return True
        except ListError:
            return True
        return path in self._moved


def _is_same(first: Status | None, now: Status | None) -> bool:
    if first is None or now is None or first.kind is Kind.FILE:
        return first == now
    return all(getattr(first, name) == getattr(now, name) for name in _ENTRY)


def is_fresh(status: Status) -> bool:
    """Tell whether a change of the file from now on might leave it with the ctime that it has.

    ctimes come from a clock that ticks every few milliseconds, or every one or two seconds on a
    file system that keeps no fractions.
    """
    tick = 2 * 10**9 if status.ctime_ns % 10**9 == 0 else 0
    now = time.clock_gettime_ns(_COARSE_CLOCK)
    return now - tick <= status.ctime_ns <= now


class Root:
    """A base directory and staged files; keeps (path, aspect) of all that was asked of it."""

    def __init__(
        self,
        base: bytes = b"/",
        staged: Mapping[bytes, bytes] | None = None,
        epoch: int = LATEST,
        owners: Owners = _KEPT,
        own: bytes = b"",
        repositories: Sequence[bytes] = (),
    ) -> None:
        """Take `base`, an absolute directory, and `staged`: image path to path on the machine.

        `own` is a directory of the machine that is there by its own path, whatever the base has:
        the project's, whose lists name its files. So are `repositories`, where else these may lie.
        `owners` tells what of the base its file system could not keep.
        No file looks newer than `epoch`, in seconds since 1970; a staged one is as old as that.
        InputError when a file cannot be staged where it is to lie.
        """
        self.base = base
        self.owners = owners
        self.own = own
        self.repositories = repositories
        self.epoch = epoch
        self.looked: set[tuple[bytes, Aspect]] = set()
        self.known: dict[tuple[bytes, Aspect], bytes] = {}
        """What a step itself has made of what it put on record, as the state of that."""
        self.sights: Sights | None = None
        """How each path was first seen, where a step is at work; see `watch`."""
        self.staged: dict[bytes, bytes] = {}
        self.hidden: tuple[bytes, ...] = ()
        self.shown: dict[bytes, bytes] = {}
        self._staged_dirs: dict[bytes, set[bytes]] = {}
        for path, machine in (staged or {}).items():
            self._stage(path, machine)
        self._image = {machine: image for image, machine in self.staged.items()}

    def watch(self) -> None:
        """From now on keep how each path is first seen."""
        self.sights = Sights()

    def hide(self, directories: Iterable[bytes], shown: Iterable[bytes] = ()) -> None:
        """See nothing of the base below `directories`, but for the files `shown`.

        Where the base has a link to a directory, that one is hidden, too, and there is a directory
        in both places. It goes on record: what is hidden cannot change what a step does.
        """
        places = [place for each in directories for place in (each, self.walk(each).real)]
        self.hidden = tuple(dict.fromkeys(place for place in places if place != b"/"))
        for path in shown:
            if self._is_hidden(path):
                self.shown[path] = self.machine(path)
                self._lead_to(path)
        for path in (*self.hidden, *self.shown):
            self.look(path, Aspect.VIEW)

    def hides(self, directory: bytes) -> bool:
        """Tell whether nothing that the base has in `directory` is seen."""
        return any(is_under(directory, each) for each in self.hidden)

    def _is_hidden(self, path: bytes) -> bool:
        """Tell whether what the base has at `path`, if anything, is not seen."""
        seen = path in self.hidden or path in self.staged or path in self.shown
        return not seen and self.hides(path)

    def _stage(self, path: bytes, machine: bytes) -> None:
        # A path staged below a link of the base (/bin/hello) lies where the link leads.
        place = self.location(path)
        if cause := self._taken(place):
            raise InputError(f"stage {show(path)}", cause, "stage it elsewhere")
        self.staged[place] = machine
        self._lead_to(place)

    def _lead_to(self, place: bytes) -> None:
        """Have the directories above `place`, whatever the base has."""
        for above, below in zip(parents(place), [*parents(place)[1:], place], strict=True):
            self._staged_dirs.setdefault(above, set()).add(os.path.basename(below))

    def _taken(self, place: bytes) -> str:
        """Return why no file can be staged at `place`; nothing when one can."""
        for above in parents(place):
            status = self.peek(above)
            if status is not None and status.kind is not Kind.DIR:
                return f"{show(above)} is no directory"
        if place in self.staged:
            return f"another file is staged at {show(place)}"
        # Off the record: it is looked at whenever a root is made.
        looked = set(self.looked)
        status = self.walk(place).status
        self.looked = looked
        return "there is a directory" if status and status.kind is Kind.DIR else ""

    def require_staged(self) -> None:
        """Raise InputError when a staged file is none, or is a link that leads nowhere.

        Off the record, as its place: what files a step needs it looks at itself.
        """
        looked = set(self.looked)
        for path, machine in self.staged.items():
            if trouble := self._trouble(path, machine):
                raise InputError(f"cannot stage {show(path)}: {trouble}")
        self.looked = looked

    def _trouble(self, path: bytes, machine: bytes) -> str:
        """Return what is wrong with the staged file `path`, and what mends it; or nothing."""
        if os.path.islink(machine):
            if self.walk(path).status is None:
                target = show(os.readlink(machine))
                return f"it is a link to {target}, which is not there; stage that, too"
        elif os.path.isdir(machine):
            return f"{show(machine)} is a directory; stage its files"
        elif not os.path.exists(machine):
            return f"{show(machine)} does not exist; build it, or name another file"
        return ""

    def location(self, path: bytes) -> bytes:
        """Return where `path` lies when the links of the base above it are followed."""
        for above in reversed(parents(path)):
            found = self.walk(above)
            if found.status is not None:
                return join(found.real, path[len(above) :].lstrip(b"/"))
        return path

    def machine(self, path: bytes) -> bytes:
        """Return where the image path `path` lies on the machine."""
        if path in self.staged:
            return self.staged[path]
        return path if self.base == b"/" or self._own_directory(path) else self.base + path

    def _own_directory(self, path: bytes) -> bytes:
        """Return the directory of the project that `path` lies in; nothing if it does in none."""
        places = (self.own, *self.repositories)
        return next((place for place in places if place and is_under(path, place)), b"")

    def image(self, path: bytes) -> bytes:
        """Return the image path of the machine's `path`, for a base that is the machine's root."""
        return self._image.get(path, path)

    def look(self, path: bytes, aspect: Aspect) -> None:
        """Put `path` on record without looking."""
        self.looked.add((path, aspect))

    def know(self, path: bytes, aspect: Aspect, state: bytes) -> None:
        """Put `path` on record in the `state` that the step has seen or made itself."""
        self.look(path, aspect)
        self.known[path, aspect] = state

    def status(self, path: bytes, aspect: Aspect = Aspect.STAT) -> Status | None:
        """Return what `path` is, its last component not followed; None when it does not exist."""
        self.look(path, aspect)
        return self.peek(path)

    def peek(self, path: bytes) -> Status | None:
        """As `status`, but off the record: for what cannot change a step's result."""
        found = self._lstat(path)
        if self.sights is None:
            return found
        if path not in self.sights:
            found = self._at_rest(path, found)
        self.sights.note(path, found)
        return found

    def _at_rest(self, path: bytes, found: Status | None) -> Status | None:
        """Return what `path` is, `found` at first, once its next change must show in its ctime."""
        latest = time.monotonic() + _PATIENCE
        while found and found.kind is Kind.FILE and is_fresh(found) and time.monotonic() < latest:
            time.sleep(0.002)
            found = self._lstat(path)
        return found

    def _lstat(self, path: bytes) -> Status | None:
        if self.hidden and self._is_hidden(path):
            return _STAGED_DIR if path in self._staged_dirs else None
        machine = self.machine(path)
        while True:
            try:
                found = os.lstat(machine)
                is_link = stat.S_ISLNK(found.st_mode)
                if is_link and path in self.hidden:
                    return _STAGED_DIR
                return self._made(path, found, os.readlink(machine) if is_link else b"")
            except (FileNotFoundError, NotADirectoryError):
                return _STAGED_DIR if path in self._staged_dirs else None
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue  # Between both calls another file took the place of the link.
                raise _unread("look at", path, error) from error

    def _made(self, path: bytes, found: os.stat_result, target: bytes) -> Status:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), Kind.OTHER)
        seconds = max(found.st_mtime_ns // 10**9, 0)
        if path in self.staged:
            # Owner, umask and time of whoever ran the build are not the project's doing.
            mode = 0o755 if found.st_mode & 0o111 else 0o644
            size, inode, changed = found.st_size, (found.st_dev, found.st_ino), found.st_ctime_ns
            return Status(kind, mode, 0, 0, size, self.epoch, target, inode, 1, changed, seconds)
        mode, uid, gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        if not self._own_directory(path):
            mode, uid, gid = self.owners.true(path, mode, uid, gid)
        return Status(
            kind,
            mode,
            uid,
            gid,
            found.st_size if kind is Kind.FILE else 0,
            min(seconds, self.epoch),
            target,
            (found.st_dev, found.st_ino),
            found.st_nlink,
            found.st_ctime_ns,
            seconds,
        )

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`, staged ones included."""
        self.look(path, Aspect.LISTING)
        names = set(self._staged_dirs.get(path, ()))
        if not self.hides(path):
            names.update(self._entries(path))
        found = sorted(names)
        if self.sights is not None:
            self.sights.note_names(path, found)
        return found

    def _entries(self, path: bytes) -> list[bytes]:
        """Return the names that the base has in the directory `path`; none if it is not there."""
        try:
            return os.listdir(self.machine(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unread("list", path, error) from error

    def open(self, path: bytes, aspect: Aspect | None = Aspect.CONTENT) -> io.FileIO:
        """Open the regular file `path` (link-free) for reading; ListError when it cannot be."""
        if aspect is not None:
            self.look(path, aspect)
        if self.sights is not None and path not in self.sights:
            self.peek(path)
        try:
            descriptor = os.open(self.machine(path), _READ)
        except OSError as error:
            raise _unread("read", path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ListError(
                f"read {show(path)}", "it is not a regular file", "leave it out of the image"
            )
        return io.FileIO(descriptor)

    def magic(self, path: bytes, aspect: Aspect | None = Aspect.MAGIC) -> str:
        """Return ``elf``, ``script`` or ``other``: what the kernel takes the file `path` for."""
        with self.open(path, aspect) as stream:
            head = stream.read(4)
        if head == b"\x7fELF":
            return "elf"
        return "script" if head[:2] == b"#!" else "other"

    def trusts(self, path: bytes, aspect: Aspect | None = Aspect.TRUST) -> bool:
        """Tell whether the ELF file `path` looks for the certificates that a system trusts.

        A server that only shows a certificate of its own does not, whatever library it has.
        """
        with self.open(path, aspect) as stream:
            content = stream.read(4)
            content += stream.read() if content == b"\x7fELF" else b""
        return any(mark in content for mark in _TRUST)

    def capabilities(self, path: bytes, aspect: Aspect | None = Aspect.CAPABILITIES) -> str:
        """Return the capabilities of the regular file `path` (link-free), ``cap_net_raw=ep``.

        Nothing where it has none; ListError when it has some that no image can hold.
        """
        if aspect is not None:
            self.look(path, aspect)
        kept = "" if self._own_directory(path) else self.owners.capabilities.get(path, "")
        try:
            name = capabilities.ATTRIBUTE
            return kept or capabilities.text(
                os.getxattr(self.machine(path), name, follow_symlinks=False)
            )
        except OSError as error:
            if error.errno in _NO_ATTRIBUTE:
                return ""
            cause = str(error.strerror)
        except ValueError as error:
            cause = str(error)
        raise ListError(
            f"list {show(path)} with its capabilities",
            cause,
            f"set them anew by setcap, or leave it out (!{show(path)})",
        )

    def has_access_list(self, path: bytes, aspect: Aspect | None = Aspect.ACL) -> bool:
        """Tell whether the file or directory `path` (link-free) has an access control list."""
        if aspect is not None:
            self.look(path, aspect)
        try:
            return _ACL in os.listxattr(self.machine(path), follow_symlinks=False)
        except OSError:
            return False  # It is gone, or its file system has none.

    def walk(self, path: bytes, *, follow: bool = True, aspect: Aspect = Aspect.STAT) -> Walk:
        """Look `path` up component by component; links on the way are put on record.

        `aspect` is recorded for the path where the lookup ends. With `follow` false a link in the
        last component is not followed. A loop of links ends as a path that does not exist.
        """
        links: list[bytes] = []
        left: list[bytes] = []
        # The base need not have what lies above the project.
        here = b"/" if self.base == b"/" else self._own_directory(path) or b"/"
        todo = _split(path[len(here) :])
        found = self.peek(here)
        while todo:
            name = todo.pop()
            if name == b"..":
                left.append(here)
                here = os.path.dirname(here)
                continue
            step = join(here, name)
            found = self.peek(step)
            if found is None or len(links) > MAX_LINKS:
                self.look(step, Aspect.STAT)
                return self._ended(links, left, step, None)
            if found.kind is Kind.LINK and (todo or follow):
                self.look(step, Aspect.STAT)
                links.append(step)
                todo += _split(found.target)
                here = b"/" if found.target[:1] == b"/" else here
                continue
            if todo and found.kind is not Kind.DIR:
                self.look(step, Aspect.STAT)
                missing = step if todo[-1] == b".." else join(step, todo[-1])
                return self._ended(links, left, missing, None)
            here = step
        self.look(here, aspect)
        return self._ended(links, left, here, self.peek(here))

    def _ended(
        self, links: list[bytes], left: list[bytes], real: bytes, status: Status | None
    ) -> Walk:
        """Return the walk that ended at `real`; `left` are all directories that ``..`` left."""
        ends = (*links, real)
        alone = [each for each in left if not any(is_under(end, each) for end in ends)]
        for directory in alone:
            self.look(directory, Aspect.STAT)
        return Walk(tuple(links), real, status, tuple(dict.fromkeys(alone)))


def _split(path: bytes) -> list[bytes]:
    """Return the components of `path`, last first: a stack to pop from."""
    return [name for name in reversed(path.split(b"/")) if name not in (b"", b".")]


def _unread(verb: str, path: bytes, error: OSError) -> ListError:
    forbidden = error.errno in (errno.EACCES, errno.EPERM)
    hint = "make it readable by the user who runs scons" if forbidden else "build again"
    return ListError(f"{verb} {show(path)}", str(error.strerror), f"{hint}, or leave it out")
