"""`Run`, `Suite`, `HealthCheck` and `Staged`, which SConscripts call."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InputError
from ..image import settings
from ..sandbox import run
from .checks import (
    RUN_NAME,
    SECONDS,
    TEXT,
    VALUE,
    Dictionary,
    Files,
    Number,
    OneFile,
    OneOf,
    Several,
    Text,
    check_arguments,
)
from .staged import StagedNode
from .variables import HEALTH, RUN

_ENV = Dictionary("a dictionary of variables", '{"LANG": "C.UTF-8"}', TEXT, VALUE)


@check_arguments(
    "Run",
    command=RUN,
    name=RUN_NAME,
    env=_ENV,
    stdin=OneFile("a file", '"input.txt"'),
    cwd=Text("an absolute path", '"/srv"', names=True),
    status=Number("a whole number from 0 to 255", "1", 0, 255),
    timeout=Number("a number of seconds", "300", 0.001, 1e9),
    stdout=Text("a regular expression", r'"[0-9]+\n"', names=True),
    ready=Text("text", '"tcp:8080"'),
    probes=Several("a probe, or a list of probes", '["http://127.0.0.1:8080/"]', TEXT),
    stop=Number("a signal", "signal.SIGQUIT", 1, 64),
    network=OneOf("'loopback' or 'host'", '"host"', ["loopback", "host"]),
    read_only=OneOf("True or False", "False"),
    cap_drop=OneOf("True or False", "False"),
)
def Run(  # noqa: N802  # SCons names what SConscripts call like this: Builder(), Action()
    command: str | Sequence[str] = (),
    name: str = "",
    env: Mapping[str, str] | None = None,
    stdin: Any = None,
    cwd: str = "",
    status: int = 0,
    timeout: float = 60.0,
    stdout: str | bytes | None = None,
    ready: str = "",
    probes: Sequence[str] = (),
    stop: int = signal.SIGTERM,
    network: str = "loopback",
    read_only: bool = True,
    cap_drop: bool = True,
) -> run.Run:
    """Return one command under which the program is traced, for `RUN` and `RUNS`.

    `command` is a command line (words, quotes, one ``< FILE``) or a list of words; without one the
    program runs alone. `name` becomes part of the target's name where there are several runs; it
    has up to 64 letters, digits and ``_ . + -``, and the default is 1, 2, ... `env` has variables
    besides those of the image. `stdin` is a file (name or node) instead of /dev/null. The run
    starts in `cwd`, or else in the image's working directory. `status` is the exit status that is
    expected. After `timeout` seconds the run has failed, and is ended. `stdout` is a regular
    expression that all of its output has to match; without one an image has to print what was
    printed when it was traced.

    A run with `ready` (``tcp:PORT``, ``unix:/PATH``, ``exec:COMMAND LINE``) is a server: when it
    answers, it gets the `probes` (command lines, ``http://127.0.0.1:PORT/...``), gets the
    signal `stop`, and has to end. Its `network` is a loopback device of its own, or the ``host``'s.
    `read_only` and `cap_drop` are false for a run that, in a
    container, has to write outside of volumes, or needs capabilities.

    A mistake, such as a command line that needs a shell, ends SCons.
    """
    made: run.Run = RUN(command)
    return replace(
        made,
        name=name,
        environment=_environment(env),
        stdin=made.stdin if stdin is None else os.fsencode(str(stdin)),
        cwd=os.fsencode(cwd),
        status=status,
        timeout=float(timeout),
        stdout=None if stdout is None else os.fsencode(stdout),
        ready=ready,
        probes=tuple(probes),
        stop=stop,
        network=network,
        read_only=read_only,
        cap_drop=cap_drop,
    )


@check_arguments(
    "Suite",
    command=RUN,
    name=RUN_NAME,
    env=_ENV,
    cwd=Text("a path", '"build"', names=True),
    timeout=Number("a number of seconds", "3600", 0.001, 1e9),
    files=Files("a file, or a list of files", '"tests/helper"'),
)
def Suite(  # noqa: N802  # as Run
    command: str | Sequence[str],
    name: str = "",
    env: Mapping[str, str] | None = None,
    cwd: str = "",
    timeout: float = 600.0,
    files: Any = (),
) -> run.Run:
    """Return a test suite as a run, for `RUN` and `RUNS`.

    `command` starts its harness (``pytest``, ``ctest``, ``make``, ``prove``, a script), found
    along PATH or, with a slash, from `cwd`. Only what the image's programs use counts: the program
    and the staged files, at their image paths or where they were built, and all that these start.
    The harness and its files stay out of the image; the trace depends on them. `name`, `env` and
    `timeout` are as for `Run`. The suite starts in `cwd`, seen from the project's top directory,
    or there. `files` have to be built before it, beside what is staged.
    """
    made: run.Run = RUN(command)
    if not made.argv:
        raise InputError("run a suite", "it has no command", "name its harness")
    return replace(
        made,
        name=name,
        environment=_environment(env),
        cwd=os.fsencode(cwd),
        timeout=float(timeout),
        is_suite=True,
        needs=tuple(os.fsencode(_place(each)) for each in files),
    )


def _environment(env: Mapping[str, str] | None) -> dict[bytes, bytes]:
    return {os.fsencode(key): os.fsencode(value) for key, value in (env or {}).items()}


def _place(file: Any) -> str:
    """Return the path of the node or name `file`."""
    return str(file.get_abspath() if hasattr(file, "get_abspath") else file)


@check_arguments(
    "HealthCheck",
    interval=SECONDS,
    timeout=SECONDS,
    start_period=SECONDS,
    retries=Number("a whole number", "3", 0, 1 << 31),
)
def HealthCheck(  # noqa: N802  # as Run
    command: str | Sequence[str],
    interval: float = 0,
    timeout: float = 0,
    start_period: float = 0,
    retries: int = 0,
) -> settings.HealthCheck:
    """Return how an engine asks a container whether it is well, for `IMAGE_HEALTHCHECK`.

    `command` is a command line or a list of words, and ends with status 0 when all is well; there
    is no shell. It may also be a page, ``http://127.0.0.1:PORT/...``: the image gets a program of
    a few kB that asks for it, and all is well if the server answers 2xx or 3xx within a minute.
    `interval` has the seconds from one check to the next, `timeout` those after which a check has
    failed, `start_period` those at the start in which failures do not count. After `retries`
    failures in a row the container is unhealthy. 0 leaves a number to the engine.
    """
    words: settings.HealthCheck | None = HEALTH.read("command", command, "HealthCheck")
    if words is None:
        raise InputError(
            "check health by nothing", "it has no command", "name a program of the image"
        )
    check = replace(
        words, interval=interval, timeout=timeout, start_period=start_period, retries=retries
    )
    check.document()
    return check


_ACCOUNT = r"([A-Za-z_][A-Za-z0-9_.-]*|[0-9]{1,9})"


@check_arguments(
    "Staged",
    node=OneFile("a file or a directory", '"key.pem"'),
    mode=Number("permission bits", "0o600", 0, 0o7777),
    owner=Text("an account", '"www-data"', f"({_ACCOUNT}(:{_ACCOUNT})?)?", numbers=True),
)
def Staged(node: Any, mode: int | None = None, owner: str = "") -> StagedNode:  # noqa: N802  # as Run
    """Return a file or directory for the image, with the mode and the owner that it has there.

    It is a value of the dictionary that `ScratchImage` gets: ``{"/etc/app/key": Staged("key.pem",
    mode=0o600, owner="www-data")}``. Runs see both, too. `mode` has permission bits; without it a
    program has 0755, any other file 0644 and a directory 0755. In a directory it is the mode of
    all files, and directories get the right to search where they can be read. `owner` is
    ``USER`` or ``USER:GROUP``, each a name of the image's account files or a number; the
    default is root.
    """
    return StagedNode(node, mode, owner)
