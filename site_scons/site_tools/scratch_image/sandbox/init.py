"""The sandbox init: makes a root, or goes into it, then becomes the command that runs there.

It is a program, ``python -I -S init.py PLAN COMMAND...``, and imports nothing of the package: a
thread of SCons cannot do this between fork and exec, and every run starts with it, so that each
millisecond counts. PLAN is a file that `marshal` wrote, a sequence of steps, each the name of a
function below and its arguments. Paths and other bytes are text as `os.fsdecode` returns it.
"""

import ctypes
import errno
import marshal
import os
import struct
import sys

_FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "bind": 4096, "rec": 16384}
"""Flags of mount(2), by their names in plans."""

_CAPBSET_DROP, _SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 24, 38, 22, 2
"""Operations of prctl(2), and the mode of the last one."""

_LOAD, EQUAL, ANY, _LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
"""Instructions of filters: https://docs.kernel.org/userspace-api/seccomp_filter.html."""

_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
"""Values of filters: SECCOMP_RET_ALLOW, or SECCOMP_RET_ERRNO with a number of errno(3)."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data: a call's number, its architecture, its arguments."""

_MOUNT_SETATTR, _HERE, _RECURSIVE, _READ_ONLY = 442, -100, 0x8000, 1
"""mount_setattr(2), which has one number everywhere: AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY."""

_INET, _DATAGRAM, _SET_FLAGS, _UP = 2, 2, 0x8914, 1
"""AF_INET, SOCK_DGRAM, SIOCSIFFLAGS and IFF_UP of netdevice(7)."""

_SIGNALS = 65
"""One more than the highest number: signal(7)."""

_libc = ctypes.CDLL(None, use_errno=True)


# Steps in new namespaces, still in the host's root.


def mount(source: str, target: str, kind: str, flags: str, options: str) -> None:
    """Mount a file system; `flags` are words of `_FLAGS`."""
    number = ctypes.c_ulong(sum(_FLAGS[flag] for flag in flags.split()))
    names = (os.fsencode(word) for word in (source, target, kind))
    _check(_libc.mount(*names, number, os.fsencode(options)), target)


def mount_overlay(target: str, options: str) -> None:
    """Mount an overlay at `target`."""
    mount("overlay", target, "overlay", "nosuid nodev", options)


def attempt(step: str, *arguments: str) -> None:
    """Do another step; go on if it fails."""
    try:
        _STEPS[step](*arguments)  # type: ignore[arg-type]
    except OSError:
        return


def mount_proc() -> None:
    """Mount /proc for the new process namespace.

    In a container that hides parts of /proc the kernel refuses. The old one then stays, read-only,
    because it has the processes of others.
    """
    try:
        mount("proc", "/proc", "proc", "nosuid nodev noexec", "")
    except OSError:
        make_read_only("/proc")


def open_stdin(path: str) -> None:
    """Make the file at `path` standard input."""
    handle = os.open(path, os.O_RDONLY)
    os.dup2(handle, 0)
    os.close(handle)


def start_loopback() -> None:
    """Start the one network device that a new network namespace has."""
    request = ctypes.create_string_buffer(
        b"lo".ljust(16, b"\0") + _UP.to_bytes(2, sys.byteorder), 40
    )
    handle = _libc.socket(_INET, _DATAGRAM, 0)
    _check(min(handle, 0), "lo")
    _check(_libc.ioctl(handle, ctypes.c_ulong(_SET_FLAGS), request), "lo")
    os.close(handle)


def register_emulator(registry: str, emulator: str, head: str) -> None:
    """Register the static program `emulator` for programs that begin with `head`, in hex digits.

    It is for this user namespace, whose binfmt_misc gets mounted at `registry`: Linux 6.7. The
    kernel opens it now (flag F), so that it need not be in any root.
    """
    os.mkdir(registry)
    mount("binfmt_misc", registry, "binfmt_misc", "nosuid nodev noexec", "")
    magic, mask = bytes.fromhex(head), b"\xff" * 7 + bytes(11) + b"\xff" * 2
    words = ("".join(f"\\x{byte:02x}" for byte in each) for each in (magic, mask))
    with open(f"{registry}/register", "w") as sink:
        sink.write(":".join(["", "emulator", "M", "", *words, emulator, "FP"]))


def make_read_only(target: str) -> None:
    """Make the mount at `target`, and those below it, read-only."""
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)
    words = _HERE, os.fsencode(target), _RECURSIVE, attributes, ctypes.c_size_t(32)
    _check(_libc.syscall(_MOUNT_SETATTR, *words), target)


def make_directory(path: str, mode: int, uid: int, gid: int) -> None:
    """Make a directory, and those above it."""
    os.makedirs(path, exist_ok=True)
    _own(path, mode, uid, gid)


def _own(path: str, mode: int, uid: int, gid: int) -> None:
    os.chmod(path, mode)
    try:
        os.chown(path, uid, gid)
    except OSError:
        return  # A user namespace may not have that owner.
    os.chmod(path, mode)  # A new owner takes set-id bits away.


def copy_file(source: str, path: str, mode: int, uid: int, gid: int) -> None:
    """Copy the file `source` to the new file `path`, and make the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(source, "rb", 0) as content, open(path, "xb", 0) as sink:
        while os.sendfile(sink.fileno(), content.fileno(), None, 1 << 30):
            continue
    _own(path, mode, uid, gid)


def make_hard_link(first: str, path: str) -> None:
    """Make `path` another name of the file `first`, and the directories above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.link(first, path)


def make_file(path: str) -> None:
    """Make an empty file to mount something on, and the directories above it, if there is none."""
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def bind_read_only(source: str, target: str) -> None:
    """Mount the file or directory `source` at `target`, read-only."""
    mount(source, target, "", "bind", "")
    make_read_only(target)


def overlay_or_bind(target: str, options: str, lowest: str) -> None:
    """Mount an overlay at `target`, or `lowest` alone where its file system takes no overlay.

    FAT, for one, takes none, and many hosts have it at /boot. A directory that cannot be mounted
    at all, as by an automounter that is gone, is left out.
    """
    try:
        mount_overlay(target, options)
    except OSError:
        attempt("bind_read_only", lowest, target)


def make_link(path: str, text: str) -> None:
    """Make a symbolic link, and the directories above it, if there is nothing."""
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.symlink(text, path)


# Steps into the root, for good.


def join_namespaces(process: str, *kinds: str) -> None:
    """Enter the namespaces of `process` that are of these `kinds`: namespaces(7).

    Only a child enters that of processes; this process waits for it, and passes its status on.
    """
    handles = [os.open(f"/proc/{process}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for handle in handles:
        _check(_libc.setns(handle, 0), process)
        os.close(handle)
    if child := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(status if status >= 0 else 128 - status)


def change_root(path: str, cwd: str) -> None:
    """Change to the root `path`, and to `cwd` there, which is made if need be, as engines do."""
    os.chroot(path)
    try:
        os.chdir(cwd)
    except FileNotFoundError:
        os.makedirs(cwd)
        os.chdir(cwd)


def keep_capabilities(*capabilities: int) -> None:
    """Drop all other capabilities, and gain none by executing a file: capabilities(7)."""
    number = 0
    while number in capabilities or not _libc.prctl(_CAPBSET_DROP, number, 0, 0, 0):
        number += 1
    # EINVAL: there is no capability of that number.
    _check(ctypes.get_errno() != errno.EINVAL, f"capability {number}")
    _check(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def refuse_calls(*tables: tuple[int, int, tuple[tuple[int, ...], ...]]) -> None:
    """Refuse system calls from now on, in this program and all later ones: seccomp(2).

    Each of the `tables` is for an architecture: its AUDIT_ARCH_* of the kernel, the lowest number
    of calls of another kind, which are refused, and the rules. A rule is a call's number, the
    number of the error, and for some the index of an argument, an instruction, and a value.
    """
    code = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for architecture, foreign, rules in tables:
        block = [(_LOAD, 0, 0, _NUMBER), (_LEAST, 0, 1, foreign), _error(errno.ENOSYS)]
        for rule in rules:
            block += _compile_rule(*rule)
        block.append((_RETURN, 0, 0, _ALLOW))
        code += [(EQUAL, 0, len(block), architecture), *block]
    code.append((_RETURN, 0, 0, _ALLOW))
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
    program = struct.pack("HP", len(code), ctypes.addressof(filters))
    _check(_libc.prctl(_SET_SECCOMP, _FILTER, program, 0, 0), "seccomp")


Instruction = tuple[int, int, int, int]
"""Code, how many to skip if true and if false, and a value: struct sock_filter."""


def _compile_rule(number: int, error: int, *test: int) -> list[Instruction]:
    if not test:
        return [(EQUAL, 0, 1, number), _error(error)]
    argument, operation, value = test
    return [
        (EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * argument),
        (operation, 0, 1, value),
        _error(error),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _error(number: int) -> Instruction:
    return _RETURN, 0, 0, _ERROR | number


def set_environment(*variables: str) -> None:
    """Set these variables, NAME=VALUE, and no others."""
    os.environ.clear()
    os.environ.update(dict(variable.split("=", 1) for variable in variables))


def _check(answer: int, name: str) -> None:
    if answer:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), name)


_STEPS = {
    step.__name__: step
    for step in (
        *(mount, mount_overlay, mount_proc, attempt, start_loopback, register_emulator),
        *(make_read_only, bind_read_only, overlay_or_bind, make_directory, make_file, make_link),
        *(copy_file, make_hard_link),
        *(open_stdin, join_namespaces, change_root, keep_capabilities, refuse_calls),
        set_environment,
    )
}


def main(plan: str, *command: str) -> None:
    """Carry out the file `plan`, then become `command`; OSError when that fails."""
    with open(plan, "rb") as stream:
        steps = marshal.load(stream)  # noqa: S302  # the package wrote it
    for name, *arguments in steps:
        _STEPS[name](*arguments)
    for number in range(1, _SIGNALS):
        # Python ignores some, and scons in the background more; a container does not.
        _libc.signal(number, None)
    become(*command)


def become(*command: str) -> None:
    """Execute `command`, found along PATH; OSError when that fails.

    `os.execvp` would import a module, and a root need not have any.
    """
    places = [""] if "/" in command[0] else os.environ.get("PATH", "").split(":")
    for place in places:
        try:
            os.execv(os.path.join(place, command[0]), command)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"init: {error.filename or sys.argv[2]}: {error.strerror}")
