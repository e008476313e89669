"""The checks after a run under strace: whether it ended well, and whether its log shows all."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import TraceError
from ..fs.file_system import FileSystem
from ..fs.paths import show
from ..sandbox.execution import Failure, RunOutcome
from ..sandbox.output import last_words
from ..sandbox.run import Run
from .log import Log
from .program import Program, gives_privileges
from .record import Use
from .resolution import Resolution

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
