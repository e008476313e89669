"""A directory with an SConstruct of a few lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab import NO_ENGINE, PACKAGE, Scons

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

    def compile(self, name: str, code: str, *flags: str) -> Path:
        """Compile a C program."""
        made = self.directory / name
        subprocess.run(["gcc", "-x", "c", "-", "-o", made, *flags], input=code.encode(), check=True)
        return made
