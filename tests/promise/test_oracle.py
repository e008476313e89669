"""Records are held against the kernel's own account of what was opened (oracle/fanotify.c)."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import WORKLOADS, make_odd, make_workplace, settle_clock, traced
from scratch_image.fs.paths import is_in_kernel_tree, show
from scratch_image.trace.tracer import Trace

SOURCE = os.path.join(os.path.dirname(__file__), "oracle", "fanotify.c")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="needs CAP_SYS_ADMIN for fanotify(7)"
)


@pytest.fixture(scope="session")
def fanotify(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = tmp_path_factory.mktemp("oracle") / "fanotify"
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-o", made, SOURCE], check=True)
    return str(made)


@contextmanager
def watched(fanotify: str) -> Iterator[Callable[[], list[tuple[int, bytes]]]]:
    """Give what ends the watch, and returns each thread's number with a path that it opened."""
    with subprocess.Popen(
        [fanotify, "/", "."], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as watch:
        assert watch.stdout
        assert watch.stdout.readline() == b"ready\n"

        def end() -> list[tuple[int, bytes]]:
            events, _ = watch.communicate()
            assert watch.returncode == 0
            # Files that others open meanwhile need not have a path any more.
            named = (event for event in events.split(b"\0")[:-1] if b" " in event)
            pairs = (event.split(b" ", 1) for event in named)
            return [(int(thread), path) for thread, path in pairs]

        yield end


def missing(trace: Trace, opened: list[tuple[int, bytes]]) -> list[str]:
    """Return what the run's threads opened and its record does not have."""
    threads = {int(number) for number in re.findall(rb"^(\d+) ", trace.text, re.MULTILINE)}
    own = {path for thread, path in opened if thread in threads}
    assert own, "the watch saw nothing of the run"
    known = {use.path for use in trace.record.uses}
    return sorted(show(path) for path in own - known if is_file(path))


def is_file(path: bytes) -> bool:
    """Tell whether it is there, and no file of the kernel's own; outputs may be gone again."""
    return os.path.exists(path) and not is_in_kernel_tree(path)


@pytest.mark.parametrize("name", WORKLOADS)
def test_workloads(name: str, fanotify: str, site: Path) -> None:
    make_workplace(site)
    with watched(fanotify) as opened:
        trace = traced(b"/bin/sh", "-c", WORKLOADS[name])
        assert missing(trace, opened()) == []


CASES = {
    "chdirs": (),
    "clonefs": (),
    "dlopens": (),
    "int80": (),
    "m32": ("d/b.txt",),
    "memfd": (),
    "misc": (),
    "names": (),
    "open": ("d/b.txt",),
    "refuses": (),
    "selfptrace": (),
    "static": ("d/b.txt",),
    "threadexec": (),
    "threads": (),
    "uring": (),
    "writes": (),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(name: str, fanotify: str, programs: Path, site: Path) -> None:
    (site / "o").mkdir()
    make_odd(site / "odd")
    (site / "d/prog").symlink_to("/bin/true")
    settle_clock()
    with watched(fanotify) as opened:
        trace = traced(programs / name, *CASES[name])
        absent = missing(trace, opened())
    subprocess.run(["rm", "-rf", site / "odd"], check=True)  # pytest cannot remove such names
    assert absent == []


def test_the_watch_sees_what_a_record_lacks(fanotify: str, site: Path) -> None:
    with watched(fanotify) as opened:
        trace = traced(b"/bin/cat", "d/b.txt")
        (thread,) = set(re.findall(rb"^(\d+) ", trace.text, re.MULTILINE))
        events = [*opened(), (int(thread), os.fsencode(site / "d/c.txt"))]
    assert missing(trace, events) == [str(site / "d/c.txt")]
