"""`Strace`: one run of a program, traced."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...errors import InputError, SandboxError, TraceError
from ...files.secret_refusal import refuse_settings
from ...fs.paths import join, show
from ...fs.target import write
from ...image.compression import MEDIA_TYPES
from ...image.settings import Settings
from ...sandbox.run import Limits, Run
from .. import tools
from ..bases import Inheritance, image_env, is_image
from ..nodes import image_path, sibling, step_of, suffix
from ..substitution import literal
from ..variables import read
from .step import Plan, Step, StepKind

if TYPE_CHECKING:
    from ...fs.root import Root
    from ...trace.suite import Starts


@dataclass(frozen=True)
class TracedRun:
    """A run that is traced, and that other steps repeat."""

    program: bytes
    """Image path; empty for the program that the base's image starts."""
    command: Run
    """Without its standard input, which is a source."""
    stdin: bool = False
    """Whether it has a standard input."""
    start: Settings = field(default_factory=Settings)
    """The project's own settings about how the image starts, where `base` has others."""
    base: Inheritance = field(default_factory=Inheritance)

    def inherit(self, root: Root) -> TracedRun:
        """Return the run with program, words, variables and directory of the base's image."""
        if not self.base.is_image:
            return self
        from ...image import base_settings

        settings = self.base.settle(self.start, root)
        program, argv = self.program, self.command.argv
        if not program:
            program = base_settings.program(settings, root)
            argv = argv or tuple(map(os.fsencode, base_settings.command(settings)))
        variables = {os.fsencode(key): os.fsencode(text) for key, text in settings.env.items()}
        workdir = b"" if self.command.is_suite else os.fsencode(settings.workdir or "/")
        command = replace(
            self.command,
            argv=argv,
            environment=dict(sorted({**variables, **self.command.environment}.items())),
            cwd=self.command.cwd or workdir,
        )
        return replace(self, program=program, command=command)


@dataclass(frozen=True)
class TraceStep(Step):
    """Run a program under strace; targets: strace's text, what it means, what the run printed."""

    traced: TracedRun
    strace: bytes
    """The strace program."""
    view: str
    """``private``: the run sees its root alone; ``plain``: it sees the machine's file system;
    ``auto``: private where the machine allows it."""

    @property
    def program(self) -> bytes:
        """The program's image path."""
        return self.traced.program

    @property
    def command(self) -> Run:
        """The run."""
        return self.traced.command

    def inherit(self, root: Root) -> TraceStep:
        """Return the step with program, words, variables and directory of the base's image."""
        return replace(self, traced=self.traced.inherit(root))

    def tools(self) -> tuple[str, ...]:
        """Return the tracer, and what decides which libraries are loaded."""
        return tools.program(self.strace), tools.processor()

    def shared_words(self) -> tuple[str, ...] | None:
        """Return the run, strace's version and the processor; the view has keys of its own."""
        if self.command.network == "host":
            return None
        known = replace(self, strace=b"", view="")
        return repr(known), tools.release(self.strace), tools.processor()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Trace with the one source, if there is one, as standard input."""
        from ...trace import tracer
        from ...trace.record import write_record

        obstacle = None if self.view == "plain" else find_obstacle()
        if obstacle and root.files.base != b"/":
            raise add_choice(obstacle, "set RUNS=[] and list the files of the sysroot")
        if obstacle and self.view == "private":
            raise add_choice(obstacle, "set TRACE_ROOT=plain")
        private = not obstacle and self.view != "plain"
        command = at_home(self.command, root, sources[0] if sources else None)
        try:
            trace = tracer.trace(command, self.program, root, self.strace, private=private)
        except TraceError as error:
            if not obstacle:
                raise
            hint = f"{error.hint}\n{_plain_warning(obstacle)}"
            raise TraceError(error.action, error.cause, hint) from error
        text, record, stdout = targets
        write(text, [trace.text])
        write(record, [write_record(trace.record)])
        write(stdout, [trace.stdout])
        found, absent = trace.record.found, trace.record.absent
        lines = [f"{found} files, {absent} absent{_starts_text(trace.starts)}"]
        name = os.path.basename(command.argv[0]) if command.argv else b""
        if not command.is_suite and name not in (b"", os.path.basename(self.program)):
            lines.append(f"trace: {show(name)} is only what {show(self.program)} was called")
        if obstacle:
            lines.append(_plain_warning(obstacle))
        if not private and root.files.staging.has_choices():
            lines.append("trace: this plain run saw modes and owners as they are on the machine")
        return "\n".join(lines)


def at_home(command: Run, root: Root, stdin: bytes | None) -> Run:
    """Return `command` with its standard input; a suite starts in the project of `root`."""
    cwd = os.path.normpath(join(root.files.own, command.cwd)) if command.is_suite else command.cwd
    return replace(command, stdin=stdin, cwd=cwd)


def _starts_text(starts: Sequence[Starts]) -> str:
    """Return how often a suite started each program, for the line about it."""
    words = [f"{show(each.program)} {_times(each.count)}" for each in starts]
    return f", started {', '.join(words)}" if words else ""


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


@functools.cache
def find_obstacle() -> SandboxError | None:
    """Return the reason why this machine gives no private roots; None where it does."""
    from ...sandbox import namespaces

    return namespaces.find_obstacle()


def add_choice(error: SandboxError, choice: str) -> SandboxError:
    """Return `error` with one more hint."""
    hint = f"{error.hint}, or {choice}"
    return SandboxError(action=error.action, cause=error.cause, hint=hint)


def _plain_warning(obstacle: SandboxError) -> str:
    error = add_choice(obstacle, "set TRACE_ROOT=plain")
    return f"trace: runs see and change the machine's own files: {error}"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Trace one run of a program: strace's own text, the record of what it means, the output.

    The targets are ``STEM.strace``, ``STEM.trace`` and ``STEM.stdout``; the source is the program,
    or nothing where ``ROOT`` is made of an image, whose own command is traced then.
    """
    if len(source) != 1 and (source or not is_image(env)):
        raise InputError(f"trace {target[0]}", "it has not one program", "name just one")
    command = read(env, "RUN")
    base, start = Inheritance.of(env, ("env", "workdir")), Settings()
    if not source:
        base = Inheritance.of(env, ("cmd", "entrypoint", "env", "workdir"))
        start = Settings(entrypoint=read(env, "IMAGE_ENTRYPOINT"), cmd=read(env, "IMAGE_CMD"))
    start = replace(start, env=image_env(env), workdir=read(env, "IMAGE_WORKDIR"))
    variables = {os.fsencode(key): os.fsencode(text) for key, text in start.env.items()}
    workdir = os.fsencode(start.workdir or ("" if base.is_image else "/"))
    full = replace(
        command,
        name=command.name or "default",
        environment=dict(sorted({**variables, **command.environment}.items())),
        stdin=None,  # A node instead: the source.
        cwd=command.cwd if command.is_suite else command.cwd or workdir,
        limits=Limits(read(env, "TRACE_PROCESSES"), read(env, "TRACE_SPACE")),
    )
    environment = {os.fsdecode(key): os.fsdecode(text) for key, text in full.environment.items()}
    words = [*map(os.fsdecode, full.argv), *" ".join(full.probes).split()]
    refuse_settings(read(env, "IMAGE_ALLOW"), environment, {"RUNS": words})
    name = f"{name} ({full.name})"
    stdin = [] if command.stdin is None else [env.File(literal(os.fsdecode(command.stdin)))]
    needs = [env.File(literal(os.fsdecode(each))) for each in command.needs]
    program = image_path(source[0], env) if source else b""
    traced = TracedRun(program, full, bool(stdin), start if base.is_image else Settings(), base)
    step = TraceStep(name, traced, strace_program(env), read(env, "TRACE_ROOT"))
    targets = [target[0], *(sibling(target[0], each) for each in (".trace", ".stdout"))]
    return Plan(step, targets, stdin, [*source, *needs], has_suite=command.is_suite)


def strace_program(env: Any) -> bytes:
    """Return the strace program that `env` names."""
    return os.fsencode(read(env, "STRACE"))


def is_traced(node: Any) -> bool:
    """Tell whether `Strace` makes `node`."""
    return isinstance(step_of(node), TraceStep)


# A traced run, as a source of steps that repeat it.


def traced_run(record: Any) -> TracedRun:
    """Return the run whose record is the node `record`."""
    found: TracedRun = step_of(record).traced
    return found


def layers_and_records(
    verb: str, target: list[Any], source: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return the layers and the records of runs in `source`; InputError when it lacks one kind."""
    layers = [node for node in source if str(node).endswith((".layers", *MEDIA_TYPES))]
    records = [node for node in source if is_traced(node) and suffix(node) == ".trace"]
    if not records or not layers:
        raise InputError(
            f"{verb} {target[0]}",
            "it has no layer or no trace",
            "name what LayerTar and Strace made",
        )
    return layers, records


KIND = StepKind("TRACE", plan, (".strace",))
