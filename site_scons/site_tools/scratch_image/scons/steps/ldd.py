"""`Ldd`: the libraries of programs, found without running them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...fs.target import write
from ...image import health
from ...image.settings import Settings
from .. import tools
from ..bases import Inheritance, Variables, inherit_search_env, is_image, search_env
from ..nodes import image_path
from ..variables import read
from .step import Plan, Step, StepKind, content, require_sources

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class LddStep(Step):
    """Find the libraries of ELF files and scripts without running them; target: ldd's text."""

    programs: tuple[bytes, ...]
    """Image paths of programs: the image's own first. None for what the base's image starts."""
    others: tuple[bytes, ...]
    """Image paths of staged files: those that are ELF files need libraries, too."""
    environment: Variables = ()
    """The image's variables that decide what is found."""
    start: Settings = field(default_factory=Settings)
    """The project's own settings about how the image starts, if `programs` is empty."""
    base: Inheritance = field(default_factory=Inheritance)

    def inherit(self, root: Root) -> LddStep:
        """Return the step with the variables and the program of the base's image."""
        if not self.base.is_image:
            return self
        from ...image import base_settings

        found = inherit_search_env(self.environment, root)
        if self.programs:
            return replace(self, environment=found)
        variables = {os.fsdecode(name): os.fsdecode(value) for name, value in found}
        settings = replace(self.base.settle(self.start, root), env=variables)
        program = base_settings.program(settings, root)
        return replace(self, environment=found, programs=(program,))

    def tools(self) -> tuple[str, ...]:
        """Return the reader of ELF files, and the processor: it decides which libraries load."""
        return tools.elf_reader(), tools.processor()

    def shared_words(self) -> tuple[str, ...]:
        """Return the step itself, and its tools."""
        return repr(self), *self.tools()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the closures; there are no sources.

        A missing library is no error yet: a run may load it from elsewhere. The file list decides.
        """
        from ...elf import closure
        from ...elf.closure import Closures

        # The content of a file that is not ELF does not matter here.
        needing = (path for path in self.others if root.magic(root.walk(path).real) == "elf")
        chosen = dict.fromkeys([*self.programs, *needing])
        image = Closures(root, dict(self.environment))
        found = {path: image.find(path) for path in image.order(chosen)}
        closures = [each for path in chosen for each in found[path]]
        for check in found.get(os.fsencode(health.PROGRAM), ()):
            health.require_machine(check.machine, closures[0].machine)
        write(targets[0], [closure.closures_text(closures)])
        libraries = {library.path for each in closures for library in each.libraries}
        return f"{len(libraries)} libraries of {len(chosen)} files"


def elf_machine(texts: Sequence[bytes]) -> int:
    """Return the EM_ number in the first of the ldd texts `texts`, or this machine's."""
    from ...elf import closure, machines

    found = [closure.machine_number(content(path)) for path in texts[:1]]
    return next((machine for machine in found if machine is not None), machines.native_machine())


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Find the libraries of ELF files and scripts without running them: ``STEM.ldd``.

    The sources are programs, that of the image first; or nothing where ``ROOT`` is made of an
    image, whose own program is meant then. The target is text in ldd's form.
    """
    if source or not is_image(env):
        require_sources("find libraries for", target, source, "programs", sys.maxsize)
    programs = [image_path(node, env) for node in source]
    # Files of a directory are for the list: it reports their missing libraries, and goes on.
    staged = read(env, "IMAGE_STAGED").items()
    others = [path for path, each in staged if not each.is_directory and path not in programs]
    base, start = Inheritance.of(env, ()), Settings()
    if not source:
        base = Inheritance.of(env, ("cmd", "entrypoint", "workdir"))
        start = Settings(
            entrypoint=read(env, "IMAGE_ENTRYPOINT"),
            cmd=read(env, "IMAGE_CMD"),
            workdir=read(env, "IMAGE_WORKDIR"),
        )
    step = LddStep(name, tuple(programs), tuple(sorted(others)), search_env(env), start, base)
    return Plan(step, target, [], source)


KIND = StepKind("LDD", plan, (".ldd",))
