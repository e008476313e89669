"""The check of a finished image: its runs once more, with nothing but what the image holds.

In a root of its own a run is traced again, and compared with its trace on the machine: how it
ends, what it prints, and what it finds. In an engine's container only the first two are seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..elf.loader_cache import CACHE
from ..errors import ImageError
from ..files import file_list
from ..fs.capabilities import permitted
from ..fs.paths import parents, show
from ..fs.root import Root
from ..fs.status import FileKind
from ..publish import container
from ..sandbox.namespaces import Sandbox
from ..sandbox.output import last_words
from ..sandbox.process import Result, shell_status
from ..sandbox.run import Run
from ..sysroot.unpack import unpacked
from ..trace import tracer
from ..trace.strace import Use, parse

_ADD = "add what it lacks to an extra list"

_READ_ONLY = "read_only=False, or name the directory that it writes to in IMAGE_VOLUMES"

_ALLOWED: Mapping[str, Mapping[str, Any]] = {
    f"give the run {_READ_ONLY}": {"read_only": False},
    "give the run cap_drop=False": {"cap_drop": False},
    "give the run read_only=False and cap_drop=False": {"read_only": False, "cap_drop": False},
}
"""What may let a run go well in a container, with the settings that it then has."""

_NAMED = 5
"""Missing paths that a message names."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A run as it went on the machine, to be repeated."""

    image: str
    """Name of the image, for messages."""
    run: Run
    program: bytes
    """Image path."""
    record: tracer.Record
    """What the run used on the machine."""
    stdout: bytes
    """What it printed there."""
    left_out: tuple[re.Pattern[bytes], ...] = ()
    """What matches the paths that the image is to lack."""
    root: Root = field(default_factory=Root)
    """The file system in which it went."""


def in_root(trial: Trial, layers: Sequence[bytes], strace: bytes = b"strace") -> tracer.Record:
    """Repeat `trial` in a root of its own that holds the layer files `layers`; return its record.

    ImageError when it misses what it found on the machine, ends otherwise, or prints something
    else; SandboxError when a layer cannot be unpacked; TraceError when `strace` is of no use.
    """
    emulator = tracer.emulator(trial.run, trial.program, trial.root)
    with unpacked(layers, trial.run, emulator) as sandbox:
        return _repeat(trial, sandbox, strace)


def in_container(trial: Trial, address: str, image: str) -> bool:
    """Repeat `trial` in a container of `image` of the engine at `address`; tell whether it ran.

    A server is not started there: without a network nobody could ask it anything. Nor is a program
    for another machine, or one with capabilities that no container has unasked: these are for who
    starts containers to give. ImageError when the run ends otherwise or prints something else;
    EngineError when the engine fails.
    """
    if trial.run.ready or tracer.emulator(trial.run, trial.program, trial.root):
        return False
    capable = permitted(trial.root.capabilities(trial.root.walk(trial.program).real))
    if not capable <= container.CAPABILITIES:
        return False
    content = None
    if trial.run.stdin is not None:
        with open(trial.run.stdin, "rb") as stream:
            content = stream.read()

    def repeated(run: Run) -> Result:
        return container.run_container(address, image, run, trial.program, content, capable)

    result = repeated(trial.run)
    if found := _fault_in_container(trial, result):
        more = {} if result.overdue else _ALLOWED
        mends = (
            mend
            for mend, allowed in more.items()
            if not _fault_in_container(trial, repeated(replace(trial.run, **allowed)))
        )
        raise _failed(trial, replace(found, mend=next(mends, found.mend)))
    return True


def _fault_in_container(trial: Trial, result: Result) -> _Fault | None:
    # A status that a signal left comes as 128 and the signal's number.
    if result.overdue or result.status != shell_status(trial.run.status):
        return _Fault(f"{result.end} in its container, and {result.quote}")
    return _fault_of_output(trial, result)


def _repeat(trial: Trial, sandbox: Sandbox, strace: bytes) -> tracer.Record:
    tool = tracer.Tool.find(trial.run, strace)
    root = Root(sandbox.root)
    outcome, text = tracer.trace_in_sandbox(sandbox, trial.run, trial.program, tool)
    record = tracer.settle(parse(text, b"/"), root, started_ns=0)
    failure = outcome.failure
    if failure and failure.is_limit:
        raise _failed(trial, _Fault(failure.cause, failure.hint))
    if missing := _missing(trial, record):
        raise _failed(trial, _Fault(f"it did not find {_shown(missing)}, which the machine has"))
    if failure:
        raise _failed(trial, _Fault(failure.cause))
    if found := _fault_of_output(trial, outcome.result):
        raise _failed(trial, found)
    return record


@dataclass(frozen=True, slots=True)
class _Fault:
    """How a run went otherwise than on the machine."""

    cause: str
    mend: str = _ADD


def _fault_of_output(trial: Trial, result: Result) -> _Fault | None:
    """Return how the program printed something else; servers print what they like."""
    pattern, printed = trial.run.pattern, last_words(result.stdout)
    if pattern and not pattern.fullmatch(result.stdout):
        return _Fault(f"it printed {printed!r}, which does not match {trial.run.stdout!r}")
    if not pattern and not trial.run.ready and result.stdout != trial.stdout:
        return _Fault(
            f"it printed {printed!r}, on the machine {last_words(trial.stdout)!r}",
            "if it need not always print the same, tell by stdout of the run what it may print",
        )
    return None


def _failed(trial: Trial, fault: _Fault) -> ImageError:
    return ImageError(
        f"vouch for image {trial.image}", f"in run {trial.run.name} {fault.cause}", fault.mend
    )


def _shown(paths: Sequence[bytes]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(show(path) for path in paths[:_NAMED]) + more


def line(trial: Trial, record: tracer.Record | None) -> str:
    """Return what is to be told of `trial`, which went well, and used `record` in its root."""
    stdout = "matches" if trial.run.pattern else "not compared" if trial.run.ready else "equal"
    told = f"{trial.run.name}: status {trial.run.status}, stdout {stdout}"
    if record is None:
        return told
    absent = sum(use.kind is Use.ABSENT for use in record.uses)
    wrote = sum(use.kind is Use.WRITE for use in record.uses)
    return f"{told}, {len(record.uses) - absent - wrote} paths, {absent} absent"


# What the program looked for.


def _missing(trial: Trial, image: tracer.Record) -> list[bytes]:
    """Return what a run found on the machine and cannot have found in the image, sorted.

    What a file list leaves out, by rule or because it was told to, is not missing. Of a path in a
    directory that is not there a record has the directory alone.
    """
    absent = {use.path for use in image.uses if use.kind is Use.ABSENT}
    return [
        use.path
        for use in trial.record.uses
        if use.kind not in (Use.ABSENT, Use.WRITE)
        and not absent.isdisjoint([*parents(use.path), use.path])
        and not _is_left_out(use.path, trial)
    ]


def _is_left_out(path: bytes, trial: Trial) -> bool:
    if path == CACHE or file_list.is_host_noise(path):
        return True
    if any(rule.fullmatch(path) for rule in trial.left_out):
        return True
    status = trial.root.files.status(path)
    return status is not None and status.kind is FileKind.OTHER
