"""A file system to look at: a base directory, and files staged at their image paths.

Looks at it go on no record. A step looks through a `Root`, which records and looks here.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from ..errors import InputError, ListError
from . import capabilities
from .owners import Owners
from .paths import is_under, parents, show
from .status import LATEST, MADE_UP_DIR, FileKind, Status
from .walk import Walk, locate, walk

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
    ) -> None:
        """Take `base`, an absolute directory, and `staged`: image path to host path.

        `own` is a directory of the host that is there by its own path, whatever the base has:
        the project's, whose lists name its files. So are `repositories`, where else these may lie.
        `owners` has what of the base its file system could not keep.
        No file looks newer than `epoch`, in seconds since 1970; a staged one is as old as that.
        InputError when a file cannot be staged at its path.
        """
        self.base = base
        self.owners = owners or Owners()
        self.own = own
        self.repositories = repositories
        self.epoch = epoch
        self.staged: dict[bytes, bytes] = {}
        self.hidden: tuple[bytes, ...] = ()
        self.shown: dict[bytes, bytes] = {}
        self._made_up: dict[bytes, set[bytes]] = {}
        for path, place in (staged or {}).items():
            self._stage(path, place)
        self._images = {place: path for path, place in self.staged.items()}

    @property
    def files(self) -> Self:
        """Itself, as `Root.files`: some functions look through a root, or through this."""
        return self

    # Staged files.

    def _stage(self, path: bytes, host_path: bytes) -> None:
        # A path staged below a link of the base (/bin/hello) lies where the link leads.
        place = locate(self.walk, path)
        if cause := self._obstacle(place):
            raise InputError(f"stage {show(path)}", cause, "stage it elsewhere")
        self.staged[place] = host_path
        self._make_way(place)

    def _make_way(self, place: bytes) -> None:
        """Have the directories above `place`, whatever the base has."""
        for above, below in zip(parents(place), [*parents(place)[1:], place], strict=True):
            self._made_up.setdefault(above, set()).add(os.path.basename(below))

    def _obstacle(self, place: bytes) -> str:
        """Return why no file can be staged at `place`; nothing when one can."""
        for above in parents(place):
            status = self.status(above)
            if status is not None and status.kind is not FileKind.DIR:
                return f"{show(above)} is no directory"
        if place in self.staged:
            return f"another file is staged at {show(place)}"
        status = self.walk(place).status
        return "there is a directory" if status and status.kind is FileKind.DIR else ""

    def require_staged(self) -> None:
        """Raise InputError when a staged file is none, or is a link that leads nowhere."""
        for path, place in self.staged.items():
            if fault := self._fault_of_staged(path, place):
                cause, hint = fault
                raise InputError(f"stage {show(path)}", cause, hint)

    def _fault_of_staged(self, path: bytes, place: bytes) -> tuple[str, str] | None:
        """Return what is wrong with the file staged at `path`, and a hint; None for a sound one."""
        if os.path.islink(place):
            if self.walk(path).status is None:
                target = show(os.readlink(place))
                return f"it is a link to {target}, which is not there", "stage that, too"
        elif os.path.isdir(place):
            return f"{show(place)} is a directory", "stage its files"
        elif not os.path.exists(place):
            return f"{show(place)} does not exist", "build it, or name another file"
        return None

    # Hidden directories.

    def hide(self, directories: Iterable[bytes], shown: Iterable[bytes] = ()) -> None:
        """See nothing of the base below `directories`, but for the files `shown`.

        Where the base has a link to a directory, that one is hidden, too, and there is a directory
        in both places.
        """
        places = [place for each in directories for place in (each, self.walk(each).real)]
        self.hidden = tuple(dict.fromkeys(place for place in places if place != b"/"))
        for path in shown:
            if self._is_hidden(path):
                self.shown[path] = self.host_path(path)
                self._make_way(path)

    def hides(self, directory: bytes) -> bool:
        """Tell whether nothing that the base has in `directory` is seen."""
        return is_under(directory, *self.hidden)

    def _is_hidden(self, path: bytes) -> bool:
        """Tell whether what the base has at `path`, if anything, is not seen."""
        is_seen = path in self.hidden or path in self.staged or path in self.shown
        return not is_seen and self.hides(path)

    # Where files lie.

    def host_path(self, path: bytes) -> bytes:
        """Return where the image path `path` lies on the host."""
        if path in self.staged:
            return self.staged[path]
        return path if self.base == b"/" or self._own_directory(path) else self.base + path

    def image_path(self, host_path: bytes) -> bytes:
        """Return the image path of a staged file; `host_path` itself for any other."""
        return self._images.get(host_path, host_path)

    def _own_directory(self, path: bytes) -> bytes:
        """Return the directory of the project that `path` lies in; nothing if it does in none."""
        places = (self.own, *self.repositories)
        return next((place for place in places if place and is_under(path, place)), b"")

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
        if path in self.staged:
            # Owner, umask and time of the user who ran the build are not the project's doing.
            mode = 0o755 if found.st_mode & 0o111 else 0o644
            return Status(kind, mode, 0, 0, size, self.epoch, target, inode, 1, changed, seconds)
        mode, uid, gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
        if not self._own_directory(path):
            mode, uid, gid = self.owners.true(path, mode, uid, gid)
        size, mtime = size if kind is FileKind.FILE else 0, min(seconds, self.epoch)
        names = found.st_nlink
        return Status(kind, mode, uid, gid, size, mtime, target, inode, names, changed, seconds)

    def walk(self, path: bytes, *, follow: bool = True) -> Walk:
        """Look `path` up component by component; see `walk.walk`."""
        # The base need not have what lies above the project.
        start = b"/" if self.base == b"/" else self._own_directory(path) or b"/"
        return walk(self.status, path, follow=follow, start=start)

    def listing(self, path: bytes) -> list[bytes]:
        """Return the sorted names in the directory `path`; none where there is nothing."""
        names = set(self._made_up.get(path, ()))
        if not self.hides(path):
            try:
                names.update(os.listdir(self.host_path(path)))
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
