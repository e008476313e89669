"""The promise for test suites: what they start counts, and a changed test is one more trace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from rows import OLDEST_AND_NEWEST, check_row
from scratch_image.trace.record import Use, read_record

HEAD = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
from scratch_image import Suite
"""

CODE = r"""
#include <stdio.h>
int main(int argc, char **argv) {
    FILE *file = fopen(argc > 1 ? argv[1] : "/usr/share/greet/words", "r");
    char line[80] = VERSION;
    if (!file || !fgets(line, sizeof line, file)) return 3;
    return fputs(line, stdout) < 0;
}
"""

FILES = {
    "words": "hello\n",
    "t/plain.t": 'use Test::More tests => 1;\nis(`greet`, "hello\\n");\n',
    "t/file.t": 'use Test::More tests => 1;\nis(`./greet.sh t/input`, "input\\n");\n',
    "t/input": "input\n",
    "greet.sh": '#!/bin/sh\nexec build/greet "$@"\n',
    "Makefile": (
        "check: plain file\n"
        "plain:; build/greet | grep hello\n"
        "file:; ./greet.sh t/input | sed s/in/out/ | grep output\n"
    ),
    "tests/test_greet.py": """\
import subprocess

def greet(*words):
    return subprocess.run(["greet", *words], capture_output=True, text=True).stdout

def test_words():
    assert greet() == "hello\\n"

def test_a_file(tmp_path):
    (tmp_path / "x").write_text("x")
    assert greet(str(tmp_path / "x")) == "x"

def test_nothing():
    assert greet("/nothing") == ""
""",
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.18)
project(greet C)
add_executable(greet greet.c)
add_compile_definitions(VERSION="1")
enable_testing()
add_test(NAME plain COMMAND greet)
add_test(NAME file COMMAND greet ${CMAKE_SOURCE_DIR}/t/input)
add_test(NAME nothing COMMAND greet /nothing)
set_tests_properties(plain PROPERTIES PASS_REGULAR_EXPRESSION hello)
set_tests_properties(nothing PROPERTIES WILL_FAIL TRUE)
""",
}

_STEP = re.compile(r"^([A-Z]+) +\S+(?: \((\w+)\))?", re.MULTILINE)


class Shop:
    """A project with a program, its suites, and an image of it."""

    def __init__(
        self, directory: Path, scons: Scons, runs: str, jobs: int = 1, flags: str = "-O1"
    ) -> None:
        self.directory = directory
        self.flags = flags
        self.scons = scons
        self.jobs = jobs
        for name, text in {**FILES, "greet.c": CODE}.items():
            self.write(name, text)
        (directory / "greet.sh").chmod(0o755)
        head = HEAD.format(tool=PACKAGE.parent, engine=NO_ENGINE)
        self.write("SConstruct", f"{head}{_IMAGE}    RUNS=[{runs})\n")
        self.compile("1")

    def write(self, name: str, text: str) -> None:
        """Write a text file, with the directories above it."""
        (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / name).write_text(text)

    def edit(self, old: str, new: str) -> None:
        """Edit the SConstruct."""
        text = (self.directory / "SConstruct").read_text()
        assert old in text
        self.write("SConstruct", text.replace(old, new))

    def compile(self, version: str) -> None:
        """Make the program, which holds its version."""
        (self.directory / "build").mkdir(exist_ok=True)
        command = ["gcc", self.flags, f'-DVERSION="{version}"', "greet.c", "-o", "build/greet"]
        subprocess.run(command, cwd=self.directory, check=True)

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run SCons; return what it printed."""
        ran = self.scons.run(self.directory, f"-j{self.jobs}", *arguments)
        assert ran.returncode == status, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return ran.stdout

    def build(self) -> list[str]:
        """Build the image; return the sorted steps, a trace with the name of its run."""
        found = _STEP.findall(self.run("-Q", "build/image"))
        return sorted(f"{label} {run}".strip() for label, run in found)

    def out(self, name: str) -> Path:
        return self.directory / f"build/image/greet{name}"


_IMAGE = """\
env.ScratchImage("build/image/greet",
    {"/usr/bin/greet": "build/greet", "/usr/share/greet/words": "words"},
"""

# Rows: an edit runs exactly the suites that it affects.

TWO = 'Suite("prove -j4 t", name="prove"), Suite("make -j4 check", name="make")]'
TRACES = ["TRACE make", "TRACE prove"]
PACK = ["IMAGE", "TAR"]

Edit = Callable[[Shop], object]


def _write(name: str, text: str) -> Edit:
    return lambda shop: shop.write(name, text)


ROWS = [
    pytest.param(_write("build/unread", "x"), [], id="file that no suite read"),
    pytest.param(_write("t/plain.t", FILES["t/plain.t"] + "# more\n"), ["TRACE prove"],
                 id="a test file"),
    pytest.param(_write("t/more.t", FILES["t/plain.t"]), ["TRACE prove"], id="a new test file"),
    pytest.param(lambda shop: (shop.directory / "t/file.t").unlink(), ["TRACE prove"],
                 id="a test file less"),
    pytest.param(_write("Makefile", FILES["Makefile"] + "# more\n"), ["TRACE make"],
                 id="what a harness reads"),
    pytest.param(_write("GNUmakefile", FILES["Makefile"]), ["TRACE make"],
                 id="what a harness looked for"),
    pytest.param(_write("t/input", "input\nmore\n"), TRACES, id="what the program got to read"),
    pytest.param(lambda shop: shop.compile("2"), [*TRACES, "LDD", *PACK], id="the program"),
    pytest.param(_write("words", "hello\nworld\n"), [*TRACES, *PACK], id="a staged file"),
]  # fmt: skip


@pytest.fixture(scope="module")
def built(scons: Scons, jobs: int, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("suites") / "project", scons, TWO, jobs)
    assert shop.build() == sorted([*TRACES, "LDD", "LIST", *PACK])
    assert shop.build() == []
    saved = shop.directory.with_name("saved")
    subprocess.run(["cp", "-a", shop.directory, saved], check=True)
    return shop


@pytest.fixture
def shop(built: Shop) -> Shop:
    """Give the project as it was first built."""
    shutil.rmtree(built.directory)
    subprocess.run(["cp", "-a", built.directory.with_name("saved"), built.directory], check=True)
    return built


@OLDEST_AND_NEWEST
@pytest.mark.parametrize(("edit", "expected"), ROWS)
def test_edit_runs_exactly_the_suites_that_it_affects(
    shop: Shop, edit: Edit, expected: list[str]
) -> None:
    check_row(shop, edit, expected)


# Real suites.

FOUR = """
    Suite("ctest --test-dir build -j2", name="ctest"),
    Suite([".venv/bin/python", "-m", "pytest", "-n2", "tests"], name="pytest"),
    Suite("prove t", name="prove"),
    Suite("make check", name="make")]
"""

PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "pytest-xdist", "execnet")


def _make_venv(directory: Path) -> None:
    """Make a virtual environment with pytest in a project: homes are hidden from suites."""
    python = Path(sys.executable).resolve()
    subprocess.run([python, "-m", "venv", "--without-pip", ".venv"], cwd=directory, check=True)
    [site] = directory.glob(".venv/lib/*/site-packages")
    for name in PYTEST:
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), site / file)


@pytest.fixture(scope="module")
def four(newest: Scons, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, str]:
    """Give a project with four suites, and what its first build printed."""
    shop = Shop(tmp_path_factory.mktemp("four"), newest, FOUR, jobs=2)
    _make_venv(shop.directory)
    for command in (["cmake", "-B", "build"], ["cmake", "--build", "build"]):
        subprocess.run(command, cwd=shop.directory, check=True, capture_output=True)
    return shop, shop.run("-Q", "build/image")


def test_suites_of_four_harnesses(four: tuple[Shop, str]) -> None:
    shop, told = four
    started = re.findall(r"\((\w+)\) .* started (.*),", told)
    assert dict(started) == {
        "ctest": "/usr/bin/greet 3 times",
        "pytest": "/usr/bin/greet 3 times",
        "prove": "/usr/bin/greet 2 times",
        "make": "/usr/bin/greet 2 times",
    }
    assert shop.build() == []


def test_no_harness_is_in_the_image(four: tuple[Shop, str]) -> None:
    shop, _ = four
    records = {}
    for name in ("ctest", "pytest", "prove", "make"):
        record = read_record(shop.out(f".{name}.trace").read_bytes())
        records[name] = {use.path for use in record.uses if use.kind is not Use.ABSENT}
    # The program loads and reads the same, whoever starts it.
    assert records["ctest"] == records["pytest"] == records["prove"] == records["make"]
    listed = shop.out(".files").read_text()
    paths = [line.split(" ")[3] for line in listed.splitlines()[1:]]
    for word in ("python", "perl", "cmake", "/bin/sh", "/t/", "tests", str(shop.directory)):
        assert not [path for path in paths if word in path]
    assert "/usr/share/greet/words run:ctest run:make run:prove run:pytest staged" in listed


def test_one_more_test_file_is_one_more_trace(four: tuple[Shop, str]) -> None:
    shop, _ = four
    shop.write("tests/test_more.py", "def test_it():\n    pass\n")
    assert shop.build() == ["TRACE pytest"]
    shop.write("CMakeLists.txt", FILES["CMakeLists.txt"] + "add_test(NAME more COMMAND greet)\n")
    subprocess.run(["cmake", "build"], cwd=shop.directory, check=True, capture_output=True)
    # pytest looks at each file beside its directory.
    assert set(shop.build()) - {"TRACE pytest"} == {"TRACE ctest"}


def test_requests_treat_a_suite_as_a_run(four: tuple[Shop, str]) -> None:
    shop, _ = four
    why = shop.run("-Q", "why/build/image/greet", "WHY=/usr/share/greet/words")
    assert "run prove used it" in why
    told = shop.run("-Q", *(f"{word}/build/image/greet" for word in ("test", "seccomp", "report")))
    assert "TEST   greet               no run" in told
    assert (
        "test: no image can repeat suite ctest, pytest, prove, make: its harness is not in it"
    ) in told
    assert shop.out(".tested").read_text() == "".join(
        f"{name}: suite, not repeated\n" for name in ("ctest", "pytest", "prove", "make")
    )
    assert "CALLS  greet" in told
    # Python's calls are not the program's.
    assert "epoll_wait" not in shop.out(".seccomp.json").read_text()
    assert "pytest" in shop.out(".report.html").read_text()


# Other places.


def test_a_harness_that_lists_what_the_build_makes(tmp_path: Path, newest: Scons) -> None:
    shop = Shop(tmp_path, newest, 'Suite("sh all.sh")]', jobs=8)
    shop.write("all.sh", "ls -laR . >list; find . -newer words | xargs stat; greet\n")
    assert "TRACE default" in shop.build()
    assert shop.build() == []
    for _ in range(2):
        # A plain build declares no such target.
        shop.run("-Q", "test/build/image/greet")
        assert shop.build() == []
    shop.write("build/new", "x")
    assert shop.build() == ["TRACE default"]
    assert shop.build() == []


def test_files_that_a_suite_needs_are_built_first(tmp_path: Path, newest: Scons) -> None:
    shop = Shop(tmp_path, newest, 'Suite("sh ./needs.sh", files="made/input")]')
    shop.write("needs.sh", "greet made/input\n")
    shop.edit("env.S", 'env.Command("made/input", "words", Copy("$TARGET", "$SOURCE"))\nenv.S')
    assert "TRACE default" in shop.build()
    shop.write("words", "other\n")
    assert "TRACE default" in shop.build()
    assert shop.build() == []


LOADER = "lib64/ld-linux-x86-64.so.2"


def test_a_suite_in_a_sysroot(tmp_path: Path, newest: Scons) -> None:
    shop = Shop(tmp_path, newest, 'Suite("sh ./in.sh", cwd="t")], ROOT=base', flags="-static")
    shop.edit("env.S", 'base = env.Sysroot("base", directory="tree")\nenv.S')
    for source, place in (("/bin/busybox", "bin/sh"), (f"/{LOADER}", LOADER)):
        (tmp_path / "tree" / place).parent.mkdir(parents=True)
        shutil.copy(source, tmp_path / "tree" / place)
    shop.write("t/in.sh", "../build/greet input && greet\n")
    told = shop.run("-Q", "build/image")
    assert "started /usr/bin/greet 2 times" in told
    assert "/bin/sh" not in shop.out(".files").read_text()
    assert shop.build() == []
    shop.write("t/in.sh", "../build/greet input; greet\n")
    assert shop.build() == ["TRACE default"]
    shop.edit('"sh ./in.sh"', '"make check"')
    assert (
        "cannot trace run default: its root has no harness make; install it there, or put it into "
        "the project and name its path"
    ) in shop.run("-Q", "build/image", status=2)


def test_a_suite_in_the_plain_file_system(tmp_path: Path, newest: Scons) -> None:
    shop = Shop(tmp_path, newest, 'Suite("make -j2 check")], TRACE_ROOT="plain"')
    shop.write("Makefile", "check:; build/greet words >build/log\n")
    assert "started /usr/bin/greet once" in shop.run("-Q", "build/image")
    assert (tmp_path / "build/log").read_text() == "hello\n"
    assert shop.build() == []
    shop.write("Makefile", "check:; build/greet words\n")
    assert shop.build() == ["TRACE default"]
    assert shop.build() == []
