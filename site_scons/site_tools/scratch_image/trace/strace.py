r"""What strace(1) prints, read into the file accesses of a run. Pure: bytes in, values out.

Reading goes in two steps. `_Sorter` gives every process its own lines and joins the halves of
calls that others interrupted. `_Reader` then follows each process, parents before children, and
keeps its working directory: a call without a directory descriptor (``access``, ``readlink``) names
a file relative to it.

A line is split into strings ("..."), descriptor paths (<...>) and what lies between. What lies
between, the *skeleton*, repeats: what it means is worked out once, and kept. Most lines repeat
as a whole; those that mean the same in any process are read once.

The format is described in strace(1); names are printed by ``print_quoted_string_ex`` of its
``util.c``, and the groups of calls are those of its ``sysent_shorthand_defs.h``.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import islice

from ..fs import paths


class Use(StrEnum):
    """What a run did with a path; the value is the word in text records."""

    WRITE = "write"
    """Opened for writing, changed, renamed or removed."""
    CREATE = "create"
    """Made, or opened so that it would have been made. Only in logs; in records it is WRITE."""
    EXEC = "exec"
    """Executed: read by the kernel, its interpreters with it."""
    READ = "read"
    """Opened for reading."""
    LIST = "list"
    """A directory whose names were read."""
    STAT = "stat"
    """Looked at without reading: stat, access, extended attributes, chdir."""
    LINK = "link"
    """A symbolic link that a lookup went through. Only in records: a log does not show it."""
    ABSENT = "absent"
    """Looked for, and not there."""


@dataclass(frozen=True, slots=True)
class Access:
    """One thing done with one path."""

    path: bytes
    """Absolute, as the run named it: ``..`` in it may follow a link, so it is not normalised."""
    kind: Use
    follow: bool = True
    """Whether a link in the last component was followed."""
    real: bytes | None = None
    """The link-free path of the file that was opened, where ``-y`` printed it."""
    sure: bool = True
    """False where the working directory is not known for sure: one of several candidates."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A call that hides from strace what happens next, or what it did."""

    call: bytes
    """Name of the system call."""
    cause: str
    """What about it, as a clause: ``gave the run another view of the file system``."""


@dataclass(frozen=True, slots=True)
class Log:
    """What a run did, as far as strace saw it."""

    accesses: tuple[Access, ...]
    """Sorted, each once."""
    sockets: tuple[bytes, ...] = ()
    """Sorted paths of the UNIX sockets where somebody answered: what that did is not traced."""
    problems: tuple[Problem, ...] = ()
    """Sorted, each once."""
    unparsed: tuple[bytes, ...] = ()
    """Lines that are not strace's, or not understood, process by process."""


def parse(text: bytes, cwd: bytes = b"/") -> Log:
    """Return what strace's output `text` (hostile) tells of a run that started in `cwd`.

    Understood is what ``strace`` and ``strace -f`` print, with ``-o`` or on standard error, with or
    without ``-y``, ``-t``, ``-tt``, ``-ttt``, ``-r`` and ``-T``, and what `join` makes. Nothing is
    raised: what is not understood is in `Log.unparsed`.
    """
    sorter = _Sorter(text)
    return _Reader(sorter.tasks, cwd).log(sorter.unparsed)


def is_whole(text: bytes) -> bool:
    """Tell whether strace's output `text` (hostile) goes on to the end of all its processes."""
    sorter = _Sorter(text)
    return bool(sorter.tasks) and not sorter.living and text.endswith(b"\n")


def line_of(text: bytes, fault: bytes | Problem) -> int:
    """Return the number of the line in strace's output `text` that `fault` of its log is about."""
    lines = text.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if isinstance(fault, Problem):
            found = fault.call + b"(" in line and fault in parse(line).problems
        else:
            rest = _RESUMED.sub(b"", _fields(line)[2], count=1)
            found = bool(rest) and fault.endswith(rest)
        if found:
            return number
    # Others interrupted the call: its name stands in the first half.
    name = fault.call if isinstance(fault, Problem) else fault.partition(b"(")[0]
    return next((at for at, line in enumerate(lines, start=1) if name in line), 1)


def join(logs: Mapping[int, bytes]) -> bytes:
    """Return as one text, as ``strace -f -o`` might have written it, the `logs` of ``strace -ff``.

    `logs` maps process numbers to text. Processes stand in the order in which they were made, a
    child after its parent's last line: the scheduler has no say in the order of lines.
    """
    children = {pid: [int(child) for child in _CHILD.findall(log)] for pid, log in logs.items()}
    born = {child for made in children.values() for child in made}
    stack = sorted(logs, key=lambda pid: (pid in born, pid), reverse=True)
    text: list[bytes] = []
    done = set()
    while stack:
        pid = stack.pop()
        if pid in logs and pid not in done:
            done.add(pid)
            column = b"%-5d " % pid
            text += [column + line + b"\n" for line in logs[pid].split(b"\n") if line]
            stack += reversed(children[pid])
    return b"".join(text)


_CHILD = re.compile(rb"^(?:clone3?|v?fork)\(.*\) += ([1-9][0-9]{0,9})\b", re.MULTILINE)


# Lines, sorted by the process that they tell of.

_PREFIX = re.compile(
    rb"(?:\[pid +(\d+)\] |(\d+) +)?"
    rb"(?: *\d\d:\d\d:\d\d(?:\.\d+)? | *\d+\.\d+ )?(?:\(\+ *\d+\.\d+\) )?(.*)",
    re.DOTALL,
)
_LINES = re.compile(
    rb"((?:\d+ +)?)[a-z][^\n]*(?<!\.\.\.>)\n(?:\1[a-z][^\n]*(?<!\.\.\.>)\n){0,4096}|([^\n]*)\n?"
)
"""Many whole calls of one process that stand together, without times; or else one line.

Possessive quantifiers would say the same, but are broken before Python 3.11.5, which Debian 12
does not have.
"""
_ATTACHED = re.compile(rb"strace: Process (\d+) attached\n")
_RESUMED = re.compile(rb"<\.\.\. \S+ resumed>")
_CUT_SHORT = re.compile(rb" ?<(?:unfinished|detached) \.\.\.>$")
_PID_CHANGED = re.compile(rb" ?<pid changed to \d+ \.\.\.>$")
_SUPERSEDED = re.compile(rb"\+\+\+ superseded by execve in pid (\d+) \+\+\+$")
_ENDED = re.compile(rb"\+\+\+ (?:exited with \d+|killed by \S+(?: \(core dumped\))?) \+\+\+$")


@dataclass(slots=True, eq=False)
class _Task:
    """The whole calls of one process or thread."""

    pid: bytes
    """Its number; nothing for the only process, or the first one on standard error."""
    lines: list[bytes] = field(default_factory=list)


class _Sorter:
    """Gives each process its lines, and joins the halves of calls that others interrupted."""

    def __init__(self, text: bytes) -> None:
        self.tasks: list[_Task] = []
        self.unparsed: list[bytes] = []
        self.living: dict[bytes, _Task] = {}
        """By number: at the end those whose end the text does not show."""
        self._halves: dict[bytes, bytes] = {}
        self._superseded: set[bytes] = set()
        attached = set(_ATTACHED.findall(text)) if b" attached\n" in text else set()
        # On standard error this message may stand in the middle of another process's line.
        self._sort(_ATTACHED.sub(b"", text) if attached else text, attached)
        for pid in list(self._halves):
            self._end_half(pid)

    def _sort(self, text: bytes, attached: set[bytes]) -> None:
        first = None
        for found in _LINES.finditer(text):
            block, column, line = found.group(0, 1, 2)
            if line is None:
                lines = self._task(column.rstrip() or self._only_one()).lines
                lines += block[len(column) : -1].split(b"\n" + column)
                continue
            bracket, pid, rest = _fields(line)
            if bracket:
                if first is None and bracket not in attached:
                    first = bracket
                pid = b"" if bracket == first else bracket
            elif pid is None:
                pid = self._only_one()
            if rest[:1] in (b"<", b"+") or rest[-4:] == b"...>":
                self._sort_mark(pid, rest)
            elif rest:
                self._task(pid).lines.append(rest)

    def _only_one(self) -> bytes:
        """Return whose line it is: standard error names processes only while there are several."""
        return next(iter(self.living)) if len(self.living) == 1 else b""

    def _task(self, pid: bytes) -> _Task:
        task = self.living.get(pid)
        if task is None:
            task = self.living[pid] = _Task(pid)
            self.tasks.append(task)
        return task

    def _sort_mark(self, pid: bytes, rest: bytes) -> None:
        """Take a line that may tell of half a call, or of a process's end."""
        if resumed := _RESUMED.match(rest):
            self._resume(pid, rest, resumed.end())
        elif cut := _CUT_SHORT.search(rest):
            self._end_half(pid)
            self._task(pid)
            self._halves[pid] = rest[: cut.start()]
        elif changed := _PID_CHANGED.search(rest):
            self._task(pid).lines.append(rest[: changed.start()] + b") = 0")
        elif _ENDED.match(rest):
            self._end_half(pid)
            self.living.pop(pid, None)
        elif superseded := _SUPERSEDED.match(rest):
            self._supersede(pid, superseded[1])
        else:
            self._task(pid).lines.append(rest)

    def _resume(self, pid: bytes, rest: bytes, start: int) -> None:
        half = self._halves.pop(pid, None)
        if half is not None:
            self._task(pid).lines.append(half + rest[start:])
        elif pid not in self._superseded:
            self.unparsed.append(rest)

    def _end_half(self, pid: bytes) -> None:
        """Take the first half of a call whose second never came: the process ended in it."""
        half = self._halves.pop(pid, None)
        if half is not None:
            self._task(pid).lines.append(half + b") = ?")

    def _supersede(self, leader: bytes, thread: bytes) -> None:
        """Take the execve of a thread: it goes on under its leader's number."""
        self._end_half(leader)
        half = self._halves.pop(thread, None)
        if half is not None:
            self._task(thread).lines.append(half + b") = 0")
        self._superseded.add(leader)
        self.living.pop(thread, None)


def _fields(line: bytes) -> tuple[bytes | None, bytes | None, bytes]:
    """Return a line's process number in brackets, or in a column, and what follows the times."""
    found = _PREFIX.match(line)
    return (found[1], found[2], found[3]) if found else (None, None, line)


# What the calls mean.


@dataclass(frozen=True, slots=True)
class _Argument:
    """A path among the arguments of a call."""

    index: int
    """Its place, from 0."""
    kind: Use | None
    """What success means; None where the flags of open(2) say it."""
    at: bool = False
    """Whether the argument before is the descriptor that a relative path starts from."""
    follow: bool = True
    """Whether a link in the last component is followed when no flag says otherwise."""


def _calls(*rows: tuple[str, tuple[_Argument, ...]]) -> dict[bytes, tuple[_Argument, ...]]:
    return {name.encode(): arguments for names, arguments in rows for name in names.split()}


def _itself(index: int, kind: Use, *, at: bool = False) -> _Argument:
    """Return a path that names a link itself, not what it leads to."""
    return _Argument(index, kind, at, follow=False)


_PATHS = _calls(
    ("open", (_Argument(0, None),)),
    ("openat openat2", (_Argument(1, None, at=True),)),
    ("creat", (_Argument(0, Use.CREATE),)),
    ("execve", (_Argument(0, Use.EXEC),)),
    ("execveat", (_Argument(1, Use.EXEC, at=True),)),
    ("uselib", (_Argument(0, Use.READ),)),
    ("stat stat64 oldstat access statfs statfs64", (_Argument(0, Use.STAT),)),
    ("chdir chroot getxattr listxattr", (_Argument(0, Use.STAT),)),
    ("lstat lstat64 oldlstat readlink", (_itself(0, Use.STAT),)),
    ("lgetxattr llistxattr", (_itself(0, Use.STAT),)),
    ("newfstatat fstatat64 statx faccessat faccessat2", (_Argument(1, Use.STAT, at=True),)),
    ("getxattrat listxattrat file_getattr open_tree fspick", (_Argument(1, Use.STAT, at=True),)),
    ("readlinkat name_to_handle_at", (_itself(1, Use.STAT, at=True),)),
    ("inotify_add_watch quotactl", (_Argument(1, Use.STAT),)),
    ("fanotify_mark", (_Argument(4, Use.STAT, at=True),)),
    ("chmod chown chown32 utime utimes truncate truncate64", (_Argument(0, Use.WRITE),)),
    ("setxattr removexattr acct swapon swapoff", (_Argument(0, Use.WRITE),)),
    ("lchown lchown32 lsetxattr lremovexattr", (_itself(0, Use.WRITE),)),
    ("fchmodat fchmodat2 fchownat futimesat", (_Argument(1, Use.WRITE, at=True),)),
    ("utimensat utimensat_time64", (_Argument(1, Use.WRITE, at=True),)),
    ("setxattrat removexattrat file_setattr", (_Argument(1, Use.WRITE, at=True),)),
    ("unlink rmdir", (_itself(0, Use.WRITE),)),
    ("unlinkat", (_itself(1, Use.WRITE, at=True),)),
    ("mkdir mknod", (_itself(0, Use.CREATE),)),
    ("mkdirat mknodat", (_itself(1, Use.CREATE, at=True),)),
    ("symlink", (_itself(1, Use.CREATE),)),
    ("symlinkat", (_itself(2, Use.CREATE, at=True),)),
    # What is there by another name now may be read by that.
    ("link rename", (_itself(0, Use.READ), _itself(0, Use.WRITE), _itself(1, Use.CREATE))),
    (
        "linkat renameat renameat2",
        (
            _itself(1, Use.READ, at=True),
            _itself(1, Use.WRITE, at=True),
            _itself(3, Use.CREATE, at=True),
        ),
    ),
    ("mount mount_setattr move_mount pivot_root umount umount2", ()),
)
"""The calls that take paths; the last row's are problems when they succeed."""

_NOT_PATHS = frozenset(
    b"add_key delete_module fsopen getcwd getrandom memfd_create mq_open mq_unlink request_key"
    b" setdomainname sethostname".split()
)
"""Calls that start with a string which is no path."""

_SENDS = frozenset({b"sendto", b"sendmsg", b"sendmmsg"})

_SOCKETS = {b"connect": Use.STAT, b"bind": Use.CREATE, **dict.fromkeys(_SENDS, Use.STAT)}
"""Calls that may name a UNIX socket."""

_ON_DESCRIPTORS = {b"getdents": Use.LIST, b"getdents64": Use.LIST, b"fchdir": Use.STAT}
"""Calls on the file that a descriptor stands for."""

_BRINGS_DESCRIPTORS = frozenset({b"open_by_handle_at", b"pidfd_getfd", b"recvmsg", b"recvmmsg"})
"""Calls that bring a file without naming it: only ``-y`` does."""

_MOVES = frozenset({b"chdir", b"fchdir"})

_BIRTHS = frozenset({b"clone", b"clone3", b"fork", b"vfork"})

_OTHER_VIEW = "gave the run another view of the file system"

_NAMELESS = "named a directory by its descriptor only, for want of strace -y"

_THROUGH = re.compile(
    rb"/(?:dev|proc/(?:self|thread-self|\d+)(?:/task/\d+)?)/(?:fd/\d+|cwd|root)/+[^/]"
)
"""What lies behind a link that only the kernel follows: it differs from process to process."""

_BEHIND = "looked behind a link of /proc, where strace does not see"

_CUT_OFF = "named a file by a name that strace -s cut off"

_PROBLEMS = {
    b"chroot": _OTHER_VIEW,
    b"mount": _OTHER_VIEW,
    b"mount_setattr": _OTHER_VIEW,
    b"move_mount": _OTHER_VIEW,
    b"pivot_root": _OTHER_VIEW,
    b"setns": _OTHER_VIEW,
    b"umount": _OTHER_VIEW,
    b"umount2": _OTHER_VIEW,
    b"ptrace": "traced a process itself, which strace then cannot",
    b"io_uring_setup": "opened a way to files that strace does not see",
}
"""Calls that hide something when they succeed."""

_NO_FOLLOW = (b"O_NOFOLLOW", b"AT_SYMLINK_NOFOLLOW")

_MISSING = frozenset({b"ENOENT", b"ENOTDIR"})

_NO_LOOKUP = frozenset({b"EBADF", b"EFAULT", b"ENAMETOOLONG", b"ENOSYS"})
"""Errors that say nothing of any file."""

_ANSWERS = frozenset({b"connect", *_SENDS})

_ANSWERED = frozenset({b"", b"EAGAIN", b"EINPROGRESS"})

_MOST_PLACES = 64
"""Candidates for one working directory, after which guessing is over."""

_DEEPEST = 1 << 16
"""Bytes of a working directory's path: more than PATH_MAX, because chdir(2) may go deeper."""


# Skeletons, and what they mean.

# An escaped quote or bracket starts nothing: to try it would take hours in a hostile line.
_TOKEN = re.compile(
    rb'("(?<!\\")[^"\\]*(?:\\.[^"\\]*)*"(?:\.\.\.)?|<(?<!\\<)[^<>\\]*(?:\\.[^<>\\]*)*>)', re.DOTALL
)
_CALL = re.compile(rb"(\w+)\((.*?)\) += (-?\w+|\?)(.*)", re.DOTALL)
_ADDRESS = re.compile(rb" 0x[0-9a-f]+")
_REMARK = re.compile(
    rb"--- .* ---$|\[ Process PID=\d+ runs in .* mode\. \]$|\?+\(|strace: Process \d+ detached$"
)
"""Lines without a meaning for files: signals, ABI changes, calls that strace could not fetch."""
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"f": b"\f", b"v": b"\v"}


@dataclass(frozen=True, slots=True)
class _Place:
    """Which parts of a line make up a path."""

    kind: Use
    follow: bool
    name: int | None
    """The string; None where the descriptor alone names the file."""
    base: int | None = None
    """The path of the descriptor that the string starts from; None for the working directory."""
    nameless: bool = False
    """Whether there is such a descriptor, but not its path: no ``-y``."""
    gone: bool = False
    """Whether that descriptor's file has no path any more."""
    real: int | None = None
    """The path of the descriptor that the call gave."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What all lines of one skeleton mean."""

    call: bytes
    places: tuple[_Place, ...]
    cwd: int | None
    """Which part is the path of the working directory."""
    child: bytes
    """Number of the process that was made, or nothing."""
    shares: bool
    """Whether the working directory is shared with that process from now on (CLONE_FS)."""
    leaves: bool
    """Whether it is shared no longer."""
    moves: bool
    """Whether the place is the new working directory."""
    connects: bool
    """Whether the place is a socket where somebody answered."""
    problem: Problem | None

    @property
    def acts(self) -> bool:
        """Whether the line changes what later lines mean."""
        return self.moves or self.leaves or self.child != b""


class _Words:
    """A skeleton's words: the call's name, its arguments and its result."""

    def __init__(self, parts: list[bytes]) -> None:
        """Take a line's parts: strings and descriptor paths at the odd places, text between."""
        words = list(parts)
        words[1::2] = [b'"' if part[:1] == b'"' else b"<>" for part in parts[1::2]]
        found = _CALL.match(b"".join(words))
        fields: Sequence[bytes] = found.groups() if found else (b"", b"", b"", b"")
        self.call, self.flags, self.value, self._after = fields
        self.arguments = self.flags.split(b", ")
        tokens = iter(range(1, len(parts), 2))
        self._tokens = [list(islice(tokens, _marks(word))) for word in self.arguments]
        self._rest = list(tokens)

    @property
    def error(self) -> bytes:
        """The errno's name, or nothing."""
        return (self._after.split() or [b"?"])[0] if self.value == b"-1" else b""

    @property
    def worked(self) -> bool:
        """Whether the call is known to have succeeded."""
        return self.value not in (b"-1", b"?")

    def argument(self, index: int) -> bytes:
        """Return argument `index`, or nothing."""
        return self.arguments[index] if 0 <= index < len(self.arguments) else b""

    def token(self, index: int, mark: bytes) -> int | None:
        """Return which part is the first token of argument `index`; None if it has no `mark`."""
        return self._tokens[index][0] if mark in self.argument(index) else None

    def opened(self) -> int | None:
        """Return which part is the path of the descriptor that the call gave."""
        given = self.worked and self._after[:2] == b"<>" and self._after[2:11] != b"(deleted)"
        return self._rest[0] if given else None

    def sockets(self) -> list[int]:
        """Return which parts are paths of UNIX sockets; names without a file start with @."""
        words = zip(self.arguments, self._tokens, strict=True)
        return [tokens[0] for word, tokens in words if b'sun_path="' in word]

    def received(self) -> list[int]:
        """Return which parts are paths of descriptors that a message brought (SCM_RIGHTS)."""
        numbers = re.compile(rb"(?:cmsg_data=\[)?\d+<>")
        words = zip(self.arguments[1:], self._tokens[1:], strict=True)
        return [token for word, tokens in words if numbers.match(word) for token in tokens]


def _marks(word: bytes) -> int:
    return word.count(b'"') + word.count(b"<>")


def _shape(parts: list[bytes]) -> _Shape | None:
    """Return what lines such as `parts` mean; None when they are no call."""
    if any(b'"' in gap or b"<>" in gap for gap in parts[::2]):
        return None
    words = _Words(parts)
    if not words.call:
        return None
    born = words.call in _BIRTHS and words.worked
    left = words.call == b"unshare" and words.worked
    return _Shape(
        call=words.call,
        places=tuple(_places(words)),
        cwd=_cwd(words),
        child=words.value if born else b"",
        shares=b"CLONE_FS" in words.flags,
        leaves=left and (b"CLONE_FS" in words.flags or b"CLONE_NEWNS" in words.flags),
        moves=words.call in _MOVES and words.worked,
        connects=words.call in _ANSWERS and words.error in _ANSWERED,
        problem=_problem(words),
    )


def _cwd(words: _Words) -> int | None:
    if words.call == b"getcwd" and words.worked:
        return words.token(0, b'"')
    for index, word in enumerate(words.arguments):
        if word == b"AT_FDCWD<>":
            return words.token(index, b"<>")
    return None


def _places(words: _Words) -> Iterator[_Place]:
    if words.error in _NO_LOOKUP:
        return
    for argument in _PATHS.get(words.call, ()):
        if words.argument(argument.index) == b'"':
            yield from _argument_places(words, argument)
    if words.call in _SOCKETS:
        for token in words.sockets():
            yield _Place(_outcome(_SOCKETS[words.call], words), True, token)
    elif words.call in _ON_DESCRIPTORS and words.worked:
        base = words.token(0, b"<>")
        yield _Place(_ON_DESCRIPTORS[words.call], False, None, base, gone=_is_gone(words, 0))
    elif words.call in _BRINGS_DESCRIPTORS and words.worked:
        opened = words.opened()
        for part in words.received() if opened is None else [opened]:
            yield _Place(Use.READ, False, None, part)


def _argument_places(words: _Words, argument: _Argument) -> Iterator[_Place]:
    before = argument.index - 1 if argument.at else -1
    descriptor = words.argument(before)
    follow = argument.follow or b"AT_SYMLINK_FOLLOW" in words.flags
    kinds = (argument.kind,) if argument.kind else _open_kinds(words.flags)
    for kind in dict.fromkeys(_outcome(kind, words) for kind in kinds):
        yield _Place(
            kind,
            follow
            and not _is_new(words.flags)
            and not any(map(words.flags.__contains__, _NO_FOLLOW)),
            words.token(argument.index, b'"'),
            words.token(before, b"<>"),
            nameless=descriptor[:1].isdigit() and b"<>" not in descriptor,
            gone=_is_gone(words, before),
            real=None if argument.kind else words.opened(),
        )


def _is_gone(words: _Words, index: int) -> bool:
    return words.argument(index).endswith(b"<>(deleted)")


def _is_new(flags: bytes) -> bool:
    """Tell whether an open(2) with `flags` succeeds only where it makes the file."""
    return b"O_CREAT" in flags and b"O_EXCL" in flags


def _open_kinds(flags: bytes) -> tuple[Use, ...]:
    """Return what an open(2) with `flags` does when it succeeds."""
    if b"O_PATH" in flags or b"O_DIRECTORY" in flags or b"O_TMPFILE" in flags:
        return (Use.STAT,)
    changes = Use.CREATE if b"O_CREAT" in flags else Use.WRITE
    if b"O_WRONLY" in flags or b"O_TRUNC" in flags or _is_new(flags):
        return (changes,)
    if b"O_RDWR" in flags or b"O_CREAT" in flags:
        return (Use.READ, changes)
    return (Use.READ,)


def _outcome(kind: Use, words: _Words) -> Use:
    """Return what a call that would do `kind` did, by its error.

    A call that never returned, because its process was killed in it, counts as done.
    """
    if not words.error:
        return kind
    if words.error in _MISSING:
        return Use.ABSENT
    return Use.READ if words.error == b"ENOEXEC" else Use.STAT


def _problem(words: _Words) -> Problem | None:
    cause = _unknown(words) or (_hidden(words) if words.worked else "")
    return Problem(words.call, cause) if cause else None


def _unknown(words: _Words) -> str:
    """Return what to say of a call that may take paths, but is in no table."""
    if b"RESOLVE_IN_ROOT" in words.flags:
        return _OTHER_VIEW
    first = words.argument(0)
    takes_path = first == b'"' or first.startswith(b"AT_FDCWD")
    known = words.call in _PATHS or words.call in _NOT_PATHS
    odd = words.call.startswith(b"syscall_0x") or (takes_path and not known)
    return "is a call that is not known here" if odd and words.error != b"ENOSYS" else ""


def _hidden(words: _Words) -> str:
    """Return what to say of a call that succeeded and hides something."""
    if words.call in _BIRTHS and b"CLONE_UNTRACED" in words.flags:
        return "made a process that strace may not follow"
    if b"CLONE_NEWNS" in words.flags or b"OPEN_TREE_CLONE" in words.flags:
        return _OTHER_VIEW
    if words.call in _ON_DESCRIPTORS and words.token(0, b"<>") is None:
        return _NAMELESS
    if words.call == b"open_by_handle_at" and words.opened() is None:
        return "opened a file without naming it"
    return _PROBLEMS.get(words.call, "")


@lru_cache(maxsize=256)
def _decode(token: bytes) -> bytes:
    """Return the name that a string or descriptor path spells."""
    name = token[1:-1]
    return _ESCAPE.sub(_unescape, name) if b"\\" in name else name


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes([int(found[1], 16)])
    if found[2]:
        return bytes([int(found[2], 8) & 0xFF])
    return _LETTERS.get(found[3], found[3])


@lru_cache(maxsize=256)
def _decode_file(token: bytes) -> bytes | None:
    """Return the path of the file that a descriptor path spells; None for a pipe and the like."""
    path = _decode(token)
    # Before 5.19 strace wrote this mark into the brackets.
    if path[:1] != b"/" or path[:7] == b"/memfd:" or path.endswith(b" (deleted)"):
        return None
    return path


# Processes, and where they are.


class _Directory:
    """The working directory that tasks share."""

    def __init__(self, candidates: Iterable[bytes]) -> None:
        self.candidates = list(candidates)
        """Where it may be; more than one only where the lines do not say it."""
        self.shared = False
        """Whether other tasks may move it at times that no line tells."""

    def move(self, path: bytes) -> bool:
        """Take a change to `path`; tell whether it can still be followed."""
        places = [paths.join(place, path) for place in self.candidates]
        kept = self.candidates if self.shared else []
        moved = list(dict.fromkeys([*kept, *places]))
        if len(moved) > _MOST_PLACES or len(moved[-1]) > _DEEPEST:
            return False
        self.candidates = moved
        return True

    def see(self, path: bytes) -> None:
        """Take `path`, which strace printed as the working directory."""
        if not self.shared:
            self.candidates = [path]
        elif path not in self.candidates and len(self.candidates) < _MOST_PLACES:
            self.candidates.append(path)


_Key = tuple[bytes, Use, bool, bytes, bool]
"""The fields of an `Access`, made to sort: no real path is an empty one."""


class _Reader:
    """Follows each task through its lines."""

    def __init__(self, tasks: Iterable[_Task], cwd: bytes) -> None:
        self._accesses: set[_Key] = set()
        self._sockets: set[bytes] = set()
        self._problems: set[Problem] = set()
        self._unparsed: list[bytes] = []
        self._later: list[tuple[_Directory, bytes, _Place, bytes]] = []
        self._shapes: dict[tuple[bytes, ...], _Shape | None] = {}
        self._known: dict[bytes, bytes | None] = {}
        self._places: dict[bytes, None] = {cwd: None}
        self._waiting: dict[bytes, deque[_Task]] = {}
        self._sharers: deque[tuple[_Task, _Directory]] = deque()
        self._others: deque[tuple[_Task, _Directory]] = deque()
        self._follow(list(tasks))

    def log(self, unparsed: Iterable[bytes]) -> Log:
        """Return what was read; `unparsed` are lines that never came here."""
        accesses = tuple(
            Access(path, kind, follow, real or None, sure)
            for path, kind, follow, real, sure in sorted(self._accesses)
        )
        sockets, problems = tuple(sorted(self._sockets)), tuple(sorted(self._problems))
        return Log(accesses, sockets, problems, (*unparsed, *self._unparsed))

    def _follow(self, tasks: list[_Task]) -> None:
        for task in tasks:
            self._waiting.setdefault(task.pid, deque()).append(task)
        for task in tasks:
            waiting = self._waiting[task.pid]
            if task in waiting:
                # The first one, or one whose birth no line tells: it may be anywhere.
                waiting.remove(task)
                self._follow_task(task, _Directory(self._places))
                self._follow_children()
        for directory, name, place, real in self._later:
            self._note_candidates(directory, name, place, real)

    def _follow_children(self) -> None:
        """Follow the tasks that were made: sharers first, so that all places they go to are known.

        A child that shares nothing starts at one of those places.
        """
        while self._sharers or self._others:
            if self._sharers:
                self._follow_task(*self._sharers.popleft())
            else:
                task, directory = self._others.popleft()
                self._follow_task(task, _Directory(directory.candidates))

    def _follow_task(self, task: _Task, where: _Directory) -> None:
        known = self._known
        for line in task.lines:
            cwd = known.get(line, b"")
            if cwd == b"":
                where = self._read(line, where)
            elif cwd is not None and cwd != where.candidates[-1]:
                self._see(cwd, where)

    def _see(self, cwd: bytes, where: _Directory) -> None:
        where.see(cwd)
        self._remember(cwd)

    def _read(self, line: bytes, where: _Directory) -> _Directory:
        """Read a line that is not known as it stands; return where the task is now."""
        key = _without_address(line)
        cwd = self._known.get(key, b"")
        if cwd == b"":
            return self._read_anew(line, key, where)
        self._known[line] = cwd
        if cwd is not None and cwd != where.candidates[-1]:
            self._see(cwd, where)
        return where

    def _read_anew(self, line: bytes, key: bytes, where: _Directory) -> _Directory:
        """Read a line, and keep under `key` what it says of any task; return where this one is."""
        parts = _TOKEN.split(line)
        tail = parts[-1]
        skeleton = (*parts[:-1:2], _ADDRESS.sub(b" 0x", tail) if b" 0x" in tail else tail)
        if skeleton not in self._shapes:
            self._shapes[skeleton] = _shape(parts)
        shape = self._shapes[skeleton]
        if shape is None:
            if not _REMARK.match(line):
                self._unparsed.append(line)
            return where
        cwd = _decode_file(parts[shape.cwd]) if shape.cwd is not None else None
        if cwd is not None and cwd != where.candidates[-1]:
            self._see(cwd, where)
        if shape.problem is not None:
            self._problems.add(shape.problem)
        alike = not shape.acts
        for place in shape.places:
            alike &= self._note(shape, place, parts, where)
        if alike:
            self._known[key] = cwd
        return self._act(shape, where) if shape.acts else where

    def _act(self, shape: _Shape, where: _Directory) -> _Directory:
        """Take a birth, or the end of sharing; return where the task is now."""
        waiting = self._waiting.get(shape.child)
        if waiting and shape.shares:
            where.shared = True
            self._sharers.append((waiting.popleft(), where))
        elif waiting:
            start = where if where.shared else _Directory(where.candidates)
            self._others.append((waiting.popleft(), start))
        return _Directory(where.candidates) if shape.leaves else where

    def _note(self, shape: _Shape, place: _Place, parts: list[bytes], where: _Directory) -> bool:
        """Note what was done with a path; tell whether the line means that in any task."""
        string = parts[place.name] if place.name is not None else b'""'
        path = _path(place, _decode(string), parts)
        if string[-1:] != b'"':
            self._problems.add(Problem(shape.call, _CUT_OFF))
        elif b"\0" in path:
            self._unparsed.append(b"".join(parts))
        elif path[:1] == b"/":
            real = _decode_file(parts[place.real]) if place.real is not None else None
            self._accesses.add((path, place.kind, _follows(place, path), real or b"", True))
            if real is None and _THROUGH.match(path):
                self._problems.add(Problem(shape.call, _BEHIND))
            self._go(shape, path, where)
        elif place.nameless and path:
            self._problems.add(Problem(shape.call, _NAMELESS))
        elif path:
            self._note_relative(place, path, parts, where)
            self._go(shape, path, where)
            return False
        return True

    def _note_relative(
        self, place: _Place, path: bytes, parts: list[bytes], where: _Directory
    ) -> None:
        opened = _decode_file(parts[place.real]) if place.real is not None else None
        if where.shared:
            self._later.append((where, path, place, opened or b""))
        else:
            self._note_candidates(where, path, place, opened or b"")

    def _note_candidates(self, where: _Directory, name: bytes, place: _Place, real: bytes) -> None:
        sure = len(where.candidates) == 1
        for start in where.candidates:
            path = paths.join(start, name)
            self._accesses.add((path, place.kind, _follows(place, path), real, sure))

    def _go(self, shape: _Shape, path: bytes, where: _Directory) -> None:
        """Take what follows from an access: a new working directory, or somebody's answer."""
        if shape.connects:
            self._sockets.add(paths.join(where.candidates[0], path))
        if shape.moves:
            if not where.move(path):
                self._problems.add(Problem(shape.call, "moved about too much to be followed"))
            self._remember(where.candidates[-1])

    def _remember(self, place: bytes) -> None:
        if len(self._places) < _MOST_PLACES:
            self._places[place] = None


def _without_address(line: bytes) -> bytes:
    """Return `line` without the address in memory that may follow its first string.

    ``readlink("/a", 0x7ffc12, 9)`` is the same call wherever the buffer was. Where there is doubt
    that the string ends there, the line stays as it is.
    """
    head, address, tail = line.partition(b'", 0x')
    if not address or b"\\" in head or head.count(b"<") != head.count(b">"):
        return line
    return head + address + tail.lstrip(b"0123456789abcdef")


def _path(place: _Place, name: bytes, parts: list[bytes]) -> bytes:
    """Return what `place` names: absolute, relative to the working directory, or nothing."""
    if place.base is None or name[:1] == b"/":
        return name
    if name:
        base = _decode(parts[place.base])
        return paths.join(base, name) if base[:1] == b"/" else b""
    return b"" if place.gone else _decode_file(parts[place.base]) or b""


def _follows(place: _Place, path: bytes) -> bool:
    """Tell whether a link in the last component was followed: before a slash it always is."""
    return place.follow or path.endswith(b"/")
