"""`SeccompProfile`: the system calls of runs in their image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import SandboxError
from ...fs.target import write
from .. import tools
from ..nodes import suffix
from .ldd import elf_machine
from .step import ImageParts, Plan, Step, StepKind
from .trace import (
    TracedRun,
    at_home,
    find_obstacle,
    layers_and_records,
    strace_program,
    traced_run,
)

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class SeccompStep(Step):
    """Collect the system calls of runs in their image; target: a profile for engines."""

    layers: int
    """Number of the sources that are layers or stacks: they come first."""
    runs: tuple[TracedRun, ...]
    """Their inputs are the next sources; the last ones are ldd texts, as for `ImageStep`."""
    strace: bytes
    """The strace program."""

    def inherit(self, root: Root) -> SeccompStep:
        """Return the step with the runs as they are in the base's image."""
        return replace(self, runs=tuple(each.inherit(root) for each in self.runs))

    def tools(self) -> tuple[str, ...]:
        """Return the tracer, which names the calls, and the processor."""
        return tools.program(self.strace), tools.processor()

    def shared_words(self) -> tuple[str, ...] | None:
        """Return the runs, strace's version, processor and kernel."""
        if any(each.command.network == "host" for each in self.runs):
            return None
        known = replace(self, strace=b"")
        return repr(known), tools.release(self.strace), tools.processor(), os.uname().release

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Carry out each run in a root of its own, which holds nothing but the layers.

        A suite runs where it was traced, because no image has its harness.
        """
        from ...image import layer_stack
        from ...inspect import seccomp

        if obstacle := find_obstacle():
            raise SandboxError(*obstacle.args)
        layers = [layer for path in sources[: self.layers] for layer in layer_stack.files(path)]
        rest = iter(sources[self.layers :])
        trials = []
        for each in self.runs:
            command = at_home(each.command, root, next(rest) if each.stdin else None)
            trials.append((command, each.program))
        machine = elf_machine(list(rest))
        seccomp.check(self.name, machine)
        alone = [trial for trial in trials if not trial[0].is_suite]
        names = seccomp.calls(self.name, alone, layers, self.strace)
        for command, program in trials:
            if command.is_suite:
                names |= seccomp.suite_calls(command, program, root, self.strace)
        write(targets[0], [seccomp.profile(names, machine)])
        return f"{len(names)} system calls of {len(self.runs)} runs"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Collect the system calls that runs make in the image: ``STEM.seccomp.json``.

    The sources are the layers, the targets of `Strace`, and the ``.ldd``, which names the
    architecture.
    The target is a profile in Docker's format, which forbids all other calls.
    """
    layers, records = layers_and_records("profile", target, source)
    texts = [node for node in source if suffix(node) == ".ldd"]
    runs = tuple(traced_run(node) for node in records)
    step = SeccompStep(name, len(layers), runs, strace_program(env))
    sources = [*layers, *env.Flatten([node.sources for node in records]), *texts]
    return Plan(step, target, sources, has_suite=any(each.command.is_suite for each in runs))


def _request(parts: ImageParts) -> list[tuple[str, Sequence[Any]]]:
    sources = [*parts.layers, *parts.traces, *parts.ldd]
    return [(parts.stem, sources)] if parts.traces else []


KIND = StepKind(
    "CALLS",
    plan,
    (".seccomp.json",),
    help="a profile that forbids what it does not do",
    request=_request,
)
