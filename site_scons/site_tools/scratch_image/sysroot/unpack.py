"""Members of tars, put into a directory that nobody else writes to.

What is in the directory is known from what was put there: no look at the file system can be led
astray, and nothing is ever written through a link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from ..errors import SandboxError
from ..fs import capabilities
from ..fs.paths import PATH_MAX, is_under, join, parents, show
from ..image.compression import decompress, suffix_of
from ..image.tar_header import DIR, END, FILE, HARD, LINK, SPARSE, Header
from ..image.tar_reader import StreamedTar, TarReader
from ..sandbox import process
from ..sandbox.mounts import DEVICE_LINKS, DEVICES, TERMINALS, kernel_mounts, memory_overlay
from ..sandbox.namespaces import Emulator, Sandbox
from ..sandbox.run import Run

_DIRECTORIES = {
    b"/dev": 0o755, b"/dev/shm": 0o1777, TERMINALS: 0o755, b"/proc": 0o555, b"/sys": 0o555,
}  # fmt: skip
_FILES = {
    b"/etc/hosts": b"127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    b"/etc/hostname": b"localhost\n",
    b"/etc/resolv.conf": b"",
    **{b"/dev/" + name: b"" for name in DEVICES},
}
_LINKS = {**DEVICE_LINKS, b"/etc/mtab": b"/proc/mounts"}
"""What a container's runtime puts into every container."""

_DEEPEST = 400
"""Directories in each other."""

_SECONDS = 3600.0
"""For removing a whole system."""


class Unpacking:
    """A new directory, and what was put into it."""

    def __init__(self, directory: bytes, *, whole_system: bool = False) -> None:
        """Make `directory`.

        In a `whole_system` devices, FIFOs and sockets are left out, where else they are an error,
        and who unpacks can read and list all of it, whatever its modes.
        """
        self.directory = directory
        self.wanted: dict[bytes, tuple[int, int, int]] = {}
        """Mode, user and group of each path, as the tars say."""
        self.capabilities: dict[bytes, str] = {}
        """File capabilities of each path that has some."""
        self._whole_system = whole_system
        self._own_bits = 0o700 if whole_system else 0
        # What is set-id in a system is not for everybody on this machine.
        self._kept_bits = 0o1777 if whole_system else 0o7777
        self._kinds = {b"/": stat.S_IFDIR}
        self._modes = {b"/": 0o755}
        self._contents: dict[bytes, bytes] = {}
        os.mkdir(directory, 0o700)

    def unpack(self, chunks: Iterator[bytes]) -> None:
        """Put all members of the tar whose bytes are `chunks` (hostile) in their places.

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
        self._dress(path, header)

    def __contains__(self, path: bytes) -> bool:
        return path in self._kinds

    def kind(self, path: bytes) -> int:
        """Return what was put at `path`: stat(2)'s S_IFREG, S_IFDIR or S_IFLNK."""
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
            raise ValueError(f"{show(path)} is another name of {show(first)}, which is no file")
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
        """Make the directories above `path`, and take away what lies there."""
        for above in parents(path):
            if self._kinds.get(above, stat.S_IFDIR) != stat.S_IFDIR:
                raise ValueError(f"{show(path)} lies below {show(above)}, which is no directory")
            if above not in self._kinds:
                self.make_directory(above, 0o755)
        if self._kinds.get(path) == stat.S_IFDIR:
            raise ValueError(f"{show(path)} takes the place of a directory")
        self.capabilities.pop(path, None)
        if self._kinds.pop(path, None):
            os.unlink(self.directory + path)

    def _dress(self, path: bytes, header: Header) -> None:
        """Give `path` the member's owner, mode and time; directories get their modes at the end."""
        place, status = self.directory + path, header.status
        self.wanted[path] = (status.mode, status.uid, status.gid)
        if os.geteuid() == 0:
            # Root of a user namespace has not every owner to give.
            with suppress(PermissionError):
                os.lchown(place, status.uid, status.gid)
        if header.flag == FILE:
            os.chmod(place, status.mode & self._kept_bits | self._own_bits & 0o600)
            os.utime(place, (header.mtime, header.mtime))
            if header.capabilities:
                # Nobody on this machine is to get them, nor the run of a test, which has what a
                # container has: the kernel starts no program whose capabilities are not all there.
                self.capabilities[path] = capabilities.text(header.capabilities)

    def finish(self) -> None:
        """Give the directories their modes."""
        # The deepest first: a directory may be closed for who is not root.
        for path, mode in sorted(self._modes.items(), reverse=True):
            os.chmod(self.directory + path, mode | self._own_bits)

    def listing(self) -> Iterator[bytes]:
        """Yield a line for each path, sorted: all that was put there but times."""
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


# The layers of an image.

_ALONE = Run("", ())


@contextmanager
def unpacked(
    layers: Iterable[bytes], run: Run = _ALONE, emulator: Emulator | None = None
) -> Iterator[Sandbox]:
    """Unpack the layer files `layers` (hostile), the lowest first; remove all of it afterwards.

    The directory where `run` starts is made where it is missing, as engines do. What `run` writes
    goes to memory: the directory stays as it was unpacked.
    Times and modes are those of the layers; owners, too, where root unpacks. For other users all
    belongs to them, which is root inside. SandboxError for what is no layer, or holds what an
    image of ours never holds; OSError when it cannot be written. Nothing outside is written to.
    """
    directory = os.path.realpath(os.fsencode(tempfile.mkdtemp(prefix="scratch_image-")))
    try:
        unpacking = Unpacking(join(directory, b"root"))
        for path in layers:
            with _told(f"layer {show(path)}"), open(path, "rb", buffering=0) as blob:
                unpacking.unpack(decompress(blob, suffix_of(path)))
        with _told("image"):
            _finish(unpacking, run.cwd)
        top, memory = unpacking.directory, join(directory, b"memory")
        os.mkdir(memory)
        plan = (*memory_overlay(top, memory, run.limits.space), *kernel_mounts(top))
        yield Sandbox(top, plan, directory, run.network, emulator)
    finally:
        remove(directory)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what is wrong with members of a tar into the line for the user."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = os.path.abspath(tempfile.gettempdir())
        raise SandboxError(
            f"unpack {what} below {place}",
            str(error.strerror),
            "free some space there, or let TMPDIR name another directory",
        ) from error
    except (ValueError, OverflowError) as error:
        raise SandboxError(
            f"unpack {what}", str(error), "build it anew, of files, links and directories only"
        ) from error


def _finish(unpacking: Unpacking, workdir: bytes) -> None:
    """Add what a container's runtime adds, and give the directories their modes."""
    for path, mode in {**_DIRECTORIES, workdir: 0o755}.items():
        if path not in unpacking:
            unpacking.make_directory(path, mode)
        elif path in _DIRECTORIES and unpacking.kind(path) != stat.S_IFDIR:
            raise ValueError(f"{show(path)} is no directory")
    for path, content in _FILES.items():
        if path not in unpacking:
            unpacking.make_file(path, [content])
            os.chmod(unpacking.directory + path, 0o644)
        elif is_under(path, b"/dev") and unpacking.kind(path) != stat.S_IFREG:
            raise ValueError(f"{show(path)} is no file")
    for path, text in _LINKS.items():
        if path not in unpacking:
            unpacking.make_link(path, text)
    unpacking.finish()
