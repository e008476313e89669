"""Lines a second that log.parse reads, of the trace of a real ``make -j4``.

Run as ``.venv/bin/python bench/strace_parse.py``; prints medians, and the ratio to a loop over the
same lines that does nothing. The trace of 240 small C files takes a minute or two.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "site_scons/site_tools"))

from scratch_image.fs.root import Root  # noqa: E402
from scratch_image.sandbox.run import Run  # noqa: E402
from scratch_image.trace import log, tracer  # noqa: E402

FILES = 240
ROUNDS = 5

HEADERS = ("stdio", "stdlib", "string", "unistd", "errno", "fcntl", "sys/stat", "time")

MAKEFILE = """\
OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))
all: program
program: $(OBJECTS)
\tgcc -o $@ $^
%.o: %.c
\tgcc -O1 -c -o $@ $<
"""


def make_project(directory: Path) -> None:
    """Write C files, each with some headers, and a Makefile."""
    (directory / "Makefile").write_text(MAKEFILE)
    for number in range(FILES):
        included = HEADERS[: 1 + number % len(HEADERS)]
        code = "".join(f"#include <{name}.h>\n" for name in included)
        name = "main" if number == 0 else f"f{number}"
        code += f"int {name}(void) {{ return {number}; }}\n"
        (directory / f"f{number}.c").write_text(code)


def trace(directory: Path) -> bytes:
    """Return strace's text of ``make -j4`` in `directory`."""
    run = Run("bench", (b"make", b"-s", b"-j4"), cwd=os.fsencode(directory), timeout=1200)
    return tracer.trace(run, b"/usr/bin/make", Root()).text


def seconds(work: Callable[[], object]) -> float:
    """Return the median CPU time that `work` takes."""
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def loop(text: bytes) -> None:
    """Do nothing with each line."""
    for _ in io.BytesIO(text):
        pass


def main() -> None:
    """Trace once; parse and loop in turn."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name).resolve()
        make_project(directory)
        text = trace(directory)
        cwd = os.fsencode(directory)
    parsed = log.parse(text, cwd)
    lines = text.count(b"\n")
    print(f"{lines} lines, {len(text) / 1e6:.0f} MB, {len(parsed.unparsed)} of them not understood")
    parsing, looping = seconds(lambda: log.parse(text, cwd)), seconds(lambda: loop(text))
    print(f"parse  {lines / parsing / 1e6:.2f} million lines a second of CPU time")
    print(f"loop   {lines / looping / 1e6:.2f} million lines a second of CPU time")
    print(f"ratio  {parsing / looping:.1f} (medians of {ROUNDS})")


if __name__ == "__main__":
    main()
