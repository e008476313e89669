"""What an image holds, as its layers tell: a root that is asked whether a container can start."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import InputError
from .layer import DIR, FILE, LINK, Chunks
from .paths import parents, show
from .root import Kind, Root, Status
from .settings import Settings

if TYPE_CHECKING:
    import tarfile

_KINDS = {FILE: Kind.FILE, b"\0": Kind.FILE, DIR: Kind.DIR, LINK: Kind.LINK}
"""By type flag; the NUL is that of old tars."""

_DIR = Status(Kind.DIR, 0o755, 0, 0)

_ACCOUNTS = (b"/etc/passwd", b"/etc/group")

_MAX_ACCOUNTS = 4 << 20
"""Bytes that are read of an account file."""

_MAX_PATHS = 1 << 22
"""Paths that are kept of an image; those of the largest known are a million."""


class Contents(Root):
    """The paths of an image. Nothing of it lies anywhere: it is read, layer by layer."""

    def __init__(self) -> None:
        """Begin with an image that has no layers."""
        super().__init__()
        self.twice: list[bytes] = []
        """Paths that came more than once, but for a directory that several layers have alike."""
        self._own: set[bytes] = set()
        self._found: dict[bytes, Status] = {}
        self._implied = {b"/"}
        self._accounts: dict[bytes, bytes] = {}

    def add(self, chunks: Iterator[bytes]) -> None:
        """Add what the tar whose bytes are `chunks` (hostile) holds above what is there.

        All of `chunks` is read. ValueError, with the cause as its text, when it is no tar.
        """
        import tarfile

        source = Chunks(chunks)
        self._own = set()
        try:
            with tarfile.open(
                fileobj=source, mode="r|", encoding="utf-8", errors="surrogateescape"
            ) as tar:
                for member in tar:
                    self._add(member, tar)
        except (tarfile.TarError, OverflowError) as error:
            raise ValueError(f"it is not a whole tar ({error})") from error
        finally:
            source.drain()

    def _add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        path, status = _image_path(member.name), self._status(member)
        alike = member.isdir() and self._found.get(path) == status and path not in self._own
        if path in self._found and not alike:
            self.twice.append(path)
        if len(self._found) == _MAX_PATHS:
            raise ValueError(f"it has more than {_MAX_PATHS} members")
        self._own.add(path)
        self._found[path] = status
        if posixpath.dirname(path) not in self._found:
            self._implied.update(parents(path))
        if path in _ACCOUNTS and member.isreg() and (content := tar.extractfile(member)):
            self._accounts[path] = content.read(_MAX_ACCOUNTS)

    def _status(self, member: tarfile.TarInfo) -> Status:
        if member.islnk():
            first = self._found.get(_image_path(member.linkname))
            return first or Status(Kind.OTHER, 0, 0, 0)
        kind = _KINDS.get(member.type, Kind.OTHER)
        target = _encoded(member.linkname)
        return Status(kind, member.mode & 0o7777, member.uid, member.gid, target=target)

    def peek(self, path: bytes) -> Status | None:
        """Return what `path` is; directories need not be members."""
        return self._found.get(path) or (_DIR if path in self._implied else None)

    def require(self, settings: Settings) -> None:
        """Raise InputError when a container with these settings could not start."""
        for variable, name in settings.programs.items():
            cause = self._unstartable(name, settings)
            if cause:
                raise InputError(
                    f"cannot start {name!r} of {variable}: {cause}; add it, or name another one"
                )
        for path in filter(None, (settings.workdir, *settings.volumes)):
            status = self.walk(_encoded(path)).status
            if status is not None and status.kind is not Kind.DIR:
                raise InputError(
                    f"cannot use {path!r} of the image as a directory: it is a file there; "
                    "name another one"
                )
        self._require_user(settings.document().get("User", ""))

    def _unstartable(self, name: str, settings: Settings) -> str:
        """Return why the program `name` cannot be started, if it cannot."""
        if "/" in name:
            places = [posixpath.join("/", settings.workdir, name)]
        else:
            directories = settings.env.get("PATH", "").split(":")
            places = [posixpath.join(each, name) for each in directories if each]
        statuses = [self.walk(_encoded(place)).status for place in places]
        if not any(statuses):
            return "the image does not have it" + ("" if "/" in name else " on its PATH")
        if not any(each and each.kind is Kind.FILE and each.mode & 0o111 for each in statuses):
            return "it is not an executable file"
        return ""

    def _require_user(self, user: str) -> None:
        # Engines look for neither in account files when they are numbers.
        for path, name in zip(_ACCOUNTS, user.split(":"), strict=False):
            lines = self._accounts.get(path, b"").splitlines()
            known = {line.split(b":")[0] for line in lines}
            if not name.isdigit() and name and name.encode() not in known:
                raise InputError(
                    f"cannot run the image as {name!r}: its {show(path)} has no such one; "
                    "write a number, or add it there"
                )


def _image_path(name: str) -> bytes:
    return posixpath.normpath(b"/" + _encoded(name).lstrip(b"/"))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
