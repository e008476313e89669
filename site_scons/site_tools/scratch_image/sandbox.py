"""A root of its own for a process: layers unpacked into a private directory, and the way in.

The process gets its own mount and process namespaces and, for ordinary users, a user namespace in
which they are root; then the directory is its root, and it loses the capabilities by which it
could leave. What a container's runtime puts into every container is there: /proc, the usual
devices, /etc/hosts and its like. The network is the machine's: a server can be reached from
outside.
"""

from __future__ import annotations

import io
import marshal
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import layer, process
from .digest import CHUNK
from .errors import SandboxError
from .paths import join, parents, show

if TYPE_CHECKING:
    import tarfile

DEVICES = (b"null", b"zero", b"full", b"random", b"urandom")
"""The machine's devices that there are in /dev."""

_DIRECTORIES = {b"/dev": 0o755, b"/dev/shm": 0o1777, b"/proc": 0o555, b"/sys": 0o555}
_FILES = {
    b"/etc/hosts": b"127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    b"/etc/hostname": b"localhost\n",
    b"/etc/resolv.conf": b"",
    **{b"/dev/" + name: b"" for name in DEVICES},
}
_LINKS = {
    b"/dev/fd": b"/proc/self/fd",
    b"/dev/stdin": b"/proc/self/fd/0",
    b"/dev/stdout": b"/proc/self/fd/1",
    b"/dev/stderr": b"/proc/self/fd/2",
    b"/etc/mtab": b"/proc/mounts",
}

_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 29, 31)
"""What root may inside: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
net_bind_service, net_raw, audit_write and setfcap of capabilities(7).

Docker gives these, and two that lead out of a root that is no more than that: mknod and sys_chroot.
"""

_WRITABLE = (b"/proc/sys", b"/proc/sysrq-trigger")
"""What of /proc root may write to without any capability, to the machine's harm."""

_READ_ONLY = "remount bind ro nosuid nodev noexec"

Step = tuple[str | int, ...]
"""A function of `enter` and its arguments."""

_CHECK_SECONDS = 30.0

_LONGEST = 4096
"""PATH_MAX."""
_DEEPEST = 400
"""Directories in each other."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """An unpacked root."""

    root: bytes
    """Where it lies on the machine, a path without links."""
    plans: bytes
    """A private directory beside it, for what `enter` is to do."""

    def outside(self) -> list[bytes]:
        """Return the words that start a command in new namespaces, still in the machine's root.

        All that the command starts ends with it, what has left its session included.
        SandboxError when a tool is missing.
        """
        return [*_unshare(), *self._enter(b"outside", *_mounts(self.root))]

    def inside(self, environment: Mapping[bytes, bytes], cwd: bytes) -> list[bytes]:
        """Return the words that start a program of the unpacked root, in that root.

        They follow those of `outside`. The program gets `environment` and no more, starts in its
        directory `cwd`, and neither has nor gains the privileges to leave.
        """
        variables = (os.fsdecode(b"%b=%b" % item) for item in sorted(environment.items()))
        return self._enter(
            b"inside",
            ("root", os.fsdecode(self.root), os.fsdecode(cwd)),
            ("keep", *_CAPABILITIES),
            ("environment", *variables),
        )

    def _enter(self, name: bytes, *steps: Step) -> list[bytes]:
        plan = join(self.plans, name)
        with open(plan, "wb") as sink:
            marshal.dump(steps, sink)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "enter.py")
        return [os.fsencode(sys.executable), b"-I", b"-S", os.fsencode(script), plan]


def _mounts(root: bytes) -> Iterator[Step]:
    """Yield what gives `root` the kernel's trees and devices."""
    inside = os.fsdecode(root)
    yield "mount", "/proc", inside + "/proc", "bind"
    for path in map(os.fsdecode, filter(os.path.exists, _WRITABLE)):
        yield "mount", path, inside + path, "bind"
        yield "mount", "", inside + path, _READ_ONLY
    for name in map(os.fsdecode, DEVICES):
        yield "mount", f"/dev/{name}", f"{inside}/dev/{name}", "bind"


def refusal() -> str:
    """Return why this machine gives no process a root of its own, a line for the user; else ""."""
    tried = process.run([*_unshare(), _tool(b"true")], timeout=_CHECK_SECONDS)
    if not (tried.status or tried.overdue):
        return ""
    said = " ".join(tried.stderr.decode("utf-8", "backslashreplace").split()) or tried.end
    return (
        f"cannot give a process a root of its own: {said}; allow user namespaces (sysctl "
        "kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_"
        "userns=0; in Docker give --privileged), or start a Docker engine"
    )


def _unshare() -> list[bytes]:
    user = [] if os.geteuid() == 0 else [b"--user", b"--map-root-user"]
    namespaces = [b"--mount", b"--mount-proc", b"--pid", b"--fork", b"--kill-child"]
    return [_tool(b"unshare"), *user, *namespaces, b"--"]


def _tool(name: bytes) -> bytes:
    path = process.find(name)
    if path is None:
        raise SandboxError(
            f"cannot give a process a root of its own: there is no {show(name)}; "
            "apt-get install util-linux"
        )
    return path


@contextmanager
def unpacked(layers: Iterable[bytes], workdir: bytes = b"/") -> Iterator[Sandbox]:
    """Unpack the layer files `layers` (hostile), the lowest first; remove all of it afterwards.

    The directory `workdir` is made where it is missing, as engines do.
    Times and modes are those of the layers; owners, too, where root unpacks. For other users all
    belongs to them, which is root inside. SandboxError for what is no layer, or holds what an
    image of ours never holds; OSError when it cannot be written. Nothing outside is written to.
    """
    directory = os.path.realpath(os.fsencode(tempfile.mkdtemp(prefix="scratch_image-")))
    try:
        unpacking = _Unpacking(join(directory, b"root"))
        for path in layers:
            with _told(f"layer {show(path)}"):
                _unpack(unpacking, path)
        with _told("image"):
            unpacking.finish(workdir)
        yield Sandbox(unpacking.directory, directory)
    finally:
        _remove(directory)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what is wrong with members of a tar into the line for the user."""
    import tarfile

    try:
        yield
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise SandboxError(
            f"cannot unpack {what}: {error}; build it anew, of files, links and directories only"
        ) from error


def _unpack(unpacking: _Unpacking, path: bytes) -> None:
    import tarfile

    with open(path, "rb", buffering=0) as blob:
        source = _Chunks(layer.decompress(blob, layer.suffix(path)))
        with tarfile.open(
            fileobj=source, mode="r|", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for member in tar:
                unpacking.add(member, tar)


class _Chunks(io.RawIOBase):
    """A file to be read once, of the bytes that an iterator yields."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = filter(None, chunks)

    def read(self, _: int = -1) -> bytes:
        """Return some bytes, as many as come; none at the end."""
        return next(self._chunks, b"")


class _Unpacking:
    """Puts members of layers into a directory that nobody else writes to.

    What is in it is known from what was put there: no look at the file system can be led astray.
    """

    def __init__(self, directory: bytes) -> None:
        self.directory = directory
        self._kinds = {b"/": stat.S_IFDIR}
        self._modes = {b"/": 0o755}
        os.mkdir(directory, 0o700)

    def add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Put `member` of `tar` in its place; ValueError tells why it cannot have one."""
        path = _plain(member.name)
        if member.isdir():
            self._make_directory(path, member.mode)
        elif member.issym():
            self._make_link(path, _encoded(member.linkname))
        elif member.islnk():
            self._make_hard_link(path, _plain(member.linkname))
        elif member.isreg() and not member.issparse():
            content = tar.extractfile(member)
            self._make_file(path, iter(lambda: content.read(CHUNK), b"") if content else ())
        else:
            raise ValueError(f"{show(path)} is a device, a FIFO or a sparse file")
        if not member.islnk():
            _dress(self.directory + path, member)

    def _make_directory(self, path: bytes, mode: int) -> None:
        if self._kinds.get(path) != stat.S_IFDIR:
            self._make_room(path)
            os.mkdir(self.directory + path, 0o700)
            self._kinds[path] = stat.S_IFDIR
        self._modes[path] = stat.S_IMODE(mode)

    def _make_link(self, path: bytes, text: bytes) -> None:
        self._make_room(path)
        os.symlink(text, self.directory + path)
        self._kinds[path] = stat.S_IFLNK

    def _make_hard_link(self, path: bytes, first: bytes) -> None:
        self._make_room(path)
        if self._kinds.get(first) != stat.S_IFREG:
            raise ValueError(f"{show(path)} is another name of {show(first)}, which is no file")
        os.link(self.directory + first, self.directory + path, follow_symlinks=False)
        self._kinds[path] = stat.S_IFREG

    def _make_file(self, path: bytes, chunks: Iterable[bytes]) -> None:
        self._make_room(path)
        with open(self.directory + path, "xb", opener=_private) as sink:
            sink.writelines(chunks)
        self._kinds[path] = stat.S_IFREG

    def _make_room(self, path: bytes) -> None:
        """Make the directories above `path`, and take away what lies there."""
        for above in parents(path):
            if self._kinds.get(above, stat.S_IFDIR) != stat.S_IFDIR:
                raise ValueError(f"{show(path)} lies below {show(above)}, which is no directory")
            if above not in self._kinds:
                self._make_directory(above, 0o755)
        if self._kinds.get(path) == stat.S_IFDIR:
            raise ValueError(f"{show(path)} takes the place of a directory")
        if self._kinds.pop(path, None):
            os.unlink(self.directory + path)

    def finish(self, workdir: bytes) -> None:
        """Add what a container's runtime adds, and give the directories their modes."""
        for path, mode in {**_DIRECTORIES, workdir: 0o755}.items():
            if path not in self._kinds:
                self._make_directory(path, mode)
        for path, content in _FILES.items():
            if path not in self._kinds:
                self._make_file(path, [content])
                os.chmod(self.directory + path, 0o644)
        for path, text in _LINKS.items():
            if path not in self._kinds:
                self._make_link(path, text)
        # The deepest first: a directory may be closed for who is not root.
        for path, mode in sorted(self._modes.items(), reverse=True):
            os.chmod(self.directory + path, mode)


def _dress(path: bytes, member: tarfile.TarInfo) -> None:
    """Give `path` the member's owner, mode and time; directories get their modes at the end."""
    if os.geteuid() == 0:
        # Root of a user namespace has not every owner to give.
        with suppress(PermissionError):
            os.lchown(path, member.uid, member.gid)
    if member.isreg():
        os.chmod(path, stat.S_IMODE(member.mode))
        os.utime(path, (member.mtime, member.mtime))


def _plain(name: str) -> bytes:
    """Return the image path of the member `name`; ValueError when it leads out, or is too long."""
    parts = [part for part in _encoded(name).split(b"/") if part not in (b"", b".")]
    if name.startswith("/") or b".." in parts:
        raise ValueError(f"{show(_encoded(name))} leads out of the root")
    if len(name) > _LONGEST or len(parts) > _DEEPEST:
        raise ValueError("it has a name that no file can have")
    return b"/" + b"/".join(parts)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _remove(directory: bytes) -> None:
    """Remove `directory` with all below, whatever modes the directories in it have."""
    _open_up(directory)
    shutil.rmtree(directory)


def _open_up(directory: bytes) -> None:
    os.chmod(directory, 0o700)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _open_up(entry.path)
