"""The test of a finished image: its runs, repeated with nothing but the files of the image.

In a root of its own a run is traced again, and compared with its trace on the machine: its end,
its output, and the paths that it finds. In an engine's container only the first two are seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..elf.loader_cache import CACHE
from ..errors import ImageError
from ..files.exclusions import is_host_noise
from ..fs.capabilities import permitted_names
from ..fs.lookup import FileKind
from ..fs.paths import parents, show_some
from ..fs.root import Root, WatchedFileSystem
from ..publish import container
from ..sandbox.execution import Failure
from ..sandbox.namespaces import Sandbox
from ..sandbox.process import Result, last_words, shell_status
from ..sandbox.run import Run
from ..sysroot.image_root import unpacked_layers
from ..trace.log import parse
from ..trace.program import find_emulator
from ..trace.record import Record, Use
from ..trace.resolution import resolve
from ..trace.strace_tool import Strace
from ..trace.tracer import trace_in_sandbox

_ADD = "add what it lacks to an extra list"

_ALLOWED: Mapping[str, Mapping[str, Any]] = {
    "give the run read_only=False, or name the directory that it writes to in IMAGE_VOLUMES": {
        "read_only": False
    },
    "give the run cap_drop=False": {"cap_drop": False},
    "give the run read_only=False and cap_drop=False": {"read_only": False, "cap_drop": False},
}
"""Settings that may let a run succeed in a container, by the hint that names them."""

_NAMED = 5
"""Missing paths that a message names."""


@dataclass(frozen=True, slots=True)
class RepeatedRun:
    """A run as it went on the machine, to be repeated."""

    image: str
    """Name of the image, for messages."""
    run: Run
    program: bytes
    """Image path."""
    record: Record
    """The paths that the run used on the machine."""
    stdout: bytes
    """Its standard output there."""
    left_out: tuple[re.Pattern[bytes], ...] = ()
    """Patterns of the paths that the image lacks by its extra lists."""
    root: Root = field(default_factory=Root)
    """The file system in which it ran."""


def repeat_in_root(
    trial: RepeatedRun, layers: Sequence[bytes], strace: bytes = b"strace"
) -> Record:
    """Repeat `trial` in a root of its own that holds the layer files `layers`; return its record.

    ImageError when it misses a path that it found on the machine, ends otherwise, or prints
    something else; SandboxError when a layer cannot be unpacked; TraceError when `strace` is not
    strace, or too old.
    """
    emulator = find_emulator(trial.run, trial.program, trial.root)
    with unpacked_layers(layers, trial.run, emulator) as sandbox:
        return _repeat(trial, sandbox, strace)


def repeat_in_container(trial: RepeatedRun, address: str, image: str) -> bool:
    """Repeat `trial` in a container of `image` of the engine at `address`; return whether it ran.

    A server is not started there: without a network no client could reach it. Nor is a program for
    another machine, or one with more capabilities than containers have by default: users who start
    containers give these. ImageError when the run ends otherwise or prints something else;
    EngineError when the engine fails.
    """
    if trial.run.ready or find_emulator(trial.run, trial.program, trial.root):
        return False
    capable = permitted_names(trial.root.capabilities(trial.root.walk(trial.program).real))
    if not capable <= container.CAPABILITIES:
        return False
    content = None
    if trial.run.stdin is not None:
        with open(trial.run.stdin, "rb") as stream:
            content = stream.read()

    def repeat(run: Run) -> Result:
        return container.run_container(address, image, run, trial.program, content, capable)

    result = repeat(trial.run)
    if found := _container_failure(trial, result):
        more = {} if result.overdue else _ALLOWED
        hints = (
            hint
            for hint, allowed in more.items()
            if not _container_failure(trial, repeat(replace(trial.run, **allowed)))
        )
        raise _test_error(trial, replace(found, hint=next(hints, found.hint)))
    return True


def _container_failure(trial: RepeatedRun, result: Result) -> Failure | None:
    # After a signal the status is 128 and the signal's number.
    if result.overdue or result.status != shell_status(trial.run.status):
        return Failure(f"{result.end} in its container, and {result.quote}", _ADD)
    return _output_failure(trial, result)


def _repeat(trial: RepeatedRun, sandbox: Sandbox, strace: bytes) -> Record:
    tool = Strace.find(trial.run, strace)
    root = Root(WatchedFileSystem(sandbox.root))
    outcome, text = trace_in_sandbox(sandbox, trial.run, trial.program, tool)
    record = resolve(parse(text, b"/"), root, started_ns=0)
    failure = outcome.failure
    if failure and failure.is_limit:
        raise _test_error(trial, failure)
    if missing := _missing(trial, record):
        cause = f"it did not find {show_some(missing, _NAMED)}, which the machine has"
        raise _test_error(trial, Failure(cause, _ADD))
    if failure:
        raise _test_error(trial, Failure(failure.cause, _ADD))
    if found := _output_failure(trial, outcome.result):
        raise _test_error(trial, found)
    return record


def _output_failure(trial: RepeatedRun, result: Result) -> Failure | None:
    """Return how the program printed something else; servers print what they like."""
    pattern, printed = trial.run.pattern, last_words(result.stdout)
    if pattern and not pattern.fullmatch(result.stdout):
        cause = f"it printed {printed!r}, which does not match {trial.run.stdout!r}"
        return Failure(cause, _ADD)
    if not pattern and not trial.run.ready and result.stdout != trial.stdout:
        return Failure(
            f"it printed {printed!r}, on the machine {last_words(trial.stdout)!r}",
            "if its output may vary, give the run a stdout that matches all of it",
        )
    return None


def _test_error(trial: RepeatedRun, failure: Failure) -> ImageError:
    cause = f"run {trial.run.name} failed its test: {failure.cause}"
    return ImageError(f"accept image {trial.image}", cause, failure.hint)


def result_line(trial: RepeatedRun, record: Record | None) -> str:
    """Return the line about `trial`, which succeeded; `record` is that of a root of its own."""
    stdout = "matches" if trial.run.pattern else "not compared" if trial.run.ready else "equal"
    line = f"{trial.run.name}: status {trial.run.status}, stdout {stdout}"
    if record is None:
        return line
    return f"{line}, {record.found} paths, {record.absent} absent"


def _missing(trial: RepeatedRun, image: Record) -> list[bytes]:
    """Return the paths that a run found on the machine, but cannot have found in the image, sorted.

    Paths that a file list leaves out, by rule or by an extra list, are not missing. For a path in
    a directory that is not there a record has the directory alone.
    """
    absent = {use.path for use in image.uses if use.kind is Use.ABSENT}
    return [
        use.path
        for use in trial.record.uses
        if use.kind not in (Use.ABSENT, Use.WRITE)
        and not absent.isdisjoint([*parents(use.path), use.path])
        and not _is_left_out(use.path, trial)
    ]


def _is_left_out(path: bytes, trial: RepeatedRun) -> bool:
    if path == CACHE or is_host_noise(path):
        return True
    if any(rule.fullmatch(path) for rule in trial.left_out):
        return True
    status = trial.root.files.status(path)
    return status is not None and status.kind is FileKind.OTHER
