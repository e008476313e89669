"""Random edits of a tree of images: each incremental build gives what a clean one gives.

The images depend on each other, on other builders and on one environment. Before half of the edits
all images are sealed, so that their steps have no nodes. ``EDIT_ROUNDS`` sets how many rounds.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Lab, Scons

ROUNDS = int(os.environ.get("EDIT_ROUNDS", "5"))

SCONSTRUCT = f"""\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{PACKAGE.parent}"], DOCKER_HOST="{NO_ENGINE}")
env["BUILDERS"]["Make"] = Builder(action=Copy("$TARGET", "$SOURCE"))
env["RUNS"] = []
env["WORD"] = "word 0"
env.ImageTree("images")
env.Depends(env.Alias("images"), env.Make("out/copy", "build/images/named/named.oci.tar"))
"""

IMAGES = {
    "own": """\
made = env.Make("made", "#source")
env.ScratchImage("own", {"/srv/made": made, "/srv/file": "#file"}, IMAGE_LABELS={"a": "word 0"})
""",
    "early": """\
env.ScratchImage("early", {"/srv/program": "#source"}, IMAGE_LABELS={"word": "$WORD"})
env["IMAGE_USER"] = "1000"  # of the images that come after this one
""",
    "holder": """\
env.ScratchImage("holder", {"/srv/program": "#program"}, EXTRA_FILES="holder.extra")
env.ScratchImage("other", {"/srv/program": "#program", "/srv/text": "#file"}, IMAGE_TAG="other:0")
""",
    "named": """\
env.ScratchImage("named", {"/srv/program": "#program", "/srv/file": "#file"}, IMAGE_PORTS=1)
""",
}
EXTRA = "../../listed -> /srv/listed\n../../build/images/own/own.tar -> /srv/own.tar\n"


class Tree:
    """A project of several images."""

    def __init__(self, directory: Path, scons: Scons, jobs: int) -> None:
        self.directory = directory
        self.scons = scons
        self.jobs = jobs
        self.write("SConstruct", SCONSTRUCT)
        for name, text in IMAGES.items():
            self.write(f"images/{name}/SConscript", f'Import("env")\n{text}')
        self.write("images/holder/holder.extra", EXTRA)
        for name in ("file", "listed/one"):
            self.write(name, name)
        self.compile("source", 0)
        self.compile("program", 0)

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        Lab.write(self.directory / name, text)

    def replace(self, name: str, word: str, number: int) -> None:
        """Set the number that follows `word` in a file."""
        path = self.directory / name
        before, _, after = path.read_text().partition(word)
        path.write_text(f"{before}{word}{number}{after[1:]}")

    def compile(self, name: str, number: int) -> None:
        """Make a static program, which does nothing."""
        code = f"void _start(void) {{}} const int own = {number};"
        command = ["gcc", "-x", "c", "-", "-static", "-nostdlib", "-o", str(self.directory / name)]
        subprocess.run(command, input=code.encode(), check=True)

    def build(self, *, later: bool = False) -> str:
        """Build all images; return the output."""
        ran = self.scons.run(self.directory, "-Q", f"-j{self.jobs}", "images", later=later)
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def archives(self) -> dict[str, bytes]:
        """Return the content of all image archives."""
        paths = [*self.directory.glob("build/images/*/*.oci.tar"), self.directory / "out/copy"]
        return {path.name: path.read_bytes() for path in paths}

    def clean_archives(self, copy: Path) -> dict[str, bytes]:
        """Return the same of a clean build, in `copy`."""
        Lab.copy_project(self.directory, copy)
        clean = Tree.__new__(Tree)
        clean.directory, clean.scons, clean.jobs = copy, self.scons, 1
        clean.build()
        return clean.archives()


def _delete(tree: Tree, number: int) -> None:
    files = sorted(path for path in tree.directory.glob("build/images/*/*") if path.is_file())
    files[number * 7 % len(files)].unlink()


def _list(tree: Tree, _: int) -> None:
    path = tree.directory / "listed/two"
    path.unlink() if path.exists() else path.write_text("two")


EDITS: list[Callable[[Tree, int], object]] = [
    lambda tree, number: tree.write("file", str(number)),
    lambda tree, number: tree.write("listed/one", str(number)),
    lambda tree, number: tree.compile("source", number),
    lambda tree, number: tree.compile("program", number),
    lambda tree, number: tree.replace("SConstruct", "word ", number),
    lambda tree, number: tree.replace("images/own/SConscript", "word ", number),
    lambda tree, number: tree.replace("images/holder/SConscript", "other:", number),
    lambda tree, number: tree.replace("images/named/SConscript", "PORTS=", number + 1),
    lambda tree, number: os.utime(tree.directory / "file"),
    _list,
    _delete,
]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 8], ids=["j1", "j8"])
def test_incremental_build_of_a_tree_is_the_clean_one(
    tmp_path: Path, newest: Scons, jobs: int
) -> None:
    tree = Tree(tmp_path / "project", newest, jobs)
    tree.build()
    dice = random.Random(f"tree {jobs}")
    for number in range(ROUNDS):
        if number % 2:
            assert "up to date" in tree.build(later=True)
        for edit in dice.sample(EDITS, dice.randrange(1, 3)):
            edit(tree, dice.randrange(8))

        tree.build()

        assert tree.archives() == tree.clean_archives(tmp_path / f"clean{number}"), number
        assert "up to date" in tree.build()
