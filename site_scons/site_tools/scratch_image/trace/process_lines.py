"""The lines of each process or thread in strace's output. Pure: bytes in, values out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

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
