"""CPU time of a null build of images/fortune, against an empty SConstruct with one Environment().

Run as ``.venv/bin/python bench/null_build.py``; prints medians of paired runs and their ratio.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).parents[1]
RUNS = 15


def cpu_seconds(directory: Path, *targets: str) -> float:
    """Return the user and system time of one quiet SCons in `directory`."""
    environment = {
        name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", *targets],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measure in turn, so that both see the same machine."""
    with tempfile.TemporaryDirectory() as directory:
        empty = Path(directory)
        (empty / "SConstruct").write_text("Environment()\n")
        for _ in range(2):
            cpu_seconds(empty)
            cpu_seconds(TOP, "images/fortune")
        pairs = [(cpu_seconds(TOP, "images/fortune"), cpu_seconds(empty)) for _ in range(RUNS)]
    ours = statistics.median(pair[0] for pair in pairs)
    bare = statistics.median(pair[1] for pair in pairs)
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    print(f"null build of images/fortune  {ours * 1000:.0f} ms CPU")
    print(f"empty SConstruct              {bare * 1000:.0f} ms CPU")
    print(f"ratio                         {ratio:.2f} (median of {RUNS} pairs)")


if __name__ == "__main__":
    main()
