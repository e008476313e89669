"""Roots of other distributions: each in which a program runs can be packed, and the image runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from linked import Build
from project import Project

GREET = "int puts(const char *); int greet(void) { return puts(TEXT); }"
MULTIARCH = "lib/x86_64-linux-gnu"
LOADER = "/lib64/ld-linux-x86-64.so.2"

pytestmark = pytest.mark.parametrize("scons", ["newest"], indirect=True)

SCONSTRUCT = """\
root = env.Sysroot("build/root", {origin})
env.ScratchImage("build/greet", "/usr/bin/greet", ROOT=root)
env.ScratchImage("build/bare", "/usr/bin/greet", ROOT=root, RUNS=[])
"""


def _program(root: Path, libraries: str, compiler: str = "gcc") -> None:
    """Make /usr/bin/greet, and its library in the directory `libraries`."""
    build = Build(root)
    build.library(f"{libraries}/libgreet.so", GREET, '-DTEXT="hello"', compiler=compiler)
    build.program("usr/bin/greet", "greet", f"-L{root / libraries}", "-lgreet", compiler=compiler)
    (root / "source.c").unlink()


def _copy(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f"/{name}", root / name)


def alpine(root: Path) -> None:
    """Make a root of musl: its loader is libc, and there is no file of directories."""
    _program(root, "usr/lib", "musl-gcc")
    (root / "lib").mkdir()
    shutil.copy("/lib/ld-musl-x86_64.so.1", root / "lib")
    (root / "lib/libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
    for name in ("usr/bin/greet", "usr/lib/libgreet.so"):
        command = ["patchelf", "--replace-needed", "libc.so", "libc.musl-x86_64.so.1"]
        subprocess.run([*command, root / name], check=True)
    _copy(root, "usr/bin/busybox")
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/bin/sh").symlink_to("busybox")


def fedora(root: Path) -> None:
    """Make a root with all libraries in /usr/lib64, where only the loader's cache finds them."""
    _program(root, "usr/lib64")
    for name in ("lib64", "bin"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copy(LOADER, root / "usr/lib64")
    shutil.copy(f"/{MULTIARCH}/libc.so.6", root / "usr/lib64")
    (root / "etc").mkdir()
    (root / "etc/ld.so.conf").write_text("/usr/lib64\n")
    subprocess.run(["ldconfig", "-r", root], check=True)


def distroless(root: Path) -> None:
    """Make a root of the files of libc6 and base-files alone: no shell, no merged /usr."""
    command = ["dpkg-query", "-L", "libc6:amd64", "base-files"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in listed.splitlines():
        place = root / line[1:]
        if os.path.isdir(line):
            place.mkdir(parents=True, exist_ok=True)
        elif os.path.lexists(line):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(line, place, follow_symlinks=False)
    _program(root, "usr/lib")


def copied_loader(root: Path) -> None:
    """Make a root as ``COPY`` of a Dockerfile does it: it follows links, and makes none."""
    _copy(root, LOADER[1:], f"{MULTIARCH}/libc.so.6")
    _program(root, MULTIARCH)


def _runs(root: Path) -> bool:
    """Tell whether /usr/bin/greet of `root` runs."""
    command = ["unshare", "-r", "/usr/sbin/chroot", str(root), "/usr/bin/greet"]
    return subprocess.run(command, capture_output=True, env={}).stdout == b"hello\n"


def _unpack(project: Project, name: str) -> Path:
    """Unpack the layer of an image; return where."""
    place = project.directory / f"{name}.root"
    place.mkdir()
    tar = project.directory / f"build/{name}.tar"
    subprocess.run(["tar", "-xf", tar, "-C", place], check=True)
    return place


@pytest.mark.parametrize("make", [alpine, fedora, distroless, copied_loader])
def test_an_image_of_a_root_runs_what_the_root_runs(
    make: Callable[[Path], None], project: Project
) -> None:
    root = project.directory / "root"
    root.mkdir()
    make(root)
    assert _runs(root)

    project.run(SCONSTRUCT.format(origin="directory='root'"))

    for name in ("greet", "bare"):
        assert _runs(_unpack(project, name)), name


def test_an_image_is_the_root_of_another(project: Project) -> None:
    root = project.directory / "root"
    root.mkdir()
    distroless(root)
    subprocess.run(["tar", "-cf", project.directory / "root.tar", "-C", root, "."], check=True)

    project.run(
        SCONSTRUCT.format(origin="'root.tar'")
        + "own = env.Sysroot('build/own', 'build/greet.tar')\n"
        + "env.ScratchImage('build/again', '/usr/bin/greet', ROOT=own)\n"
    )

    assert _runs(_unpack(project, "again"))
