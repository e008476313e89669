"""The alias of an image walks no step while its seal holds, and each one that has to run else."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from static import StaticProject

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
copy = Builder(action=Copy("$TARGET", "$SOURCE"))
env["BUILDERS"]["Make"] = copy
env["ROOT"] = env.Sysroot("build/base", "base.tar")
env.VariantDir("copies", "originals", duplicate=1)
env.ImageTree("images")
env.Command("uses", env.Alias("images/one"), Touch("$TARGET"))
"""

IMAGE = "images/one/SConscript"

SCONSCRIPT = """\
Import("env")
made = env.Make("made", "source")
image = env.ScratchImage(
    "one",
    {"/srv/made": made, "/srv/other": "other"},
    RUNS=[],
    IMAGE_ENTRYPOINT="/srv/made",
    EXTRA_FILES="one.extra",
)
"""

STOPPED = """\
import os
os_replace = os.replace

def replace(source, target):
    os_replace(source, target)
    os.utime(target, ({now}, {now}))

os.replace = replace
"""
"""Put before the SConstruct: what steps write has one time, as what two builds write in a second.

SCons tells times in seconds.
"""

ALL = ["IMAGE", "LDD", "LIST", "TAR"]


class Project(StaticProject):
    """A project with one image in a tree, of a sysroot and staged files."""

    def make(self) -> Project:
        """Write it."""
        self.write("SConstruct", SCONSTRUCT.format(tool=PACKAGE.parent, engine=NO_ENGINE))
        self.write(IMAGE, SCONSCRIPT)
        self.compile("images/one/source", "one")
        self.write("images/one/other", "other")
        self.write("images/one/one.extra", "/data\nlisted -> /srv/listed\n")
        self.write("images/one/listed/one", "1")
        self.write("originals/text", "copy")
        self.pack("data")
        return self

    def replace(self, old: str, new: str) -> None:
        """Edit the image's SConscript."""
        assert old in SCONSCRIPT
        self.write(IMAGE, SCONSCRIPT.replace(old, new))

    def pack(self, data: str, mode: int = 0o644) -> None:
        """Make the tar of the sysroot."""
        self.write("base/data", data)
        (self.directory / "base/lib64").mkdir(exist_ok=True)
        shutil.copy("/lib64/ld-linux-x86-64.so.2", self.directory / "base/lib64")
        (self.directory / "base/data").chmod(mode)
        command = ["tar", "--owner=0", "--group=0", "-cf", "base.tar", "-C", "base", "."]
        subprocess.run(command, cwd=self.directory, check=True)

    def build(self, *words: str, later: bool = False) -> list[str]:
        """Build the image, or what `words` say; return the sorted steps."""
        ran = self.run(*(words or ("images/one",)), later=later)
        assert ran.returncode == 0, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return sorted(
            re.findall(r"^(ROOT|LDD|LIST|TAR|IMAGE|REPORT|Copy|said)\b", ran.stdout, re.M)
        )

    def run(self, *words: str, later: bool = False) -> subprocess.CompletedProcess[str]:
        """Run SCons."""
        return self.scons.run(self.directory, "-Q", *words, later=later)

    @property
    def seal(self) -> Path:
        """Where the seal lies."""
        return self.directory / "build/images/one/.seal"


@pytest.fixture
def sealed(tmp_path: Path, newest: Scons) -> Project:
    project = Project(tmp_path, newest).make()
    assert project.build() == sorted([*ALL, "ROOT", "Copy"])
    assert not project.seal.exists()
    assert project.build() == []
    assert project.build(later=True) == []
    assert project.seal.exists()
    return project


def test_targets_of_one_time_and_one_size_are_told_apart(tmp_path: Path, newest: Scons) -> None:
    project = Project(tmp_path, newest).make()
    stopped = STOPPED.format(now=int(time.time()))
    project.write("SConstruct", stopped + (tmp_path / "SConstruct").read_text())
    project.build()

    for text in ("OTHER", "other", "OTHER"):
        project.write("images/one/other", text)
        assert project.build() == ["IMAGE", "TAR"]


def _walked(project: Project, *words: str) -> set[str]:
    """Return the nodes that SCons looks at."""
    ran = project.run("--taskmastertrace=-", *words)
    return set(re.findall(r"Considering node <\S+ +\d+ +'([^']*)'>", ran.stdout))


def test_nothing_of_a_sealed_image_is_walked(sealed: Project) -> None:
    walked = _walked(sealed, "images")

    assert {"images", "images/one", "build/images/one/made", "build/base.sysroot"} <= walked
    assert not [name for name in walked if "/one." in name]


def test_each_step_of_a_file_target_is_walked(sealed: Project) -> None:
    assert "build/images/one/one.files" in _walked(sealed, "build/images/one/one.oci.tar")


def _rename_over(project: Project) -> None:
    other = project.directory / "another"
    other.write_text("other")
    other.replace(project.directory / "images/one/other")


EDITS = [
    pytest.param(lambda p: p.write("images/one/other", "OTHER"), ["IMAGE", "TAR"], id="staged"),
    pytest.param(_rename_over, [], id="another file with the same content"),
    pytest.param(lambda p: p.compile("images/one/source", "two"), ["Copy", *ALL[:1], "LDD", "TAR"],
                 id="source of a staged file"),
    pytest.param(lambda p: p.pack("new"), ["ROOT", "IMAGE", "TAR"], id="content in the sysroot"),
    pytest.param(lambda p: p.pack("data", 0o600), ["ROOT", "IMAGE", "LIST", "TAR"],
                 id="mode in the sysroot"),
    pytest.param(lambda p: p.write("images/one/listed/two", "2"), ["IMAGE", "LIST", "TAR"],
                 id="file in a listed directory"),
    pytest.param(lambda p: p.add(IMAGE, 'env.Make("#images/one/listed/two", "other")'),
                 ["Copy", "IMAGE", "LIST", "TAR"], id="file is made in a listed directory"),
    pytest.param(lambda p: p.replace('"other"', '"source"'), ALL,
                 id="another file is staged there"),
    pytest.param(lambda p: p.add(IMAGE, 'Depends(image[1], "#originals/text")'), ["LIST"],
                 id="dependency of the project's own"),
    pytest.param(lambda p: p.add("SConstruct", 'env.Depends(env.Alias("images/one"), env.Make("new", "base.tar"))'), ["Copy"],
                 id="more for the alias"),
    pytest.param(lambda p: p.add(IMAGE, 'Requires(image[1], env.Make("new", "other"))'), ["Copy"],
                 id="what has to be there first"),
    pytest.param(lambda p: p.seal.write_text("spoiled"), [], id="spoiled seal"),
    pytest.param(lambda p: (p.directory / "build/images/one/one.tar").unlink(), ["TAR"],
                 id="deleted target"),
    pytest.param(lambda p: (p.directory / "build/images/one/.one.tar.footprint").unlink(), ["TAR"],
                 id="deleted footprint"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "steps"), EDITS)
def test_edit_breaks_the_seal(
    sealed: Project, edit: Callable[[Project], object], steps: list[str]
) -> None:
    edit(sealed)

    assert sealed.build() == sorted(steps)
    assert sealed.build(later=True) == []
    assert sealed.build() == []


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        pytest.param("AlwaysBuild(image[2])", ["TAR"], id="built always"),
        pytest.param('AddPostAction(image[2], Action("@echo said"))', ["TAR", "said"], id="action"),
    ],
)
def test_steps_that_the_project_has_changed_are_walked(
    sealed: Project, line: str, steps: list[str]
) -> None:
    sealed.add(IMAGE, line)

    assert sealed.build() == steps
    assert "build/images/one/one.tar" in _walked(sealed, "images/one")


def test_staged_copy_in_a_variant_directory_is_never_stale(sealed: Project) -> None:
    sealed.replace('"other"', '"#copies/text"')
    assert sealed.build() == ["IMAGE", "TAR"]
    assert sealed.build(later=True) == []
    sealed.write("originals/text", "COPY")

    assert sealed.build() == ["IMAGE", "TAR"]
    # SCons links each copy again, and with each link its original changes: no seal holds for long.
    assert "build/images/one/one.tar" in _walked(sealed, "images/one")


def test_what_depends_on_the_alias_is_made_anew_when_the_image_is(sealed: Project) -> None:
    sealed.run("uses")
    assert "up to date" in sealed.run("uses").stdout
    sealed.write("images/one/other", "OTHER")
    assert sealed.build() == ["IMAGE", "TAR"]
    sealed.build(later=True)

    made = sealed.run("-n", "uses")

    assert "up to date" not in made.stdout
    assert "TAR" not in made.stdout


def test_seal_is_kept_by_what_only_looks(sealed: Project) -> None:
    sealed.seal.unlink()

    for flag in ("-n", "-q"):
        assert sealed.build(flag, "images/one", later=True) == []
        assert not sealed.seal.exists()


def test_where_no_seal_can_be_written_all_is_well(sealed: Project) -> None:
    sealed.seal.unlink()
    sealed.seal.mkdir()

    assert sealed.build(later=True) == []


def test_clean_takes_the_seal(sealed: Project) -> None:
    sealed.run("-c", "images")

    assert not sealed.seal.exists()
    assert sealed.build() == sorted([*ALL, "ROOT", "Copy"])


def test_tree_shows_all_steps(sealed: Project) -> None:
    assert "one.files" in sealed.run("--tree=all", "images/one").stdout


def test_interactive_looks_again(sealed: Project) -> None:
    commands = (
        "build images/one\nshell cp images/one/one.extra images/one/other\nbuild images/one\n"
    )
    ran = sealed.scons.run(sealed.directory, "-Q", "--interactive", timeout=60, commands=commands)

    assert ran.returncode == 0, ran.stdout
    assert re.findall(r"([A-Z]+)  +one", ran.stdout) == ["TAR", "IMAGE"]


def test_alias_of_the_project_of_the_same_name_is_joined(sealed: Project) -> None:
    sconstruct = (sealed.directory / "SConstruct").read_text()
    more = 'env.Alias("images/one", env.Make("more", "base.tar"))\nenv.ImageTree'
    sealed.write("SConstruct", sconstruct.replace("env.ImageTree", more))

    assert sealed.build() == ["Copy"]
    sealed.write("images/one/other", "OTHER")
    assert sealed.build() == ["IMAGE", "TAR"]
