r"""The lines of strace(1): those of each process, and the words of each line. Bytes in, values out.

A line is split into strings ("..."), descriptor paths (<...>) and the text between, the *skeleton*,
which repeats from line to line. strace prints names by ``print_quoted_string_ex`` of its
``util.c``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

# An escaped quote or bracket starts nothing: to try it would take hours in a hostile line.
_TOKEN = re.compile(
    rb'("(?<!\\")[^"\\]*(?:\\.[^"\\]*)*"(?:\.\.\.)?|<(?<!\\<)[^<>\\]*(?:\\.[^<>\\]*)*>)', re.DOTALL
)
_CALL = re.compile(rb"(\w+)\((.*?)\) += (-?\w+|\?)(.*)", re.DOTALL)
_ADDRESS = re.compile(rb" 0x[0-9a-f]+")
REMARK = re.compile(
    rb"--- .* ---$|\[ Process PID=\d+ runs in .* mode\. \]$|\?+\(|strace: Process \d+ detached$"
)
"""Lines without a meaning for files: signals, ABI changes, calls that strace could not fetch."""
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"f": b"\f", b"v": b"\v"}

split_line = _TOKEN.split
"""Returns the parts of a line: strings and descriptor paths at odd places, text between."""


def skeleton(parts: list[bytes]) -> tuple[bytes, ...]:
    """Return the text between the strings of `parts`, without addresses in memory at the end."""
    tail = parts[-1]
    return (*parts[:-1:2], _ADDRESS.sub(b" 0x", tail) if b" 0x" in tail else tail)


def without_address(line: bytes) -> bytes:
    """Return `line` without the address in memory that may follow its first string.

    ``readlink("/a", 0x7ffc12, 9)`` is the same call wherever the buffer was. Where there is doubt
    that the string ends there, the line stays as it is.
    """
    head, address, tail = line.partition(b'", 0x')
    if not address or b"\\" in head or head.count(b"<") != head.count(b">"):
        return line
    return head + address + tail.lstrip(b"0123456789abcdef")


class Call:
    """A skeleton in words: the call's name, its arguments and its result."""

    def __init__(self, parts: list[bytes]) -> None:
        """Take the parts of a line, as `split_line` returns them."""
        words = list(parts)
        words[1::2] = [b'"' if part[:1] == b'"' else b"<>" for part in parts[1::2]]
        found = _CALL.match(b"".join(words))
        fields: Sequence[bytes] = found.groups() if found else (b"", b"", b"", b"")
        self.name, self.flags, self.value, self._after = fields
        self.arguments = self.flags.split(b", ")
        tokens = iter(range(1, len(parts), 2))
        self._tokens = [list(islice(tokens, _count_tokens(word))) for word in self.arguments]
        self._rest = list(tokens)

    @property
    def error(self) -> bytes:
        """The errno's name, or nothing."""
        return (self._after.split() or [b"?"])[0] if self.value == b"-1" else b""

    @property
    def has_succeeded(self) -> bool:
        """Whether the call is known to have succeeded."""
        return self.value not in (b"-1", b"?")

    def argument(self, index: int) -> bytes:
        """Return argument `index`, or nothing."""
        return self.arguments[index] if 0 <= index < len(self.arguments) else b""

    def token(self, index: int, mark: bytes) -> int | None:
        """Return which part is the first token of argument `index`; None if it has no `mark`."""
        return self._tokens[index][0] if mark in self.argument(index) else None

    def new_descriptor(self) -> int | None:
        """Return which part is the path of the descriptor that the call returned."""
        has_path = self._after[:2] == b"<>" and self._after[2:11] != b"(deleted)"
        return self._rest[0] if self.has_succeeded and has_path else None

    def sockets(self) -> list[int]:
        """Return which parts are paths of UNIX sockets; names without a file start with @."""
        words = zip(self.arguments, self._tokens, strict=True)
        return [tokens[0] for word, tokens in words if b'sun_path="' in word]

    def passed_descriptors(self) -> list[int]:
        """Return which parts are paths of descriptors that a message brought (SCM_RIGHTS)."""
        numbers = re.compile(rb"(?:cmsg_data=\[)?\d+<>")
        words = zip(self.arguments[1:], self._tokens[1:], strict=True)
        return [token for word, tokens in words if numbers.match(word) for token in tokens]


def parse_call(parts: list[bytes]) -> Call | None:
    """Return the call of a line; None when it is none."""
    if any(b'"' in gap or b"<>" in gap for gap in parts[::2]):
        return None
    call = Call(parts)
    return call if call.name else None


def _count_tokens(word: bytes) -> int:
    return word.count(b'"') + word.count(b"<>")


@lru_cache(maxsize=256)
def decode(token: bytes) -> bytes:
    """Return the name in a string or descriptor path."""
    name = token[1:-1]
    return _ESCAPE.sub(_unescape, name) if b"\\" in name else name


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return bytes([int(found[1], 16)])
    if found[2]:
        return bytes([int(found[2], 8) & 0xFF])
    return _LETTERS.get(found[3], found[3])


@lru_cache(maxsize=256)
def decode_file(token: bytes) -> bytes | None:
    """Return the path of the file in a descriptor path; None for a pipe and the like."""
    path = decode(token)
    # Before 5.19 strace wrote this mark into the brackets.
    if path[:1] != b"/" or path[:7] == b"/memfd:" or path.endswith(b" (deleted)"):
        return None
    return path


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
_CHILD = re.compile(rb"^(?:clone3?|v?fork)\(.*\) += ([1-9][0-9]{0,9})\b", re.MULTILINE)


@dataclass(slots=True, eq=False)
class Task:
    """The whole calls of one process or thread."""

    pid: bytes
    """Its number; nothing for the only process, or the first one on standard error."""
    lines: list[bytes] = field(default_factory=list)
    heir: Task | None = None
    """The task of the whole process after this one, a thread, has executed a program."""


class TaskSorter:
    """Gives each process its lines, and joins the halves of interrupted calls."""

    def __init__(self, text: bytes) -> None:
        self.tasks: list[Task] = []
        self.unparsed: list[bytes] = []
        self.living: dict[bytes, Task] = {}
        """By number: in the end those whose end the text does not show."""
        self._halves: dict[bytes, bytes] = {}
        self._superseded: set[bytes] = set()
        self._heirs: dict[bytes, Task] = {}
        """By number of a thread whose lines come later."""
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
            bracket, pid, rest = split_prefix(line)
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

    def _task(self, pid: bytes) -> Task:
        task = self.living.get(pid)
        if task is None:
            task = self.living[pid] = Task(pid, heir=self._heirs.pop(pid, None))
            self.tasks.append(task)
        return task

    def _sort_mark(self, pid: bytes, rest: bytes) -> None:
        """Take a line that may be half a call, or the end of a process."""
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
        self.living.pop(leader, None)
        heir = self._task(leader)
        if thread in self.living:
            self.living.pop(thread).heir = heir
        else:
            self._heirs[thread] = heir


def split_prefix(line: bytes) -> tuple[bytes | None, bytes | None, bytes]:
    """Return a line's process number in brackets, or in a column, and the text after the times."""
    found = _PREFIX.match(line)
    return (found[1], found[2], found[3]) if found else (None, None, line)


def without_resumed(line: bytes) -> bytes:
    """Return the second half of a call, or a whole line, without process number and times."""
    return _RESUMED.sub(b"", split_prefix(line)[2], count=1)


def is_whole(text: bytes) -> bool:
    """Return whether strace's output `text` (hostile) goes on to the end of all its processes."""
    sorter = TaskSorter(text)
    return bool(sorter.tasks) and not sorter.living and text.endswith(b"\n")


def join_logs(logs: Mapping[int, bytes]) -> bytes:
    """Return as one text, as ``strace -f -o`` might have written it, the `logs` of ``strace -ff``.

    `logs` maps process numbers to text. Processes stand in the order of their birth, a child after
    its parent's last line: the scheduler has no influence on the order of lines.
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
