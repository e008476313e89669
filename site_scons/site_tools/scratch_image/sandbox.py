"""A root of its own for a process: layers unpacked into a private directory, and the way in.

The process gets its own mount and process namespaces and, for ordinary users, a user namespace in
which they are root; then the directory is its root. What a container's runtime puts into every
container is there: /proc, the usual devices, /etc/hosts and its like. The network is the
machine's: a server can be reached from outside.

The tools are util-linux's and the shell: a new root has to be made by the process itself, and a
thread of SCons cannot do that between fork and exec.
"""

from __future__ import annotations

import os
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

_SETUP = b"""\
set -e
root=$1 mount=$2
shift 2
"$mount" --bind /proc "$root/proc"
for name in %b; do "$mount" --bind "/dev/$name" "$root/dev/$name"; done
exec "$@"
""" % b" ".join(DEVICES)

_CHECK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """An unpacked root."""

    root: bytes
    """Where it lies on the machine, a path without links."""

    def outside(self) -> list[bytes]:
        """Return the words that start a command in new namespaces, still in the machine's root.

        All that the command starts ends with it, what has left its session included.
        SandboxError when a tool is missing.
        """
        return [*_unshare(), _tool(b"sh"), b"-c", _SETUP, b"sh", self.root, _tool(b"mount")]

    def inside(self, environment: Mapping[bytes, bytes], cwd: bytes) -> list[bytes]:
        """Return the words that start a program of the unpacked root, in that root.

        They follow those of `outside`. The program gets `environment` and no more, starts in its
        directory `cwd`, and gains no privileges by what it executes.
        """
        variables = [b"%b=%b" % item for item in sorted(environment.items())]
        privileges = [_tool(b"setpriv"), b"--no-new-privs"]
        enter = [_tool(b"unshare"), b"--root=" + self.root, b"--wd=" + cwd, b"--"]
        return [_tool(b"env"), b"-i", *variables, *privileges, *enter]


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
            "apt-get install util-linux mount"
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
        yield Sandbox(unpacking.directory)
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
