#!/usr/bin/env python3
"""Writes docs/recording.svg: a terminal in which the README's first example is built twice.

Runs the files and commands of README.md in an empty directory, as tests do, and draws the output.
Needs root for an engine, and the packages that `./dev test` installs.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/support"))

import pages  # noqa: E402
from engines import dockerd  # noqa: E402

BUILD = "scons -Q image"
"""The picture begins with this command, and ends with its third time."""

COLUMN, LINE, EDGE = 7.85, 19, 16
STYLE = """\
text { font: 13px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d6deeb }
.command { fill: #ffffff; font-weight: bold } .prompt { fill: #7fdb8a } .step { fill: #82c7ff }
.digest { fill: #8795a8 }"""


def play(directory: Path, engine: str) -> list[str]:
    """Return the lines of the terminal: commands from the first build to the third, with output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"PATH": path, "HOME": str(directory), "LC_ALL": "C.UTF-8"}
    variables |= {"CHECKOUT": str(TOP), "DOCKER_HOST": engine}
    lines: list[str] = []
    builds = 0
    for act in pages.read(TOP / "README.md"):
        if isinstance(act, pages.File):
            act.play(directory, variables)
            continue
        output = act.printed(directory, variables)
        builds += act.line == BUILD
        if builds:
            lines += [f"$ {act.line}", *output.splitlines()]
        if builds == 3:
            break
    return lines


def draw(lines: list[str]) -> str:
    """Return a picture of a terminal with `lines`."""
    width = EDGE * 2 + COLUMN * max(map(len, lines))
    height = EDGE * 2 + LINE * len(lines) + 22
    rows = [
        f'<text xml:space="preserve" x="{EDGE}" y="{EDGE + 32 + LINE * number}">{mark(line)}</text>'
        for number, line in enumerate(lines)
    ]
    lights = [
        f'<circle cx="{EDGE + 4 + 18 * number}" cy="17" r="5.5" fill="{colour}"/>'
        for number, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}"'
            f' width="{width:.0f}" height="{height}">',
            "<title>A terminal: the first build runs all steps, the second one none</title>",
            f"<style>\n{STYLE}\n</style>",
            f'<rect width="{width:.0f}" height="{height}" rx="9" fill="#16202e"/>',
            *lights,
            *rows,
            "</svg>\n",
        ]
    )


def mark(line: str) -> str:
    """Return a line with classes for its parts."""
    if line.startswith("$ "):
        return f'<tspan class="prompt">$</tspan> <tspan class="command">{escape(line[2:])}</tspan>'
    text = re.sub(r"^([A-Z]{3,5})\b", r'<tspan class="step">\1</tspan>', escape(line))
    return re.sub(r"(sha256:[0-9a-f]+…)", r'<tspan class="digest">\1</tspan>', text)


def main() -> None:
    """Run the example and draw it."""
    place = tempfile.TemporaryDirectory(dir="/var/tmp")
    with place as name, dockerd(Path(name, "docker")) as engine:
        project = Path(name, "hello")
        project.mkdir()
        lines = play(project, engine)
    (TOP / "docs/recording.svg").write_text(draw(lines))


if __name__ == "__main__":
    main()
