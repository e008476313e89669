"""Projects with habits of their own: a table, each row built, built again, edited and cleaned."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Lab, Scons

READER = """\
#include <stdio.h>
int main(void) {
    char line[80];
    FILE *f = fopen("%s/data", "r");
    return !(f && fgets(line, sizeof line, f) && puts(line));
}
"""

TOOLS = f'tools=["gcc", "gnulink", "scratch_image"], toolpath=["{PACKAGE.parent}"]'

HEAD = f"env = Environment({TOOLS})\n"

IMAGE = """\
program = env.Program("reader", "reader.c")
env.ScratchImage(
    "image/reader", {"/usr/bin/reader": program}, EXTRA_FILES="reader.extra", IMAGE_TAG="reader"
)
"""

SCONSCRIPT = 'SConscript("src/SConscript", exports="env"'

OWN_DECIDER = """\
def newer(dependency, target, prev_ni, repo_node=None):
    return dependency.get_timestamp() != getattr(prev_ni, "timestamp", 0)
env.Decider(newer)
"""

SEVERAL = f"""\
other = env.Clone(tools=["scratch_image"], CCFLAGS=["-g"])
third = Environment({TOOLS}, CCFLAGS=["-O1"])
for name, each in (("other", other), ("third", third)):
    built = each.Program(name + "/reader", each.Object(name + "/reader.o", "src/reader.c"))
    each.ScratchImage(name + "/image", {{"/usr/bin/reader": built}}, IMAGE_TAG=name)
"""


@dataclass(frozen=True)
class Habit:
    """How a project is used that differs from others."""

    lines: str = ""
    """Of the SConstruct, after its environment and before its image."""
    read: str = ""
    """Arguments with which it reads the SConscript of the image."""
    out: str = "src"
    """Where its targets lie."""
    directory: str = "."
    """Where SCons is called, seen from the project."""
    arguments: tuple[str, ...] = ()
    sources: str = "."
    """The directory with its sources, seen from the project."""
    steps: int = 5
    """Of a build of everything."""
    files: Mapping[str, str] = field(default_factory=dict)


HABITS = [
    *(
        pytest.param(Habit(f"env.Decider({name!r})\n"), id=f"decider {name}")
        for name in ("timestamp-newer", "content-timestamp", "MD5-timestamp")
    ),
    pytest.param(Habit(OWN_DECIDER), id="decider of its own"),
    pytest.param(Habit("env.CacheDir('cache')\n"), id="CacheDir"),
    pytest.param(Habit("Repository('../repository')\n", sources="../repository"), id="Repository"),
    pytest.param(Habit(read=", variant_dir='out'", out="out"), id="variant directory, copied"),
    pytest.param(Habit(read=", variant_dir='out', duplicate=0", out="out"), id="variant directory"),
    pytest.param(Habit("SetOption('implicit_cache', 1)\n"), id="implicit cache"),
    pytest.param(Habit("SetOption('implicit_cache', 1)\n", read=", variant_dir='out'", out="out"),
                 id="implicit cache, copied"),
    pytest.param(Habit("env.SConsignFile(None)\n"), id="a database for each directory"),
    pytest.param(Habit(SEVERAL, steps=15), id="several environments"),
    pytest.param(Habit(directory="..", arguments=("-C", "project")), id="-C"),
    pytest.param(Habit(directory="src", arguments=("-u",)), id="-u"),
    pytest.param(Habit(directory="src", arguments=("-D",)), id="-D"),
    pytest.param(Habit("Default('src')\n", directory="src", arguments=("-U",)), id="-U"),
    pytest.param(Habit("assert NAME == 'site'\n", files={
        "site_scons/site_init.py": "import SCons.Script\nNAME = 'site'\n"
        "SCons.Script.SetOption('stack_size', 512)\n"}), id="site_init.py"),
]  # fmt: skip

COPIES = {"out/SConscript", "out/note", "out/reader.c", "out/reader.extra"}
"""The copies in a variant directory that SCons leaves."""


class Place:
    """A project with one habit, and a file outside of it that its program reads."""

    def __init__(self, directory: Path, habit: Habit, scons: Scons) -> None:
        self.project, self.habit, self.scons = directory / "project", habit, scons
        self.data, self.sources = directory / "data", self.project / habit.sources / "src"
        sconstruct = f"{HEAD}{habit.lines}{SCONSCRIPT}{habit.read})\n"
        files = {
            self.data: "data\n",
            self.project / "SConstruct": sconstruct,
            self.sources / "SConscript": f'Import("env")\n{IMAGE}',
            self.sources / "reader.c": READER % directory,
            self.sources / "reader.extra": "include more.extra\n",
            self.sources / "more.extra": "note -> /srv/note\n",
            self.sources / "note": "note\n",
            **{self.project / name: text for name, text in habit.files.items()},
        }
        for path, text in files.items():
            Lab.write(path, text)

    def build(self, *arguments: str) -> list[str]:
        """Build; return the labels of the steps."""
        ran = self.scons.run(
            self.project / self.habit.directory,
            *self.habit.arguments,
            *arguments,
            env={"DOCKER_HOST": NO_ENGINE, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert ran.returncode == 0, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return re.findall("^(TRACE|LDD|LIST|TAR|IMAGE) ", ran.stdout, re.MULTILINE)

    def files(self) -> set[str]:
        """Return all files but SCons's own."""
        found = (path for path in self.project.rglob("*") if path.is_file())
        names = {os.fspath(path.relative_to(self.project)) for path in found}
        return {name for name in names if not re.search("[.]sconsign|^cache/", name)} - COPIES


@pytest.mark.parametrize("habit", HABITS)
def test_project_with_a_habit(tmp_path: Path, habit: Habit, scons: Scons) -> None:
    place = Place(tmp_path, habit, scons)
    before = place.files()
    assert len(place.build()) == habit.steps
    assert place.build("-j4") == []
    assert (place.project / habit.out / "image/reader.oci.tar").exists()

    place.data.write_text("atad\n")
    (place.sources / "note").write_text("eton\n")
    assert set(place.build()) == {"TRACE", "TAR", "IMAGE"}
    assert place.build() == []

    place.build("-c")
    assert place.files() == before


def test_file_of_the_project_comes_before_that_of_a_repository(
    tmp_path: Path, scons: Scons
) -> None:
    habit = Habit("Repository('../repository')\n", sources="../repository")
    place = Place(tmp_path, habit, scons)
    Lab.write(place.sources / "more.extra", "note -> /srv/note\ndata -> /srv/data\n")
    Lab.write(place.sources / "data/of-repository", "")
    place.build()
    listed = place.project / "src/image/reader.files"
    assert "/srv/data/of-repository <- src/data/of-repository extra:" in listed.read_text()

    Lab.write(place.project / "src/note", "mine\n")
    assert place.build() == ["LIST", "TAR", "IMAGE"]
    with tarfile.open(place.project / "src/image/reader.tar") as tar:
        note = tar.extractfile("srv/note")
        assert note and note.read() == b"mine\n"
    Lab.write(place.project / "src/more.extra", "")
    assert place.build() == ["LIST", "TAR", "IMAGE"]
    assert "/srv" not in listed.read_text()
    (place.project / "src/more.extra").unlink()
    assert place.build() == ["LIST", "TAR", "IMAGE"]
    assert place.build() == []


def test_targets_of_a_repository_are_left_to_it(tmp_path: Path, newest: Scons) -> None:
    habit = Habit("Repository('../repository')\n")
    place = Place(tmp_path, Habit(), newest)
    place.build()
    place.project.rename(tmp_path / "repository")
    built = {path: path.read_bytes() for path in (tmp_path / "repository").rglob("*.tar")}
    (tmp_path / "project/src").mkdir(parents=True)
    Lab.write(place.project / "SConstruct", f"{HEAD}{habit.lines}{SCONSCRIPT})\n")
    Lab.write(place.project / "src/note", "mine\n")

    assert place.build() == ["TRACE", "LDD", "LIST", "TAR", "IMAGE"]

    assert {path: path.read_bytes() for path in built} == built
    with tarfile.open(place.project / "src/image/reader.tar") as tar:
        note = tar.extractfile("srv/note")
        assert note and note.read() == b"mine\n"
    assert place.build() == []
    Lab.write(place.project / "src/note", "other\n")
    assert place.build() == ["TAR", "IMAGE"]
    assert place.build() == []


SOFT = """\
SetOption("duplicate", "soft-copy")
SConscript("src/SConscript", variant_dir="out", exports="env")
"""

STAGED = """\
Import("env")
staged = {"/usr/bin/reader": env.Program("reader", "reader.c"), "/srv/note": "note"}
env.ScratchImage("image/reader", staged)
"""


@pytest.mark.parametrize("view", ["private", "plain"])
def test_source_that_scons_links_to_is_staged_as_a_file(
    tmp_path: Path, newest: Scons, view: str
) -> None:
    place = Place(tmp_path, Habit(), newest)
    sconstruct = f"{HEAD}env['TRACE_ROOT'] = {view!r}\n{SOFT}"
    Lab.write(place.project / "SConstruct", sconstruct)
    Lab.write(place.sources / "SConscript", STAGED)

    assert len(place.build()) == 5

    assert (place.project / "out/note").is_symlink()
    listed = (place.project / "out/image/reader.files").read_text()
    assert "file 0644 0:0 /srv/note staged\n" in listed
    assert str(place.project) not in listed
    assert place.build() == []
    Lab.write(place.sources / "note", "eton\n")
    assert place.build() == ["TAR", "IMAGE"]
