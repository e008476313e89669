"""Child processes, which are all started here, and their output."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO

from ..errors import ProcessError
from ..fs.paths import SEARCH_PATH as SEARCH_PATH

KEPT = 1 << 19
"""Bytes kept of the beginning of each output, and as many of its end."""

_QUOTED = 300
"""Characters of an output that a message quotes."""


class Ends:
    """The beginning and the end of an output."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take `data`, which comes next."""
        self._size += len(data)
        room = KEPT - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * KEPT:
            del self._tail[:-KEPT]

    def text(self) -> bytes:
        """Return the output so far; of more than 2 * `KEPT` bytes without the middle."""
        left_out = self._size - 2 * KEPT
        if left_out <= 0:
            return bytes(self._head + self._tail)
        mark = b"\n[%d bytes left out]\n" % left_out
        return bytes(self._head) + mark + bytes(self._tail[-KEPT:])


def last_words(output: bytes) -> str:
    """Return the end of `output` in one line."""
    text = " | ".join(output.decode("utf-8", "backslashreplace").split("\n")).strip(" |")
    return text if len(text) <= _QUOTED else "..." + text[-_QUOTED:]


def quote_output(stdout: bytes, stderr: bytes) -> str:
    """Return a clause with the last words of both outputs: many programs complain on the first."""
    said = f"said {last_words(stderr)!r}"
    return f"{said} after it printed {last_words(stdout)!r}" if stdout.strip() else said


TOOL_ENVIRONMENT: Mapping[bytes, bytes] = MappingProxyType(
    {b"LC_ALL": b"C", b"PATH": SEARCH_PATH, b"HOME": b"/"}
)
"""The variables of tools: their messages are parsed, and no user's settings count."""

is_interrupted: Callable[[], bool] = bool
"""Says whether the user has interrupted the build; the SCons side sets it."""

_SLICE = 0.2
"""Seconds between two looks at that."""

_BY_SIGNAL = 128
"""Shells, engines and the first process of a namespace add it to the number of a signal."""

_COUNT = 0.1
"""Seconds between two looks at how many processes there are: strace lets a hundred more begin."""

_POLL = 0.02
"""Seconds between two looks at processes that are being ended."""

_PATIENCE = 10.0
"""Seconds that ended processes have to go."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a process ended."""

    argv: tuple[bytes, ...]
    status: int
    """Exit status, or minus the number of the signal that ended it."""
    stdout: bytes
    """Its output; of more than 2 * `KEPT` bytes a mark stands for the middle."""
    stderr: bytes
    overdue: tuple[bytes, ...] = ()
    """Commands that still ran at the time limit, and were ended; empty when all ended in time."""

    @property
    def end(self) -> str:
        """Return how it ended, as a clause."""
        if self.overdue:
            return "it did not end in time"
        if self.status < 0:
            return f"it was ended by {signal_name(-self.status)}"
        end = f"it ended with status {self.status}"
        name = signal_name(self.status - _BY_SIGNAL)
        return end if name.startswith("signal ") else f"{end}, as after {name}"

    @property
    def quote(self) -> str:
        """Return the last words of both outputs, as a clause."""
        return quote_output(self.stdout, self.stderr)

    @property
    def is_failure(self) -> bool:
        """Whether it ended with another status than 0, or not in time."""
        return bool(self.status or self.overdue)

    def check(self) -> Result:
        """Return the result itself; ProcessError when it is a failure."""
        if self.is_failure:
            cause = f"{self.end} and {self.quote}"
            raise ProcessError(f"run {command_line(self.argv)}", cause, "run it by hand")
        return self


def run(
    argv: Sequence[bytes | str],
    *,
    timeout: float,
    environment: Mapping[bytes, bytes] = TOOL_ENVIRONMENT,
    stdin: bytes | None = None,
    cwd: bytes = b"/",
) -> Result:
    """Run `argv` to its end, or for `timeout` seconds; return how it ended.

    It is started as by `start`. At the time limit its whole session ends, and all that it traces.
    ProcessError when it cannot be started. Safe to call from threads.
    """
    with start(argv, environment=environment, stdin=stdin, cwd=cwd) as running:
        overdue = () if running.wait(timeout) else running.end_all() or running.argv[:1]
        return running.result(overdue)


@contextlib.contextmanager
def start(
    argv: Sequence[bytes | str],
    *,
    environment: Mapping[bytes, bytes] = TOOL_ENVIRONMENT,
    stdin: bytes | None = None,
    cwd: bytes = b"/",
    most: int | None = None,
) -> Iterator[Running]:
    """Start `argv`; give it while it runs. It ends with the context.

    It also ends when it has more than `most` processes and threads. `environment` has all of its
    variables; a program without a slash is looked for on its PATH. Standard input is the file
    `stdin`, or /dev/null. The process leads a session of its own, with umask 022. ProcessError when
    it cannot be started.
    """
    words = tuple(os.fsencode(word) for word in argv)
    try:
        with open(stdin or b"/dev/null", "rb") as source:
            child = subprocess.Popen(
                words,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=environment,
                umask=0o022,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        raise _start_error(words, error) from error
    running = Running(words, child)
    watch = None if most is None else _Watch(running, most)
    try:
        yield running
    finally:
        if not running.has_ended:
            running.end_all()
        if watch:
            watch.stop()


def _start_error(argv: tuple[bytes, ...], error: OSError | ValueError) -> ProcessError:
    cause = error.strerror if isinstance(error, OSError) else error
    name = error.filename if isinstance(error, OSError) else None
    where = f" ({os.fsdecode(name)!r})" if name else ""
    return ProcessError(
        f"run {command_line(argv)}", f"{cause}{where}", "install it, or correct the command"
    )


class Running:
    """A process, and the session that it leads."""

    def __init__(self, argv: tuple[bytes, ...], child: subprocess.Popen[bytes]) -> None:
        self.argv = argv
        self.pid = child.pid
        self.is_crowded = False
        """Whether it had to end because it had too many processes."""
        self._child = child
        self._outputs = tuple(
            _Output(pipe) for pipe in (child.stdout, child.stderr) if pipe is not None
        )

    @property
    def has_ended(self) -> bool:
        """Whether the process itself has ended."""
        return self._child.poll() is not None

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended and its outputs are closed; say if `seconds` were enough.

        ProcessError when the user interrupts the build meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not self._wait(min(_SLICE, deadline - time.monotonic())):
            if is_interrupted():
                raise ProcessError("go on", "the build was interrupted", "build again")
            if time.monotonic() >= deadline:
                return False
        return True

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        for output in self._outputs:
            output.join(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(max(0.0, deadline - time.monotonic()))
        return self.has_ended and not any(output.is_alive() for output in self._outputs)

    def living_processes(self) -> list[Process]:
        """Return its session, descendants and all that these trace, by number.

        Where /proc is mounted with hidepid, those that the user may not see are left out.
        """
        return [process for process in self._family() if not process.is_zombie]

    def count_threads(self) -> int:
        """Return how many processes and threads these are, zombies included."""
        return sum(process.threads for process in self._family())

    def _family(self) -> list[Process]:
        pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        table = [process for pid in pids if (process := _process(pid))]
        own = {self.pid}
        while found := {
            process.pid
            for process in table
            if process.pid not in own
            and (process.session == self.pid or {process.parent, process.tracer} & own)
        }:
            own |= found
        return [process for process in table if process.pid in own]

    def end_all(self) -> tuple[bytes, ...]:
        """Kill its group and all `living_processes`; return the commands that still ran.

        They stop first, and end by group: a signal reaches all of a group at once, also where each
        process forks and ends faster than /proc can be read. While a tracer stands still, no
        process that it traces can fork in another group, either. The group of the tracer goes last:
        its end would let such processes go on, untraced.
        """
        deadline = time.monotonic() + _PATIENCE
        first: tuple[bytes, ...] = ()
        _signal_group(self.pid, signal.SIGSTOP)
        while True:
            living = self.living_processes()
            aims = [process for process in living if process.tracer] or living
            first = first or tuple(sorted({process.command for process in aims}))
            for group in {process.group for process in living} - {0, self.pid}:
                _signal_group(group, signal.SIGKILL)
            # A user may kill their own processes also where /proc hides all of them.
            _signal_group(self.pid, signal.SIGKILL)
            if not living or time.monotonic() >= deadline:
                break
            time.sleep(_POLL)
        # A process that left the session may hold the pipes open: the output so far is enough.
        self._wait(_PATIENCE)
        return first

    def result(self, overdue: tuple[bytes, ...] = ()) -> Result:
        """Wait for its end; return how it ended, and its output so far."""
        stdout, stderr = (output.text() for output in self._outputs)
        return Result(self.argv, self._child.wait(), stdout, stderr, overdue)


class _Watch(threading.Thread):
    """Ends a session that has more than a number of processes and threads.

    Nothing else does that for every user: the kernel exempts root from RLIMIT_NPROC, and few users
    may make a cgroup.
    """

    def __init__(self, running: Running, most: int) -> None:
        super().__init__(daemon=True)
        self._running = running
        self._most = most
        self._stopped = threading.Event()
        self.start()

    def run(self) -> None:
        """Watch until `stop`."""
        fewest = _count_tasks()
        while not self._stopped.wait(_COUNT):
            tasks = _count_tasks()
            fewest = min(fewest, tasks)
            # To count those of the session takes a hundred times as long.
            if tasks - fewest >= self._most and self._running.count_threads() > self._most:
                self._running.is_crowded = True
                self._running.end_all()
                return

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        self.join()


def _count_tasks() -> int:
    """Return how many processes and threads the host has: proc_loadavg(5)."""
    with open("/proc/loadavg", "rb") as stream:
        return int(stream.read().split()[3].partition(b"/")[2])


class _Output(threading.Thread):
    """Reads a pipe to its end, and keeps the beginning and the end."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._ends = Ends()
        self.text = self._ends.text
        self.start()

    def run(self) -> None:
        """Read until the pipe is closed."""
        with self._pipe:
            while data := os.read(self._pipe.fileno(), 1 << 16):
                self._ends.add(data)


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    tracer: int
    """Number of the process that traces it; 0 for none."""
    threads: int
    is_zombie: bool
    """Whether it has ended, and its parent has not waited for it."""
    command: bytes

    def signal(self, number: int) -> None:
        """Send it signal `number`, unless it has ended or is another user's."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, number)


_TRACER = re.compile(rb"^TracerPid:\t(\d+)", re.MULTILINE)


def _process(pid: int) -> Process | None:
    """Return the process `pid` by proc(5); None when it is gone or hidden."""
    try:
        stat, status, command = (_read(pid, name) for name in ("stat", "status", "cmdline"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name, in parentheses, may hold anything.
    state, parent, group, session, *rest = stat[stat.rindex(b")") + 2 :].split()
    tracer = _TRACER.search(status)
    return Process(
        pid,
        int(parent),
        int(group),
        int(session),
        tracer=int(tracer[1]) if tracer else 0,
        threads=max(int(rest[13]), 1),
        is_zombie=state in (b"Z", b"X"),
        command=command.rstrip(b"\0").replace(b"\0", b" ")[:200],
    )


def _signal_group(group: int, number: int) -> None:
    """Send signal `number` to all processes of a group to which the user may send it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as stream:
        return stream.read()


def find(name: bytes) -> bytes | None:
    """Return the path of the program `name`, a path or a name on SEARCH_PATH; None for none."""
    found = shutil.which(os.fsdecode(name), path=os.fsdecode(SEARCH_PATH))
    return None if found is None else os.fsencode(os.path.abspath(found))


def signal_name(number: int) -> str:
    """Return the name of signal `number`, as ``SIGSEGV``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def command_line(argv: Sequence[bytes]) -> str:
    """Return `argv` as a user would type it, in one printable line."""
    text = shlex.join(word.decode("utf-8", "backslashreplace") for word in argv)
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def shell_status(status: int) -> int:
    """Return `status` as shells, engines and the first process of a namespace pass it on."""
    return status if status >= 0 else _BY_SIGNAL - status
