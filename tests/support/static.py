"""A project of static programs, whose images need no libraries."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import Scons


@dataclass(frozen=True)
class StaticProject:
    """A project that tests write file by file."""

    directory: Path
    scons: Scons

    def write(self, name: str, text: str) -> None:
        """Write a text file, with the directories above it."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file."""
        text = (self.directory / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def add(self, name: str, line: str) -> None:
        """Add a line to a file."""
        self.write(name, f"{(self.directory / name).read_text()}{line}\n")

    def compile(self, name: str, text: str) -> None:
        """Make a static program, which holds a text and does nothing."""
        code = f'void _start(void) {{}} const char own[] = "{text}";'
        command = ["gcc", "-x", "c", "-", "-static", "-nostdlib", "-o", str(self.directory / name)]
        subprocess.run(command, input=code.encode(), check=True)
