"""Runs a program under strace, checks how the run ended, and makes its record.

A private run sees its root alone, and its writes go to memory. A plain run happens in the host's
file system: staged files are at their build paths, and its writes stay.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import TraceError
from ..fs.file_system import FileSystem
from ..fs.paths import join, show
from ..fs.root import Root
from ..sandbox import process
from ..sandbox.execution import Failure, RunOutcome, ServerAccess, execute
from ..sandbox.namespaces import Sandbox
from ..sandbox.private_view import HIDDEN, private_view
from ..sandbox.process import last_words
from ..sandbox.run import Run
from .log import Access, Log, parse
from .program import Program, gives_privileges
from .record import Record, Use
from .resolution import Resolution
from .strace_lines import join_logs
from .strace_tool import Strace, read_logs
from .suite import Starts, Suite

NO_DIRECTORY = "let it start in a directory that is there"
"""The hint for a run that cannot start in its directory."""

_FORBIDDEN = re.compile(rb"strace: .*(?:ptrace|PTRACE_).*Operation not permitted")
_NOT_EXECUTED = re.compile(rb"strace: exec: (.+)")
_NOT_ENTERED = re.compile(rb"init: (.*): (.+)")


def check_end(run: Run, outcome: RunOutcome, log: Log, program: Program) -> None:
    """Raise TraceError when `run` failed."""
    failure = outcome.failure
    if not failure:
        return
    if not failure.is_limit and not any(access.kind is Use.EXEC for access in log.accesses):
        failure = _explain_no_start(run, outcome, program) or failure
    raise TraceError(f"trace run {run.name}", failure.cause, failure.hint)


def _explain_no_start(run: Run, outcome: RunOutcome, program: Program) -> Failure | None:
    """Return why strace did not start `program`; None if that is unknown."""
    stderr = outcome.result.stderr
    if _FORBIDDEN.search(stderr):
        return Failure(
            "the kernel forbids ptrace",
            "in Docker give --cap-add SYS_PTRACE (and, before Docker 19.03, --security-opt "
            "seccomp=unconfined), on a host set kernel.yama.ptrace_scope=0",
        )
    not_executed, not_entered = _NOT_EXECUTED.search(stderr), _NOT_ENTERED.search(stderr)
    if not_entered and not_entered[1] != program.path:
        path, reason = not_entered.groups()
        cause = f"its root cannot be entered at {show(path)}: {last_words(reason)}"
        return Failure(cause, NO_DIRECTORY if path == run.cwd else "set TRACE_ROOT=plain")
    if reason := not_executed[1] if not_executed else not_entered and not_entered[2]:
        hint = "build it for this machine, or install its interpreter"
        if program.emulator:
            path = show(program.emulator.path)
            hint = f"use Linux 6.7 or newer, or have {path} registered, as by binfmt-support"
        return Failure(f"{show(program.image_path)} cannot be executed: {last_words(reason)}", hint)
    if outcome.result.status > 0:
        cause = f"strace failed and said {last_words(stderr)!r}"
        return Failure(cause, "install another release of strace")
    return None


def check_log(run: Run, log: Log) -> None:
    """Raise TraceError when `log` may not show all accesses."""
    if log.problems:
        raise TraceError(
            f"trust the trace of run {run.name}",
            ", ".join(f"{problem.call.decode()} {problem.cause}" for problem in log.problems),
            "run it without that, or name its files in an extra list",
        )
    if log.unparsed:
        raise TraceError(
            f"trust the trace of run {run.name}",
            f"{len(log.unparsed)} lines of it are not understood, the first is "
            f"{last_words(log.unparsed[0])!r}",
            "report this, with the version of strace",
        )


def check_inputs(run: Run, resolution: Resolution, program: Program) -> None:
    """Raise TraceError when an input changed during the run, or had an unseen interpreter."""
    for path in resolution.changed:
        raise TraceError(
            f"trust the trace of run {run.name}",
            f"{show(path)} changed while it ran",
            "build again when nothing writes to it",
        )
    # In a private root there is no file that an emulator could need.
    for path in () if program.emulator else sorted(resolution.registered):
        raise TraceError(
            f"trust the trace of run {run.name}",
            f"{show(path)} ran by an interpreter of binfmt_misc, which strace does not see",
            "name that interpreter as the program",
        )


def check_privileges(run: Run, executed: Iterable[bytes], files: FileSystem, hint: str) -> None:
    """Raise TraceError when one of the `executed` (link-free image paths) lost its privileges."""
    for path in sorted(executed):
        if gives_privileges(files, path):
            raise TraceError(
                f"trust the trace of run {run.name}",
                f"{show(path)} is set-id, and ran without its privileges",
                hint,
            )


@dataclass(frozen=True, slots=True)
class Trace:
    """One traced run."""

    text: bytes
    """strace's text, as of ``strace -f -o``, process by process."""
    record: Record
    stdout: bytes
    """The output of the program; in a very long one a mark stands for the middle."""
    starts: tuple[Starts, ...] = ()
    """Of a suite: how often it started each program of the image."""
    calls: frozenset[bytes] = frozenset()
    """Of a suite: the names of the system calls that its programs made, as far as these were
    traced."""


def trace(
    run: Run,
    path: bytes,
    root: Root,
    strace: bytes = b"strace",
    *,
    private: bool = False,
    has_all_calls: bool = False,
) -> Trace:
    """Trace the program at the image path `path` as `run` says; return its trace.

    `strace` is a path or a name. With `private` the run has a view of `root` for itself. With
    `has_all_calls` the log has the calls that name no file, too. `root` notes the looks that the
    result depends on. TraceError when the run cannot be traced, ends wrongly, or hides accesses;
    SandboxError when a tool for the view is missing.
    """
    tool = replace(Strace.find(run, strace), has_all_calls=has_all_calls)
    suite, program = _find_program(run, path, root, private=private)
    with tempfile.TemporaryDirectory(prefix="scratch_image-") as name:
        directory = os.path.realpath(os.fsencode(name))
        started_ns = _read_clock(directory)
        outcome, text = _carry_out(run, program, root, tool, directory, private=private)
        log = _with_start(parse(text, run.cwd, suite.is_program if suite else None), run)
        is_stripped = private or tool.strips_privileges(program)
        hint = tool.privilege_hint(program, root.files, private=private)
        if is_stripped and outcome.failure:
            # It may have failed only because a program in it lost its privileges.
            named = {root.walk(each.path).real for each in log.accesses if each.kind is Use.EXEC}
            check_privileges(run, named, root.files, hint)
        check_end(run, outcome, log, program)
        check_log(run, log)
        starts = suite.check(log) if suite else ()
        # Our directory is still there: its removal would change the directory above it.
        resolution = Resolution(log, root, started_ns, private=private, is_suite=run.is_suite)
        check_inputs(run, resolution, program)
        if is_stripped:
            executed = {use.path for use in resolution.record.uses if use.kind is Use.EXEC}
            check_privileges(run, executed, root.files, hint)
    record = _without_stdin(resolution.record, run, root)
    return Trace(text, record, outcome.result.stdout, starts, log.calls)


def _find_program(
    run: Run, path: bytes, root: Root, *, private: bool
) -> tuple[Suite | None, Program]:
    """Return the suite that `run` is, if it is one, and the program that it starts.

    A private run sees no homes, but for the program `path`; a suite sees the project's directory.
    """
    if private:
        found = root.walk(path)
        project = (root.files.own,) if run.is_suite and root.files.own else ()
        root.hide(HIDDEN, (*project, *found.links, found.real))
    suite = Suite.find(run, path, root) if run.is_suite else None
    return suite, Program.find(run, suite.harness if suite else path, root, private=private)


def _carry_out(
    run: Run, program: Program, root: Root, tool: Strace, directory: bytes, *, private: bool
) -> tuple[RunOutcome, bytes]:
    """Carry out `run`; return how it went, and strace's text."""
    if not private:
        return _trace_plain(run, program, root, tool, directory)
    sandbox = private_view(root.files, directory, run, program.emulator)
    return trace_in_sandbox(sandbox, run, program.path, tool, has_commands=True)


def _trace_plain(
    run: Run, program: Program, root: Root, tool: Strace, directory: bytes
) -> tuple[RunOutcome, bytes]:
    """Carry out `run` in the host's file system; return how it went, and strace's text."""
    if not os.path.isdir(run.cwd):
        cause = f"it cannot start in {show(run.cwd)}: there is no such directory"
        raise TraceError(f"trace run {run.name}", cause, NO_DIRECTORY)
    # On the host staged files lie elsewhere: the arguments say where.
    places = (root.files.staging.host_path(word) or word for word in run.argv[1:])
    words = [program.path, *places]
    outcome = execute(run, tool.command(words, directory, filters=tool.filters(program)))
    return outcome, join_logs(read_logs(run, directory))


_ENTERED = re.compile(rb'^chroot\("[^\n]*\) += 0\n', re.MULTILINE)
"""Where a log passes from the sandbox init to the program."""


def trace_in_sandbox(
    sandbox: Sandbox, run: Run, path: bytes, tool: Strace, *, has_commands: bool = False
) -> tuple[RunOutcome, bytes]:
    """Carry out `run` of the program `path` in `sandbox` under strace.

    With `has_commands` the root has the commands that test a server; else they are the host's, in
    the sandbox's namespaces. Return how it went, and strace's text by the names that paths have in
    the sandbox, from the start of the program on.
    """
    enter_words = sandbox.enter_words(run.variables, run.cwd)
    words = [*enter_words, path, *run.argv[1:]]
    command = [*sandbox.unshare_words(run.stdin), *tool.command(words, sandbox.directory)]
    access = ServerAccess(sandbox.join_words, sandbox.root, enter_words if has_commands else ())
    # The sandbox init sets environment, directory and input, and passes the status on.
    status = process.shell_status(run.status)
    outer = replace(run, environment={}, cwd=b"/", stdin=None, status=status)
    outcome = execute(outer, command, access)
    logs = read_logs(run, sandbox.directory)
    if logs:
        logs[min(logs)] = _ENTERED.split(logs[min(logs)], 1)[-1]
    # strace is outside of the root, and sees some paths from there.
    prefix = re.compile(re.escape(sandbox.root) + rb"(?=[/>\"])/?")
    text = prefix.sub(b"/", join_logs(logs))
    return _with_space(outcome, run, text), text.replace(sandbox.stdin, b"/dev/stdin")


_FULL = re.compile(rb"no space left on device|= -1 ENOSPC ", re.IGNORECASE)
"""ENOSPC in the words of programs, and of strace."""


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


def _with_start(log: Log, run: Run) -> Log:
    """Return `log` with the directory where the run started: it is used, and no call shows it."""
    start = () if run.cwd == b"/" else (Access(run.cwd, Use.STAT, is_harness=run.is_suite),)
    return replace(log, accesses=(*start, *log.accesses))


def _without_stdin(record: Record, run: Run, root: Root) -> Record:
    """Return `record` without standard input, which is the run's and in no container's image."""
    stdin = run.stdin and root.files.image_path(run.stdin)
    return Record(tuple(use for use in record.uses if use.path != stdin))


def _read_clock(directory: bytes) -> int:
    """Return the time of the clock of ctimes, in nanoseconds.

    It ticks every few milliseconds, and is behind the one that programs read.
    """
    with open(join(directory, b"started"), "wb") as stream:
        return os.fstat(stream.fileno()).st_ctime_ns
