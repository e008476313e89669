"""A file system to look at: a base directory, and files staged at their image paths.

Looks at it go on no record. A step looks through a `Root`, which records and looks here.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self

from ..errors import InputError, ListError
from . import capabilities
from .accounts import GROUP, NONROOT, PASSWD, parse
from .lookup import LATEST, MADE_UP_DIR, FileKind, Status, Walk, walk
from .paths import is_under, join, show
from .staging import Chosen, Staging
from .unpacked_tree import BaseImage, Owners

_KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.DIR, stat.S_IFLNK: FileKind.LINK}

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
"""Errors of getxattr(2) for a file without it, a file system without any, and no file."""

_ACL = "system.posix_acl_access"
"""The extended attribute that holds an access control list of more than the mode (acl(5))."""

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""How files are opened. O_NONBLOCK: a FIFO put in the file's place must not hang the build."""


class FileSystem:
    """A base directory, and staged files above it."""

    def __init__(
        self,
        base: bytes = b"/",
        staged: Mapping[bytes, bytes] | None = None,
        epoch: int = LATEST,
        owners: Owners | None = None,
        own: bytes = b"",
        repositories: Sequence[bytes] = (),
        chosen: Mapping[bytes, Chosen] | None = None,
        made: Callable[[bytes], bool] | None = None,
        image: BaseImage | None = None,
        staging: Staging | None = None,
    ) -> None:
        """Take `base`, an absolute directory, and `staged`: image path to host path.

        `chosen` has modes and owners of `staged` ones. With `staging` all of these have their
        places already.

        `own` is a directory of the host that is there by its own path, whatever the base has:
        the project's, whose lists name its files. So are `repositories`, where else these may lie.
        `owners` has what of the base its file system could not keep. `made` tells whether the build
        itself makes a file in its own directory: no listing has those. `image` is what the base was
        made of, if it was an image.
        No file looks newer than `epoch`, in seconds since 1970; a staged one is as old as that.
        InputError when a file cannot be staged at its path.
        """
        self.base = base
        self.owners = owners or Owners()
        self.own = own
        self.repositories = repositories
        self._made = made
        self.image = image or BaseImage()
        self.epoch = epoch
        self.hidden: tuple[bytes, ...] = ()
        self.shown: dict[bytes, bytes] = {}
        self._numbers: dict[str, tuple[int, int]] = {}
        self.staging = staging.for_lookup(self) if staging else Staging(self)
        self._made_up = self.staging.made_up
        if staging is None:
            self.staging.add(staged or {}, chosen or {})

    @property
    def files(self) -> Self:
        """Itself, as `Root.files`: some functions look through a root, or through this."""
        return self

    # Staged files.

    @property
    def staged(self) -> Mapping[bytes, bytes]:
        """The host paths of what is staged, by its places."""
        return self.staging.places

    def require_staged(self) -> None:
        """Raise InputError when something staged is not there, or no image can have it."""
        for owner in sorted(self.staging.owners()):
            self._owner(owner)
        for path in self.staged:
            faults = [self._fault(path, "it")]
            if self.staging.is_tree(path):
                faults += self._faults_below(path)
            for cause, hint in filter(None, faults):
                raise InputError(f"stage {show(path)}", cause, hint)

    def _faults_below(self, directory: bytes) -> Iterator[tuple[str, str] | None]:
        for name in self.listing(directory):
            path = join(directory, name)
            if path not in self.staged:
                yield self._fault(path, show(self.host_path(path)))
                status = self.status(path)
                if status is not None and status.kind is FileKind.DIR:
                    yield from self._faults_below(path)

    def _fault(self, path: bytes, what: str) -> tuple[str, str] | None:
        """Return the fault of the staged file `path`, called `what`, with a hint, if it has one."""
        status = self.status(path)
        if status is None:
            return f"{show(self.host_path(path))} does not exist", "build it, or name another file"
        if status.kind is FileKind.OTHER:
            return f"{what} is a device, FIFO or socket", "remove it, or name other files"
        if status.kind is FileKind.DIR and path in self.staged and not self.staging.is_tree(path):
            return f"{what} is a directory", "write env.Dir(...) for it"
        end = self.walk(path) if status.kind is FileKind.LINK else Walk((), path, status)
        if end.status is None:
            fault = f"{what} is a link to {show(status.target)}, which is not there"
            return fault, "stage that, too"
        if self.is_in_project(end.real) and end.real not in self.staging:
            fault = f"{what} is a link to {show(status.target)}, which is not staged"
            return fault, "stage that, too"
        return None

    def _owner(self, owner: str) -> tuple[int, int]:
        """Return the numbers of the user and the group `owner`; InputError for an unknown name.

        A user without a group has the group that the account file names, or else its own number.
        """
        if owner not in self._numbers:
            user, _, group = owner.partition(":")
            uid, gid = self._account(user, PASSWD)
            self._numbers[owner] = uid, self._account(group, GROUP)[0] if group else gid
        return self._numbers[owner]

    def _account(self, name: str, path: bytes) -> tuple[int, int]:
        if not name or name.isdigit():
            return int(name or 0), int(name or 0)
        if name == NONROOT[0]:
            return NONROOT[1], NONROOT[1]
        found = self.walk(path)
        if found.status is not None:
            with self.open(found.real) as stream:
                for account in parse(stream.read()):
                    if account.name == os.fsencode(name):
                        return account.number, account.group
        raise InputError(
            f"stage a file of {name}",
            f"{show(path)} has no such account",
            "write a number, or stage an account file that has it",
        )

    # Hidden directories.

    def hide(self, directories: Iterable[bytes], shown: Iterable[bytes] = ()) -> None:
        """See nothing of the base below `directories`, but for what is `shown`.

        A directory is shown with all that is in it. Where the base has a link to a directory, that
        one is hidden, too, and there is a directory in both places.
        """
        places = [place for each in directories for place in (each, self.walk(each).real)]
        self.hidden = tuple(dict.fromkeys(place for place in places if place != b"/"))
        for path in shown:
            if self._is_hidden(path):
                self.shown[path] = self.host_path(path)
                self.staging.make_way(path)

    def hides(self, directory: bytes) -> bool:
        """Tell whether nothing that the base has in `directory` is seen."""
        is_hidden = is_under(directory, *self.hidden) and not is_under(directory, *self.shown)
        return is_hidden and directory not in self.staging

    def _is_hidden(self, path: bytes) -> bool:
        """Tell whether what the base has at `path`, if anything, is not seen."""
        return path not in self.hidden and self.hides(path)

    # Where files lie.

    def host_path(self, path: bytes) -> bytes:
        """Return where the image path `path` lies on the host."""
        if staged := self.staging.host_path(path):
            return staged
        return path if self.base == b"/" or self._own_directory(path) else self.base + path

    def image_path(self, host_path: bytes) -> bytes:
        """Return the image path of a staged file; `host_path` itself for any other."""
        return self.staging.image_path(host_path)

    def is_in_project(self, path: bytes) -> bool:
        """Tell whether `path` lies in a directory of the project."""
        return bool(self._own_directory(path))

    def _own_directory(self, path: bytes) -> bytes:
        """Return the directory of the project that `path` lies in; nothing if it does in none."""
        places = (self.own, *self.repositories, *self.staging.sources)
        return next((place for place in places if place and is_under(path, place)), b"")

    def is_made(self, path: bytes) -> bool:
        """Tell whether the build itself makes the file `path` of the project, and it is no input.

        Only the root of a suite knows it.
        """
        return self._made is not None and is_under(path, self.own) and self._made(path)

    # Looks.

    def status(self, path: bytes) -> Status | None:
        """Return what `path` is, its last component not followed; None when it does not exist."""
        if self.hidden and self._is_hidden(path):
            return MADE_UP_DIR if path in self._made_up else None
        place = self.host_path(path)
        while True:
            try:
                found = os.lstat(place)
                is_link = stat.S_ISLNK(found.st_mode)
                if is_link and path in self.hidden:
                    return MADE_UP_DIR
                return self._status(path, found, os.readlink(place) if is_link else b"")
            except (FileNotFoundError, NotADirectoryError):
                return MADE_UP_DIR if path in self._made_up else None
            except OSError as error:
                if error.errno == errno.EINVAL:
                    continue  # Between both calls another file took the place of the link.
                raise _unreadable("look at", path, error) from error

    def _status(self, path: bytes, found: os.stat_result, target: bytes) -> Status:
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), FileKind.OTHER)
        seconds, changed = max(found.st_mtime_ns // 10**9, 0), found.st_ctime_ns
        size, inode = found.st_size, (found.st_dev, found.st_ino)
        if path in self.staging or path in self.staging.sources:
            return self._staged_status(path, kind, found, target)
        mode, uid, gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        if not self._own_directory(path):
            mode, uid, gid = self.owners.true(path, mode, uid, gid)
        size, mtime = size if kind is FileKind.FILE else 0, min(seconds, self.epoch)
        names = found.st_nlink
        return Status(kind, mode, uid, gid, size, mtime, target, inode, names, changed, seconds)

    def _staged_status(
        self, path: bytes, kind: FileKind, found: os.stat_result, target: bytes
    ) -> Status:
        chosen = self.staging.choice(path)
        uid, gid = self._owner(chosen.owner) if chosen.owner else (0, 0)
        inode, names = self.staging.identity(path, found)
        return Status(
            kind,
            chosen.bits(kind, found.st_mode),
            uid,
            gid,
            found.st_size if kind is FileKind.FILE else 0,
            self.epoch,
            target,
            inode,
            names,
            found.st_ctime_ns,
            max(found.st_mtime_ns // 10**9, 0),
        )

    def walk(self, path: bytes, *, follow: bool = True) -> Walk:
        """Look `path` up component by component; see `lookup.walk`."""
        # The base need not have what lies above the project.
        start = b"/" if self.base == b"/" else self._own_directory(path) or b"/"
        return walk(self.status, path, follow=follow, start=start)

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`; none where there is nothing."""
        names = set(self._made_up.get(path, ()))
        if not self.hides(path):
            try:
                names.update(os.listdir(self.host_path(path)))
                names -= {name for name in names if self.is_made(join(path, name))}
            except FileNotFoundError:
                pass
            except OSError as error:
                raise _unreadable("list", path, error) from error
        return sorted(names)

    def open(self, path: bytes) -> io.FileIO:
        """Open the regular file `path` (link-free) for reading; ListError when it cannot be."""
        try:
            descriptor = os.open(self.host_path(path), _READ)
        except OSError as error:
            raise _unreadable("read", path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ListError(
                f"read {show(path)}", "it is not a regular file", "leave it out of the image"
            )
        return io.FileIO(descriptor)

    def magic(self, path: bytes) -> str:
        """Return ``elf``, ``script`` or ``other``: what the kernel takes the file `path` for."""
        with self.open(path) as stream:
            head = stream.read(4)
        if head == b"\x7fELF":
            return "elf"
        return "script" if head[:2] == b"#!" else "other"

    def trusts(self, path: bytes) -> bool:
        """Tell whether the ELF file `path` looks for the certificates that a system trusts.

        A server that only shows a certificate of its own does not, whatever library it has.
        """
        with self.open(path) as stream:
            content = stream.read(4)
            content += stream.read() if content == b"\x7fELF" else b""
        return any(mark in content for mark in _TRUST)

    def capabilities(self, path: bytes) -> str:
        """Return the capabilities of the regular file `path` (link-free), ``cap_net_raw=ep``.

        Nothing where it has none; ListError when it has some that no image can hold.
        """
        kept = "" if self._own_directory(path) else self.owners.capabilities.get(path, "")
        try:
            name = capabilities.ATTRIBUTE
            return kept or capabilities.text(
                os.getxattr(self.host_path(path), name, follow_symlinks=False)
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
            f"set them again by setcap, or leave it out (!{show(path)})",
        )

    def has_access_list(self, path: bytes) -> bool:
        """Tell whether the file or directory `path` (link-free) has an access control list."""
        try:
            return _ACL in os.listxattr(self.host_path(path), follow_symlinks=False)
        except OSError:
            return False  # It is gone, or its file system has none.


def _unreadable(verb: str, path: bytes, error: OSError) -> ListError:
    is_forbidden = error.errno in (errno.EACCES, errno.EPERM)
    hint = "make it readable by the user who runs scons" if is_forbidden else "build again"
    return ListError(f"{verb} {show(path)}", str(error.strerror), f"{hint}, or leave it out")
