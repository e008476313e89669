"""`ImageTest`: runs, repeated with nothing but what their image holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...errors import SandboxError
from ...fs.target import write
from .. import tools
from ..nodes import sibling, step_of, top_of
from .file_list import source_form
from .load import LoadStep
from .step import ImageParts, Plan, Step, StepKind, content, shorten
from .trace import (
    TracedRun,
    add_choice,
    find_obstacle,
    is_traced,
    layers_and_records,
    strace_program,
    traced_run,
)

if TYPE_CHECKING:
    from ...fs.root import Root
    from ...inspect.image_test import RepeatedRun


@dataclass(frozen=True)
class TestStep(Step):
    """Repeat runs with nothing but what their image holds; target: a line for each."""

    layers: int
    """Number of the sources that are layers or stacks: they come first."""
    runs: tuple[TracedRun, ...]
    """Their records, outputs and inputs are the next sources, run by run."""
    suites: tuple[str, ...]
    """Names of the runs that are suites: no image has their harness."""
    strace: bytes
    """The strace program."""
    lists: tuple[str, ...]
    """Names of the extra lists, which come next: the paths that they leave out may be missing."""
    address: str
    """Of the engine that has the image with the ID in the last source; empty when none has it."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def inherit(self, root: Root) -> TestStep:
        """Return the step with the runs as they are in the base's image."""
        return replace(self, runs=tuple(each.inherit(root) for each in self.runs))

    def tools(self) -> tuple[str, ...]:
        """Return the tracer, and what decides which libraries are loaded."""
        return tools.program(self.strace), tools.processor()

    def shared_words(self) -> tuple[str, ...] | None:
        """Return the runs, strace's version, processor and kernel; None where an engine decides."""
        if self.address or any(each.command.network == "host" for each in self.runs):
            return None
        known = replace(self, strace=b"")
        return repr(known), tools.release(self.strace), tools.processor(), os.uname().release

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Repeat each run in a root of its own, where this machine gives one, and in a container.

        ImageError when a run does not do what it did when it was traced.
        """
        from ...files.list_sources import left_out_patterns, read_extras
        from ...fs.overlay import Overlay
        from ...image import layer_stack
        from ...inspect import image_test

        layers = [layer for path in sources[: self.layers] for layer in layer_stack.files(path)]
        rest = iter(sources[self.layers :])
        trials = [self._trial(each, rest) for each in self.runs]
        view = Overlay(root, self.top)
        lists = [read_extras(view, name, content(next(rest))) for name in self.lists]
        left_out = tuple(rule for found in lists for rule in left_out_patterns(found))
        trials = [replace(trial, left_out=left_out, root=root) for trial in trials]
        image = content(next(rest)).decode().strip() if self.address else ""
        obstacle = find_obstacle()
        if obstacle and not image and trials:
            raise add_choice(obstacle, "start a Docker engine")
        lines, contained = [], []
        for trial in trials:
            record = None if obstacle else image_test.repeat_in_root(trial, layers, self.strace)
            if image and image_test.repeat_in_container(trial, self.address, image):
                contained.append(trial.run.name)
            elif obstacle:
                raise SandboxError(*obstacle.args)
            lines.append(f"{image_test.result_line(trial, record)}\n".encode())
        lines += [f"{name}: suite, not repeated\n".encode() for name in self.suites]
        write(targets[0], lines)
        names = shorten([trial.run.name for trial in trials])
        own = [] if obstacle else [f"{names} in a root of its own"]
        same = own and len(contained) == len(trials)
        there = f"{'' if same else shorten(contained) + ' '}in a container"
        return self._result([*own, *([there] if contained else [])])

    def _result(self, places: Sequence[str]) -> str:
        """Return the lines about the test, whose runs went well in these `places`."""
        line = " and ".join(places) if self.runs else "no run"
        names = ", ".join(self.suites)
        note = f"test: no image can repeat suite {names}: its harness is not in it"
        return f"{line}\n{note}" if names else line

    def _trial(self, traced: TracedRun, sources: Iterator[bytes]) -> RepeatedRun:
        from ...inspect.image_test import RepeatedRun
        from ...trace.record import read_record

        record, stdout = read_record(content(next(sources))), content(next(sources))
        run = replace(traced.command, stdin=next(sources) if traced.stdin else None)
        return RepeatedRun(self.name, run, traced.program, record, stdout)


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Repeat the runs with nothing but what the image holds: ``STEM.tested``.

    The sources are the layers, the targets of `Strace`, the extra lists, and the ``.iid`` if the
    test is to use the engine as well. The target has a line for each run.
    """
    loads = [node for node in source if isinstance(step_of(node), LoadStep)]
    layers, records = layers_and_records("test", target, source)
    repeated = [node for node in records if not traced_run(node).command.is_suite]
    others = [node for node in source if not is_traced(node)]
    lists = [node for node in others if node not in (*layers, *loads)]
    step = TestStep(
        name,
        len(layers),
        tuple(traced_run(node) for node in repeated),
        tuple(traced_run(node).command.name for node in records if node not in repeated),
        strace_program(env),
        tuple(source_form(node).name for node in lists),
        step_of(loads[0]).address if loads else "",
        top=top_of(target[0]),
    )
    runs = [[node, sibling(node, ".stdout"), *node.sources] for node in repeated]
    return Plan(step, target, [*layers, *env.Flatten(runs), *lists, *loads[:1]])


def _request(parts: ImageParts) -> list[tuple[str, Sequence[Any]]]:
    sources = [*parts.layers, *parts.traces, *parts.extra_lists, *parts.load]
    return [(parts.stem, sources)] if parts.traces else []


KIND = StepKind(
    "TEST", plan, (".tested",), help="runs it with nothing but what it holds", request=_request
)
