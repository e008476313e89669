"""Members of tars (hostile), unpacked into a directory that no other process writes to.

The content of the directory is known from the members: no look at the file system can be led
astray, and nothing is ever written through a link.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ..fs import capabilities
from ..fs.paths import PATH_MAX, parents, show
from ..image.tar_header import DIR, END, FILE, HARD, LINK, SPARSE, Header
from ..image.tar_reader import StreamedTar, TarReader
from ..sandbox import process

_DEEPEST = 400
"""Directories in each other."""

_SECONDS = 3600.0
"""For removing a whole system."""


class Unpacking:
    """A new directory, and the members that were unpacked into it."""

    def __init__(self, directory: bytes, *, whole_system: bool = False) -> None:
        """Make `directory`.

        In a `whole_system` devices, FIFOs and sockets are left out, while elsewhere they are an
        error, and the user who unpacks can read and list all of it, whatever its modes.
        """
        self.directory = directory
        self.wanted: dict[bytes, tuple[int, int, int]] = {}
        """Mode, user and group of each path, as the tars say."""
        self.capabilities: dict[bytes, str] = {}
        """File capabilities of each path that has some."""
        self._whole_system = whole_system
        self._own_bits = 0o700 if whole_system else 0
        # Set-id programs of another system are no danger for this machine then.
        self._kept_bits = 0o1777 if whole_system else 0o7777
        self._kinds = {b"/": stat.S_IFDIR}
        self._modes = {b"/": 0o755}
        self._contents: dict[bytes, bytes] = {}
        os.mkdir(directory, 0o700)

    def unpack(self, chunks: Iterator[bytes]) -> None:
        """Unpack all members of the tar whose bytes are `chunks` (hostile).

        ValueError for members that cannot be; OSError for a file that cannot be written.
        """
        source = StreamedTar(chunks)
        for header in (tar := TarReader(source)):
            self._add(header, tar)
        if source.drain() != END:
            raise ValueError("the end of the tar is missing")

    def _add(self, header: Header, tar: TarReader) -> None:
        path, status = _plain(header.name), header.status
        if header.flag == DIR:
            self.make_directory(path, status.mode)
        elif header.flag == LINK:
            self.make_link(path, status.target)
        elif header.flag == HARD:
            self._make_hard_link(path, _plain(status.target))
            return
        elif header.flag == FILE:
            self.make_file(path, tar.content())
        elif self._whole_system and header.flag != SPARSE:
            return
        else:
            raise ValueError(f"{show(path)} is a device, a FIFO or a sparse file")
        self._set_metadata(path, header)

    def __contains__(self, path: bytes) -> bool:
        return path in self._kinds

    def kind(self, path: bytes) -> int:
        """Return the kind of `path`, a member: stat(2)'s S_IFREG, S_IFDIR or S_IFLNK."""
        return self._kinds[path]

    def make_directory(self, path: bytes, mode: int) -> None:
        """Make the directory `path`, or give it another mode; ValueError when it has no place."""
        if self._kinds.get(path) != stat.S_IFDIR:
            self._make_room(path)
            os.mkdir(self.directory + path, 0o700)
            self._kinds[path] = stat.S_IFDIR
        self._modes[path] = stat.S_IMODE(mode)
        self.wanted[path] = (stat.S_IMODE(mode), 0, 0)

    def make_link(self, path: bytes, text: bytes) -> None:
        """Make the symbolic link `path`; ValueError when it has no place."""
        self._make_room(path)
        os.symlink(text, self.directory + path)
        self._kinds[path] = stat.S_IFLNK
        self._contents[path] = text

    def _make_hard_link(self, path: bytes, first: bytes) -> None:
        self._make_room(path)
        if self._kinds.get(first) != stat.S_IFREG:
            raise ValueError(f"{show(path)} is another name of {show(first)}, which is not a file")
        os.link(self.directory + first, self.directory + path, follow_symlinks=False)
        self._kinds[path] = stat.S_IFREG
        self.wanted[path], self._contents[path] = self.wanted[first], self._contents[first]
        if first in self.capabilities:
            self.capabilities[path] = self.capabilities[first]

    def make_file(self, path: bytes, chunks: Iterable[bytes]) -> None:
        """Make the file `path`, private so far; ValueError when it has no place."""
        self._make_room(path)
        hasher = hashlib.sha256()
        with open(self.directory + path, "xb", opener=_private) as sink:
            for chunk in chunks:
                hasher.update(chunk)
                sink.write(chunk)
        self._kinds[path] = stat.S_IFREG
        self._contents[path] = hasher.hexdigest().encode()

    def _make_room(self, path: bytes) -> None:
        """Make the directories above `path`, and remove an earlier member at `path`."""
        for above in parents(path):
            if self._kinds.get(above, stat.S_IFDIR) != stat.S_IFDIR:
                raise ValueError(f"{show(path)} lies below {show(above)}, which is not a directory")
            if above not in self._kinds:
                self.make_directory(above, 0o755)
        if self._kinds.get(path) == stat.S_IFDIR:
            raise ValueError(f"{show(path)} takes the place of a directory")
        self.capabilities.pop(path, None)
        if self._kinds.pop(path, None):
            os.unlink(self.directory + path)

    def _set_metadata(self, path: bytes, header: Header) -> None:
        """Give `path` the member's owner, mode and time; directories get their modes at the end."""
        place, status = self.directory + path, header.status
        self.wanted[path] = (status.mode, status.uid, status.gid)
        if os.geteuid() == 0:
            # Root of a user namespace cannot give files to every owner.
            with suppress(PermissionError):
                os.lchown(place, status.uid, status.gid)
        if header.flag == FILE:
            os.chmod(place, status.mode & self._kept_bits | self._own_bits & 0o600)
            os.utime(place, (header.mtime, header.mtime))
            if header.capabilities:
                # No user of this machine may get them. Nor may the run of a test, which has a
                # container's capabilities: the kernel refuses a program that would get others.
                self.capabilities[path] = capabilities.text(header.capabilities)

    def finish(self) -> None:
        """Give the directories their modes."""
        # The deepest first: a directory may be closed for all but root.
        for path, mode in sorted(self._modes.items(), reverse=True):
            os.chmod(self.directory + path, mode | self._own_bits)

    def listing(self) -> Iterator[bytes]:
        """Yield a line for each path, sorted: kind, mode, owner and content, but no time."""
        for path, kind in sorted(self._kinds.items()):
            words = (kind, *self.wanted.get(path, (0o755, 0, 0)), self._contents.get(path, b""))
            capable = f" + {self.capabilities[path]}" if path in self.capabilities else ""
            yield b"%s\0%o %o %d:%d %s%s\n" % (path, *words, capable.encode())


def remove(directory: bytes) -> None:
    """Remove `directory` with all below, however deep, whatever modes the directories have."""
    for tool in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        process.run([*tool, "--", directory], timeout=_SECONDS).check()


def _plain(name: bytes) -> bytes:
    """Return the image path of the member `name`; ValueError when it leads out, or is too long."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/") or b".." in parts:
        raise ValueError(f"{show(name)} leads out of the root")
    if len(name) > PATH_MAX or len(parts) > _DEEPEST:
        raise ValueError("it has a name that no file can have")
    return b"/" + b"/".join(parts)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
