r"""The accesses of a run, read from strace's log. Pure: bytes in, values out.

`TaskSorter` gives every process its own lines. `_LogReader` then follows each process, parents
before children, and keeps its working directory: a call without a directory descriptor
(``access``, ``readlink``) names a file relative to it. In the log of a test suite it also keeps
which side a process is on: that of the harness, or that of the programs which the harness starts.

A skeleton's meaning is worked out once, and kept. Most lines repeat as a whole; those that mean
the same in any process are read once.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import InputError
from ..fs import paths
from ..sandbox.process import last_words
from .record import Use
from .strace_lines import (
    REMARK,
    Task,
    TaskSorter,
    decode,
    decode_file,
    is_whole,
    skeleton,
    split_line,
    without_address,
    without_resumed,
)
from .syscalls import NAMELESS, Meaning, NamedPath, Problem, find_meaning


@dataclass(frozen=True, slots=True)
class Access:
    """One use of one path."""

    path: bytes
    """Absolute, as the run named it: ``..`` in it may follow a link, so it is not normalised."""
    kind: Use
    follow: bool = True
    """Whether a link in the last component was followed."""
    real: bytes | None = None
    """The link-free path of the file that was opened, where ``-y`` printed it."""
    sure: bool = True
    """False where the working directory is not known for sure: one of several candidates."""
    is_harness: bool = False
    """Whether only the harness of a suite used it, and no program that the suite is about."""


@dataclass(frozen=True, slots=True)
class Log:
    """The accesses of a run, as far as strace saw them."""

    accesses: tuple[Access, ...]
    """Sorted, each once."""
    problems: tuple[Problem, ...] = ()
    """Sorted, each once."""
    unparsed: tuple[bytes, ...] = ()
    """Lines that are not strace's, or not understood, process by process."""
    starts: tuple[tuple[bytes, int], ...] = ()
    """Of a suite: the sorted paths by which it started its programs, and how often."""
    calls: frozenset[bytes] = frozenset()
    """Of a suite: the names of the system calls that its programs made."""


IsProgram = Callable[[bytes], bool]
"""Tells whether an absolute path, as a process executed it, is a program that a suite is about."""


def parse(text: bytes, cwd: bytes = b"/", is_program: IsProgram | None = None) -> Log:
    """Return the log in strace's output `text` (hostile) of a run that started in `cwd`.

    With `is_program` the run is a suite: the first program is its harness. A process that executes
    a program of the suite, and all that it starts from then on, is no harness.

    It reads the output of ``strace`` and ``strace -f``, with ``-o`` or on standard error, with or
    without ``-y``, ``-t``, ``-tt``, ``-ttt``, ``-r`` and ``-T``, and that of
    `strace_lines.join_logs`. It raises nothing: lines that it does not understand are in
    `Log.unparsed`.
    """
    sorter = TaskSorter(text)
    return _LogReader(sorter.tasks, cwd, is_program).log(sorter.unparsed)


def parse_captured(text: bytes, name: str) -> Log:
    """Return the log in strace's output `text` (hostile), the file `name`, of a run of the user's.

    InputError names a line that is not understood, or a call that hides files.
    """
    log = parse(text)
    for line in log.unparsed:
        raise InputError(
            f"read {name}:{line_number(text, line)}",
            f"{last_words(line)!r} is no line of strace",
            "capture it again by strace -f -y -o FILE",
        )
    if not is_whole(text):
        raise InputError(
            f"use {name}:{len(text.splitlines())}",
            "the log ends before its processes do",
            "capture it again by strace -f -y -o FILE, without -qq",
        )
    for problem in log.problems:
        raise InputError(
            f"use {name}:{line_number(text, problem)}",
            f"{problem.call.decode()} {problem.cause}",
            "capture it again by strace -f -y -o FILE, run it without that call, or name its "
            "files in an extra list",
        )
    return log


def line_number(text: bytes, fault: bytes | Problem) -> int:
    """Return the number of the line in strace's output `text` that `fault` of its log is about."""
    lines = text.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if isinstance(fault, Problem):
            found = fault.call + b"(" in line and fault in parse(line).problems
        else:
            rest = without_resumed(line)
            found = bool(rest) and fault.endswith(rest)
        if found:
            return number
    # Another process interrupted the call: its name stands in the first half.
    name = fault.call if isinstance(fault, Problem) else fault.partition(b"(")[0]
    return next((at for at, line in enumerate(lines, start=1) if name in line), 1)


_THROUGH = re.compile(
    rb"/(?:dev|proc/(?:self|thread-self|\d+)(?:/task/\d+)?)/(?:fd/\d+|cwd|root)/+[^/]"
)
"""A path behind a link that only the kernel follows: it differs from process to process."""

_BEHIND = "looked behind a link of /proc, where strace does not see"

_CUT_OFF = "named a file by a name that strace -s cut off"

_MOST_PLACES = 64
"""Candidates for one working directory, after which guessing is over."""

_DEEPEST = 1 << 16
"""Bytes of a working directory's path: more than PATH_MAX, because chdir(2) may go deeper."""


class _WorkingDirectory:
    """The working directory that tasks share."""

    def __init__(self, candidates: Iterable[bytes]) -> None:
        self.candidates = list(candidates)
        """Where it may be; more than one only where the lines do not say it."""
        self.is_shared = False
        """Whether other tasks may move it at times that no line shows."""

    def move(self, path: bytes) -> bool:
        """Take a change to `path`; return whether it can still be followed."""
        places = [paths.join(place, path) for place in self.candidates]
        kept = self.candidates if self.is_shared else []
        moved = list(dict.fromkeys([*kept, *places]))
        if len(moved) > _MOST_PLACES or len(moved[-1]) > _DEEPEST:
            return False
        self.candidates = moved
        return True

    def see(self, path: bytes) -> None:
        """Take `path`, which strace printed as the working directory."""
        if not self.is_shared:
            self.candidates = [path]
        elif path not in self.candidates and len(self.candidates) < _MOST_PLACES:
            self.candidates.append(path)


_Key = tuple[bytes, Use, bool, bytes, bool, bool]
"""The fields of an `Access` in a form that sorts: no real path is an empty one."""

_Child = tuple[Task, _WorkingDirectory, bool]
"""A new task, its working directory, and whether it is of the harness."""


class _LogReader:
    """Follows each task through its lines."""

    def __init__(self, tasks: Iterable[Task], cwd: bytes, is_program: IsProgram | None) -> None:
        self._is_program = is_program
        self._is_harness = is_program is not None
        """Whether the task that is followed is of the harness."""
        self._starts: Counter[bytes] = Counter()
        self._has_started = False
        self._calls: set[bytes] = set()
        self._accesses: set[_Key] = set()
        self._problems: set[Problem] = set()
        self._unparsed: list[bytes] = []
        self._later: list[tuple[_WorkingDirectory, bytes, NamedPath, bytes, bool]] = []
        self._meanings: dict[tuple[bytes, ...], Meaning | None] = {}
        self._known_lines: dict[bool, dict[bytes, bytes | None]] = {True: {}, False: {}}
        """By side: lines that mean the same in any process of it."""
        self._places: dict[bytes, None] = {cwd: None}
        self._waiting: dict[bytes, deque[Task]] = {}
        self._sharers: deque[_Child] = deque()
        self._others: deque[_Child] = deque()
        self._follow(list(tasks))

    def log(self, unparsed: Iterable[bytes]) -> Log:
        """Return the log; `unparsed` are lines of no task."""
        accesses = tuple(
            Access(path, kind, follow, real or None, sure, is_harness)
            for path, kind, follow, real, sure, is_harness in sorted(self._accesses)
        )
        lines, problems = (*unparsed, *self._unparsed), tuple(sorted(self._problems))
        starts = tuple(sorted(self._starts.items()))
        return Log(accesses, problems, lines, starts, frozenset(self._calls))

    def _follow(self, tasks: list[Task]) -> None:
        heirs = {task.heir for task in tasks}
        for task in tasks:
            if task not in heirs:
                self._waiting.setdefault(task.pid, deque()).append(task)
        for task in tasks:
            waiting = self._waiting.get(task.pid, ())
            if waiting and task in waiting:
                # The first one, or one whose birth no line shows: it may be anywhere.
                waiting.remove(task)
                # A later one has an unknown parent, which may be a program.
                is_harness = self._is_program is not None and task is tasks[0]
                self._follow_task(task, _WorkingDirectory(self._places), is_harness)
                self._follow_children()
        for directory, name, named, real, is_harness in self._later:
            self._is_harness = is_harness
            self._note_candidates(directory, name, named, real)

    def _follow_children(self) -> None:
        """Follow the new tasks: sharers first, so that all places where they go are known.

        A child that shares nothing starts at one of those places.
        """
        while self._sharers or self._others:
            if self._sharers:
                self._follow_task(*self._sharers.popleft())
            else:
                task, directory, is_harness = self._others.popleft()
                self._follow_task(task, _WorkingDirectory(directory.candidates), is_harness)

    def _follow_task(self, task: Task, where: _WorkingDirectory, is_harness: bool) -> None:
        self._is_harness = is_harness
        known = self._known
        for line in task.lines:
            cwd = known.get(line, b"")
            if cwd == b"":
                where = self._read(line, where)
                known = self._known
            elif cwd is not None and cwd != where.candidates[-1]:
                self._see_cwd(cwd, where)
        if task.heir:
            self._others.append((task.heir, where, self._is_harness))

    @property
    def _known(self) -> dict[bytes, bytes | None]:
        return self._known_lines[self._is_harness]

    def _see_cwd(self, cwd: bytes, where: _WorkingDirectory) -> None:
        where.see(cwd)
        self._remember(cwd)

    def _read(self, line: bytes, where: _WorkingDirectory) -> _WorkingDirectory:
        """Read a line that did not come before; return where the task is now."""
        key = without_address(line)
        cwd = self._known.get(key, b"")
        if cwd == b"":
            return self._read_new(line, key, where)
        self._known[line] = cwd
        if cwd is not None and cwd != where.candidates[-1]:
            self._see_cwd(cwd, where)
        return where

    def _read_new(self, line: bytes, key: bytes, where: _WorkingDirectory) -> _WorkingDirectory:
        """Read a line, and note `key` if it means the same in any task; return where it is now."""
        parts = split_line(line)
        text = skeleton(parts)
        if text not in self._meanings:
            self._meanings[text] = find_meaning(parts)
        meaning = self._meanings[text]
        if meaning is None:
            if not REMARK.match(line):
                self._unparsed.append(line)
            return where
        cwd = decode_file(parts[meaning.cwd]) if meaning.cwd is not None else None
        if cwd is not None and cwd != where.candidates[-1]:
            self._see_cwd(cwd, where)
        if meaning.problem is not None:
            self._problems.add(meaning.problem)
        alike = not meaning.acts
        if meaning.executes:
            self._execute(meaning.paths, parts, where)
        if self._is_program and not self._is_harness:
            self._calls.add(meaning.call)
        for named in meaning.paths:
            alike &= self._note(meaning, named, parts, where)
        if alike:
            self._known[key] = cwd
        return self._act(meaning, where) if meaning.acts else where

    def _execute(
        self, named: Iterable[NamedPath], parts: list[bytes], where: _WorkingDirectory
    ) -> None:
        """Take the execution of a file: it is the harness, or it may be a program of the suite."""
        if self._is_program is None:
            return
        if not self._has_started:
            self._has_started = True
            return
        for each in named:
            name = decode(parts[each.name]) if each.name is not None else b""
            path = _resolve_name(each, name, parts)
            for found in [paths.join(start, path) for start in where.candidates] if path else []:
                if self._is_program(found):
                    self._starts[found] += 1
                    self._is_harness = False
                    return

    def _act(self, meaning: Meaning, where: _WorkingDirectory) -> _WorkingDirectory:
        """Take a birth, or the end of sharing; return where the task is now."""
        waiting = self._waiting.get(meaning.child)
        if waiting and meaning.shares:
            where.is_shared = True
            self._sharers.append((waiting.popleft(), where, self._is_harness))
        elif waiting:
            start = where if where.is_shared else _WorkingDirectory(where.candidates)
            self._others.append((waiting.popleft(), start, self._is_harness))
        return _WorkingDirectory(where.candidates) if meaning.leaves else where

    def _note(
        self, meaning: Meaning, named: NamedPath, parts: list[bytes], where: _WorkingDirectory
    ) -> bool:
        """Note the use of a path; return whether the line means the same in any task."""
        string = parts[named.name] if named.name is not None else b'""'
        path = _resolve_name(named, decode(string), parts)
        real = decode_file(parts[named.real]) if named.real is not None else None
        if string[-1:] != b'"':
            self._problems.add(Problem(meaning.call, _CUT_OFF))
        elif b"\0" in path:
            self._unparsed.append(b"".join(parts))
        elif path[:1] == b"/":
            follow = _follows(named, path)
            self._accesses.add((path, named.kind, follow, real or b"", True, self._is_harness))
            if real is None and _THROUGH.match(path):
                self._problems.add(Problem(meaning.call, _BEHIND))
            self._go(meaning, path, where)
        elif named.is_nameless and path:
            self._problems.add(Problem(meaning.call, NAMELESS))
        elif path:
            if where.is_shared:
                self._later.append((where, path, named, real or b"", self._is_harness))
            else:
                self._note_candidates(where, path, named, real or b"")
            self._go(meaning, path, where)
            return False
        return True

    def _note_candidates(
        self, where: _WorkingDirectory, name: bytes, named: NamedPath, real: bytes
    ) -> None:
        sure = len(where.candidates) == 1
        for start in where.candidates:
            path = paths.join(start, name)
            follow = _follows(named, path)
            self._accesses.add((path, named.kind, follow, real, sure, self._is_harness))

    def _go(self, meaning: Meaning, path: bytes, where: _WorkingDirectory) -> None:
        """Take the effect of an access: a new working directory."""
        if meaning.moves:
            if not where.move(path):
                self._problems.add(Problem(meaning.call, "moved about too much to be followed"))
            self._remember(where.candidates[-1])

    def _remember(self, place: bytes) -> None:
        if len(self._places) < _MOST_PLACES:
            self._places[place] = None


def _resolve_name(named: NamedPath, name: bytes, parts: list[bytes]) -> bytes:
    """Return the path: absolute, relative to the working directory, or nothing."""
    if named.base is None or name[:1] == b"/":
        return name
    if name:
        base = decode(parts[named.base])
        return paths.join(base, name) if base[:1] == b"/" else b""
    return b"" if named.is_gone else decode_file(parts[named.base]) or b""


def _follows(named: NamedPath, path: bytes) -> bool:
    """Return whether a link in the last component was followed: before a slash it always is."""
    return named.follow or path.endswith(b"/")
