"""The check of a finished image: its runs once more, with nothing but what the image holds.

In a root of its own a run is traced again, and compared with its trace on the machine: how it
ends, what it prints, and what it finds. In an engine's container only the first two are seen.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import engine, filelist, tracer
from .errors import ImageError
from .paths import is_under, parents, show
from .performance import last_words, perform
from .process import SEARCH_PATH, Result
from .root import Kind, Root
from .run import Run, Unix
from .sandbox import Sandbox, unpacked
from .strace import Access, Log, Use, join, parse

_ADD = "add what it lacks to an extra list"

_NAMED = 5
"""Missing paths that a message names."""

_ENTERED = re.compile(rb'^chroot\("[^\n]*\) += 0\n', re.MULTILINE)
"""Where a log passes from the way in to the program."""


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


def in_root(trial: Trial, layers: Sequence[bytes], strace: bytes = b"strace") -> tracer.Record:
    """Repeat `trial` in a root of its own that holds the layer files `layers`; return its record.

    ImageError when it misses what it found on the machine, ends otherwise, or prints something
    else; SandboxError when a layer cannot be unpacked; TraceError when `strace` is of no use.
    """
    with unpacked(layers, trial.run.cwd) as sandbox:
        return _repeat(trial, sandbox, strace)


def in_container(trial: Trial, address: str, image: str) -> None:
    """Repeat `trial` in a container of `image` of the engine at `address`.

    A server is not started there: without a network nobody could ask it anything. ImageError when
    the run ends otherwise or prints something else; EngineError when the engine fails.
    """
    if trial.run.ready:
        return
    content = None
    if trial.run.stdin is not None:
        with open(trial.run.stdin, "rb") as stream:
            content = stream.read()
    result = engine.run_container(address, image, trial.run, trial.program, content)
    # A status that a signal left comes as 128 and the signal's number.
    if result.overdue or result.status != _passed_on(trial.run.status):
        raise _failed(
            trial, f"{result.end} in its container, and said {last_words(result.stderr)!r}"
        )
    _check_stdout(trial, result)


def _repeat(trial: Trial, sandbox: Sandbox, strace: bytes) -> tracer.Record:
    run = _moved(trial.run, sandbox.root)
    environment = {b"PATH": SEARCH_PATH, b"HOME": b"/", **trial.run.environment}
    words = [*sandbox.inside(environment, run.cwd), trial.program, *run.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="scratch_image-") as name:
        directory = os.fsencode(name)
        traced = tracer.Tool.find(run, strace).command(words, directory)
        performance = perform(run, [*sandbox.outside(), *traced])
        log = _log(tracer.logs(directory), sandbox.root)
    record = tracer.settle(log, Root(sandbox.root), started_ns=0)
    if missing := _missing(trial, record):
        raise _failed(trial, f"it did not find {_shown(missing)}, which the machine has")
    if performance.trouble:
        raise _failed(trial, performance.trouble.rpartition("; ")[0])
    _check_stdout(trial, performance.result)
    return record


def _moved(run: Run, root: bytes) -> Run:
    """Return `run` as it looks from outside of `root`, to who starts it and asks it."""
    ready = run.ready
    if isinstance(run.readiness, Unix):
        above, name = os.path.split(run.readiness.path)
        # Seen from outside, links in it would lead out of the root.
        ready = f"unix:{os.fsdecode(root + Root(root).walk(above).real)}/{os.fsdecode(name)}"
    return replace(run, environment={}, ready=ready, status=_passed_on(run.status))


def _passed_on(status: int) -> int:
    """Return `status` as the first process of a process namespace, or an engine, passes it on."""
    return status if status >= 0 else 128 - status


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


def _log(logs: dict[int, bytes], root: bytes) -> Log:
    """Return what the program did, in paths of `root`, without how it got there."""
    if logs:
        first = min(logs)
        logs = {**logs, first: _ENTERED.split(logs[first], 1)[-1]}
    log = parse(join(logs), b"/")
    return replace(log, accesses=tuple(_inside(access, root) for access in log.accesses))


def _inside(access: Access, root: bytes) -> Access:
    """Return `access` by the names that paths have in `root`: strace sees some from outside."""
    real = access.real and _below(access.real, root)
    return replace(access, path=_below(access.path, root), real=real)


def _below(path: bytes, root: bytes) -> bytes:
    return path[len(root) :] or b"/" if is_under(path, root) else path


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
        and not _is_left_out(use.path, trial.left_out)
    ]


def _is_left_out(path: bytes, rules: Sequence[re.Pattern[bytes]]) -> bool:
    if path == filelist.LD_CACHE or filelist.is_host_noise(path):
        return True
    if any(rule.fullmatch(path) for rule in rules):
        return True
    status = Root().peek(path)
    return status is not None and status.kind is Kind.OTHER
