"""A root of its own for a process: layers unpacked into a private directory, and the way in.

The process gets its own mount and process namespaces and, for ordinary users, a user namespace in
which they are root; then the directory is its root, and it loses the capabilities by which it
could leave. What a container's runtime puts into every container is there: /proc, the usual
devices, /etc/hosts and its like. The network is the machine's: a server can be reached from
outside.
"""

from __future__ import annotations

import marshal
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from . import layer, process
from .errors import SandboxError
from .paths import join, show
from .unpacking import Unpacking, remove

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
        unpacking = Unpacking(join(directory, b"root"))
        for path in layers:
            with _told(f"layer {show(path)}"), open(path, "rb", buffering=0) as blob:
                unpacking.unpack(layer.decompress(blob, layer.suffix(path)))
        with _told("image"):
            _finish(unpacking, workdir)
        yield Sandbox(unpacking.directory, directory)
    finally:
        remove(directory)


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


def _finish(unpacking: Unpacking, workdir: bytes) -> None:
    """Add what a container's runtime adds, and give the directories their modes."""
    for path, mode in {**_DIRECTORIES, workdir: 0o755}.items():
        if path not in unpacking:
            unpacking.make_directory(path, mode)
    for path, content in _FILES.items():
        if path not in unpacking:
            unpacking.make_file(path, [content])
            os.chmod(unpacking.directory + path, 0o644)
    for path, text in _LINKS.items():
        if path not in unpacking:
            unpacking.make_link(path, text)
    unpacking.finish()
