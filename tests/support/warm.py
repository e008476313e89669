"""SCons, forked from a process that has imported it: a start costs a third of a cold one.

Tests import the first half; the second half is the program that they start.
"""

from __future__ import annotations

import atexit
import functools
import gc
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

LIBRARIES = ("SCons.Script", "docker", "elftools.elf.elffile", "tarfile", "urllib3", "zstandard")
"""Modules that are imported before the fork: none of the plugin, which each project has itself."""

_AT_START = ("LANG", "LC_", "PYTHON")
"""Beginnings of the names of variables that Python reads when it starts."""

_turn = itertools.count()


def run(
    command: list[str],
    directory: Path,
    variables: dict[str, str],
    commands: str,
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """Run SCons in `directory` with the environment `variables`, on input `commands`.

    `command` is as `Scons.command` gives it, with arguments. Output and errors come in one text.
    Raise TimeoutExpired after `timeout` seconds.
    """
    # Two servers take turns, so that a set has another order in the next run.
    at_start = {name: text for name, text in variables.items() if name.startswith(_AT_START)}
    server = _server(frozenset(at_start.items()), next(_turn) % 2)
    umask = os.umask(0)
    os.umask(umask)
    request = json.dumps([command, str(directory), variables, umask])
    (stdin, words), (output, stdout), (status, report) = os.pipe(), os.pipe(), os.pipe()
    os.write(words, commands.encode())
    os.close(words)
    handed = [stdin, stdout, report]
    socket.send_fds(server, [request.encode()], handed)
    for each in handed:
        os.close(each)
    try:
        text = _read(output, time.monotonic() + timeout)
        if text is None:
            os.kill(int(os.read(status, 32).split()[0]), signal.SIGKILL)
            raise subprocess.TimeoutExpired(command, timeout)
        with open(status, closefd=False) as lines:
            _, code = lines.read().split()
        return subprocess.CompletedProcess(command, int(code), text.decode())
    finally:
        os.close(output)
        os.close(status)


def _read(output: int, deadline: float) -> bytes | None:
    """Return all that comes out of a pipe; None where it is still open at the deadline."""
    found = bytearray()
    while select.select([output], [], [], max(0, deadline - time.monotonic()))[0]:
        if not (block := os.read(output, 1 << 16)):
            return bytes(found)
        found += block
    return None


@functools.cache
def _server(at_start: frozenset[tuple[str, str]], number: int) -> socket.socket:
    """Start a server; it ends when the process that runs the tests ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    others = {name: each for name, each in os.environ.items() if not name.startswith(_AT_START)}
    with theirs:
        server = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={**others, **dict(at_start)},
            pass_fds=[theirs.fileno()],
        )
    atexit.register(server.wait, timeout=10)
    atexit.register(ours.close)
    return ours


def _serve(channel: socket.socket) -> None:
    """Fork one process for each request, which runs SCons, and one that reports how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, files, _, _ = socket.recv_fds(channel, 1 << 20, 3)
        if not request:
            return
        stdin, stdout, report = files
        if os.fork() == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if (pid := os.fork()) == 0:
                os.close(report)
                _redirect(stdin, stdout)
                _become(*json.loads(request))
                return
            os.close(stdin)
            os.close(stdout)
            _report(pid, report)
        for each in files:
            os.close(each)


def _report(pid: int, report: int) -> None:
    os.write(report, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(report, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _redirect(stdin: int, stdout: int) -> None:
    """Read standard input from a pipe, and write output and errors to another."""
    for source, target in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(source, target)
    os.close(stdin)
    os.close(stdout)


def _become(command: list[str], directory: str, variables: dict[str, str], umask: int) -> None:
    """Make this process one that `command` has just started."""
    os.chdir(directory)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    _, option, program, *arguments = command
    sys.path[0] = directory if option == "-m" else ""
    sys.argv = [option, *arguments]
    if option == "-c":
        exec(program, {"__name__": "__main__"})
    else:
        import SCons.Script

        SCons.Script.main()


if __name__ == "__main__":
    for library in LIBRARIES:
        __import__(library)
    gc.collect()
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
