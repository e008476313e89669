"""The root file system of an image, read from its layers; whether a container can start in it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from ..errors import InputError
from ..fs.lookup import MADE_UP_DIR, FileKind, Status, Walk, walk
from ..fs.paths import parents, show
from .settings import Settings
from .tar_header import HARD
from .tar_reader import StreamedTar, TarReader

_NOTHING = Status(FileKind.OTHER, 0, 0, 0)
"""Stands for a hard link to no path."""

USERS, GROUPS = b"/etc/passwd", b"/etc/group"
_ACCOUNTS = (USERS, GROUPS)

_MAX_ACCOUNTS = 4 << 20
"""Bytes that are read of an account file."""

_MAX_PATHS = 1 << 22
"""Paths that are kept of an image; those of the largest known are a million."""


class Contents:
    """The paths of an image, read layer by layer. Nothing of it lies on a disk."""

    def __init__(self) -> None:
        """Begin with an image that has no layers."""
        self._found: dict[bytes, Status] = {}
        self._implied = {b"/"}
        self._accounts: dict[bytes, bytes] = {}

    def add(self, chunks: Iterator[bytes]) -> None:
        """Add what the tar whose bytes are `chunks` (hostile) holds above what is there.

        All of `chunks` is read. ValueError, with the cause as its text, when it is not a tar.
        """
        source = StreamedTar(chunks)
        try:
            for header in (tar := TarReader(source)):
                if account := self._add(header.name, header.flag, header.status):
                    self._accounts[account] = tar.read(_MAX_ACCOUNTS)
        finally:
            source.drain()

    def _add(self, name: bytes, flag: bytes, status: Status) -> bytes:
        """Add a member; return its path when it is an account file, whose content matters."""
        path = _image_path(name)
        if flag == HARD:
            status = self._found.get(_image_path(status.target)) or _NOTHING
        if len(self._found) == _MAX_PATHS:
            raise ValueError(f"it has more than {_MAX_PATHS} members")
        self._found[path] = status
        if path.rpartition(b"/")[0] not in self._found:
            self._implied.update(parents(path))
        is_account = path in _ACCOUNTS and status.kind is FileKind.FILE and flag != HARD
        return path if is_account else b""

    def status(self, path: bytes) -> Status | None:
        """Return what `path` is; directories need not be members."""
        return self._found.get(path) or (MADE_UP_DIR if path in self._implied else None)

    def walk(self, path: bytes, *, follow: bool = True) -> Walk:
        """Look `path` up component by component; see `lookup.walk`."""
        return walk(self.status, path, follow=follow)

    def require(self, settings: Settings) -> None:
        """Raise InputError when a container with these settings could not start."""
        for variable, name in settings.programs.items():
            cause = self._unstartable(name, settings)
            if cause:
                raise InputError(
                    f"start {name!r} of {variable}", cause, "add it, or name another one"
                )
        for path in filter(None, (settings.workdir, *settings.volumes)):
            status = self.walk(_encode(path)).status
            if status is not None and status.kind is not FileKind.DIR:
                raise InputError(
                    f"use {path!r} of the image as a directory",
                    "it is a file there",
                    "name another one",
                )
        self._require_user(settings.document().get("User", ""))

    def _unstartable(self, name: str, settings: Settings) -> str:
        """Return why the program `name` cannot be started, if it cannot."""
        if not any(self.walk(place).status for place in settings.places(name)):
            return "the image does not have it" + ("" if "/" in name else " on its PATH")
        return "" if self.program(name, settings) else "it is not an executable file"

    def program(self, name: str, settings: Settings) -> bytes:
        """Return the path of the program that a container with these settings starts as `name`.

        Nothing when there is none that somebody may execute.
        """
        for place in settings.places(name):
            status = self.walk(place).status
            if status is not None and status.kind is FileKind.FILE and status.mode & 0o111:
                return place
        return b""

    def accounts(self, path: bytes) -> list[list[bytes]]:
        """Return the fields of each sound line of the account file `path`; the third is a number.

        There are four fields at least, as many as a group has.
        """
        rows = [line.split(b":") for line in self._accounts.get(path, b"").splitlines()]
        return [row for row in rows if len(row) >= 4 and row[2].isdigit()]

    def _require_user(self, user: str) -> None:
        # Engines look for neither in account files when they are numbers.
        for path, name in zip(_ACCOUNTS, user.split(":"), strict=False):
            lines = self._accounts.get(path, b"").splitlines()
            known = {line.split(b":")[0] for line in lines}
            if not name.isdigit() and name and name.encode() not in known:
                raise InputError(
                    f"run the image as {name!r}",
                    f"its {show(path)} has no such one",
                    "write a number, or add it there",
                )


def _image_path(name: bytes) -> bytes:
    path = b"/" + name.strip(b"/")
    return posixpath.normpath(path) if b"//" in path or b"/." in path else path


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
