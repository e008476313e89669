"""Runs a program under strace, and settles what its log means into a record.

A private run sees a root as it is, and what it writes is thrown away. Any other happens in the
machine's file system: staged files are at their build paths, and what it writes stays written.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..elf import machines, reader
from ..elf.loader_cache import CACHE
from ..elf.shebang import interpreter_chain
from ..errors import InputError, ListError, TraceError
from ..fs.kernel_trees import is_in_kernel_tree
from ..fs.paths import PATH_MAX, escape, is_plain, join, parents, show, unescape
from ..fs.root import Aspect, Root
from ..fs.status import FileKind, Status
from ..fs.walk import Walk
from ..sandbox import process
from ..sandbox.namespaces import Emulator, Sandbox
from ..sandbox.output import last_words
from ..sandbox.private_view import HIDDEN, private_view
from ..sandbox.run import Run
from ..sandbox.runner import Failure, RunOutcome, ServerAccess, execute
from .strace import Access, Log, Use, is_whole, line_of, parse
from .strace import join as join_logs

OLDEST_STRACE = (5, 10)
"""The oldest release that knows every call by which C libraries open and look at files.

openat2(2) came with 5.6 and faccessat2(2) with 5.8. What strace does not know is hidden by
``--seccomp-bpf``.
"""

KEEPS_PRIVILEGES = (6, 2)
"""The first release whose ``--seccomp-bpf`` leaves set-id programs their privileges."""

HEADER = b"# scratch_image trace 1\n"

_CALLS = (
    "%file,?getdents,?getdents64,?fchdir,?clone,?clone3,?fork,?vfork,?unshare,?setns,?connect,?bind,"
    "?sendto,?sendmsg,?sendmmsg,?recvmsg,?recvmmsg,?open_by_handle_at,?memfd_create,?pidfd_getfd,?io_uring_setup,?ptrace,"
    "?add_key,?keyctl,?request_key"
)

_SOME = ("-y", "-s", "4096", "-e", f"trace={_CALLS}", "-e", "inject=io_uring_setup:error=ENOSYS")
_ALL = ("-s", "0", "-e", "trace=all", "-e", "verbose=none")
_NO_KEYS = ("-e", "inject=add_key,keyctl,request_key:error=EPERM")


@dataclass(frozen=True, slots=True)
class Used:
    """One line of a record."""

    kind: Use
    """The strongest use that the run made of `path`; compares equal to its word."""
    path: bytes
    """Link-free image path."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a run used, wrote and did not find."""

    uses: tuple[Used, ...]
    """One for each path, sorted by path."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One traced run."""

    text: bytes
    """strace's text, as ``strace -f -o`` writes it, process by process."""
    record: Record
    stdout: bytes
    """What the program printed; of very much output the middle is left out, which is marked."""

    @property
    def files(self) -> int:
        """How many paths the run used that are there."""
        outside = (Use.ABSENT, Use.WRITE)
        return sum(use.kind not in outside for use in self.record.uses)

    @property
    def absent(self) -> int:
        """How many paths the run looked for in vain."""
        return sum(use.kind is Use.ABSENT for use in self.record.uses)


def trace(
    run: Run, program: bytes, root: Root, strace: bytes = b"strace", *, private: bool = False
) -> Trace:
    """Run `program` (image path) as `run` says under `strace`; return what it used.

    `strace` is a path, or a name to be looked for where programs are. With `private` the run has a
    view of `root` for itself. What the result depends on is put on the root's record. TraceError
    when the program cannot be traced, does not end as expected, or does what makes its trace
    worthless; SandboxError when a tool for the view is missing.
    """
    tool = Tool.find(run, strace)
    if private:
        found = root.walk(program)
        root.hide(HIDDEN, (*found.links, found.real))
    target = _Target.find(run, program, root, private=private)
    with tempfile.TemporaryDirectory(prefix="scratch_image-") as name:
        directory = os.path.realpath(os.fsencode(name))
        started_ns = _clock(directory)
        if private:
            sandbox = private_view(root.files, directory, run, target.emulator)
            outcome, text = trace_in_sandbox(sandbox, run, target.path, tool, has_commands=True)
        else:
            if not os.path.isdir(run.cwd):
                cause = f"it cannot start in {show(run.cwd)}: there is no such directory"
                raise TraceError(f"trace run {run.name}", cause, _START)
            # The machine has staged files elsewhere: the program is told where.
            words = [target.path, *(root.files.staged.get(word, word) for word in run.argv[1:])]
            command = tool.command(words, directory, filters=tool.filters(target))
            outcome = execute(run, command)
            text = join_logs(_logs(run, directory))
        log = _with_start(parse(text, run.cwd), run.cwd)
        stripped = private or tool.strips_privileges(target)
        hint = tool.keeping_privileges(target, root, private=private)
        if stripped and outcome.failure:
            # The privileges that it lost may be all that a failed run lacked.
            named = {access.path for access in log.accesses if access.kind is Use.EXEC}
            _check_privileges(run, {root.walk(path).real for path in named}, root, hint)
        _check_end(run, outcome, log, target)
        _check_log(run, log)
        # Before our directory goes: who listed the one above it would have seen that change.
        settling = _Settling(log, root, started_ns, private=private)
        _check_inputs(run, settling, target)
        if stripped:
            executed = {use.path for use in settling.record.uses if use.kind is Use.EXEC}
            _check_privileges(run, executed, root, hint)
    record = _without(settling.record, root.files.image_path(run.stdin) if run.stdin else b"")
    return Trace(text, record, outcome.result.stdout)


_ENTERED = re.compile(rb'^chroot\("[^\n]*\) += 0\n', re.MULTILINE)
"""Where a log passes from the way in to the program."""


def trace_in_sandbox(
    sandbox: Sandbox, run: Run, program: bytes, tool: Tool, *, has_commands: bool = False
) -> tuple[RunOutcome, bytes]:
    """Carry out `run` in `sandbox` under strace.

    With `has_commands` the root has the commands that test a server; else they are the host's, in
    the sandbox's namespaces. Return how it went, and strace's text by the names that paths have in
    the sandbox, from the start of the program on.
    """
    enter_words = sandbox.enter_words(_environment(run), run.cwd)
    words = [*enter_words, program, *run.argv[1:]]
    command = [*sandbox.unshare_words(run.stdin), *tool.command(words, sandbox.directory)]
    access = ServerAccess(sandbox.join_words, sandbox.root, enter_words if has_commands else ())
    outcome = execute(_seen_from_outside(run), command, access)
    logs = _logs(run, sandbox.directory)
    if logs:
        logs[min(logs)] = _ENTERED.split(logs[min(logs)], 1)[-1]
    # strace is outside of the root, and sees some paths from there.
    prefix = re.compile(re.escape(sandbox.root) + rb"(?=[/>\"])/?")
    text = prefix.sub(b"/", join_logs(logs))
    return _with_space(outcome, run, text), text.replace(sandbox.stdin, b"/dev/stdin")


_FULL = re.compile(rb"no space left on device|= -1 ENOSPC ", re.IGNORECASE)
"""How programs call ENOSPC, and strace."""


def _with_space(outcome: RunOutcome, run: Run, text: bytes) -> RunOutcome:
    """Return `outcome`, whose failure says so if the run had no space left in its root.

    strace does not report writes, since a stop at each would take too long: its `text` has only the
    files that could not be made. So the program's own words count as well.
    """
    failure, outputs = outcome.failure, (outcome.result.stdout, outcome.result.stderr, text)
    if not failure or failure.is_limit or not any(map(_FULL.search, outputs)):
        return outcome
    cause = f"{failure.cause}, when nothing was left of the {run.limits.space} MB that it may write"
    hint = "let it write less, or raise TRACE_SPACE"
    return replace(outcome, failure=Failure(cause, hint, is_limit=True))


def _environment(run: Run) -> dict[bytes, bytes]:
    return {b"PATH": process.SEARCH_PATH, b"HOME": b"/", **run.environment}


def _seen_from_outside(run: Run) -> Run:
    """Return `run` as it looks from outside; its input and its directory are in the plan."""
    status = process.shell_status(run.status)
    return replace(run, environment={}, cwd=b"/", stdin=None, status=status)


def _with_start(log: Log, cwd: bytes) -> Log:
    """Return `log` with the directory where the run started: nothing shows it, and it is used."""
    start = () if cwd == b"/" else (Access(cwd, Use.STAT),)
    return replace(log, accesses=(*start, *log.accesses))


def _without(record: Record, path: bytes) -> Record:
    """Return `record` without `path`: standard input is the run's, and in no container's image."""
    return Record(tuple(use for use in record.uses if use.path != path))


def _clock(directory: bytes) -> int:
    """Return the time by the clock that ctimes are taken from, in nanoseconds.

    It ticks every few milliseconds, and is behind the one that programs read.
    """
    name = join(directory, b"started")
    with open(name, "wb") as stream:
        return os.fstat(stream.fileno()).st_ctime_ns


_MOST_LOG = 1 << 29
"""Bytes of log that are read: many times what a compiler of a whole project leaves."""


def _logs(run: Run, directory: bytes) -> dict[int, bytes]:
    """Return what strace wrote into `directory`, by process number; TraceError for too much."""
    names = [name for name in os.listdir(directory) if name.startswith(b"log.")]
    size = sum(os.path.getsize(join(directory, name)) for name in names)
    if size > _MOST_LOG:
        raise TraceError(f"trace run {run.name}", f"its log has {size >> 20} MB", "let it do less")
    found = {}
    for name in names:
        with open(join(directory, name), "rb") as stream:
            found[int(name.partition(b".")[2])] = stream.read()
    return found


@dataclass(frozen=True, slots=True)
class _Target:
    """The program that is traced."""

    path: bytes
    """How it is called where it runs."""
    real: bytes
    """Its image path without links."""
    shown: str
    """Its image path, for messages."""
    privileged: bool
    """Whether executing it gives privileges: set-user-ID, set-group-ID or file capabilities."""
    emulator: Emulator | None
    """What runs a program for another machine; None for what runs by itself."""

    @classmethod
    def find(cls, run: Run, program: bytes, root: Root, *, private: bool) -> _Target:
        if root.files.base != b"/" and not private:
            raise TraceError(
                f"trace run {run.name}",
                f"its root is {show(root.files.base)}, and this run would see the machine's own",
                "allow private roots, or set RUNS=[] and list its files",
            )
        found = root.walk(program)
        if found.status is None:
            raise TraceError(
                f"trace run {run.name}", f"there is no {show(found.real)}", "build or install it"
            )
        if found.status.kind is not FileKind.FILE or not found.status.mode & 0o111:
            raise TraceError(
                f"trace run {run.name}",
                f"{show(program)} is no executable file",
                "name the program, and make it executable",
            )
        runs = emulator(run, program, root, private=private)
        # Of a link the name is kept: some programs do what their name says.
        staged = found.real in root.files.staged and not private
        path = root.files.host_path(found.real) if staged else program
        privileged = _is_privileged(root.files.host_path(found.real), found.status)
        return cls(path, found.real, show(program), privileged, runs)


def _is_privileged(path: bytes, status: Status) -> bool:
    if status.mode & (stat.S_ISUID | stat.S_ISGID):
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


_CPUS = itertools.count()


@dataclass(frozen=True, slots=True)
class Tool:
    """A strace."""

    path: bytes
    version: tuple[int, int]
    every: bool = False
    """Whether it tells of all calls, and of most of them no more than the name."""

    def of_all_calls(self) -> Tool:
        """Return the same strace, to tell of all calls."""
        return replace(self, every=True)

    @classmethod
    def find(cls, run: Run, name: bytes) -> Tool:
        """Return the strace `name`, path or name, for `run`; TraceError when it is of no use."""
        path = process.find(name)
        if path is None:
            raise TraceError(
                f"trace run {run.name}",
                f"there is no {show(name)}",
                "apt-get install strace, or correct STRACE",
            )
        answer = process.run([path, b"--version"], timeout=run.timeout)
        found = re.match(rb"strace -- version (\d+)\.(\d+)", answer.stdout)
        if not found:
            raise TraceError(
                f"trace run {run.name}",
                f"{show(path)} does not tell its version as strace does",
                "apt-get install strace, or correct STRACE",
            )
        version = int(found[1]), int(found[2])
        if version < OLDEST_STRACE:
            raise TraceError(
                f"trace run {run.name}",
                f"{show(path)} is strace {version[0]}.{version[1]}, which does not know all calls",
                f"install {OLDEST_STRACE[0]}.{OLDEST_STRACE[1]} or newer",
            )
        return cls(path, version)

    def strips_privileges(self, target: _Target) -> bool:
        """Tell whether what `target` executes runs without the privileges that its file gives."""
        return os.geteuid() != 0 or (self.filters(target) and self.version < KEEPS_PRIVILEGES)

    def keeping_privileges(self, target: _Target, root: Root, *, private: bool) -> str:
        """Return what lets the programs that `target` executes keep their privileges."""
        if root.files.base != b"/":
            return "run it without that, and list its files"
        old = self.filters(target) and self.version < KEEPS_PRIVILEGES
        hints = {
            "build as root": os.geteuid() != 0,
            "set TRACE_ROOT=plain": private,
            "install strace 6.2 or newer": old,
        }
        return " and ".join(hint for hint, helps in hints.items() if helps)

    def filters(self, target: _Target) -> bool:
        """Tell whether strace may stop only where it has to: privileges may get lost by that."""
        return self.version >= KEEPS_PRIVILEGES or not target.privileged

    def command(
        self,
        words: Sequence[bytes],
        directory: bytes,
        *,
        filters: bool = True,
    ) -> list[bytes | str]:
        """Return the command that traces the command `words` and leaves logs in `directory`.

        One file for each process (-ff) needs no joining of halves; appended to (-A), for process
        numbers come again. io_uring opens files without calls: it is refused, and programs do
        without. So are the kernel's keys, as by engines: a user's keys outlive the run. No -z and
        no --quiet: they lose lines.
        """
        return [
            *_pinned(),
            *(self.path, "-ff", "-A", "-e", "signal=none"),
            *(_ALL if self.every else _SOME),
            *_NO_KEYS,
            *(["--seccomp-bpf"] if filters and not self.every else []),
            *("-o", join(directory, b"log"), "--"),
            *words,
        ]


def _pinned() -> list[bytes | str]:
    """Return what keeps tracer and tracee on one processor: handing over is much faster then."""
    taskset = process.find(b"taskset")
    cpus = sorted(os.sched_getaffinity(0))
    return [taskset, "-c", str(cpus[next(_CPUS) % len(cpus)])] if taskset else []


# Whether the trace can be trusted.

_START = "let it start in a directory that is there"

_FORBIDDEN = re.compile(rb"strace: .*(?:ptrace|PTRACE_).*Operation not permitted")
_NOT_EXECUTED = re.compile(rb"strace: exec: (.+)")
_NOT_ENTERED = re.compile(rb"init: (.*): (.+)")


def emulator(run: Run, program: bytes, root: Root, *, private: bool = True) -> Emulator | None:
    """Return what runs `program` of `root`, or a script's interpreter; None if nothing has to.

    It is a static program, for a `private` root: elsewhere it would look for the program's files
    in the machine's file system, too. TraceError where there is none.
    """
    head = _head(program, root)
    machine = reader.machine_of(head)
    if machine is None or machines.runs_here(machine):
        return None
    qemu = f"qemu-{machines.machine(machine).qemu}-static"
    path = process.find(qemu.encode()) if private else None
    if path is None:
        raise TraceError(
            f"trace run {run.name}",
            f"{show(program)} is a program for {machines.machine(machine).name} and this machine "
            f"is {machines.machine(machines.native_machine()).name}",
            "apt-get install qemu-user-static and allow private roots, or set RUNS=[] and list "
            "its files by extra lists",
        )
    return Emulator(path, head[: reader.HEAD])


_MOST_SCRIPTS = 6
"""Files that the kernel looks at for one, of scripts that interpret each other: fs/exec.c."""


def _head(program: bytes, root: Root) -> bytes:
    """Return how the file begins that the kernel loads for `program`: of a script, the last one."""
    *_, (_, head) = itertools.islice(interpreter_chain(root, program), _MOST_SCRIPTS)
    return head if head and reader.interpreter_of_script(head) is None else b""


def _check_end(run: Run, outcome: RunOutcome, log: Log, target: _Target) -> None:
    failure = outcome.failure
    if not failure:
        return
    if not failure.is_limit and not any(access.kind is Use.EXEC for access in log.accesses):
        failure = _explain_no_start(run, outcome, target) or failure
    raise TraceError(f"trace run {run.name}", failure.cause, failure.hint)


def _explain_no_start(run: Run, outcome: RunOutcome, target: _Target) -> Failure | None:
    """Return why strace did not start `target`; None if that is unknown."""
    said = outcome.result.stderr
    if _FORBIDDEN.search(said):
        return Failure(
            "the kernel forbids ptrace",
            "in Docker give --cap-add SYS_PTRACE (and, before Docker 19.03, --security-opt "
            "seccomp=unconfined), on a host set kernel.yama.ptrace_scope=0",
        )
    failed, unentered = _NOT_EXECUTED.search(said), _NOT_ENTERED.search(said)
    if unentered and unentered[1] != target.path:
        cause = f"its root cannot be entered at {show(unentered[1])}: {last_words(unentered[2])}"
        return Failure(cause, _START if unentered[1] == run.cwd else "set TRACE_ROOT=plain")
    if reason := failed[1] if failed else unentered and unentered[2]:
        hint = "build it for this machine, or install its interpreter"
        if target.emulator:
            path = show(target.emulator.path)
            hint = f"use Linux 6.7 or newer, or have {path} registered, as by binfmt-support"
        return Failure(f"{target.shown} cannot be executed: {last_words(reason)}", hint)
    if outcome.result.status > 0:
        cause = f"strace failed and said {last_words(said)!r}"
        return Failure(cause, "install another release of strace")
    return None


def _check_log(run: Run, log: Log) -> None:
    if log.problems:
        causes = ", ".join(f"{problem.call.decode()} {problem.cause}" for problem in log.problems)
        raise TraceError(
            f"trust the trace of run {run.name}",
            causes,
            "run it without that, or name its files in an extra list",
        )
    if log.unparsed:
        raise TraceError(
            f"trust the trace of run {run.name}",
            f"{len(log.unparsed)} lines of it are not understood, the first is "
            f"{last_words(log.unparsed[0])!r}",
            "report this, with the version of strace",
        )


def _check_inputs(run: Run, settling: _Settling, target: _Target) -> None:
    for path in settling.changed:
        raise TraceError(
            f"trust the trace of run {run.name}",
            f"{show(path)} changed while it ran",
            "build again when it is at rest",
        )
    # In a private root there is no file that an emulator could need.
    for path in () if target.emulator else sorted(settling.registered):
        raise TraceError(
            f"trust the trace of run {run.name}",
            f"{show(path)} was run by what binfmt_misc names for it, which strace does not see",
            "name that as the program",
        )


def _check_privileges(run: Run, executed: Iterable[bytes], root: Root, hint: str) -> None:
    """Raise TraceError when one of the `executed` (link-free image paths) lost its privileges."""
    for path in sorted(executed):
        if _gives_privileges(root, path):
            raise TraceError(
                f"trust the trace of run {run.name}",
                f"{show(path)} is set-id, and ran without its privileges",
                hint,
            )


def _gives_privileges(root: Root, path: bytes) -> bool:
    """Tell whether executing `path` gives privileges that the user who builds has not."""
    status = root.files.status(path)
    if status is None or not _is_privileged(root.files.host_path(path), status):
        return False
    if not status.mode & (stat.S_ISUID | stat.S_ISGID):
        return os.geteuid() != 0
    other_user = bool(status.mode & stat.S_ISUID) and status.uid != os.geteuid()
    return other_user or (bool(status.mode & stat.S_ISGID) and status.gid != os.getegid())


# What the log means.

_STRENGTH = {use: -number for number, use in enumerate(Use)}

_ASPECTS = {
    Use.EXEC: Aspect.CONTENT,
    Use.READ: Aspect.CONTENT,
    Use.LIST: Aspect.LISTING,
    Use.STAT: Aspect.SIZE,
    Use.LINK: Aspect.STAT,
    Use.ABSENT: Aspect.STAT,
}


def captured(text: bytes, name: str, root: Root) -> Record:
    """Return what strace's output `text` (hostile), the file `name`, means, as by `settle`.

    InputError names the line that is not understood, or that tells of a call which hides files.
    """
    log = parse(text)
    for line in log.unparsed:
        raise InputError(
            f"read {name}:{line_of(text, line)}",
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
            f"use {name}:{line_of(text, problem)}",
            f"{problem.call.decode()} {problem.cause}",
            "capture it again by strace -f -y -o FILE, run it without that call, or name its "
            "files in an extra list",
        )
    # Nobody knows when that was, so all that was open for writing is an output.
    return settle(log, root, started_ns=0)


def settle(log: Log, root: Root, started_ns: int) -> Record:
    """Return what `log` means, and put on the root's record what that depends on.

    `started_ns` is when the run started, by the clock of ctimes, in nanoseconds; with 0 whatever
    was opened for writing counts as changed.
    """
    return _Settling(log, root, started_ns).record


class _Settling:
    """Walks what a log names through the file system as it is after the run."""

    def __init__(self, log: Log, root: Root, started_ns: int, *, private: bool = False) -> None:
        self._files = root.files
        self._started_ns = started_ns
        self._private = private
        self._read: set[bytes] = set()
        # A staged link is a link in the image, too: the file that it leads to keeps its own path.
        self._images = {
            os.path.realpath(machine): image
            for image, machine in root.files.staged.items()
            if not os.path.islink(machine)
        }
        # What leads to a staged file on the machine leads to none in the image.
        built = () if private else (*root.files.staged.values(), *self._images)
        self._ways = {above for machine in built for above in parents(machine)}
        self._unrecorded: set[tuple[bytes, Aspect]] = set()
        self._walked: dict[tuple[bytes, bool], Walk] = {}
        self._outputs: set[bytes] = set()
        self._made: set[bytes] = set()
        self._kinds: dict[bytes, Use] = {}
        self._executed: list[bytes] = []
        self._otherwise: set[bytes] = set()
        """What the run found and is not there now, or the other way round."""
        self.registered: list[bytes] = []
        """What the kernel had an interpreter run that is registered for it, not named in it."""
        for access in log.accesses:
            if private and access.kind in (Use.READ, Use.EXEC):
                self._read.update(walk.real for walk in self._walks(access))
        for access in log.accesses:
            if access.kind in (Use.WRITE, Use.CREATE):
                self._take_output(access)
        for access in log.accesses:
            self._take_input(access)
        self._take_interpreters()
        self.record = self._record()
        # Walks pass the kernel's trees and outputs, too: the run depends on its record alone.
        root.looked |= _looks(self.record) | self._unrecorded

    @property
    def changed(self) -> list[bytes]:
        """Inputs that changed after the run had started, though it did not write them."""
        kinds = sorted(self._kinds)
        return [path for path in kinds if path in self._otherwise or self._has_changed(path)]

    def _has_changed(self, path: bytes) -> bool:
        status = self._files.status(path)
        if status is None or status.ctime_ns <= self._started_ns:
            return False
        # A directory changes with any entry: that counts only for who read its entries.
        if status.kind is not FileKind.DIR:
            return True
        own = any(os.path.dirname(output) == path for output in self._outputs)
        return self._kinds[path] is Use.LIST and not own

    def _walks(self, access: Access) -> Iterator[Walk]:
        """Yield the lookups that `access` stands for: of the path, and of what was opened."""
        real = None
        if not is_in_kernel_tree(os.path.normpath(access.path)):
            walk = self._walk(access.path, access.follow)
            real = walk.real
            if access.sure or (walk.status is None) == (access.kind is Use.ABSENT):
                yield walk
        if access.real is not None and self._image(access.real) != real:
            yield self._walk(access.real, follow=False)

    def _is_gone(self, path: bytes) -> bool:
        """Tell whether `path`, where nothing is, may have been something while the run ran.

        It need not have been: where a file cannot be made, the error tells of no file either.
        """
        above = self._files.status(os.path.dirname(path))
        return above is None or above.ctime_ns > self._started_ns

    def _walk(self, path: bytes, follow: bool) -> Walk:
        key = self._image(path), follow
        if key not in self._walked:
            self._walked[key] = self._look_up(*key)
        return self._walked[key]

    def _look_up(self, path: bytes, follow: bool) -> Walk:
        while len(self._files.host_path(path)) >= PATH_MAX:
            path = os.path.dirname(path)
        while True:
            try:
                walk = self._files.walk(path, follow=follow)
                # A link of the build tree may lead to a staged file.
                return replace(walk, real=self._image(walk.real))
            except ListError:
                # Who builds may not look there; the run could not, either.
                path = os.path.dirname(path)

    def _image(self, path: bytes) -> bytes:
        return self._images.get(path) or self._files.image_path(path)

    def _take_output(self, access: Access) -> None:
        for walk in self._walks(access):
            if is_in_kernel_tree(walk.real):
                continue
            if self._is_output(walk):
                self._outputs.add(walk.real)
                if access.kind is Use.CREATE:
                    self._made.add(walk.real)

    def _is_output(self, walk: Walk) -> bool:
        if walk.status is None:
            return True
        if self._private:
            # What is there is what it found; what it wrote is gone.
            return walk.status.kind is FileKind.FILE and walk.real not in self._read
        return walk.status.ctime_ns >= self._started_ns

    def _take_input(self, access: Access) -> None:
        for walk in self._walks(access):
            self._use_walk(walk, access.kind)
            if _contradicts(access, walk.status) and self._has_come_or_gone(walk):
                self._otherwise.add(walk.real)
            if access.kind is Use.EXEC and walk.status is not None:
                self._executed.append(walk.real)

    def _use_walk(self, walk: Walk, kind: Use) -> None:
        for link in walk.links:
            self._use(link, Use.LINK)
        for directory in walk.left:
            self._use(directory, Use.STAT)
        # Of FILE/../x there is FILE, and that it is no directory is why the lookup failed.
        self._use(walk.real, _kind(kind, walk.status or self._files.status(walk.real)))

    def _use(self, path: bytes, kind: Use) -> None:
        if is_in_kernel_tree(path) or path in self._outputs:
            return
        if self._made and not self._made.isdisjoint(parents(path)):
            return
        if path in self._ways and path != b"/":
            self._unrecorded.add((path, _ASPECTS[kind]))
            return
        if kind is Use.LIST and self._files.hides(path):
            # No more than what is staged: who takes the record at its word lists the machine's.
            self._unrecorded.add((path, Aspect.LISTING))
            kind = Use.STAT
        known = self._kinds.get(path)
        if known is None or _STRENGTH[kind] > _STRENGTH[known]:
            self._kinds[path] = kind

    def _take_interpreters(self) -> None:
        """Take what the kernel opened without any call: ``#!`` interpreters and ELF loaders."""
        seen = set(self._executed)
        while self._executed:
            interpreter = self._interpreter(self._executed.pop())
            if interpreter is not None:
                self._take_interpreter(join(b"/", interpreter), seen)

    def _take_interpreter(self, path: bytes, seen: set[bytes]) -> None:
        walk = self._walk(path, follow=True)
        self._use_walk(walk, Use.EXEC)
        if walk.status is not None and walk.real not in seen:
            seen.add(walk.real)
            self._executed.append(walk.real)

    def _has_come_or_gone(self, walk: Walk) -> bool:
        """Tell whether nothing but a change explains what the run found at `walk`."""
        if walk.status is None:
            return self._is_gone(walk.real)
        return not self._lacks_interpreter(walk)

    def _lacks_interpreter(self, walk: Walk) -> bool:
        """Tell whether the file at `walk` cannot be executed for want of its interpreter.

        execve(2) then says that there is no such file; the interpreter is what was not there.
        """
        status = walk.status
        if status is None or status.kind is not FileKind.FILE or not status.mode & 0o111:
            return False
        interpreter, _ = self._interpreter_of(walk.real)
        found = interpreter and self._walk(join(b"/", interpreter), follow=True)
        if not found or found.status is not None:
            return False
        self._use_walk(found, Use.ABSENT)
        return True

    def _interpreter(self, path: bytes) -> bytes | None:
        interpreter, runs = self._interpreter_of(path)
        if not runs:
            self.registered.append(path)
        return interpreter

    def _interpreter_of(self, path: bytes) -> tuple[bytes | None, bool]:
        """Return the interpreter that `path` names, and whether it runs on this machine."""
        with self._files.open(path) as stream:
            head = stream.read(reader.SCRIPT_HEAD)
            if reader.is_elf(head):
                binary = reader.read(stream, path)
                return binary.interpreter, machines.runs_here(binary.machine)
        interpreter = reader.interpreter_of_script(head)
        return interpreter, interpreter is not None

    def _record(self) -> Record:
        # The directory where something could be made has to be there. What was made and removed
        # again is nothing to anybody, and often has a random name.
        gone = {path for path in self._made if self._files.status(path) is None}
        for path in sorted(self._made):
            above = os.path.dirname(path)
            if above not in self._made:
                self._use(above, _kind(Use.STAT, self._files.status(above)))
        kinds = self._kinds | dict.fromkeys(self._outputs - gone, Use.WRITE)
        return Record(tuple(Used(kinds[path], path) for path in sorted(kinds)))


def _contradicts(access: Access, status: Status | None) -> bool:
    """Tell whether a path is there, with `status`, or is not, other than the run found it."""
    if not access.sure or access.kind in (Use.WRITE, Use.CREATE):
        return False
    if status and status.kind is not FileKind.DIR and os.path.basename(access.path) in (b"", b"."):
        return False  # FILE/ and FILE/. do not exist, though FILE does.
    return (status is None) != (access.kind is Use.ABSENT)


def _kind(kind: Use, status: Status | None) -> Use:
    """Return what an access that was logged as `kind` was, to a path that has `status` now."""
    if status is None:
        return Use.ABSENT
    if status.kind is FileKind.LINK:
        return Use.LINK
    fits = {FileKind.FILE: (Use.EXEC, Use.READ), FileKind.DIR: (Use.LIST,)}
    return kind if kind in fits.get(status.kind, ()) else Use.STAT


def _looks(record: Record) -> set[tuple[bytes, Aspect]]:
    """Return what a trace with this record depends on.

    Of ld.so.cache that is not the content, which changes with every library of the machine, but
    what it answers for the libraries in the record.
    """
    inputs = {use.path: use.kind for use in record.uses if use.kind is not Use.WRITE}
    looks = {(path, _ASPECTS[kind]) for path, kind in inputs.items() if path != CACHE}
    if CACHE in inputs:
        names = {os.path.basename(path) for path in inputs}
        looks |= {(name, Aspect.SONAME) for name in names if b".so" in name}
        looks.add((CACHE, Aspect.STAT))
    return looks


# Records as text.

_WORDS = {use.value.encode(): use for use in Use if use is not Use.CREATE}


def write_record(record: Record) -> bytes:
    """Return the text of `record`: a header, and a line ``KIND PATH`` for each path."""
    lines = (b"%b %b\n" % (use.kind.value.encode(), escape(use.path)) for use in record.uses)
    return HEADER + b"".join(lines)


def read_record(text: bytes) -> Record:
    """Return the record that `text` (hostile) spells; InputError names a line that is wrong."""
    lines = text.split(b"\n")
    if lines[0] + b"\n" != HEADER or lines[-1] != b"":
        raise _bad_record(1, "it is no whole record")
    uses: list[Used] = []
    for number, line in enumerate(lines[1:-1], start=2):
        word, _, name = line.partition(b" ")
        path = unescape(name)
        if word not in _WORDS or not is_plain(path) or escape(path) != name:
            raise _bad_record(number, "it is no kind and link-free path")
        if uses and path <= uses[-1].path:
            raise _bad_record(number, "it is out of order")
        uses.append(Used(_WORDS[word], path))
    return Record(tuple(uses))


def _bad_record(number: int, cause: str) -> InputError:
    return InputError(f"read line {number} of a trace record", cause, "build it again")
