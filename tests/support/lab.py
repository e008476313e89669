"""A project that uses the plugin, and a small world of files that its program looks at."""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import audit
import warm

PACKAGE = Path(__file__).parents[2] / "site_scons/site_tools/scratch_image"
NO_ENGINE = "unix:///nonexistent/docker.sock"

WITHOUT_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin "$@"',
    "sh",
)
"""Words that start a command which can give no process a root of its own."""

_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Copies of the plugin have its bytecode beside them, and a plugin that changes writes its own."""

_LATER = """\
import time
from SCons.Script import main
now = time.time_ns
time.time_ns = lambda: now() + 3 * 10**9
main()
"""
"""SCons, three seconds later by the clock that seals go by: tests need not wait for files to age."""

_STEP = re.compile(
    r"^(TRACE|LDD|LIST|TAR|IMAGE|INDEX|LOAD|TEST|SBOM|PUSH) +\S+(?: \((\w+)\))?", re.MULTILINE
)


@dataclass(frozen=True)
class Scons:
    """One SCons to test with."""

    version: str
    path: str
    """Directory that PYTHONPATH names to get it; empty for the one that is installed."""

    def command(self, *, later: bool = False) -> list[str]:
        """Return the words that start it, where PYTHONPATH is `path`; `later` for older files."""
        return [sys.executable, *(("-c", _LATER) if later else ("-m", "SCons"))]

    def run(
        self,
        directory: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        timeout: int = 120,
        later: bool = False,
        commands: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run SCons in `directory`, on input `commands`; output and errors come in one text.

        Each image archive that it leaves there has to be sound.
        """
        variables = {**os.environ, **_COMPILED, "PYTHONPATH": self.path, **(env or {})}
        began = time.time() - 0.1  # file systems have a coarser clock
        command = [*self.command(later=later), *arguments]
        ran = warm.run(command, directory, variables, commands, timeout)
        for path in sorted(directory.rglob("*.oci.tar")):
            if path.stat().st_mtime > began:
                assert audit.validate(os.fsencode(path)) == [], path
        return ran


@dataclass(frozen=True)
class Build:
    """The result of one call of SCons."""

    status: int
    steps: list[str]
    """Sorted labels; a trace with the name of its run: ``TRACE second``."""
    output: str


WORLD = {
    "data.txt": "data\n",
    "same1.txt": "same\n",
    "same2.txt": "same\n",
    "only-stat.txt": "stat\n",
    "stdin.txt": "input\n",
    "extra1.txt": "extra 1\n",
    "extra2.txt": "extra 2\n",
    "dir/one": "1\n",
    "other.txt": "other\n",
}

READER = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
int greet(void);
static void look(const char *path) { int f = open(path, O_RDONLY); if (f >= 0) close(f); }
int main(void) {
    struct stat s;
    puts(VERSION);
    look(WORLD "/" DATA);
    look(WORLD "/link");
    look(WORLD "/maybe");
    stat(WORLD "/only-stat.txt", &s);
    DIR *d = opendir(WORLD "/dir");
    while (d && readdir(d)) continue;
    char c;
    while (read(0, &c, 1) == 1) continue;
    return greet();
}
"""

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["tool"], DOCKER_HOST=ARGUMENTS["engine"])
env.ImageTree("images")
"""

SCONSCRIPT = """\
Import("env")
from scratch_image import Run

env.ScratchImage(
    "reader",
    "{world}/reader",
    RUNS=[Run("reader one", name="first"), Run("reader two < {world}/stdin.txt", name="second")],
    EXTRA_FILES="reader.extra",
    IMAGE_TAG="{tag}",
    IMAGE_LABELS={{"kind": "reader"}},
)
"""


class Lab:
    """A directory with a world and a project whose image is of a program of that world."""

    def __init__(
        self,
        directory: Path,
        scons: Scons,
        jobs: int = 1,
        engine: str = NO_ENGINE,
        tag: str = "reader",
    ) -> None:
        self.world = directory / "world"
        self.project = directory / "project"
        self.scons = scons
        self.jobs = jobs
        self.engine = engine
        self.tag = tag

    def make(self) -> Lab:
        """Make world and project."""
        for name, text in WORLD.items():
            self.write(self.world / name, text)
        # The image has a user who is not root, in some tests.
        self.world.parent.chmod(0o755)
        (self.world / "link").symlink_to("same1.txt")
        self.compile_library("lib2", 0)
        (self.world / "lib1").mkdir()
        self.compile_reader()
        self.make_project(self.project)
        return self

    def make_project(self, project: Path) -> None:
        """Make a project in `project`."""
        compileall.compile_dir(PACKAGE, quiet=1)
        shutil.copytree(PACKAGE, project / "tool/scratch_image")
        self.write(project / "SConstruct", SCONSTRUCT)
        self.write(project / "images/reader/SConscript", self.sconscript())
        self.write(project / "images/reader/reader.extra", f"{self.world}/extra1.txt\n")

    @staticmethod
    def copy_project(project: Path, copy: Path) -> None:
        """Make `copy`, a checkout of `project` in which nothing has been built."""
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("build", ".*"))

    def save(self) -> None:
        """Keep a copy of world and project, for `restore`."""
        self._copy(self.world.parent, self.world.parent / "saved")

    def restore(self) -> None:
        """Bring world and project back to what they were; the engine stays as it is."""
        for place in (self.world, self.project):
            shutil.rmtree(place)
        self._copy(self.world.parent / "saved", self.world.parent)

    def _copy(self, source: Path, target: Path) -> None:
        """Copy world and project with all that lstat(2) tells of them, but for ctimes."""
        target.mkdir(exist_ok=True)
        places = [source / each.name for each in (self.world, self.project)]
        subprocess.run(["cp", "-a", *places, target], check=True)

    def sconscript(self) -> str:
        """Return the image's SConscript as it is at first."""
        return SCONSCRIPT.format(world=self.world, tag=self.tag)

    @staticmethod
    def write(path: Path, text: str) -> None:
        """Write a text file, with the directories above it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def compile_library(self, directory: str, status: int) -> None:
        """Make ``directory/libgreet.so``, whose function returns `status`."""
        (self.world / directory).mkdir(exist_ok=True)
        made = self.world / directory / "libgreet.so"
        code = f"int greet(void) {{ return {status}; }}\n"
        _gcc(
            code, made, "-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libgreet.so", f"-DX={status}"
        )

    def compile_reader(self, version: str = "1", data: str = "data.txt") -> None:
        """Make the program: it prints `version` and opens the world's file `data`."""
        _gcc(
            READER,
            self.world / "reader",
            f'-DVERSION="{version}"',
            f'-DDATA="{data}"',
            f'-DWORLD="{self.world}"',
            f"-L{self.world}/lib2",
            "-lgreet",
            "-Wl,--enable-new-dtags",
            f"-Wl,-rpath,{self.world}/lib1:{self.world}/lib2",
        )

    def build(
        self,
        *arguments: str,
        project: Path | None = None,
        status: int | None = 0,
        later: bool = False,
    ) -> Build:
        """Build ``images/reader`` or what `arguments` say; the status is to be `status`, if any."""
        targets = (
            arguments if any(a[:1] != "-" for a in arguments) else (*arguments, "images/reader")
        )
        ran = self.scons.run(
            project or self.project,
            f"-j{self.jobs}",
            f"engine={self.engine}",
            *targets,
            later=later,
        )
        assert status in (None, ran.returncode), ran.stdout
        assert "Traceback" not in ran.stdout, ran.stdout
        steps = sorted(
            f"{label} {run}" if run else label for label, run in _STEP.findall(ran.stdout)
        )
        return Build(ran.returncode, steps, ran.stdout)

    def seal(self) -> None:
        """Have a null build seal the image."""
        null = self.build(later=True)
        assert null.steps == [], null.output
        assert (self.project / "build/images/reader/.seal").exists()

    def out(self, name: str, project: Path | None = None) -> Path:
        """Return the path of the step file ``reader`` + `name`."""
        return (project or self.project) / "build/images/reader" / f"reader{name}"


def _gcc(code: str, made: Path, *flags: str) -> None:
    subprocess.run(
        ["gcc", "-x", "c", "-", "-x", "none", "-o", f"{made}.new", *flags],
        input=code,
        text=True,
        check=True,
    )
    Path(f"{made}.new").replace(made)
