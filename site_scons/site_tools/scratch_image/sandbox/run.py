"""A run: one command under which a program is traced, and the requests to it if it is a server."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InputError
from ..fs.paths import SEARCH_PATH

_SIGNALS = signal.valid_signals()


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A request to a server: whether it is ready, or whether it works."""

    kind: str
    """One of `probe.KINDS`, or ``exec`` for a command that ends with status 0."""
    words: tuple[bytes, ...]
    """Those that `probe` takes, or the command's."""
    stdin: bytes | None = None
    """The command's standard input: a host path."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the host a run may take."""

    processes: int = 1000
    """Processes and threads that it may have at once."""
    space: int = 1024
    """MB (of 2**20 bytes) that it may write into a root of its own, which is memory."""


@dataclass(frozen=True, slots=True)
class Run:
    """One command under which a program is traced.

    With `ready` it is a server: it gets requests, then a signal, and has to end by itself.
    InputError when a field has a wrong value.
    """

    name: str
    """Unique among the runs of an image; for file names and messages."""
    argv: tuple[bytes, ...]
    """Program (image path, or base name) and its arguments."""
    environment: Mapping[bytes, bytes] = field(default_factory=dict)
    """Variables besides PATH and HOME, or instead of them."""
    stdin: bytes | None = None
    """Host path of the file that is standard input; None for /dev/null."""
    cwd: bytes = b"/"
    """Directory where the run starts; empty while it is not known."""
    status: int = 0
    """Exit status that is expected."""
    timeout: float = 60.0
    """Seconds after which the run is ended and has failed."""
    stdout: bytes | None = None
    """Regular expression that all of its standard output has to match; None for any output."""
    ready: str = ""
    """When the server is ready: as soon as ``tcp:PORT`` (on 127.0.0.1) or ``unix:/PATH`` accepts,
    or ``exec:COMMAND LINE`` succeeds."""
    probes: tuple[str, ...] = ()
    """The requests that it then gets: command lines and ``http://127.0.0.1:PORT/...``."""
    stop: int = signal.SIGTERM
    """The signal that then ends the server."""
    network: str = "loopback"
    """Its network: ``loopback``, of its own, or the ``host``'s. In the host's own file system it is
    always the host's."""
    read_only: bool = True
    """Whether its root is read-only when it is tested in a container."""
    cap_drop: bool = True
    """Whether it has no capabilities there."""
    is_suite: bool = False
    """Whether it is a test suite: `argv` starts a harness, which starts the program."""
    needs: tuple[bytes, ...] = field(default=(), repr=False)
    """Of a suite: host paths of files that have to be there before it starts.

    Not part of any signature: the record of the suite has the files that it uses.
    """
    limits: Limits = field(default_factory=Limits, repr=False)
    """Not part of any signature: a run that stays within them is the same under others."""

    def __post_init__(self) -> None:
        _ = self.readiness, self.requests, self.pattern
        if self.probes and not self.ready:
            raise _bad(self, "probes", "nothing says when the server is ready", "give ready, too")
        if self.cwd[:1] not in (b"", b"/") and not self.is_suite:
            raise _bad(self, f"cwd {os.fsdecode(self.cwd)!r}", "it is not absolute", "start with /")
        if self.network not in ("loopback", "host"):
            cause = "there is no such network"
            raise _bad(self, f"network {self.network!r}", cause, "use loopback or host")
        if self.stop not in _SIGNALS:
            raise _bad(self, f"stop {self.stop!r}", "there is no such signal", "use signal.SIGTERM")

    @property
    def variables(self) -> dict[bytes, bytes]:
        """All variables that the program gets: `environment`, with PATH and HOME."""
        return {b"PATH": SEARCH_PATH, b"HOME": b"/", **self.environment}

    @property
    def readiness(self) -> ServerRequest | None:
        """`ready` as a request; None for a run that ends by itself."""
        if not self.ready:
            return None
        kind, _, rest = self.ready.partition(":")
        word = os.fsencode(rest)
        is_socket = kind == "unix" and word.startswith(b"/") and len(word) <= _SOCKET_PATH
        if is_socket or (kind == "tcp" and _is_port(rest)):
            return ServerRequest(kind, (word,))
        if kind == "exec":
            return self._command(rest)
        cause = "it is no port from 1 to 65535, socket of up to 107 bytes, or command"
        hint = "use tcp:PORT, unix:/PATH or exec:COMMAND LINE"
        raise _bad(self, f"ready {self.ready!r}", cause, hint)

    @property
    def requests(self) -> tuple[ServerRequest, ...]:
        """`probes` as requests."""
        return tuple(self._request(probe) for probe in self.probes)

    @property
    def pattern(self) -> re.Pattern[bytes] | None:
        """`stdout`, compiled."""
        if self.stdout is None:
            return None
        try:
            return re.compile(self.stdout, re.DOTALL)
        except re.error as error:
            hint = "correct the regular expression"
            raise _bad(self, f"stdout {self.stdout!r}", str(error), hint) from error

    def _request(self, probe: str) -> ServerRequest:
        if not re.match(r"https?:", probe):
            return self._command(probe)
        found = _PAGE.fullmatch(probe)
        if found and _is_port(found[1]):
            return ServerRequest("page", (found[1].encode(), (found[2] or "/").encode()))
        hint = "use http://127.0.0.1:PORT/..., or a command"
        raise _bad(self, f"the probe {probe!r}", "it is no page of 127.0.0.1", hint)

    def _command(self, text: str) -> ServerRequest:
        run = Run.parse(self.name, text)
        return ServerRequest("exec", run.argv, run.stdin)

    @classmethod
    def parse(cls, name: str, command: str) -> Run:
        """Return the run of the command line `command`.

        Words are split and quoted as in sh(1), and one ``< file`` is the standard input.
        InputError for anything else that only a shell can do.
        """
        if syntax := shell_syntax(command):
            raise _bad_command(name, command, f"{syntax} is for a shell")
        start, redirected, stdin = _split_at(command, "<")
        words, source = _words(name, command, start), _words(name, command, stdin)
        if redirected and len(source) != 1:
            raise _bad_command(name, command, "one file name has to follow <, and nothing else")
        if not words or _ASSIGNMENT.match(words[0]):
            raise _bad_command(name, command, "it does not start with a program")
        argv = tuple(os.fsencode(word) for word in words)
        return cls(name, argv, stdin=os.fsencode(source[0]) if source else None)


_PAGE = re.compile(r"http://127\.0\.0\.1:(\d+)(/[!-~]*)?")

_SOCKET_PATH = 107
"""Bytes that the name of a UNIX socket may have, by unix(7)."""


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,4}", text) is not None and int(text) < 1 << 16


_SHELL_ONLY = re.compile(r"[|&;()>$`*?\[\n]|(?:^|\s)[~#]\S*|<\s*<")
_ASSIGNMENT = re.compile(r"\w+=")
_QUOTED = re.compile(r"""'[^']*'|"((?:[^"\\]|\\.)*)"|\\.""", re.DOTALL)
_EXPANDED = re.compile(r"[$`]")


def shell_syntax(command: str, more: str = "") -> str:
    """Return the first syntax in `command` that only a shell knows, or a sign of `more`; or ""."""
    plain = _mask_quotes(command)
    if found := _SHELL_ONLY.search(plain):
        return found[0].strip() or "a second line"
    return next((sign for sign in more if sign in plain), "")


def _mask_quotes(command: str) -> str:
    """Return `command` with each quoted character as a letter: any sign left may be syntax."""

    def mask(found: re.Match[str]) -> str:
        expanded = _EXPANDED.search(found[1] or "")
        return ("$" if expanded else "q") * len(found[0])

    return _QUOTED.sub(mask, command)


def _split_at(command: str, sign: str) -> tuple[str, bool, str]:
    before, found, _ = _mask_quotes(command).partition(sign)
    return command[: len(before)], bool(found), command[len(before) + 1 :]


def _words(name: str, command: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _bad_command(name, command, str(error).lower()) from error


def _bad(run: Run, what: str, cause: str, hint: str) -> InputError:
    return InputError(f"read {what} of run {run.name}", cause, hint)


def _bad_command(name: str, command: str, cause: str) -> InputError:
    return InputError(
        f"read the command {command!r} of run {name or 'default'}",
        cause,
        "give a list of words; for a shell, make a script and trace that",
    )
