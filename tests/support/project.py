"""A directory with an SConstruct of a few lines."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab import NO_ENGINE, PACKAGE, WITHOUT_NAMESPACES, Scons

HEAD = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
"""


class Project:
    """A directory with an SConstruct of a few lines."""

    def __init__(self, directory: Path, scons: Scons, engine: str = NO_ENGINE) -> None:
        self.directory = directory
        self.scons = scons
        self.head = HEAD.format(tool=PACKAGE.parent, engine=engine)

    def run(self, sconstruct: str, *arguments: str, status: int = 0) -> str:
        """Run SCons on `sconstruct`; return what it printed."""
        (self.directory / "SConstruct").write_text(self.head + sconstruct)
        ran = self.scons.run(self.directory, *arguments)
        assert ran.returncode == status, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return ran.stdout

    def run_without_namespaces(self, sconstruct: str, *targets: str) -> str:
        """Run SCons where no process gets a root of its own; return what it printed."""
        (self.directory / "SConstruct").write_text(self.head + sconstruct)
        ran = subprocess.run(
            [*WITHOUT_NAMESPACES, *self.scons.command(), "-j2", "-Q", *targets],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": self.scons.path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return ran.stdout

    def compile(self, name: str, code: str, *flags: str) -> Path:
        """Compile a C program."""
        made = self.directory / name
        subprocess.run(["gcc", "-x", "c", "-", "-o", made, *flags], input=code.encode(), check=True)
        return made


NO_PRIVATE_ROOT = (
    "cannot give a process a root of its own: unshare: unshare failed: No space left on device; "
)
"""Message where there are no namespaces."""


def mistake_line(output: str) -> str:
    """Return the one line of SCons's `output` that names a mistake."""
    [line] = [line for line in output.splitlines() if line.startswith("scons: ***")]
    return line
