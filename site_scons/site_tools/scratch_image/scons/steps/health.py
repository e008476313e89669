"""`HealthProgram`: the program that asks a server for a page, to check a container's health."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InputError, one_line
from ...fs.paths import show
from ...fs.target import temporary
from .. import tools
from .step import Plan, Step, StepKind

if TYPE_CHECKING:
    from ...fs.root import Root

_FLAGS = (
    *("-x", "c", "-std=gnu11", "-O1", "-ffreestanding", "-fno-stack-protector", "-fno-pie"),
    *("-fno-asynchronous-unwind-tables", "-static", "-nostdlib", "-no-pie", "-s"),
    *("-Wl,--build-id=none", "-Wl,-z,noexecstack"),
)
"""The program has system calls of its own, and no C library: every compiler can link it."""

_SECONDS = 120.0


@dataclass(frozen=True)
class HealthStep(Step):
    """Compile the health check of this package; target: a static program."""

    compiler: tuple[str, ...]
    """The C compiler, with its options."""

    def tools(self) -> tuple[str, ...]:
        """Return the compiler."""
        return (tools.program(os.fsencode(self.compiler[0])),)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Compile; InputError when there is no compiler, or when it refuses the program."""
        from ...image import health
        from ...sandbox import process

        first = os.fsencode(self.compiler[0])
        found = process.find(first)
        if found is None:
            raise InputError(
                "build the health check",
                f"there is no compiler {show(first)}",
                "apt-get install gcc, set CC, or name a program of the image instead of a page",
            )
        made = temporary(targets[0])
        options = map(os.fsencode, [*self.compiler[1:], *_FLAGS])
        ran = process.run([found, *options, b"-o", made, health.SOURCE], timeout=_SECONDS)
        if ran.is_failure:
            raise InputError(
                "build the health check",
                f"{show(first)} says {one_line(ran.stderr.decode('utf-8', 'replace')) or ran.end}",
                "set CC to a C compiler for amd64 or arm64",
            )
        os.rename(made, targets[0])
        return f"{os.stat(targets[0]).st_size / 1e3:.1f} kB by {show(first)}"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Compile the program of a health check that asks for a page: ``STEM.health``.

    There is no source: the program is part of this package. ``CC`` names the compiler, by default
    cc. `ScratchImage` calls it, and stages the target, if ``IMAGE_HEALTHCHECK`` is a page.
    """
    if source:
        raise InputError(f"build {target[0]}", "it has a source of its own", "name no source")
    return Plan(HealthStep(name, compiler(env)), target, [], has_root=False)


def compiler(env: Any) -> tuple[str, ...]:
    """Return the C compiler of the project, with its options."""
    return tuple(shlex.split(str(env.subst("$CC")))) or ("cc",)


KIND = StepKind("CHECK", plan, (".health",))
