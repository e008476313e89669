"""A root of its own for a process: a private view of a root, or a directory; and the way in.

The process gets namespaces of its own for mounts, processes, System V objects and, unless its run
asks for the machine's, the network, of which it has the loopback device. Who may not make these
gets a user namespace, too, in which they are root. Then the new root is the process's root, and it
loses the capabilities by which it could leave.

A private view is made of overlays, whose upper layers are in memory: namespaces(7),
https://docs.kernel.org/filesystems/overlayfs.html.
"""

from __future__ import annotations

import errno
import marshal
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import SandboxError
from ..fs.paths import is_under, join, parents, show, unescape
from ..fs.root import Root
from ..fs.status import FileKind
from . import process
from .run import Run

DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
"""The machine's devices that there are in /dev."""

TERMINALS = b"/dev/pts"
"""Where a root has pseudo-terminals of its own: pts(4)."""

DEVICE_LINKS = {
    b"/dev/ptmx": b"pts/ptmx",
    b"/dev/fd": b"/proc/self/fd",
    b"/dev/stdin": b"/proc/self/fd/0",
    b"/dev/stdout": b"/proc/self/fd/1",
    b"/dev/stderr": b"/proc/self/fd/2",
}

HIDDEN = {b"/home": 0o755, b"/root": 0o700, b"/tmp": 0o1777}
"""Directories of which a view has nothing of its base, with their modes: people's, where secrets
lie, and what changes while a run runs."""

_OWN = {b"/dev": 0o755, b"/dev/shm": 0o1777, b"/proc": 0o555, b"/sys": 0o555, **HIDDEN}
"""These, and the kernel's."""

_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 29, 31)
"""What root may inside: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
net_bind_service, net_raw, audit_write and setfcap of capabilities(7).

Docker gives these, and two that lead out of a root that is no more than that: mknod and sys_chroot.
"""

_NAMESPACES = (8, 12, 18, 21)
"""What it takes without a namespace for users to make the others and a root, and to give
capabilities up: setpcap, net_admin, sys_chroot and sys_admin."""

_NO_OTHERS = 0xFFFFFFFF
"""A number that no call has: all are of one kind."""

_CALLS = {
    0xC000003E: (0x40000000, 248, 249, 250, 425, 317, 302, 41),  # x86_64, without x32
    0x40000003: (_NO_OTHERS, 286, 287, 288, 425, 354, 340, 359),  # i386
    0xC00000B7: (_NO_OTHERS, 217, 218, 219, 425, 277, 261, 198),  # aarch64
    0x40000028: (_NO_OTHERS, 309, 310, 311, 425, 383, 369, 281),  # arm
}
"""By AUDIT_ARCH_*: from which number on calls are of another kind, and the numbers of add_key,
request_key, keyctl, io_uring_setup, seccomp, prlimit64 and socket."""


def refused() -> Iterator[tuple[int, int, tuple[tuple[int, ...], ...]]]:
    """Yield what no run may do, as `enter` takes it.

    The kernel's keys and AF_VSOCK, the host's sockets on a virtual machine, have no namespace. What
    io_uring does, and what a program lets another one of its own decide, strace does not see; and
    strace, which is process 1 there, must not be limited in what it writes.
    """
    from . import init

    for architecture, (foreign, *keys, ring, seccomp, prlimit, socket) in _CALLS.items():
        rules = (
            *((number, errno.EPERM) for number in keys),
            (ring, errno.ENOSYS),
            (seccomp, errno.EINVAL, 1, init.ANY, 8),  # SECCOMP_FILTER_FLAG_NEW_LISTENER
            (prlimit, errno.EPERM, 0, init.EQUAL, 1),
            (socket, errno.EAFNOSUPPORT, 0, init.EQUAL, 40),  # AF_VSOCK
        )
        yield architecture, foreign, rules


_CHECK_SECONDS = 30.0

Step = tuple[Any, ...]
"""A function of `enter` and its arguments."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """What runs programs for another machine."""

    path: bytes
    """A static program."""
    head: bytes
    """The first 20 bytes of an ELF file for that machine: elf(5)."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A root of its own, and the way in."""

    root: bytes
    """Where it lies, a path without links: on the machine, or in the new namespaces only."""
    plan: tuple[Step, ...]
    """What makes it, in new namespaces."""
    directory: bytes
    """A private directory, for what `enter` is to do, and for what is told of it."""
    network: str = "loopback"
    """Whose network it has: ``loopback``, which is its own, or the ``host``'s."""
    emulator: Emulator | None = None
    """What runs the programs of the root, if they are for another machine."""

    def outside(self, stdin: bytes | None = None) -> list[bytes]:
        """Return the words that start a command in new namespaces, still in the machine's root.

        Standard input is the file `stdin`, or nothing; it can only be read. All that the command
        starts ends with it, what has left its session included. SandboxError when a tool is
        missing.
        """
        start: list[Step] = [("processes",), *([("loopback",)] if self._has_own_network else [])]
        if self.emulator:
            # Older kernels have one registry for all; what is in that may do as well.
            registry = _text(join(self.directory, b"registry"))
            words = registry, _text(self.emulator.path), self.emulator.head.hex()
            start.append(("attempt", "emulate", *words))
        return [*self._namespaces(), *self._enter(*start, *self._reading(stdin), *self.plan)]

    def inside(self, environment: Mapping[bytes, bytes], cwd: bytes) -> list[bytes]:
        """Return the words that start a program of that root, in that root.

        They follow those of `outside` or `beside`. The program gets `environment` and no more,
        starts in its directory `cwd`, and neither has nor gains the privileges to leave.
        """
        variables = (_text(b"%b=%b" % item) for item in sorted(environment.items()))
        return self._enter(
            ("root", _text(self.root), _text(cwd)),
            ("keep", *_CAPABILITIES),
            ("refuse", *refused()),
            ("environment", *variables),
        )

    def beside(self, pid: int, stdin: bytes | None = None) -> list[bytes]:
        """Return the words that start a command in the namespaces of the process `pid`.

        That is one which the words of `outside` started. The command is in the machine's root, and
        reads the file `stdin`, or nothing.
        """
        users = ["user"] if _has_users(self.emulator) else []
        network = ["net"] if self._has_own_network else []
        into: Step = ("join", str(pid), *users, "mnt", "ipc", "pid", *network)
        return self._enter(into, *self._reading(stdin))

    @property
    def stdin(self) -> bytes:
        """Where standard input is mounted."""
        return join(self.directory, b"stdin")

    def _reading(self, stdin: bytes | None) -> list[Step]:
        # An open file leads to where it was opened: by a read-only mount nothing of it is changed.
        place = _text(self.stdin)
        return [("file", place), ("frozen", _text(stdin or b"/dev/null"), place), ("read", place)]

    @property
    def _has_own_network(self) -> bool:
        return self.network == "loopback"

    def _namespaces(self) -> list[bytes]:
        user = [b"--user", b"--map-root-user"] if _has_users(self.emulator) else []
        network = [b"--net"] if self._has_own_network else []
        return _unshare(*user, *network, b"--mount", b"--ipc", b"--pid")

    def _enter(self, *steps: Step) -> list[bytes]:
        handle, plan = tempfile.mkstemp(dir=self.directory)
        with open(handle, "wb") as sink:
            marshal.dump(steps, sink)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "init.py")
        return [os.fsencode(sys.executable), b"-I", b"-S", os.fsencode(script), plan]


_text = os.fsdecode


def refusal() -> str:
    """Return why this machine gives no process a root of its own, and what to allow; else ""."""
    with tempfile.TemporaryDirectory(prefix="scratch_image-") as place:
        directory = os.fsencode(place)
        steps: list[Step] = [
            ("mount", "tmpfs", place, "tmpfs", "", ""),
            *(("directory", f"{place}/{name}", 0o755, 0, 0) for name in ("a", "b", "c", "d")),
            _overlay(*(directory + name for name in (b"/a", b"/b", b"/c", b"/d"))),
            ("freeze", f"{place}/a"),
        ]
        sandbox = Sandbox(directory, tuple(steps), directory)
        tried = process.run([*sandbox.outside(), _tool(b"true")], timeout=_CHECK_SECONDS)
    if not (tried.status or tried.overdue):
        return ""
    said = " ".join(tried.stderr.decode("utf-8", "backslashreplace").split()) or tried.end
    return (
        f"cannot give a process a root of its own: {said}; allow user namespaces (sysctl "
        "kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_"
        "userns=0; in Docker give --privileged or --security-opt seccomp=unconfined), on Linux "
        "5.12 or newer"
    )


def apart() -> list[bytes]:
    """Return words that start a command whose processes and mounts end with it.

    Who may not make these namespaces gets none.
    """
    return [] if _needs_user_namespace() else _unshare(b"--mount", b"--pid")


def _unshare(*namespaces: bytes) -> list[bytes]:
    """Return words that start a command in new `namespaces`: all in them end with who builds."""
    bound = [_tool(b"setpriv"), b"--pdeathsig", b"KILL", b"--"]
    return [*bound, _tool(b"unshare"), *namespaces, b"--fork", b"--kill-child", b"--"]


def _has_users(emulator: Emulator | None) -> bool:
    """Tell whether there is a new namespace for users, too: each may have emulators of its own."""
    return emulator is not None or _needs_user_namespace()


def _needs_user_namespace() -> bool:
    """Tell whether who builds may make other namespaces only in one of these."""
    with open("/proc/self/status", "rb") as stream:
        found = re.search(rb"^CapEff:\t([0-9a-f]+)$", stream.read(), re.MULTILINE)
    has = int(found[1], 16) if found else 0
    return not all(has >> capability & 1 for capability in _NAMESPACES)


def _tool(name: bytes) -> bytes:
    path = process.find(name)
    if path is None:
        raise SandboxError(
            "give a process a root of its own",
            f"there is no {show(name)}",
            "apt-get install util-linux",
        )
    return path


def runtime(root: bytes) -> Iterator[Step]:
    """Yield what mounts the kernel's trees and devices in `root`, where their places are."""
    yield "mount", "/proc", _text(root + b"/proc"), "", "bind rec", ""
    for path in _of_the_machine():
        yield "frozen", _text(path), _text(root + path)
    for name in DEVICES:
        # Read-only, it can be written to, but keeps mode and owner.
        path = b"/dev/" + name
        yield "frozen", _text(path), _text(root + path)
    options = "newinstance,ptmxmode=0666,mode=0620"
    yield "mount", "devpts", _text(root + TERMINALS), "devpts", "nosuid noexec", options


def _of_the_machine() -> Iterator[bytes]:
    """Yield what of /proc is no process's: its content, mode and owner are the machine's.

    Root needs no capability to change most of it. Engines have a list, to which kernels add.
    """
    for name in sorted(os.listdir(b"/proc")):
        path = b"/proc/" + name
        if not name.isdigit() and not os.path.islink(path):
            yield path


def overlaid(root: Root, directory: bytes, run: Run, emulator: Emulator | None = None) -> Sandbox:
    """Return a private view of `root` for `run`: it writes to memory, which is thrown away.

    `root` hides the directories `HIDDEN`. Mounts of the machine are there as its directories are.
    `directory` is a private one, without links in its path.
    """
    # What is mounted here is seen in the new namespaces only.
    place = join(directory, b"mount")
    os.mkdir(place)
    mounts = _mounts() if root.files.base == b"/" else ()
    view = _View(
        place, root, mounts, run.limits.space, writes=run.cwd, goes_around=_has_users(emulator)
    )
    return Sandbox(join(place, b"root"), tuple(view.steps()), directory, run.network, emulator)


def _is_own(path: bytes) -> bool:
    return any(is_under(path, own) for own in _OWN)


def _mounts() -> list[bytes]:
    """Return where file systems are mounted on this machine: proc_pid_mountinfo(5)."""
    with open("/proc/self/mountinfo", "rb") as stream:
        return sorted({unescape(line.split(b" ")[4]) for line in stream})


_TEMPORARY = b"/var/tmp"
"""Where everybody may write, below a directory of root."""


class _View:
    """Plans overlays that together are a base, and what else belongs to a root."""

    def __init__(
        self,
        place: bytes,
        root: Root,
        mounts: Sequence[bytes],
        space: int,
        *,
        writes: bytes,
        goes_around: bool,
    ) -> None:
        self._place = place
        self._root = root
        self._files = {**root.files.staged, **root.files.shown}
        self._mounts = [path for path in mounts if path != b"/" and not _is_own(path)]
        self._space = space
        self._overlays = 0
        # In a user namespace no overlay may go above what has other mounts below.
        self._goes_around_mounts = goes_around
        # There, an overlay copies no directory of another user for who writes below it: those on
        # the way to these places lie in the uppermost lower layer, where they are the user's own.
        self._copied = [each for each in (_TEMPORARY, writes) if goes_around and self._has(each)]

    def _has(self, directory: bytes) -> bool:
        """Tell whether the base has `directory`, by a way without links, and it is seen."""
        found = [self._root.files.status(path) for path in (*parents(directory), directory)]
        plain = all(status is not None and status.kind is FileKind.DIR for status in found)
        return plain and directory != b"/" and not self._root.files.hides(directory)

    def steps(self) -> Iterator[Step]:
        """Yield what makes the view."""
        top = join(self._place, b"root")
        yield memory(self._place, self._space)
        yield from self._stage()
        yield "directory", _text(top), 0o755, 0, 0
        yield from self._entries(b"/")
        if not self._goes_around_mounts:
            for path in self._mounts:
                yield from self._mount(path)
        for path, mode in _OWN.items():
            yield "directory", _text(top + path), mode, 0, 0
        for number, path in enumerate(sorted({*self._root.files.hidden} - {*_OWN})):
            # No memory of its own: all that is written shares one limit.
            hiding = self._place + b"/hiding%d" % number
            yield "directory", _text(hiding), 0o755, 0, 0
            yield "mount", _text(hiding), _text(top + path), "", "bind", ""
        yield from _kernel(top)
        for path, machine in sorted(self._files.items()):
            # In an overlay it is there already; its directory may be closed to the builder.
            yield _place(machine, top + path)
            if not os.path.islink(machine):
                yield "frozen", _text(machine), _text(top + path)

    def _stage(self) -> Iterator[Step]:
        """Yield what makes a tree of empty files, the uppermost lower layer of all overlays.

        Links are whole there.
        """
        above = {above for path in (*self._files, *self._copied) for above in parents(path)}
        above.update(self._copied)
        for path in sorted(above):
            status = self._root.files.status(path)
            attributes = (status.mode, status.uid, status.gid) if status else (0o755, 0, 0)
            yield "directory", _text(self._place + b"/staged" + path), *attributes
        for path, machine in sorted(self._files.items()):
            yield _place(machine, self._place + b"/staged" + path)

    def _entries(self, directory: bytes) -> Iterator[Step]:
        for name in sorted(os.listdir(self._machine(directory))):
            path = join(directory, name)
            if not _is_own(path):
                # What is beside a mount point may come and go.
                with suppress(FileNotFoundError):
                    steps = self._entry(path, self._machine(path))
                    yield from steps if directory == b"/" else _attempts(steps)

    def _entry(self, path: bytes, machine: bytes) -> Iterator[Step]:
        target = self._place + b"/root" + path
        status = os.lstat(machine)
        if stat.S_ISLNK(status.st_mode):
            yield "link", _text(target), _text(os.readlink(machine))
        elif stat.S_ISDIR(status.st_mode):
            yield from self._directory(path, status)
        elif stat.S_ISREG(status.st_mode):
            yield "file", _text(target)
            yield "frozen", _text(machine), _text(target)

    def _directory(self, path: bytes, status: os.stat_result) -> Iterator[Step]:
        attributes = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        yield "directory", _text(self._place + b"/root" + path), *attributes
        if not os.access(self._machine(path), os.R_OK | os.X_OK):
            return
        if self._goes_around_mounts and any(
            is_under(mount, path) and mount != path for mount in self._mounts
        ):
            yield from self._entries(path)
        else:
            yield from self._layers(path, attributes)

    def _mount(self, path: bytes) -> Iterator[Step]:
        """Yield what puts what is mounted at `path` in its place, if it may be put there."""
        try:
            status = os.lstat(path)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode):
            attributes = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
            yield from self._layers(path, attributes)
        elif stat.S_ISREG(status.st_mode):
            # No socket: who listens there is the machine's, an engine perhaps.
            frozen: Step = ("frozen", _text(path), _text(self._place + b"/root" + path))
            yield from _attempts([frozen])

    def _layers(self, path: bytes, attributes: tuple[int, int, int]) -> Iterator[Step]:
        self._overlays += 1
        number = b"%d" % self._overlays
        upper, work = (self._place + name + number for name in (b"/upper", b"/work"))
        # The directory itself is the upper one's.
        yield "directory", _text(upper), *attributes
        yield "directory", _text(work), 0o755, 0, 0
        lower = [self._machine(path)]
        if any(is_under(staged, path) for staged in (*self._files, *self._copied)):
            lower.insert(0, self._place + b"/staged" + path)
        _, *overlay = _overlay(self._place + b"/root" + path, upper, work, *lower)
        yield "layered", *overlay, _text(lower[-1])

    def _machine(self, path: bytes) -> bytes:
        return path if self._root.files.base == b"/" else self._root.files.base + path


def memory(place: bytes, space: int) -> Step:
    """Return what mounts a file system of `space` MB of memory at `place`: tmpfs(5).

    A file of 4 KB takes a kilobyte more for itself, which is the kernel's.
    """
    options = f"mode=755,size={space}m,nr_inodes={256 * space}"
    return "mount", "tmpfs", _text(place), "tmpfs", "nosuid nodev", options


def _place(machine: bytes, path: bytes) -> Step:
    """Return what makes `path`, a file to mount `machine` on, or the link that `machine` is."""
    if os.path.islink(machine):
        return "link", _text(path), _text(os.readlink(machine))
    return "file", _text(path)


def _attempts(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield `steps`; what cannot be mounted is left out."""
    for step in steps:
        yield ("attempt", *step) if step[0] == "frozen" else step


def written_over(directory: bytes, place: bytes, space: int) -> Iterator[Step]:
    """Yield what has all that is written in `directory` go to at most `space` MB of memory.

    `place` is an empty directory elsewhere. What lies in `directory` stays as it is.
    """
    yield memory(place, space)
    status = os.lstat(directory)
    attributes = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    upper, work = place + b"/upper", place + b"/work"
    yield "directory", _text(upper), *attributes
    yield "directory", _text(work), 0o755, 0, 0
    yield _overlay(directory, upper, work, directory)


def _overlay(target: bytes, upper: bytes, work: bytes, *lower: bytes) -> Step:
    """Return what mounts an overlay; of several `lower` layers the first is the uppermost."""
    places = [re.sub(rb"([\\,:])", rb"\\\1", path) for path in (upper, work, *lower)]
    options = b"upperdir=%b,workdir=%b,lowerdir=%b,userxattr" % (*places[:2], b":".join(places[2:]))
    return "overlay", _text(target), _text(options)


def _kernel(top: bytes) -> Iterator[Step]:
    """Yield what makes the kernel's trees and devices in the root `top`."""
    for path, text in DEVICE_LINKS.items():
        yield "link", _text(top + path), _text(text)
    for name in DEVICES:
        yield "file", _text(top + b"/dev/" + name)
    yield "directory", _text(top + TERMINALS), 0o755, 0, 0
    yield from runtime(top)
    yield "mount", "/sys", _text(top + b"/sys"), "", "bind rec", ""
    yield "freeze", _text(top + b"/sys")
