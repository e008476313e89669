"""The promise for images of sysroots, a row each: of a new tree, only what differs is packed again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from packages import SUITE, Repository
from rows import OLDEST_AND_NEWEST, check_row

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
from scratch_image.sandbox import process
process.SEARCH_PATH = b"{tools}:" + process.SEARCH_PATH  # an mmdebstrap that trusts our packages

base = env.Sysroot("build/base", "base.tar")
env.ScratchImage(
    "build/hello",
    {{"/opt/hello": "hello", "/srv/own": "own"}},
    ROOT=base,
    RUNS=[],
    EXTRA_FILES="hello.extra",
)
debian = env.Sysroot(
    "build/debian", packages="hello", suite="{suite}", mirror="{mirror}", lock="debian.lock"
)
env.ScratchImage("build/sh", "/bin/sh", ROOT=debian, RUNS=[], EXTRA_FILES="sh.extra")
"""

LIBRARIES = "lib/x86_64-linux-gnu"
SHARED = ("-shared", "-Wl,-soname,libgreet.so")

PACK = ["TAR hello", "IMAGE hello"]
ALL = ["LDD hello", "LIST hello", *PACK]

_STEP = re.compile(r"^([A-Z]+)  +(\S+)", re.MULTILINE)


class Rig:
    """A project with an image of a tar, and one of packages."""

    def __init__(self, directory: Path, scons: Scons, jobs: int) -> None:
        self.scons = scons
        self.jobs = jobs
        self.repository = Repository(directory / "repository")
        self.project = directory / "project"
        self.base = directory / "base"
        self.project.mkdir()
        for name in ("lib64", LIBRARIES):
            (self.base / name).mkdir(parents=True)
        shutil.copy("/lib64/ld-linux-x86-64.so.2", self.base / "lib64")
        shutil.copy("/lib/x86_64-linux-gnu/libc.so.6", self.base / LIBRARIES)
        self.compile(f"{LIBRARIES}/libgreet.so", 'char *greet(void) { return "hello"; }', *SHARED)
        code = "int puts(char *); char *greet(void); int main(void) { return puts(greet()) < 0; }"
        self.compile("hello", code, str(self.base / LIBRARIES / "libgreet.so"))
        (self.base / "hello").rename(self.project / "hello")
        self.write("base/data", "data")
        self.pack()
        self.write("project/own", "own")
        self.write("project/hello.extra", "/data\n")
        self.write("project/sh.extra", "/usr/share/hello\n")
        self.write("project/SConstruct", SCONSTRUCT.format(
            tool=PACKAGE.parent, engine=NO_ENGINE, tools=self.repository.tools, suite=SUITE,
            mirror=self.repository.mirror,
        ))  # fmt: skip

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        (self.project.parent / name).write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        """Edit a text file."""
        text = (self.project.parent / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def compile(self, name: str, code: str, *flags: str) -> None:
        """Compile a C program of the base."""
        command: list[str | Path] = [
            "gcc",
            "-x",
            "c",
            "-",
            "-x",
            "none",
            *flags,
            "-o",
            self.base / name,
        ]
        subprocess.run(command, input=code.encode(), check=True)

    def pack(self, *flags: str) -> None:
        """Make the tar of the base."""
        tar: list[str | Path] = ["tar", "--sort=name", *flags, "-cf", self.project / "base.tar"]
        subprocess.run([*tar, "-C", self.base, "."], check=True)

    def build(self) -> list[str]:
        """Build all; return the sorted steps."""
        ran = self.scons.run(self.project, f"-j{self.jobs}")
        assert ran.returncode == 0, ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        return sorted(f"{label} {name}" for label, name in _STEP.findall(ran.stdout))


def _in_base(edit: Callable[[Rig], object], *flags: str) -> Callable[[Rig], None]:
    def edited(rig: Rig) -> None:
        edit(rig)
        rig.pack(*flags)

    return edited


def _library(rig: Rig) -> None:
    rig.compile(f"{LIBRARIES}/libgreet.so", 'char *greet(void) { return "good day"; }', *SHARED)


def _library_elsewhere(rig: Rig) -> None:
    (rig.base / "usr/lib").mkdir(parents=True)
    (rig.base / LIBRARIES / "libgreet.so").rename(rig.base / "usr/lib/libgreet.so")


def _directory_of_the_loader(rig: Rig) -> None:
    """Have another loader, which searches another directory."""
    loader, other = rig.base / "lib64/ld-linux-x86-64.so.2", LIBRARIES.replace("gnu", "new")
    table = loader.read_bytes().replace(f"{LIBRARIES}/\0".encode(), f"{other}/\0".encode())
    loader.write_bytes(table)
    (rig.base / LIBRARIES).rename(rig.base / other)


def _plugin(rig: Rig) -> None:
    """List a plugin whose library only DT_RPATH of the program finds."""
    for name in ("deps", "more"):
        (rig.base / name).mkdir()
        rig.compile(f"{name}/libdep.so", "", "-shared", "-Wl,-soname,libdep.so")
    loose = ("-Wl,--no-as-needed", str(rig.base / "deps/libdep.so"))
    rig.compile("plugin.so", "", "-shared", *loose)
    rig.write("project/hello.extra", "/data\n/plugin.so\n")
    _search_path("deps")(rig)


def _search_path(name: str) -> Callable[[Rig], object]:
    command = ["patchelf", "--force-rpath", "--set-rpath", f"/{name}"]
    return lambda rig: subprocess.run([*command, str(rig.project / "hello")], check=True)


def _newer_package(rig: Rig) -> None:
    rig.repository.publish("hello", "2.0", {"usr/share/hello": "newer"})


ROWS = [
    pytest.param(lambda rig: None, [], id="nothing"),
    pytest.param(lambda rig: os.utime(rig.project / "base.tar"), [], id="touch of the tar"),
    pytest.param(lambda rig: rig.write("project/own", "edited"), PACK, id="staged file"),
    pytest.param(lambda rig: (rig.project / "own").chmod(0o755), ALL, id="mode of a staged file"),
    pytest.param(lambda rig: rig.replace("project/SConstruct", "/srv/own", "/srv/mine"), ALL,
                 id="staged path of data"),
    pytest.param(lambda rig: rig.replace("project/SConstruct", "/opt/hello", "/opt/hi"), ALL,
                 id="staged path of the program"),
    pytest.param(_in_base(lambda rig: rig.write("base/unread", "")), ["ROOT base"],
                 id="unrelated file"),
    pytest.param(_in_base(lambda rig: rig.write("base/data", "edited")), ["ROOT base", *PACK],
                 id="listed file"),
    pytest.param(_in_base(_library), ["ROOT base", "LDD hello", *PACK], id="library"),
    pytest.param(_in_base(_library_elsewhere), ["ROOT base", *ALL], id="library at another path"),
    pytest.param(_in_base(_directory_of_the_loader), ["ROOT base", *ALL],
                 id="directory of the loader"),
    pytest.param(_in_base(lambda rig: (rig.base / "data").chmod(0o600)),
                 ["ROOT base", "LIST hello", *PACK], id="mode"),
    pytest.param(_in_base(lambda _: None, "--owner=7", "--group=8"), ["ROOT base", *ALL],
                 id="owners"),
    pytest.param(_in_base(_plugin), ["ROOT base", *ALL], id="plugin"),
    pytest.param(_search_path("more"), ALL, id="search path of a plugin's program"),
    pytest.param(lambda rig: shutil.rmtree(rig.project / "build/base.root"), ["ROOT base"],
                 id="tree deleted"),
    pytest.param(lambda rig: (rig.project / "build/base.sysroot").unlink(), ["ROOT base"],
                 id="witness deleted"),
    pytest.param(_newer_package, [], id="newer package, locked"),
    pytest.param(lambda rig: (rig.project / "debian.lock").unlink(),
                 ["ROOT debian", "LIST sh", "TAR sh", "IMAGE sh"],
                 id="lock deleted: the newer package"),
    pytest.param(lambda rig: rig.replace("project/debian.lock", "hello=2.0", "hello=1.0"),
                 ["ROOT debian", "LIST sh", "TAR sh", "IMAGE sh"],
                 id="lock names the older package"),
    pytest.param(lambda rig: rig.write("project/sh.extra", ""), ["LIST sh", "TAR sh", "IMAGE sh"],
                 id="extra list"),
]  # fmt: skip


@pytest.fixture(scope="module")
def rig(scons: Scons, jobs: int, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    rig = Rig(tmp_path_factory.mktemp("sysroots"), scons, jobs)
    steps = [f"{label} sh" for label in ("LDD", "LIST", "TAR", "IMAGE")]
    assert rig.build() == sorted(["ROOT base", "ROOT debian", *ALL, *steps])
    return rig


@OLDEST_AND_NEWEST
@pytest.mark.parametrize(("edit", "expected"), ROWS)
def test_edit_packs_anew_what_differs(
    rig: Rig, edit: Callable[[Rig], object], expected: list[str]
) -> None:
    check_row(rig, edit, expected)
