"""A run, carried out: started, if it is a server asked and told to stop, and judged.

The command is the program's own, or has strace and what else the caller wants before it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..fs.paths import show
from . import probe, process
from .process import Running
from .run import Command, Page, Run, Tcp, Unix

_POLL = 0.05
"""Seconds between two looks at a server."""

_GRACE = 2.0
"""Seconds that the processes of a server have to follow the one that was told to stop."""

_STAGE = (
    "stage what it lacks (for a directory, a file in it), correct the run, or let it expect that"
)
_INSTALL = (
    "install what it lacks, set TRACE_ROOT=private if that is staged, correct the run, or let it "
    "expect that"
)

_SAID = 300
"""Characters of last words that a message quotes."""


@dataclass(frozen=True, slots=True)
class Performance:
    """How a run went."""

    result: process.Result
    trouble: str
    """What was not as the run says, and what mends that: ``it ended with status 1, ...; correct
    the run``. Empty when all was."""
    exceeded: bool = False
    """Whether that was a limit of the run, so that the mend holds wherever it runs."""


def perform(run: Run, command: Sequence[bytes | str], way: Way | None = None) -> Performance:
    """Carry out `run` by `command`; return how it went.

    Where `command` has strace in it, the process that strace started is the program: it is told to
    stop, and strace then tells its status as its own. What the server is asked runs beside it,
    outside of any trace: on the machine as it is, or where `way` leads. ProcessError when a command
    cannot be started.
    """
    deadline = time.monotonic() + run.timeout
    if (way is None or run.network == "host") and (trouble := _taken(run)):
        words = tuple(os.fsencode(word) for word in command)
        return Performance(process.Result(words, 0, b"", b""), trouble)
    with process.start(
        command,
        environment={b"PATH": process.SEARCH_PATH, b"HOME": b"/", **run.environment},
        stdin=run.stdin,
        cwd=run.cwd,
        most=run.limits.processes,
    ) as running:
        server = _Server(run, running, deadline, way)
        trouble = server.serve() if run.ready else _finish(run, running, deadline)
        if trouble:
            running.end_all()
        result = running.result()
    if running.is_crowded:
        trouble = (
            f"it had more than {run.limits.processes} processes and threads at once; "
            "let it start fewer, or raise TRACE_PROCESSES"
        )
        return Performance(result, trouble, exceeded=True)
    return Performance(result, trouble or _judge(run, result, private=way is not None))


def _finish(run: Run, running: Running, deadline: float) -> str:
    """Wait for the end of a run that is no server."""
    if running.wait(deadline - time.monotonic()):
        return ""
    still = _names(running.end_all() or running.argv[:1])
    return (
        f"after {run.timeout:g} s it still ran ({still}); "
        "give it a longer timeout, or a command that ends"
    )


def _judge(run: Run, result: process.Result, *, private: bool) -> str:
    """Return what of `result` is not as `run` says; `private` tells whether its root is its own."""
    if result.status != run.status:
        hint = _STAGE if private else _INSTALL
        return f"{result.end}, not with status {run.status}, and {said(result)}; {hint}"
    if run.pattern and not run.pattern.fullmatch(result.stdout):
        return (
            f"it printed {last_words(result.stdout)!r}, which does not match {run.stdout!r}; "
            "correct the run, or let it expect that"
        )
    return ""


# Servers.


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to a server that has namespaces of its own."""

    beside: Callable[..., list[bytes]]
    """Gives the words that start a command of the machine in the namespaces of a process, with a
    file as standard input."""
    root: bytes
    """Where, there, the server's root lies."""
    inside: Sequence[bytes] = ()
    """Further words, which start one among the server's own files; none for the machine's."""


def _taken(run: Run) -> str:
    """Return what to say where somebody else would be taken for the server."""
    place = run.readiness
    if isinstance(place, Tcp | Unix) and not _ask(place, run.cwd, 1.0):
        return f"something else answers at {run.ready} already; end that, or use another place"
    return ""


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that was started; each method returns what went wrong, and what mends that."""

    run: Run
    running: Running
    deadline: float
    way: Way | None

    def serve(self) -> str:
        return self._await() or self._probe() or self._stop()

    def _await(self) -> str:
        """Wait until it is ready."""
        place = self.run.readiness
        while not self.running.ended:
            if place is None or not self._ask(place):
                return ""
            if time.monotonic() > self.deadline:
                self.running.end_all()
                return (
                    f"after {self.run.timeout:g} s it was not ready ({self.run.ready}), and "
                    f"{said(self.running.result())}; give it a longer timeout, or correct ready"
                )
            time.sleep(_POLL)
        return self._early("ready")

    def _early(self, what: str) -> str:
        self.running.wait(_GRACE)
        result = self.running.result()
        return f"{result.end} before it was {what}, and {said(result)}; correct the run"

    def _probe(self) -> str:
        """Ask all there is to ask."""
        for asked, question in zip(self.run.probes, self.run.questions, strict=True):
            if failure := self._ask(question):
                self.running.end_all()
                return (
                    f"probe {asked!r} failed: {failure}, and the server "
                    f"{said(self.running.result())}; correct the probe, or the run"
                )
        return ""

    def _ask(self, question: Question) -> str:
        seconds = self.deadline - time.monotonic()
        if self.way is None:
            return _ask(question, self.run.cwd, seconds)
        # Who made the namespaces waits for the first process in them.
        first = [each.pid for each in self.running.living() if each.parent == self.running.pid]
        return _ask_there(question, self.way, first[0], seconds) if first else "it has not begun"

    def _stop(self) -> str:
        """Tell it to stop, and wait until it has."""
        run, running = self.run, self.running
        name = process.signal_name(run.stop)
        told = _programs(running.living())
        if running.ended or not told:
            return self._early("stopped")
        for program in told:
            program.signal(run.stop)
        pids = {program.pid for program in told}
        while still := [found for found in running.living() if found.pid in pids]:
            if time.monotonic() > self.deadline:
                commands = _names(found.command for found in still)
                return (
                    f"{name} did not stop it ({commands}) within {run.timeout:g} s; "
                    "give it a longer timeout, or the signal that ends it as stop"
                )
            time.sleep(_POLL)
        if running.wait(_GRACE):
            return ""
        left = _names(running.end_all())
        return f"{name} ended it, but left processes behind ({left}); let it end what it starts"


def _programs(living: Sequence[process.Process]) -> list[process.Process]:
    """Return who is to be told to stop: what a tracer started; if that has gone, all it traces.

    Where nothing is traced, that is the process that was started.
    """
    traced = [found for found in living if found.tracer]
    return [found for found in traced if found.parent == found.tracer] or traced or list(living[:1])


def _names(commands: Iterable[bytes]) -> str:
    return ", ".join(show(command) for command in commands)


# What a server is asked.

Question = Tcp | Unix | Page | Command


def _ask(question: Question, cwd: bytes, seconds: float) -> str:
    """Return how `question` failed, as a clause; nothing when it was answered in `seconds`."""
    seconds = max(seconds, _POLL)
    if isinstance(question, Command):
        return _failure(process.run(question.argv, timeout=seconds, stdin=question.stdin, cwd=cwd))
    if isinstance(question, Page):
        # It may come byte by byte: only a program ends in time.
        return _asked([], question, seconds, b"/")
    kind, *words = _words(question)
    return probe.KINDS[kind](*words, seconds)


def _ask_there(question: Question, way: Way, pid: int, seconds: float) -> str:
    """As `_ask`, from the namespaces of the process `pid`."""
    seconds = max(seconds, _POLL)
    if isinstance(question, Command):
        words = [*way.beside(pid, question.stdin), *way.inside, *question.argv]
        return _failure(process.run(words, timeout=seconds))
    return _asked(way.beside(pid), question, seconds, way.root)


def _asked(
    before: Sequence[bytes], question: Tcp | Unix | Page, seconds: float, root: bytes
) -> str:
    """As `_ask`, by a program that the words `before` start."""
    asking = [sys.executable, "-I", "-S", probe.__file__, *_words(question)]
    result = process.run([*before, *asking, str(seconds), root], timeout=seconds + _GRACE)
    return result.stdout.decode() or _failure(result)


def _words(question: Tcp | Unix | Page) -> tuple[str, ...]:
    """Return `question` as `probe` takes it."""
    match question:
        case Tcp(port):
            return "tcp", str(port)
        case Unix(path):
            return "unix", os.fsdecode(path)
        case Page(port, target):
            return "page", str(port), target


def _failure(result: process.Result) -> str:
    failed = result.overdue or result.status
    return f"{result.end} and {said(result)}" if failed else ""


def said(result: process.Result) -> str:
    """Return a clause with the last words of both outputs: many programs complain on the first."""
    if not result.stdout.strip():
        return f"said {last_words(result.stderr)!r}"
    return f"said {last_words(result.stderr)!r} after it printed {last_words(result.stdout)!r}"


def last_words(printed: bytes) -> str:
    """Return the end of what was `printed`, in one line."""
    text = " | ".join(printed.decode("utf-8", "backslashreplace").split("\n")).strip(" |")
    return text if len(text) <= _SAID else "..." + text[-_SAID:]
