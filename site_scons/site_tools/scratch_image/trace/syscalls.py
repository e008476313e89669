"""The system calls in a log: their paths, and what they do with them. Pure: words in, values out.

The groups of calls are those of ``sysent_shorthand_defs.h`` of strace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .record import Use
from .strace_lines import Call, parse_call


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A call that hides accesses from strace."""

    call: bytes
    """Name of the system call."""
    cause: str
    """Why, as a clause: ``gave the run another view of the file system``."""


@dataclass(frozen=True, slots=True)
class _PathArgument:
    """A path among the arguments of a call."""

    index: int
    """From 0."""
    kind: Use | None
    """The use if the call succeeds; None where the flags of open(2) say it."""
    at: bool = False
    """Whether the argument before is the descriptor that a relative path starts from."""
    follow: bool = True
    """Whether a link in the last component is followed when no flag says otherwise."""


def _calls(*rows: tuple[str, tuple[_PathArgument, ...]]) -> dict[bytes, tuple[_PathArgument, ...]]:
    return {name.encode(): arguments for names, arguments in rows for name in names.split()}


def _link(index: int, kind: Use, *, at: bool = False) -> _PathArgument:
    """Return a path that names a link itself, not its target."""
    return _PathArgument(index, kind, at, follow=False)


_path = _PathArgument


_PATHS = _calls(
    ("open", (_path(0, None),)),
    ("openat openat2", (_path(1, None, at=True),)),
    ("creat", (_path(0, Use.CREATE),)),
    ("execve", (_path(0, Use.EXEC),)),
    ("execveat", (_path(1, Use.EXEC, at=True),)),
    ("uselib", (_path(0, Use.READ),)),
    ("stat stat64 oldstat access statfs statfs64", (_path(0, Use.STAT),)),
    ("chdir chroot getxattr listxattr", (_path(0, Use.STAT),)),
    ("lstat lstat64 oldlstat readlink", (_link(0, Use.STAT),)),
    ("lgetxattr llistxattr", (_link(0, Use.STAT),)),
    ("newfstatat fstatat64 statx faccessat faccessat2", (_path(1, Use.STAT, at=True),)),
    ("getxattrat listxattrat file_getattr open_tree fspick", (_path(1, Use.STAT, at=True),)),
    ("readlinkat name_to_handle_at", (_link(1, Use.STAT, at=True),)),
    ("inotify_add_watch quotactl", (_path(1, Use.STAT),)),
    ("fanotify_mark", (_path(4, Use.STAT, at=True),)),
    ("chmod chown chown32 utime utimes truncate truncate64", (_path(0, Use.WRITE),)),
    ("setxattr removexattr acct swapon swapoff", (_path(0, Use.WRITE),)),
    ("lchown lchown32 lsetxattr lremovexattr", (_link(0, Use.WRITE),)),
    ("fchmodat fchmodat2 fchownat futimesat", (_path(1, Use.WRITE, at=True),)),
    ("utimensat utimensat_time64", (_path(1, Use.WRITE, at=True),)),
    ("setxattrat removexattrat file_setattr", (_path(1, Use.WRITE, at=True),)),
    ("unlink rmdir", (_link(0, Use.WRITE),)),
    ("unlinkat", (_link(1, Use.WRITE, at=True),)),
    ("mkdir mknod", (_link(0, Use.CREATE),)),
    ("mkdirat mknodat", (_link(1, Use.CREATE, at=True),)),
    ("symlink", (_link(1, Use.CREATE),)),
    ("symlinkat", (_link(2, Use.CREATE, at=True),)),
    # The run may read the file by its other name later.
    ("link rename", (_link(0, Use.READ), _link(0, Use.WRITE), _link(1, Use.CREATE))),
    (
        "linkat renameat renameat2",
        (_link(1, Use.READ, at=True), _link(1, Use.WRITE, at=True), _link(3, Use.CREATE, at=True)),
    ),
    ("mount mount_setattr move_mount pivot_root umount umount2", ()),
)
"""The calls that take paths; those of the last row are problems when they succeed."""

_NOT_PATHS = frozenset(
    b"add_key delete_module fsopen getcwd getrandom memfd_create mq_open mq_unlink request_key"
    b" setdomainname sethostname".split()
)
"""Calls whose first argument is a string, but no path."""

_SOCKETS = {
    b"bind": Use.CREATE,
    **dict.fromkeys((b"connect", b"sendto", b"sendmsg", b"sendmmsg"), Use.STAT),
}
"""Calls that may name a UNIX socket."""

_ON_DESCRIPTORS = {b"getdents": Use.LIST, b"getdents64": Use.LIST, b"fchdir": Use.STAT}
"""Calls on the file that a descriptor stands for."""

_BRINGS_DESCRIPTORS = frozenset({b"open_by_handle_at", b"pidfd_getfd", b"recvmsg", b"recvmmsg"})
"""Calls that return a file without naming it: only ``-y`` shows it."""

_MOVES = frozenset({b"chdir", b"fchdir"})

_EXECUTES = frozenset({b"execve", b"execveat"})

_BIRTHS = frozenset({b"clone", b"clone3", b"fork", b"vfork"})

_OTHER_VIEW = "gave the run another view of the file system"

NAMELESS = "named a directory by its descriptor only, for want of strace -y"

_OTHER_VIEWS = b"chroot mount mount_setattr move_mount pivot_root setns umount umount2".split()

_PROBLEMS = {
    **dict.fromkeys(_OTHER_VIEWS, _OTHER_VIEW),
    b"ptrace": "traced a process itself, which strace then cannot",
    b"io_uring_setup": "opened a way to files that strace does not see",
}
"""Calls that hide something when they succeed."""

_NO_FOLLOW = (b"O_NOFOLLOW", b"AT_SYMLINK_NOFOLLOW")

_MISSING = frozenset({b"ENOENT", b"ENOTDIR"})

_NO_LOOKUP = frozenset({b"EBADF", b"EFAULT", b"ENAMETOOLONG", b"ENOSYS"})
"""Errors that come before any lookup."""


@dataclass(frozen=True, slots=True)
class NamedPath:
    """Which parts of a line make up a path."""

    kind: Use
    follow: bool
    name: int | None
    """The string; None where the descriptor alone names the file."""
    base: int | None = None
    """The path of the descriptor that the string starts from; None for the working directory."""
    is_nameless: bool = False
    """Whether there is such a descriptor without a path: no ``-y``."""
    is_gone: bool = False
    """Whether that descriptor's file has no path any more."""
    real: int | None = None
    """The path of the descriptor that the call returned."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of all lines that have one skeleton."""

    call: bytes
    paths: tuple[NamedPath, ...]
    cwd: int | None
    """Which part is the path of the working directory."""
    child: bytes
    """Number of the new process, or nothing."""
    shares: bool
    """Whether the working directory is shared with that process from now on (CLONE_FS)."""
    leaves: bool
    """Whether it is shared no longer."""
    moves: bool
    """Whether the path is the new working directory."""
    executes: bool
    """Whether the process has become another program."""
    problem: Problem | None

    @property
    def acts(self) -> bool:
        """Whether the line changes the meaning of later lines."""
        return self.moves or self.leaves or self.executes or self.child != b""


def find_meaning(parts: list[bytes]) -> Meaning | None:
    """Return the meaning of lines such as `parts`; None when they are no call."""
    call = parse_call(parts)
    if call is None:
        return None
    born = call.name in _BIRTHS and call.has_succeeded
    left = call.name == b"unshare" and call.has_succeeded
    return Meaning(
        call=call.name,
        paths=tuple(_find_paths(call)),
        cwd=_find_cwd(call),
        child=call.value if born else b"",
        shares=b"CLONE_FS" in call.flags,
        leaves=left and (b"CLONE_FS" in call.flags or b"CLONE_NEWNS" in call.flags),
        moves=call.name in _MOVES and call.has_succeeded,
        executes=call.name in _EXECUTES and not call.error,
        problem=_find_problem(call),
    )


def _find_cwd(call: Call) -> int | None:
    if call.name == b"getcwd" and call.has_succeeded:
        return call.token(0, b'"')
    for index, word in enumerate(call.arguments):
        if word == b"AT_FDCWD<>":
            return call.token(index, b"<>")
    return None


def _find_paths(call: Call) -> Iterator[NamedPath]:
    if call.error in _NO_LOOKUP:
        return
    for argument in _PATHS.get(call.name, ()):
        if call.argument(argument.index) == b'"':
            yield from _argument_paths(call, argument)
    if call.name in _SOCKETS:
        for token in call.sockets():
            yield NamedPath(_outcome(_SOCKETS[call.name], call), True, token)
    elif call.name in _ON_DESCRIPTORS and call.has_succeeded:
        base = call.token(0, b"<>")
        yield NamedPath(_ON_DESCRIPTORS[call.name], False, None, base, is_gone=_is_gone(call, 0))
    elif call.name in _BRINGS_DESCRIPTORS and call.has_succeeded:
        opened = call.new_descriptor()
        for part in call.passed_descriptors() if opened is None else [opened]:
            yield NamedPath(Use.READ, False, None, part)


def _argument_paths(call: Call, argument: _PathArgument) -> Iterator[NamedPath]:
    before = argument.index - 1 if argument.at else -1
    descriptor = call.argument(before)
    follow = argument.follow or b"AT_SYMLINK_FOLLOW" in call.flags
    kinds = (argument.kind,) if argument.kind else _open_kinds(call.flags)
    for kind in dict.fromkeys(_outcome(kind, call) for kind in kinds):
        yield NamedPath(
            kind,
            follow
            and not _is_new(call.flags)
            and not any(map(call.flags.__contains__, _NO_FOLLOW)),
            call.token(argument.index, b'"'),
            call.token(before, b"<>"),
            is_nameless=descriptor[:1].isdigit() and b"<>" not in descriptor,
            is_gone=_is_gone(call, before),
            real=None if argument.kind else call.new_descriptor(),
        )


def _is_gone(call: Call, index: int) -> bool:
    return call.argument(index).endswith(b"<>(deleted)")


def _is_new(flags: bytes) -> bool:
    """Return whether an open(2) with `flags` succeeds only where it makes the file."""
    return b"O_CREAT" in flags and b"O_EXCL" in flags


def _open_kinds(flags: bytes) -> tuple[Use, ...]:
    """Return the uses of an open(2) with `flags` that succeeds."""
    if b"O_PATH" in flags or b"O_DIRECTORY" in flags or b"O_TMPFILE" in flags:
        return (Use.STAT,)
    changes = Use.CREATE if b"O_CREAT" in flags else Use.WRITE
    if b"O_WRONLY" in flags or b"O_TRUNC" in flags or _is_new(flags):
        return (changes,)
    if b"O_RDWR" in flags or b"O_CREAT" in flags:
        return (Use.READ, changes)
    return (Use.READ,)


def _outcome(kind: Use, call: Call) -> Use:
    """Return the use of a call by its error: `kind` if it has none.

    A call that never returned, because its process was killed in it, counts as done.
    """
    if not call.error:
        return kind
    if call.error in _MISSING:
        return Use.ABSENT
    return Use.READ if call.error == b"ENOEXEC" else Use.STAT


def _find_problem(call: Call) -> Problem | None:
    cause = _unknown_cause(call) or (_hidden_cause(call) if call.has_succeeded else "")
    return Problem(call.name, cause) if cause else None


def _unknown_cause(call: Call) -> str:
    """Return the problem with a call that may take paths, but is in no table; or nothing."""
    if b"RESOLVE_IN_ROOT" in call.flags:
        return _OTHER_VIEW
    first = call.argument(0)
    takes_path = first == b'"' or first.startswith(b"AT_FDCWD")
    is_known = call.name in _PATHS or call.name in _NOT_PATHS
    is_odd = call.name.startswith(b"syscall_0x") or (takes_path and not is_known)
    return "is a call that is not known here" if is_odd and call.error != b"ENOSYS" else ""


def _hidden_cause(call: Call) -> str:
    """Return the problem with a call that succeeded, if it hides something; or nothing."""
    if call.name in _BIRTHS and b"CLONE_UNTRACED" in call.flags:
        return "made a process that strace may not follow"
    if b"CLONE_NEWNS" in call.flags or b"OPEN_TREE_CLONE" in call.flags:
        return _OTHER_VIEW
    if call.name in _ON_DESCRIPTORS and call.token(0, b"<>") is None:
        return NAMELESS
    if call.name == b"open_by_handle_at" and call.new_descriptor() is None:
        return "opened a file without naming it"
    return _PROBLEMS.get(call.name, "")
