"""Time that the page of 40,000 paths takes, over ten times that of 4,000.

Run as ``.venv/bin/python bench/report.py``; prints medians of five rounds in which both take
turns, and the median of their ratios: 1 where the time grows as the paths do, 10 where it grows
with their square. Each page has an earlier one, in which every tenth file was another.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "site_scons/site_tools"))

from scratch_image.files.entry import Entry  # noqa: E402
from scratch_image.fs.digest import Digest  # noqa: E402
from scratch_image.inspect import report  # noqa: E402
from scratch_image.inspect.report import Report, RunSummary  # noqa: E402
from scratch_image.inspect.report_facts import Content, LayerFacts  # noqa: E402
from scratch_image.trace.strace import Use  # noqa: E402
from scratch_image.trace.tracer import Record, Used  # noqa: E402

FEW, MANY = 4_000, 40_000
ROUNDS = 5


def entries(paths: int) -> list[Entry]:
    """Return a list as an interpreter has it: a program, its libraries, links, and modules."""
    found = [Entry("file", 0o755, 0, 0, b"/usr/bin/program", b"", ("program", "run:one"))]
    user = "needed-by:/usr/bin/program"
    for number in range(paths // 10):
        path = f"/usr/lib/lib{number}.so"
        real = f"{path}.1".encode()
        found.append(Entry("link", 0o777, 0, 0, path.encode(), real, (user,)))
        found.append(Entry("file", 0o644, 0, 0, real, b"", (f"target-of:{path}", "run:two")))
        user = f"needed-by:{real.decode()}"
    for number in range(paths - len(found)):
        path = f"/usr/share/program/{number % 97}/{number}.py".encode()
        run = ("run:one", "run:two")[: 1 + number % 2]
        found.append(Entry("file", 0o644, 0, 0, path, b"", run))
    return found


def image(paths: int, *, version: int) -> Report:
    """Return what the report of an image of that many `paths` shows."""
    listed = entries(paths)
    contents = {
        entry.path: Content(1000 + number % 777, Digest.of(b"%d" % (number % 10 or version)))
        for number, entry in enumerate(listed)
        if entry.kind == "file"
    }
    record = Record(tuple(Used(Use.READ, entry.path) for entry in listed))
    runs = [RunSummary(name, "program", record) for name in ("one", "two")]
    packages = {entry.path: "package" for entry in listed[::3]}
    layers = [LayerFacts("", 1, 1, contents)]
    return Report("image", listed, layers, runs, [], packages)


def seconds(made: Report, earlier: bytes) -> float:
    """Return the CPU time that the page takes."""
    begun = time.process_time()
    report.page(made, earlier)
    return time.process_time() - begun


def main() -> None:
    """Measure both in turn, so that they see the same machine."""
    reports = {paths: image(paths, version=1) for paths in (FEW, MANY)}
    earlier = {paths: report.page(image(paths, version=2), b"") for paths in (FEW, MANY)}
    rounds = [
        {paths: seconds(reports[paths], earlier[paths]) for paths in (FEW, MANY)}
        for _ in range(ROUNDS)
    ]
    for paths in (FEW, MANY):
        median = statistics.median(each[paths] for each in rounds)
        print(f"{paths:6} paths  {median:6.2f} s CPU")
    scale = MANY // FEW
    ratio = statistics.median(each[MANY] / (scale * each[FEW]) for each in rounds)
    print(f"ratio  {ratio:.2f} (median of {ROUNDS})")


if __name__ == "__main__":
    main()
