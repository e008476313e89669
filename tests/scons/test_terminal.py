"""Lines of steps, and the extra line of a terminal: on a real one, a pty."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TextIO

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image import progress
from scratch_image.scons.terminal import Terminal

XTERM = {"TERM": "xterm"}


@pytest.fixture
def screen() -> Iterator[tuple[TextIO, int]]:
    """Give a terminal to write to, and the file descriptor of who looks at it."""
    seen, written = pty.openpty()
    with os.fdopen(written, "w") as stream:
        yield stream, seen
    os.close(seen)


def _seen(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    return _seen_to_the_end(descriptor)


def _seen_to_the_end(descriptor: int) -> str:
    text = b""
    with suppress(OSError):  # Nothing is there now, or no writer will come.
        while chunk := os.read(descriptor, 65536):
            text += chunk
    return text.decode().replace("\r\n", "\n")


def test_lines_are_aligned_and_plain_in_a_pipe(tmp_path: Path) -> None:
    pipe = StringIO()
    terminal = Terminal(pipe, XTERM)
    with terminal.showing("TAR    x", os.fsencode(tmp_path)):
        time.sleep(1.6)

    terminal.report("TAR", "x", "1.0 MB", 0.123)
    terminal.report("TRACE", "hello (default)", "3 files\nlint: x\nmore", 12)

    assert pipe.getvalue() == (
        "TAR    x                   1.0 MB, 0.12 s\n"
        "TRACE  hello (default)     3 files, 12.00 s\nlint: x\nmore\n"
    )


def test_line_about_tracing_is_told_once() -> None:
    pipe = StringIO()
    terminal = Terminal(pipe, XTERM)

    for name in ("x", "y"):
        terminal.report("TRACE", name, "3 files\ntrace: runs see all\nlint: a", 1)

    assert pipe.getvalue().splitlines()[1:] == [
        "trace: runs see all", "lint: a", "TRACE  y                   3 files, 1.00 s", "lint: a"
    ]  # fmt: skip


def test_line_that_the_stream_cannot_encode_is_written_all_the_same(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        Terminal(stream, XTERM).report("IMAGE", "x", "sha256:0123…", 1)

    assert "sha256:0123\\u2026, 1.00 s\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        pytest.param(XTERM, "\x1b[1mTAR  \x1b[0m  x                   1.0 MB, 0.10 s\n"
                     "\x1b[33mlint: y\x1b[0m\n", id="terminal"),
        pytest.param({**XTERM, "NO_COLOR": "1"},
                     "TAR    x                   1.0 MB, 0.10 s\nlint: y\n", id="NO_COLOR"),
        pytest.param({**XTERM, "NO_COLOR": ""},
                     "\x1b[1mTAR  \x1b[0m  x                   1.0 MB, 0.10 s\n"
                     "\x1b[33mlint: y\x1b[0m\n", id="NO_COLOR empty"),
        pytest.param({"TERM": "dumb"}, "TAR    x                   1.0 MB, 0.10 s\nlint: y\n",
                     id="dumb"),
        pytest.param({}, "TAR    x                   1.0 MB, 0.10 s\nlint: y\n", id="no TERM"),
    ],
)  # fmt: skip
def test_colours_are_for_terminals(
    screen: tuple[TextIO, int], environment: dict[str, str], told: str
) -> None:
    Terminal(screen[0], environment).report("TAR", "x", "1.0 MB\nlint: y", 0.1)

    assert _seen(screen[1]) == told


def test_long_steps_are_shown_while_they_run(screen: tuple[TextIO, int], tmp_path: Path) -> None:
    terminal = Terminal(screen[0], {**XTERM, "NO_COLOR": "1"})
    (tmp_path / "made").write_bytes(b"x" * 2_000_000)
    with (
        terminal.showing("TAR    x", os.fsencode(tmp_path / "made")),
        terminal.showing("TRACE  y", os.fsencode(tmp_path / "none")),
    ):
        time.sleep(1.6)
    terminal.report("TAR", "x", "2.0 MB", 1.6)

    shown = _seen(screen[1]).split("\r")
    assert "\x1b[KTAR    x  1 s, 2.0 MB | TRACE  y  1 s" in shown
    assert shown[-1] == "\x1b[KTAR    x                   2.0 MB, 1.60 s\n"
    with terminal.showing("TAR    z", b"/nonexistent"):
        time.sleep(1.6)
    assert "TAR    z  1 s" in _seen(screen[1])


def test_step_that_tells_how_far_it_is(screen: tuple[TextIO, int], tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(b"x" * 2_000_000)
    with Terminal(screen[0], XTERM).showing("TAR    x", os.fsencode(tmp_path / "made")):
        progress.current().expect(4_000_000)
        progress.current().add(3_000_000)
        time.sleep(1.6)

    assert "TAR    x  1 s, 75 %, 2.0 MB" in _seen(screen[1])


def test_quick_steps_are_not_shown(screen: tuple[TextIO, int]) -> None:
    terminal = Terminal(screen[0], XTERM)
    with terminal.showing("TAR    x", b"/nonexistent"):
        time.sleep(0.6)
    time.sleep(0.5)

    assert _seen(screen[1]) == ""


def test_line_is_no_longer_than_the_terminal_is_wide(screen: tuple[TextIO, int]) -> None:
    with Terminal(screen[0], XTERM).showing("x" * 500, b"/nonexistent"):
        time.sleep(1.6)

    [line, *_] = re.findall("x+", _seen(screen[1]))
    assert len(line) == 79


SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
env.Strace("x", "/bin/sleep", RUN="sleep 2")
large = env.Command("large.extra", [], "truncate -s 300M large && echo 'large -> /large' >$TARGET")
env.LayerTar("y", env.FileList("y", large), LAYERTARSUFFIX=".tar.gz")
"""


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [pytest.param([], True, id="terminal"), pytest.param(["-s"], False, id="silent")],
)
def test_scons_shows_slow_steps(
    tmp_path: Path, newest: Scons, arguments: list[str], *, shown: bool
) -> None:
    (tmp_path / "SConstruct").write_text(SCONSTRUCT.format(tool=PACKAGE.parent, engine=NO_ENGINE))
    seen, written = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": newest.path, **XTERM}
    words = [*newest.command(), "-Q", "-j2", *arguments]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=written) as ran:
        os.close(written)
        text = _seen_to_the_end(seen)
    os.close(seen)

    assert ran.returncode == 0
    assert ("TRACE  x (default)  1 s" in text) is shown
    assert bool(re.search(r"TAR    y  [0-9]+ s, [0-9]+ %", text)) is shown
    assert ("\x1b[1mTRACE\x1b[0m  x (default)" in text) is shown
    assert bool(text) is shown
