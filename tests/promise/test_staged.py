"""Images of a project's own programs: each runs where it is staged, and edits rebuild the least."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image.files.entry import read_entries

PROJECT = Path(__file__).parent / "staged"

pytestmark = [
    pytest.mark.parametrize(
        ("mode", "scons", "jobs"),
        [("plain", "oldest", 1), ("private", "newest", 8)],
        indirect=True,
        ids=["plain, j1", "private, j8"],
    ),
]

PRINTED = {
    "count": "a 2\nb 1\n",
    "hello": "hello, me\nhello, you\n",
    "script": "hello\n",
    "tree": "line listed/one\n",
    "tool": "colour = green\n\n",
    "twins": "ours\n1.",
}
"""How that begins which each image's program prints."""

FILES = {
    "count": {"/usr/bin/count", "libstdc++.so.6.0.30", "libgcc_s.so.1", "libm.so.6"},
    "hello": {"/opt/hello/bin/hello", "/opt/hello/lib/libgreet.so", "/opt/hello/share/names"},
    "tool": {"/usr/local/bin/tool", "/usr/local/etc/tool.conf"},
    "twins": {"/opt/twins/bin/ours", "/opt/twins/bin/theirs", "/opt/twins/lib/libz.so.1",
              "libz.so.1.2.13"},
}  # fmt: skip
"""Staged files, and libraries of the system besides the C library and its loader."""

ALL = "TRACE LDD TAR IMAGE"
DATA = "TRACE TAR IMAGE"
"""Steps after another program, and after other data; the list is cut off."""

_STEP = re.compile(r"^([A-Z]+)  +(\S+)", re.MULTILINE)


class Staged:
    """A copy of the project in which nothing has been built."""

    def __init__(self, directory: Path, scons: Scons, mode: str, jobs: int = 1) -> None:
        self.directory = directory / "project"
        self.scons = scons
        self.mode = mode
        self.jobs = jobs
        shutil.copytree(PROJECT, self.directory, symlinks=True)
        # No repository has an empty directory.
        (self.directory / "images/tree/share/empty").mkdir()

    def build(self, *targets: str, later: bool = False) -> list[str]:
        """Build; return the sorted steps, those that compile and link with what they make."""
        ran = self.scons.run(
            self.directory,
            f"-j{self.jobs}",
            f"tool={PACKAGE.parent}",
            f"root={self.mode}",
            *targets,
            env={"DOCKER_HOST": NO_ENGINE},
            later=later,
        )
        assert ran.returncode == 0, ran.stdout
        return sorted(f"{label} {name}" for label, name in _STEP.findall(ran.stdout))

    def out(self, image: str, suffix: str) -> Path:
        """Return the path of a step file of `image`."""
        return self.directory / "build/images" / image / f"{image}{suffix}"


@pytest.fixture(scope="module")
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def staged(mode: str, scons: Scons, jobs: int, tmp_path_factory: pytest.TempPathFactory) -> Staged:
    """Build all images."""
    staged = Staged(tmp_path_factory.mktemp(mode), scons, mode, jobs)
    steps = staged.build("images")
    ours = [f"{label} {image}" for label in (*ALL.split(), "LIST") for image in PRINTED]
    assert set(ours) <= set(steps)
    assert staged.build("images", later=True) == []
    return staged


# Each image, before anything is edited


@pytest.mark.parametrize("image", list(PRINTED))
def test_program_runs_from_its_image(staged: Staged, image: str) -> None:
    assert staged.out(image, ".stdout").read_text().startswith(PRINTED[image])
    assert staged.build(f"test/images/{image}") == [f"TEST {image}"]
    assert "default: status 0, stdout equal" in staged.out(image, ".tested").read_text()
    assert staged.build(f"test/images/{image}") == []


@pytest.mark.parametrize("image", list(FILES))
def test_image_holds_staged_files_and_their_libraries(staged: Staged, image: str) -> None:
    listed = read_entries(staged.out(image, ".files").read_bytes(), image)

    paths = {entry.path.decode() for entry in listed if entry.kind == "file"}
    found = {path.removeprefix("/usr/lib/x86_64-linux-gnu/") for path in paths}
    assert found == FILES[image] | {"libc.so.6", "ld-linux-x86-64.so.2"}


def test_image_holds_staged_directories(staged: Staged) -> None:
    listed = read_entries(staged.out("tree", ".files").read_bytes(), "tree")

    found = {entry.path.decode(): entry for entry in listed}
    below = [path for path in found if path.startswith("/opt/tree/")]
    assert sorted(path.removeprefix("/opt/tree/") for path in below) == [
        "alias", "bin", "bin/show", "lib", "lib/one.txt", "share", "share/empty", "share/link",
        "share/listed", "share/listed/one", "share/read", "share/unread",
    ]  # fmt: skip
    assert found["/opt/tree/share/empty"].kind == "dir"
    assert found["/opt/tree/alias"].target == b"share/unread"
    token = found["/etc/tree/token"]
    assert (token.mode, token.uid, token.gid) == (0o600, 33, 33)


@pytest.mark.parametrize("image", list(PRINTED))
def test_image_tells_nothing_of_the_build_directory(staged: Staged, image: str) -> None:
    assert str(staged.directory) not in staged.out(image, ".files").read_text()


# Edits

EDITS = [
    pytest.param("hello/hello.c", "return 1", "return 2", ["CC hello.o", "LINK hello"], ALL,
                 id="C program"),
    pytest.param("hello/greet.c", "hello,", "hi,",
                 ["CC greet.os", "LINK hello", "LINK libgreet.so"], ALL, id="library"),
    pytest.param("hello/names.txt", "you", "all", ["SORT names"], DATA, id="generated data"),
    pytest.param("hello/names.txt", "all\nme", "me\nall", ["SORT names"], "",
                 id="source of the same data"),
    pytest.param("hello/hello.c", "#include", "// new\n#include", ["CC hello.o"], "",
                 id="comment in a program"),
    pytest.param("count/SConscript", "/usr/bin/count", "/usr/bin/counter", [],
                 "TRACE LDD LIST TAR IMAGE", id="staged path"),
    pytest.param("count/count.cpp", '" "', '": "', ["CC count.o", "LINK count"], ALL,
                 id="C++ program"),
    pytest.param("script/run", "print(", "print('I say', ", [], ALL, id="script"),
    pytest.param("script/greeting.py", "hello", "hallo", [], DATA, id="module of the same size"),
    pytest.param("twins/z.c", "ours", "own", ["CC z.os", "LINK libz.so.1", "LINK ours"], ALL,
                 id="library that has a twin"),
    pytest.param("twins/theirs.c", "< 0", "< 1", ["CC theirs.o", "LINK theirs"], ALL,
                 id="program that another one starts"),
    pytest.param("tool/tool.c", "return 1", "return 2",
                 ["CC tool.o", "INSTALL tool", "LINK tool"], ALL, id="installed program"),
    pytest.param("tool/tool.conf", "green", "red", ["INSTALL tool.conf"], DATA,
                 id="installed data"),
]  # fmt: skip


def _sconscript(old: str, new: str) -> Callable[[Path], object]:
    return lambda tree: _replace(tree, "SConscript", old, new)


def _relink(name: str, target: str) -> Callable[[Path], object]:
    def edit(tree: Path) -> None:
        (tree / name).unlink()
        (tree / name).symlink_to(target)

    return edit


LISTED = "LIST TAR IMAGE"
TREES = [
    pytest.param(lambda tree: (tree / "share/new").write_text("new"), [], LISTED, id="file added"),
    pytest.param(lambda tree: (tree / "share/new").write_text("newer"), [], "TAR IMAGE",
                 id="file changed"),
    pytest.param(lambda tree: (tree / "share/new").chmod(0o755), [], LISTED, id="file executable"),
    pytest.param(lambda tree: (tree / "share/new").chmod(0o700), [], "", id="mode of the umask"),
    pytest.param(lambda tree: (tree / "share/new").unlink(), [], LISTED, id="file removed"),
    pytest.param(lambda tree: (tree / "share/hollow").mkdir(), [], LISTED, id="empty directory"),
    pytest.param(lambda tree: (tree / "share").chmod(0o700), [], "", id="mode of the directory"),
    pytest.param(lambda tree: (tree / "share/read").write_text("LINE"), [], DATA,
                 id="file that a run read"),
    pytest.param(lambda tree: (tree / "share/read").chmod(0o755), [], "TRACE LIST TAR IMAGE",
                 id="mode of a file that a run read"),
    pytest.param(lambda tree: (tree / "share/listed/two").write_text(""), [],
                 "TRACE LIST TAR IMAGE", id="file in a directory that a run listed"),
    pytest.param(_relink("share/link", "unread"), [], LISTED, id="link in a directory"),
    pytest.param(_relink("alias", "share/read"), [], f"LDD {LISTED}", id="link"),
    pytest.param(_relink("alias", "token"), [], f"LDD {LISTED}", id="link that is followed"),
    pytest.param(lambda tree: (tree / "token").write_text("words"), [], "TAR IMAGE",
                 id="file with a mode"),
    pytest.param(lambda tree: (tree / "one.txt").write_text("one"), ["INSTALL one.txt"],
                 "TAR IMAGE", id="installed file"),
    pytest.param(_sconscript('["one.txt"]', '["one.txt", "two.txt"]'), ["INSTALL two.txt"], LISTED,
                 id="one more installed file"),
    pytest.param(_sconscript("0o600", "0o640"), [], f"LDD {LISTED}", id="mode"),
    pytest.param(_sconscript('"www-data"', "7"), [], f"LDD {LISTED}", id="owner"),
]  # fmt: skip


def _replace(directory: Path, name: str, old: str, new: str) -> None:
    text = (directory / name).read_text()
    assert old in text
    (directory / name).write_text(text.replace(old, new))


def test_edits_rebuild_the_least(
    mode: str, scons: Scons, jobs: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    staged = Staged(tmp_path_factory.mktemp("edited"), scons, mode, jobs)
    staged.build("images")
    assert staged.build("images", later=True) == []

    def check(row: str, image: str, made: list[str], steps: str) -> None:
        built = staged.build("images")
        assert built == sorted([*made, *(f"{step} {image}" for step in steps.split())]), row
        # The next edit meets seals.
        assert staged.build("images", later=True) == [], row

    # One after the other: a row may edit what the one before it has left.
    for row in EDITS:
        values: Any = row.values
        name, old, new, made, steps = values
        _replace(staged.directory / "images", name, old, new)
        check(str(row.id), name.partition("/")[0], made, steps)
    for row in TREES:
        values = row.values
        edit, made, steps = values
        edit(staged.directory / "images/tree")
        check(str(row.id), "tree", made, steps)
    assert staged.build("test/images") == sorted(f"TEST {image}" for image in PRINTED)
