"""A root of its own for a process, by namespaces(7), and the words that start a command there.

The process gets namespaces of its own for mounts, processes, System V objects and, unless its run
has the host's, the network, with the loopback device alone. A user who may not make these gets a
user namespace, too, in which they are root. Then the process changes its root, and drops the
capabilities by which it could leave.
"""

from __future__ import annotations

import errno
import marshal
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SandboxError
from ..fs.paths import join, show
from . import process
from .process import last_words

Step = tuple[Any, ...]
"""A function of `init` and its arguments."""

DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty")
"""The host's devices that a root has in /dev."""

TERMINALS = b"/dev/pts"
"""Where a root has pseudo-terminals of its own: pts(4)."""

DEVICE_LINKS = {
    b"/dev/ptmx": b"pts/ptmx",
    b"/dev/fd": b"/proc/self/fd",
    b"/dev/stdin": b"/proc/self/fd/0",
    b"/dev/stdout": b"/proc/self/fd/1",
    b"/dev/stderr": b"/proc/self/fd/2",
}


def directory_step(path: bytes, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Step:
    """Return the step that makes a directory."""
    return "make_directory", os.fsdecode(path), mode, uid, gid


def attributes(status: os.stat_result) -> tuple[int, int, int]:
    """Return mode, user and group of `status`, for `directory_step`."""
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def bind_step(source: bytes, target: bytes) -> Step:
    """Return the step that mounts `source` at `target`, read-only."""
    return "bind_read_only", os.fsdecode(source), os.fsdecode(target)


def copy_step(source: bytes, path: bytes, mode: int, uid: int, gid: int) -> Step:
    """Return the step that copies the file `source` to `path`."""
    return "copy_file", os.fsdecode(source), os.fsdecode(path), mode, uid, gid


def hard_link_step(first: bytes, path: bytes) -> Step:
    """Return the step that makes `path` another name of the file `first`."""
    return "make_hard_link", os.fsdecode(first), os.fsdecode(path)


def link_step(path: bytes, text: bytes) -> Step:
    """Return the step that makes a symbolic link."""
    return "make_link", os.fsdecode(path), os.fsdecode(text)


def mount_point_step(source: bytes, path: bytes) -> Step:
    """Return the step that makes `path`: a file to mount `source` on, or the link `source`."""
    if os.path.islink(source):
        return link_step(path, os.readlink(source))
    return "make_file", os.fsdecode(path)


def memory_step(place: bytes, space: int) -> Step:
    """Return the step that mounts a file system of `space` MB of memory at `place`: tmpfs(5).

    A file of 4 KB takes another kilobyte, which is the kernel's.
    """
    options = f"mode=755,size={space}m,nr_inodes={256 * space}"
    return "mount", "tmpfs", os.fsdecode(place), "tmpfs", "nosuid nodev", options


def overlay_step(target: bytes, upper: bytes, work: bytes, *lower: bytes) -> Step:
    """Return the step that mounts an overlay; the first of the `lower` layers is the uppermost."""
    places = [re.sub(rb"([\\,:])", rb"\\\1", path) for path in (upper, work, *lower)]
    options = b"upperdir=%b,workdir=%b,lowerdir=%b,userxattr" % (*places[:2], b":".join(places[2:]))
    return "mount_overlay", os.fsdecode(target), os.fsdecode(options)


def memory_overlay(directory: bytes, place: bytes, space: int) -> Iterator[Step]:
    """Yield steps after which all writes in `directory` go to at most `space` MB of memory.

    `place` is an empty directory elsewhere. The files in `directory` stay as they are.
    """
    yield memory_step(place, space)
    upper, work = place + b"/upper", place + b"/work"
    yield directory_step(upper, *attributes(os.lstat(directory)))
    yield directory_step(work)
    yield overlay_step(directory, upper, work, directory)


def kernel_trees(top: bytes) -> Iterator[Step]:
    """Yield steps that make the kernel's trees and devices in the root `top`."""
    for path, text in DEVICE_LINKS.items():
        yield link_step(top + path, text)
    for name in DEVICES:
        yield "make_file", os.fsdecode(top + b"/dev/" + name)
    yield directory_step(top + TERMINALS)
    yield from kernel_mounts(top)
    yield "mount", "/sys", os.fsdecode(top + b"/sys"), "", "bind rec", ""
    yield "make_read_only", os.fsdecode(top + b"/sys")


def kernel_mounts(root: bytes) -> Iterator[Step]:
    """Yield steps that mount the kernel's trees and devices in `root`, which has their places."""
    yield "mount", "/proc", os.fsdecode(root + b"/proc"), "", "bind rec", ""
    # Device files bound read-only can be written to, but keep mode and owner.
    for path in (*_host_settings(), *(b"/dev/" + name for name in DEVICES)):
        yield bind_step(path, root + path)
    options = "newinstance,ptmxmode=0666,mode=0620"
    yield "mount", "devpts", os.fsdecode(root + TERMINALS), "devpts", "nosuid noexec", options


def _host_settings() -> Iterator[bytes]:
    """Yield the files and directories of /proc that are the host's, not those of a process.

    Root needs no capability to change most of them. Engines have a list, to which kernels add.
    """
    for name in sorted(os.listdir(b"/proc")):
        path = b"/proc/" + name
        if not name.isdigit() and not os.path.islink(path):
            yield path


_CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 29, 31)
"""The capabilities of root there: chown, dac_override, fowner, fsetid, kill, setgid, setuid,
setpcap, net_bind_service, net_raw, audit_write and setfcap of capabilities(7).

Docker gives these, and two that lead out of a mere change of root: mknod and sys_chroot.
"""

_NAMESPACES = (8, 12, 18, 21)
"""The capabilities that it takes, without a user namespace, to make the others and a root, and to
drop capabilities: setpcap, net_admin, sys_chroot and sys_admin."""

_NO_OTHERS = 0xFFFFFFFF
"""A number above all calls: all are of one kind."""

_CALLS = {
    0xC000003E: (0x40000000, 248, 249, 250, 425, 317, 302, 41),  # x86_64, without x32
    0x40000003: (_NO_OTHERS, 286, 287, 288, 425, 354, 340, 359),  # i386
    0xC00000B7: (_NO_OTHERS, 217, 218, 219, 425, 277, 261, 198),  # aarch64
    0x40000028: (_NO_OTHERS, 309, 310, 311, 425, 383, 369, 281),  # arm
}
"""By AUDIT_ARCH_*: from which number on calls are of another kind, and the numbers of add_key,
request_key, keyctl, io_uring_setup, seccomp, prlimit64 and socket."""


def _seccomp_tables() -> Iterator[tuple[int, int, tuple[tuple[int, ...], ...]]]:
    """Yield the calls that no run may make, as arguments of `init.refuse_calls`.

    The kernel's keys and AF_VSOCK, the host's sockets on a virtual machine, have no namespace.
    strace does not see the accesses of io_uring, nor those that another program decides over by
    seccomp; and no run may limit how much strace writes, which is process 1 there.
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


@dataclass(frozen=True, slots=True)
class Emulator:
    """A static program that runs programs for another processor."""

    path: bytes
    head: bytes
    """The first 20 bytes of an ELF file for that processor: elf(5)."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A root of its own, and the words that start a command in it."""

    root: bytes
    """Where it lies, a path without links: on the host, or in the new namespaces only."""
    plan: tuple[Step, ...]
    """The steps that make it, in new namespaces."""
    directory: bytes
    """A private directory, for plans of the sandbox init and for logs."""
    network: str = "loopback"
    """Its network: ``loopback``, which is its own, or the ``host``'s."""
    emulator: Emulator | None = None
    """Runs the programs of the root, if they are for another processor."""

    def unshare_words(self, stdin: bytes | None = None) -> list[bytes]:
        """Return the words that start a command in new namespaces, still in the host's root.

        Standard input is the file `stdin`, or empty; it can only be read. All processes that the
        command starts end with it, those that left its session included. SandboxError when a tool
        is missing.
        """
        start: list[Step] = [("mount_proc",)]
        if self._has_own_network:
            start.append(("start_loopback",))
        if self.emulator:
            # Older kernels have one registry for all; an emulator in that may do as well.
            registry = join(self.directory, b"registry")
            words = *map(os.fsdecode, (registry, self.emulator.path)), self.emulator.head.hex()
            start.append(("attempt", "register_emulator", *words))
        user = [b"--user", b"--map-root-user"] if needs_users(self.emulator) else []
        network = [b"--net"] if self._has_own_network else []
        unshare = _unshare(*user, *network, b"--mount", b"--ipc", b"--pid")
        return [*unshare, *self._init(*start, *self._stdin_steps(stdin), *self.plan)]

    def enter_words(self, environment: Mapping[bytes, bytes], cwd: bytes) -> list[bytes]:
        """Return the words that start a program of that root, in that root.

        They follow `unshare_words` or `join_words`. The program gets exactly `environment`, starts
        in its directory `cwd`, and neither has nor gains the privileges to leave.
        """
        variables = (os.fsdecode(b"%b=%b" % item) for item in sorted(environment.items()))
        return self._init(
            ("change_root", os.fsdecode(self.root), os.fsdecode(cwd)),
            ("keep_capabilities", *_CAPABILITIES),
            ("refuse_calls", *_seccomp_tables()),
            ("set_environment", *variables),
        )

    def join_words(self, pid: int, stdin: bytes | None = None) -> list[bytes]:
        """Return the words that start a command in the namespaces of the process `pid`.

        `unshare_words` have started that. The command is in the host's root, and reads the file
        `stdin`, or nothing.
        """
        users = ["user"] if needs_users(self.emulator) else []
        network = ["net"] if self._has_own_network else []
        join_step: Step = ("join_namespaces", str(pid), *users, "mnt", "ipc", "pid", *network)
        return self._init(join_step, *self._stdin_steps(stdin))

    @property
    def stdin(self) -> bytes:
        """Where standard input is mounted."""
        return join(self.directory, b"stdin")

    def _stdin_steps(self, stdin: bytes | None) -> list[Step]:
        # /proc leads from an open file to its path: a read-only mount keeps the file as it is.
        bind = bind_step(stdin or b"/dev/null", self.stdin)
        place = os.fsdecode(self.stdin)
        return [("make_file", place), bind, ("open_stdin", place)]

    @property
    def _has_own_network(self) -> bool:
        return self.network == "loopback"

    def _init(self, *steps: Step) -> list[bytes]:
        handle, plan = tempfile.mkstemp(dir=self.directory)
        with open(handle, "wb") as sink:
            marshal.dump(steps, sink)
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "init.py")
        return [os.fsencode(sys.executable), b"-I", b"-S", os.fsencode(script), plan]


def find_obstacle() -> SandboxError | None:
    """Return why no process can have a root of its own on this host; None where it can."""
    with tempfile.TemporaryDirectory(prefix="scratch_image-") as place:
        directory = os.fsencode(place)
        places = [directory + name for name in (b"/a", b"/b", b"/c", b"/d")]
        steps: list[Step] = [
            ("mount", "tmpfs", place, "tmpfs", "", ""),
            *map(directory_step, places),
            overlay_step(*places),
            ("make_read_only", f"{place}/a"),
        ]
        words = Sandbox(directory, tuple(steps), directory).unshare_words()
        result = process.run([*words, _find_tool(b"true")], timeout=_CHECK_SECONDS)
    if not result.is_failure:
        return None
    return SandboxError(
        "give a process a root of its own",
        last_words(result.stderr) or result.end,
        "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0; in Docker give --privileged or "
        "--security-opt seccomp=unconfined), on Linux 5.12 or newer",
    )


def containment_words() -> list[bytes]:
    """Return words that start a command whose processes and mounts end with it.

    There are none for a user who may not make these namespaces.
    """
    return [] if _needs_user_namespace() else _unshare(b"--mount", b"--pid")


def _unshare(*namespaces: bytes) -> list[bytes]:
    """Return words that start a command in new `namespaces`, whose processes end with scons."""
    bound = [_find_tool(b"setpriv"), b"--pdeathsig", b"KILL", b"--"]
    return [*bound, _find_tool(b"unshare"), *namespaces, b"--fork", b"--kill-child", b"--"]


def needs_users(emulator: Emulator | None) -> bool:
    """Return whether a sandbox has a user namespace: each may have emulators of its own."""
    return emulator is not None or _needs_user_namespace()


def _needs_user_namespace() -> bool:
    """Return whether the user may make other namespaces only inside a user namespace."""
    with open("/proc/self/status", "rb") as stream:
        found = re.search(rb"^CapEff:\t([0-9a-f]+)$", stream.read(), re.MULTILINE)
    has = int(found[1], 16) if found else 0
    return not all(has >> capability & 1 for capability in _NAMESPACES)


def _find_tool(name: bytes) -> bytes:
    path = process.find(name)
    if path is None:
        raise SandboxError(
            "give a process a root of its own",
            f"there is no {show(name)}",
            "apt-get install util-linux",
        )
    return path
