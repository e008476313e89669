"""The check of a finished image: its runs once more, with nothing but what the image holds.

In a root of its own a run is traced again, and compared with its trace on the machine: how it
ends, what it prints, and what it finds. In an engine's container only the first two are seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import engine, filelist, tracer
from .capabilities import permitted
from .errors import ImageError
from .paths import parents, show
from .performance import last_words, said
from .process import Result
from .root import Kind, Root
from .run import Run
from .sandbox import Sandbox
from .strace import Use, parse
from .unpacking import unpacked

_ADD = "add what it lacks to an extra list"

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
    if not capable <= engine.CAPABILITIES:
        return False
    content = None
    if trial.run.stdin is not None:
        with open(trial.run.stdin, "rb") as stream:
            content = stream.read()
    result = engine.run_container(address, image, trial.run, trial.program, content, capable)
    # A status that a signal left comes as 128 and the signal's number.
    if result.overdue or result.status != tracer.passed_on(trial.run.status):
        raise _failed(trial, f"{result.end} in its container, and {said(result)}")
    _check_stdout(trial, result)
    return True


def _repeat(trial: Trial, sandbox: Sandbox, strace: bytes) -> tracer.Record:
    tool = tracer.Tool.find(trial.run, strace)
    root = Root(sandbox.root)
    performance, text = tracer.perform_in(sandbox, trial.run, trial.program, tool)
    record = tracer.settle(parse(text, b"/"), root, started_ns=0)
    if performance.exceeded:
        trouble, _, mend = performance.trouble.rpartition("; ")
        raise _failed(trial, trouble, mend)
    if missing := _missing(trial, record):
        raise _failed(trial, f"it did not find {_shown(missing)}, which the machine has")
    if performance.trouble:
        raise _failed(trial, performance.trouble.rpartition("; ")[0])
    _check_stdout(trial, performance.result)
    return record


def _check_stdout(trial: Trial, result: Result) -> None:
    """Raise ImageError when the program printed something else; servers print what they like."""
    pattern, said = trial.run.pattern, last_words(result.stdout)
    if pattern and not pattern.fullmatch(result.stdout):
        raise _failed(trial, f"it printed {said!r}, which does not match {trial.run.stdout!r}")
    if not pattern and not trial.run.ready and result.stdout != trial.stdout:
        raise _failed(
            trial,
            f"it printed {said!r}, on the machine {last_words(trial.stdout)!r}",
            "if it need not always print the same, tell by stdout of the run what it may print",
        )


def _failed(trial: Trial, what: str, mend: str = _ADD) -> ImageError:
    return ImageError(
        f"cannot vouch for image {trial.image}: in run {trial.run.name} {what}; {mend}"
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
    if path == filelist.LD_CACHE or filelist.is_host_noise(path):
        return True
    if any(rule.fullmatch(path) for rule in trial.left_out):
        return True
    status = trial.root.peek(path)
    return status is not None and status.kind is Kind.OTHER
