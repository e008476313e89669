"""Tests of suite.py: what the programs of a suite use is in its record, and its harness is not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import kind_by_path, settle_clock
from scratch_image.errors import TraceError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
from scratch_image.trace.record import Use
from scratch_image.trace.tracer import Trace

SHOWN = "/usr/bin/shown"
"""The image path of the program: it opens the files that its arguments name."""


class Bench:
    """A project with a program, and a file that is staged beside it."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        (directory / "build").mkdir()
        (directory / "tests").mkdir()
        shutil.copy(programs / "open", directory / "build/shown")
        shutil.copy(programs / "open", directory / "build/other")
        (directory / "conf").write_text("conf")
        (directory / "tests/input").write_text("input")
        self.staged = {
            SHOWN: "build/shown",
            "/usr/bin/other": "build/other",
            "/etc/shown.conf": "conf",
        }
        settle_clock()

    def root(self) -> Root:
        staged = {
            os.fsencode(path): os.fsencode(self.directory / place)
            for path, place in self.staged.items()
        }
        return Root(WatchedFileSystem(staged=staged, own=os.fsencode(self.directory)))

    def trace(
        self, *words: str, root: Root | None = None, private: bool = True, program: str = SHOWN
    ) -> Trace:
        """Trace the suite whose harness is started by `words`."""
        argv = tuple(map(os.fsencode, words))
        run = Run("demo", argv, cwd=os.fsencode(self.directory), is_suite=True)
        return tracer.trace(run, os.fsencode(program), root or self.root(), private=private)

    def shell(self, script: str, **settings: object) -> Trace:
        """Trace the suite that is a shell's `script`."""
        return self.trace("/bin/sh", "-c", script, **settings)  # type: ignore[arg-type]

    def error(self, *words: str, **settings: object) -> str:
        """Return the error of the suite whose harness is started by `words`."""
        with pytest.raises(TraceError) as caught:
            self.trace(*words, **settings)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def bench(tmp_path: Path, programs: Path) -> Bench:
    return Bench(tmp_path.resolve(), programs)


def _starts(trace: Trace) -> dict[str, int]:
    return {os.fsdecode(each.program): each.count for each in trace.starts}


def _paths(trace: Trace) -> set[str]:
    return {os.fsdecode(use.path) for use in trace.record.uses}


# Which processes count.


def test_the_harness_and_its_files_are_not_in_the_record(bench: Bench) -> None:
    root = bench.root()
    trace = bench.shell(
        "cat /etc/hostname; ls tests; shown /etc/shown.conf | sed s/x/y/", root=root
    )
    found = kind_by_path(trace.record)
    assert found[b"/usr/bin/shown"] is Use.EXEC
    assert found[b"/etc/shown.conf"] is Use.READ
    assert not {"/etc/hostname", "/usr/bin/sed", "/usr/bin/cat", "/bin/sh"} & _paths(trace)
    assert not [path for path in _paths(trace) if path.startswith(str(bench.directory))]
    # The trace depends on them, nevertheless.
    tests = os.fsencode(bench.directory / "tests")
    assert {(b"/etc/hostname", Aspect.CONTENT), (tests, Aspect.LISTING)} <= root.looked
    assert (b"/usr/bin/sed", Aspect.CONTENT) in root.looked
    assert _starts(trace) == {SHOWN: 1, "/usr/bin/other": 0}


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("/usr/bin/shown /etc/passwd; :", id="image path"),
        pytest.param("shown /etc/passwd; :", id="PATH"),
        pytest.param("/bin/shown /etc/passwd; :", id="link on the way"),
        pytest.param("build/shown /etc/passwd; :", id="build path"),
        pytest.param("cd build && ./shown /etc/passwd; :", id="build path, from elsewhere"),
        pytest.param("$PWD/build/../build/shown /etc/passwd; :", id="absolute build path"),
        pytest.param("exec build/shown /etc/passwd", id="execution by the harness itself"),
        pytest.param("(cd build; exec env A=1 ./shown /etc/passwd)", id="wrapper"),
        pytest.param("build/shown /etc/passwd & wait", id="background"),
    ],
)
def test_a_program_is_known_however_it_is_started(bench: Bench, script: str) -> None:
    trace = bench.shell(script)
    assert _starts(trace)[SHOWN] == 1
    assert {"/usr/bin/shown", "/etc/passwd"} <= _paths(trace)
    assert "/usr/bin/env" not in _paths(trace)


def test_a_wrapper_script_as_libtool_writes_it(bench: Bench) -> None:
    wrapper = bench.directory / "shown"
    wrapper.write_text(
        '#!/bin/sh\nLD_LIBRARY_PATH="$PWD/build" export LD_LIBRARY_PATH\nexec build/shown "$@"\n'
    )
    wrapper.chmod(0o755)
    settle_clock()
    trace = bench.trace("/usr/bin/env", "./shown", "/etc/passwd")
    assert _starts(trace)[SHOWN] == 1
    assert "/bin/sh" not in _paths(trace)
    # The loader looks for libraries there: no image has that directory.
    assert not [path for path in _paths(trace) if path.startswith(str(bench.directory))]


def test_programs_that_a_program_starts_count(bench: Bench) -> None:
    bench.staged["/usr/bin/script"] = "script"
    (bench.directory / "script").write_text("#!/bin/sh\ncat /etc/hostname; shown /etc/passwd; :\n")
    (bench.directory / "script").chmod(0o755)
    trace = bench.shell("script; wc -l /etc/group")
    assert {"/usr/bin/cat", "/etc/hostname", "/etc/passwd", "/usr/bin/script"} <= _paths(trace)
    assert not {"/usr/bin/wc", "/etc/group"} & _paths(trace)
    assert _starts(trace) == {SHOWN: 1, "/usr/bin/other": 0, "/usr/bin/script": 1}


def test_a_parallel_harness(bench: Bench) -> None:
    trace = bench.shell("seq 40 | xargs -P 8 -n 1 sh -c 'build/shown /etc/passwd; :'")
    assert _starts(trace)[SHOWN] == 40
    assert {bench.shell("build/shown /etc/passwd; :").record} == {trace.record}


def test_a_thread_of_the_harness_becomes_the_program(programs: Path, bench: Bench) -> None:
    (bench.directory / "d").mkdir()
    (bench.directory / "d/prog").symlink_to("../build/shown")
    settle_clock()
    trace = bench.trace(str(programs / "threadexec"))
    assert _starts(trace)[SHOWN] == 1
    assert "/usr/lib/x86_64-linux-gnu/libc.so.6" in _paths(trace)


def test_a_program_of_the_machine(bench: Bench) -> None:
    bench.staged = {}
    trace = bench.shell("ls tests; sed '' tests/input /etc/hostname", program="/usr/bin/sed")
    assert _starts(trace) == {"/usr/bin/sed": 1}
    assert "/etc/hostname" in _paths(trace)
    assert not {"/usr/bin/ls", str(bench.directory / "tests/input")} & _paths(trace)


def test_an_image_of_the_harness_itself(bench: Bench) -> None:
    bench.staged = {}
    trace = bench.shell("cat /etc/hostname; sh -c 'read x </etc/passwd'", program="/bin/sh")
    assert _starts(trace) == {"/usr/bin/dash": 1}
    assert "/etc/passwd" in _paths(trace)
    assert not {"/usr/bin/cat", "/etc/hostname"} & _paths(trace)


# Where it runs.


def test_writes_of_a_harness_go_to_memory(bench: Bench) -> None:
    trace = bench.shell("echo x >build/log; echo y >tests/made; shown tests/made build/log")
    assert sorted(os.listdir(bench.directory / "build")) == ["other", "shown"]
    assert os.listdir(bench.directory / "tests") == ["input"]
    assert not [use for use in trace.record.uses if use.kind is Use.WRITE]


def test_the_plain_file_system(bench: Bench) -> None:
    plain = bench.shell("echo x >build/log; build/shown conf", private=False)
    assert (bench.directory / "build/log").exists()
    assert _starts(plain)[SHOWN] == 1
    assert not [path for path in _paths(plain) if path.startswith(str(bench.directory))]
    assert kind_by_path(plain.record)[b"/etc/shown.conf"] is Use.READ


@pytest.fixture
def hidden(programs: Path) -> Iterator[Bench]:
    """Give a project in a directory that private roots hide."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Bench(Path(name), programs)


def test_a_project_below_a_hidden_directory(hidden: Bench) -> None:
    root = hidden.root()
    trace = hidden.shell("ls /tmp; cat tests/input; build/shown /etc/passwd; :", root=root)
    assert trace.stdout.startswith(hidden.directory.name.encode() + b"\ninput")
    assert "/etc/passwd" in _paths(trace)
    assert (os.fsencode(hidden.directory / "tests/input"), Aspect.CONTENT) in root.looked
    hidden.shell("echo x >tests/new; build/shown tests/new")
    assert os.listdir(hidden.directory / "tests") == ["input"]


# Errors.


def test_a_suite_that_starts_no_program(bench: Bench) -> None:
    assert bench.error("/bin/sh", "-c", "cp build/shown copy && ./copy /etc/passwd; :") == (
        "cannot trace run demo: its harness started no program of the image, as /usr/bin/shown; "
        "let it start one by that path, or where it was built"
    )


def test_a_suite_without_its_harness(bench: Bench) -> None:
    for name in ("nothing", "./nothing", "tests/input", "/home/me/bin/nothing"):
        assert bench.error(name) == (
            f"cannot trace run demo: its root has no harness {name}; install it there, or put it "
            "into the project and name its path"
        )


def test_a_suite_that_fails(bench: Bench) -> None:
    assert bench.error("/bin/sh", "-c", "shown /etc/passwd; echo 1 of 2 failed; exit 3") == (
        "cannot trace run demo: it ended with status 3, not with status 0, and said '' after it "
        "printed '1 of 2 failed'; correct the suite until it passes by hand, or stage what it lacks"
    )


@pytest.mark.parametrize("private", [True, False])
def test_a_suite_that_builds_the_program_again(bench: Bench, private: bool) -> None:
    script = "cp build/shown x && mv x build/shown && build/shown /etc/passwd; :"
    assert bench.error("/bin/sh", "-c", script, private=private) == (
        "cannot trust the trace of run demo: the suite changed /usr/bin/shown; build that before "
        "the suite starts"
    )


def test_staged_files_that_are_no_programs(bench: Bench, programs: Path) -> None:
    for name, text in (("library", ""), ("data", "data"), ("script", "#!/bin/sh\n")):
        bench.staged[f"/srv/{name}"] = name
        (bench.directory / name).write_text(text)
        (bench.directory / name).chmod(0o755)
    shutil.copy(programs / "static", bench.directory / "static")
    bench.staged["/srv/static"] = "static"
    shutil.copy("/usr/lib/x86_64-linux-gnu/libz.so.1", bench.directory / "library")
    (bench.directory / "library").chmod(0o755)
    assert _starts(bench.shell("shown /etc/passwd; :")) == {
        SHOWN: 1,
        "/srv/script": 0,
        "/srv/static": 0,
        "/usr/bin/other": 0,
    }
