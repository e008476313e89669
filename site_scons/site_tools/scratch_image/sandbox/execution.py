"""Carries out a run: starts it, tests it if it is a server, stops it, and checks how it ended.

The command is the program's own, or has strace and other words of the caller before it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..fs.paths import show
from . import probe, process
from .process import Process, Result, Running, last_words
from .run import Run, ServerRequest

_POLL = 0.05
"""Seconds between two looks at a server."""

_GRACE = 2.0
"""Seconds that the processes of a server have to follow the one that got the signal."""

_CORRECT = "correct the run, or let it expect that"
_STAGE = f"stage what it lacks (for a directory, a file in it), {_CORRECT}"
_INSTALL = f"install what it lacks, set TRACE_ROOT=private if that is staged, {_CORRECT}"
_PASSES = "correct the suite until it passes by hand, or stage what it lacks"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run did not go as it has to."""

    cause: str
    """A clause, as ``it ended with status 1, not with status 0, and said ''``."""
    hint: str
    """An imperative that fixes it."""
    is_limit: bool = False
    """Whether the run hit one of its limits, so that the hint holds wherever it runs."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run went."""

    result: Result
    failure: Failure | None = None
    """None when all went as the run says."""


def execute(
    run: Run, command: Sequence[bytes | str], access: ServerAccess | None = None
) -> RunOutcome:
    """Carry out `run` by `command`; return how it went.

    Where `command` starts strace, the process that strace starts is the program: it gets the signal
    to stop, and strace then ends with its status. Requests to a server come from outside of any
    trace: from the host as it is, or through `access`. ProcessError when a command cannot be
    started.
    """
    deadline = time.monotonic() + run.timeout
    if (access is None or run.network == "host") and (failure := _find_other_server(run)):
        words = tuple(os.fsencode(word) for word in command)
        return RunOutcome(Result(words, 0, b"", b""), failure)
    with process.start(
        command, environment=run.variables, stdin=run.stdin, cwd=run.cwd, most=run.limits.processes
    ) as running:
        server = _Server(run, running, deadline, access)
        failure = server.serve() if run.ready else _wait_for_end(run, running, deadline)
        if failure:
            running.end_all()
        result = running.result()
    if running.is_crowded:
        cause = f"it had more than {run.limits.processes} processes and threads at once"
        hint = "let it start fewer, or raise TRACE_PROCESSES"
        return RunOutcome(result, Failure(cause, hint, is_limit=True))
    return RunOutcome(result, failure or _check_result(run, result, private=access is not None))


def _wait_for_end(run: Run, running: Running, deadline: float) -> Failure | None:
    """Wait for the end of a run that is no server."""
    if running.wait(deadline - time.monotonic()):
        return None
    names = _names(running.end_all() or running.argv[:1])
    return Failure(
        f"after {run.timeout:g} s it still ran ({names})",
        "give it a longer timeout, or a command that ends",
    )


def _check_result(run: Run, result: Result, *, private: bool) -> Failure | None:
    """Return how `result` differs from what `run` expects; `private`: in a root of its own."""
    if result.status != run.status:
        cause = f"{result.end}, not with status {run.status}, and {result.quote}"
        return Failure(cause, _PASSES if run.is_suite else _STAGE if private else _INSTALL)
    if run.pattern and not run.pattern.fullmatch(result.stdout):
        printed = last_words(result.stdout)
        return Failure(f"it printed {printed!r}, which does not match {run.stdout!r}", _CORRECT)
    return None


# Servers.


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """How to reach a server that has namespaces of its own."""

    join_words: Callable[..., list[bytes]]
    """Returns the words that start a command of the host in the namespaces of a process, with a
    file as standard input."""
    root: bytes
    """Where, there, the server's root lies."""
    enter_words: Sequence[bytes] = ()
    """Further words, which start a command among the server's own files; none for the host's."""


def _find_other_server(run: Run) -> Failure | None:
    """Return why another server would pass for this one, if it would."""
    place = run.readiness
    if place and place.kind != "exec" and not _send(place, run.cwd, 1.0):
        cause = f"something else answers at {run.ready} already"
        return Failure(cause, "end that, or use another place")
    return None


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that runs; each method returns how it fails, if it does."""

    run: Run
    running: Running
    deadline: float
    access: ServerAccess | None

    def serve(self) -> Failure | None:
        return self._await() or self._probe() or self._stop()

    def _await(self) -> Failure | None:
        """Wait until it is ready."""
        place = self.run.readiness
        while not self.running.has_ended:
            if place is None or not self._send(place):
                return None
            if time.monotonic() > self.deadline:
                self.running.end_all()
                return Failure(
                    f"after {self.run.timeout:g} s it was not ready ({self.run.ready}), and "
                    f"{self.running.result().quote}",
                    "give it a longer timeout, or correct ready",
                )
            time.sleep(_POLL)
        return self._early_end("ready")

    def _early_end(self, stage: str) -> Failure:
        self.running.wait(_GRACE)
        result = self.running.result()
        return Failure(f"{result.end} before it was {stage}, and {result.quote}", "correct the run")

    def _probe(self) -> Failure | None:
        """Send all requests."""
        for text, request in zip(self.run.probes, self.run.requests, strict=True):
            if cause := self._send(request):
                self.running.end_all()
                return Failure(
                    f"probe {text!r} failed: {cause}, and the server {self.running.result().quote}",
                    "correct the probe, or the run",
                )
        return None

    def _send(self, request: ServerRequest) -> str:
        seconds = self.deadline - time.monotonic()
        if self.access is None:
            return _send(request, self.run.cwd, seconds)
        # The process that made the namespaces waits for the first process in them.
        living = self.running.living_processes()
        first = [each.pid for each in living if each.parent == self.running.pid]
        return _send_there(request, self.access, first[0], seconds) if first else "it has not begun"

    def _stop(self) -> Failure | None:
        """Send the signal to stop, and wait until it has stopped."""
        run, running = self.run, self.running
        name = process.signal_name(run.stop)
        programs = _select_programs(running.living_processes())
        if running.has_ended or not programs:
            return self._early_end("stopped")
        for program in programs:
            program.signal(run.stop)
        pids = {program.pid for program in programs}
        while left := [each for each in running.living_processes() if each.pid in pids]:
            if time.monotonic() > self.deadline:
                commands = _names(each.command for each in left)
                return Failure(
                    f"{name} did not stop it ({commands}) within {run.timeout:g} s",
                    "give it a longer timeout, or the signal that ends it as stop",
                )
            time.sleep(_POLL)
        if running.wait(_GRACE):
            return None
        cause = f"{name} ended it, but left processes behind ({_names(running.end_all())})"
        return Failure(cause, "let it end what it starts")


def _select_programs(living: Sequence[Process]) -> list[Process]:
    """Return the processes that get the signal to stop.

    This is the one that a tracer started; if it has gone, all that the tracer traces; without a
    tracer, the first process.
    """
    traced = [each for each in living if each.tracer]
    return [each for each in traced if each.parent == each.tracer] or traced or list(living[:1])


def _names(commands: Iterable[bytes]) -> str:
    return ", ".join(show(command) for command in commands)


# Requests to a server.


def _send(request: ServerRequest, cwd: bytes, seconds: float) -> str:
    """Return how `request` failed, as a clause; nothing for an answer within `seconds`."""
    seconds = max(seconds, _POLL)
    if request.kind == "exec":
        return _failure(process.run(request.words, timeout=seconds, stdin=request.stdin, cwd=cwd))
    if request.kind == "page":
        # It may come byte by byte: only a program ends in time.
        return _run_probe([], request, seconds, b"/")
    return probe.KINDS[request.kind](*map(os.fsdecode, request.words), seconds)


def _send_there(request: ServerRequest, access: ServerAccess, pid: int, seconds: float) -> str:
    """As `_send`, from the namespaces of the process `pid`."""
    seconds = max(seconds, _POLL)
    if request.kind == "exec":
        before = [*access.join_words(pid, request.stdin), *access.enter_words]
        return _failure(process.run([*before, *request.words], timeout=seconds))
    return _run_probe(access.join_words(pid), request, seconds, access.root)


def _run_probe(before: Sequence[bytes], request: ServerRequest, seconds: float, root: bytes) -> str:
    """As `_send`, by the program `probe`, which the words `before` start."""
    program: list[bytes | str] = [*before, sys.executable, "-I", "-S", probe.__file__]
    words: list[bytes | str] = [request.kind, *request.words, str(seconds), root]
    result = process.run([*program, *words], timeout=seconds + _GRACE)
    return result.stdout.decode() or _failure(result)


def _failure(result: Result) -> str:
    return f"{result.end} and {result.quote}" if result.is_failure else ""
