"""A run, carried out: started, if it is a server asked and told to stop, and judged.

The command is the program's own, or has strace and what else the caller wants before it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import process
from .paths import show
from .process import Running
from .run import Command, Page, Run, Tcp, Unix

_POLL = 0.05
"""Seconds between two looks at a server."""

_GRACE = 2.0
"""Seconds that the processes of a server have to follow the one that was told to stop."""

_SAID = 300
"""Characters of last words that a message quotes."""

_BODY = 1 << 20
"""Bytes that are read of a page."""


@dataclass(frozen=True, slots=True)
class Performance:
    """How a run went."""

    result: process.Result
    seconds: float
    """How long it took."""
    trouble: str
    """What was not as the run says, and what mends that: ``it ended with status 1, ...; correct
    the run``. Empty when all was."""


def perform(run: Run, command: Sequence[bytes | str]) -> Performance:
    """Carry out `run` by `command`; return how it went.

    Where `command` has strace in it, the process that strace started is the program: it is told to
    stop, and strace then tells its status as its own. What the server is asked runs beside it, on
    the machine as it is and outside of any trace. ProcessError when a command cannot be started.
    """
    begun = time.monotonic()
    deadline = begun + run.timeout
    if trouble := _taken(run):
        words = tuple(os.fsencode(word) for word in command)
        return Performance(process.Result(words, 0, b"", b""), 0.0, trouble)
    with process.start(
        command,
        environment={b"PATH": process.SEARCH_PATH, b"HOME": b"/", **run.environment},
        stdin=run.stdin,
        cwd=run.cwd,
    ) as running:
        trouble = (_serve if run.ready else _finish)(run, running, deadline)
        if trouble:
            running.end_all()
        result = running.result()
    return Performance(result, time.monotonic() - begun, trouble or _judge(run, result))


def _finish(run: Run, running: Running, deadline: float) -> str:
    """Wait for the end of a run that is no server."""
    if running.wait(deadline - time.monotonic()):
        return ""
    still = _names(running.end_all() or running.argv[:1])
    return (
        f"after {run.timeout:g} s it still ran ({still}); "
        "give it a longer timeout, or a command that ends"
    )


def _judge(run: Run, result: process.Result) -> str:
    """Return what of `result` is not as `run` says."""
    if result.status != run.status:
        return (
            f"{result.end}, not with status {run.status}, and said "
            f"{last_words(result.stderr)!r}; correct the run, or let it expect that"
        )
    if run.pattern and not run.pattern.fullmatch(result.stdout):
        return (
            f"it printed {last_words(result.stdout)!r}, which does not match {run.stdout!r}; "
            "correct the run, or let it expect that"
        )
    return ""


# Servers.


def _taken(run: Run) -> str:
    """Return what to say where somebody else would be taken for the server."""
    place = run.readiness
    if isinstance(place, Tcp | Unix) and not _ask(place, run, 1.0):
        return f"something else answers at {run.ready} already; end that, or use another place"
    return ""


def _serve(run: Run, running: Running, deadline: float) -> str:
    return (
        _await(run, running, deadline)
        or _probe(run, running, deadline)
        or _stop(run, running, deadline)
    )


def _await(run: Run, running: Running, deadline: float) -> str:
    """Wait until the server is ready."""
    place = run.readiness
    while not running.ended:
        if place is None or not _ask(place, run, deadline - time.monotonic()):
            return ""
        if time.monotonic() > deadline:
            running.end_all()
            said = last_words(running.result().stderr)
            return (
                f"after {run.timeout:g} s it was not ready ({run.ready}), and said {said!r}; "
                "give it a longer timeout, or correct ready"
            )
        time.sleep(_POLL)
    return _early(running, "ready")


def _early(running: Running, what: str) -> str:
    running.wait(_GRACE)
    result = running.result()
    said = last_words(result.stderr)
    return f"{result.end} before it was {what}, and said {said!r}; correct the run"


def _probe(run: Run, running: Running, deadline: float) -> str:
    """Ask the server all there is to ask."""
    for probe, question in zip(run.probes, run.questions, strict=True):
        if failure := _ask(question, run, deadline - time.monotonic()):
            running.end_all()
            said = last_words(running.result().stderr)
            return (
                f"probe {probe!r} failed: {failure}, and the server said {said!r}; "
                "correct the probe, or the run"
            )
    return ""


def _stop(run: Run, running: Running, deadline: float) -> str:
    """Tell the server to stop, and wait until it has."""
    name = process.signal_name(run.stop)
    told = _programs(running.living())
    if running.ended or not told:
        return _early(running, "stopped")
    for program in told:
        program.signal(run.stop)
    pids = {program.pid for program in told}
    while still := [found for found in running.living() if found.pid in pids]:
        if time.monotonic() > deadline:
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


def _ask(question: Tcp | Unix | Page | Command, run: Run, seconds: float) -> str:
    """Return how `question` failed, as a clause; nothing when it was answered in `seconds`."""
    seconds = max(seconds, _POLL)
    match question:
        case Tcp(port):
            return _connect(socket.AF_INET, ("127.0.0.1", port), seconds)
        case Unix(path):
            return _connect(socket.AF_UNIX, path, seconds)
        case Page():
            return _get(question, seconds)
        case Command(argv, stdin):
            result = process.run(argv, timeout=seconds, stdin=stdin, cwd=run.cwd)
            failed = result.overdue or result.status
            return f"{result.end} and said {last_words(result.stderr)!r}" if failed else ""


def _connect(family: int, address: tuple[str, int] | bytes, seconds: float) -> str:
    with socket.socket(family) as client:
        client.settimeout(seconds)
        try:
            client.connect(address)
        except OSError as error:
            return str(error)
    return ""


def _get(page: Page, seconds: float) -> str:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=seconds)
    try:
        connection.request("GET", page.target)
        response = connection.getresponse()
        response.read(_BODY)
    except (OSError, http.client.HTTPException) as error:
        return f"there was no answer ({error})"
    finally:
        connection.close()
    return "" if 200 <= response.status < 400 else f"it answered with status {response.status}"


def last_words(printed: bytes) -> str:
    """Return the end of what was `printed`, in one line."""
    text = " | ".join(printed.decode("utf-8", "backslashreplace").split("\n")).strip(" |")
    return text if len(text) <= _SAID else "..." + text[-_SAID:]
