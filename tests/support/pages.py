"""The parts of a page of the documentation: files, commands, and what the commands print.

A fenced block whose first line is a comment that names a file is that file. A block of the kind
``console`` has commands after ``$``, each with its output; ``...`` in it stands for any lines.
Other blocks are read by people only.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#!.+\n)?(?:#|//) ([\w./-]+)\n")
_COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)

_MASKS = (
    (re.compile(r"sha256:[0-9a-f]+…?"), "DIGEST"),
    (re.compile(r", [0-9.]+ s$", re.MULTILINE), ""),
    (
        re.compile(r", \d+ absent"),
        "",
    ),  # the loader tries a directory for each level of the processor
    (re.compile(r"localhost:\d+"), "localhost:PORT"),
    (re.compile(r"(\d+:)?\d+(\.\d+)*(\+(deb|b)\d+(u\d+)?|-\d[\w.+~]*)|\d+(\.\d+){2,}"), "VERSION"),
    (re.compile(r"\b\d{6,}\b"), "RANDOM"),
    (re.compile(" +"), " "),
)
"""Of the output of commands, what differs from one machine and day to another."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TOLERANCE = 0.2
"""By how much of the larger one two numbers may differ, sizes and counts."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str

    def play(self, directory: Path, variables: Mapping[str, str]) -> None:
        """Write it below `directory`."""
        path = directory / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the reader gives."""

    line: str
    output: str

    def play(self, directory: Path, variables: Mapping[str, str]) -> None:
        """Give it in `directory`; see that it prints what is shown."""
        printed = self.printed(directory, variables)
        if self.line.startswith("docker run") and not is_alike(self.output, printed):
            # An engine under load may lose the output of a container that ends at once.
            printed = self.printed(directory, variables)
        assert is_alike(self.output, printed), f"$ {self.line}\n{printed}"

    def printed(self, directory: Path, variables: Mapping[str, str]) -> str:
        """Give it in `directory`; return what it printed, errors included."""
        return subprocess.run(
            ["bash", "-c", self.line],
            cwd=directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        ).stdout


def masked(text: str) -> str:
    """Return `text` without what differs from one machine and day to another."""
    for mask, instead in _MASKS:
        text = mask.sub(instead, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


def is_alike(shown: str, printed: str) -> bool:
    """Tell whether `printed` is what is `shown`, but for what differs between machines."""
    text = masked(shown)
    lines = ("([0-9.]+)".join(map(re.escape, _NUMBER.split(line))) for line in text.splitlines())
    pattern = "".join("(?:.*\n)*" if line == r"\.\.\." else f"{line}\n" for line in lines)
    found = re.fullmatch(pattern, masked(printed))
    return found is not None and all(map(_are_close, _NUMBER.findall(text), found.groups()))


def _are_close(shown: str, printed: str) -> bool:
    one, other = float(shown), float(printed)
    return abs(one - other) <= _TOLERANCE * max(one, other)


def read(page: Path) -> Iterator[File | Command]:
    """Yield what the reader of `page` does, in order."""
    for kind, text in _BLOCK.findall(page.read_text()):
        if kind == "console":
            yield from (Command(*found) for found in _COMMAND.findall(text))
        elif named := _FILE.match(text):
            yield File(named[1], text)
