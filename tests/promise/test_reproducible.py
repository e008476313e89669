"""The same bytes from two checkouts: other directory, user, umask, time zone, locale and -j."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE

SCONSTRUCT = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["tool"], DOCKER_HOST="{engine}")
program = Environment(tools=["default"]).Program("out/hello", "hello.c")
files = {{"/usr/bin/hello": program, "/etc/hello.conf": "hello.conf"}}
env.ScratchImage("out/image/hello", files, EXTRA_FILES="hello.extra", LAYERTARSUFFIX="{suffix}")
"""
HELLO = """\
#include <stdio.h>
#include <pwd.h>
int main(void) { getpwuid(0); return puts("hello") < 0; }
"""
OUTPUTS = ("files", "ldd", "trace", "oci.tar")


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a directory that every user may enter; pytest's own are for one user."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def _checkout(directory: Path, suffix: str, umask: int, user: str | None) -> None:
    """Make a checkout as `user` would with `umask`."""
    before = os.umask(umask)
    try:
        directory.mkdir()
        (directory / "hello.c").write_text(HELLO)
        (directory / "hello.conf").write_text("greeting\n")
        (directory / "hello.extra").write_text("/etc/debian_version\n")
        text = SCONSTRUCT.format(engine=NO_ENGINE, suffix=suffix)
        (directory / "SConstruct").write_text(text)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, directory / "tool/scratch_image", ignore=ignored)
    finally:
        os.umask(before)
    if user:
        subprocess.run(["chown", "-R", user, directory], check=True)


def _build(directory: Path, jobs: int, umask: int, env: dict[str, str], user: str | None) -> None:
    subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", f"-j{jobs}"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": "/", **env},
        umask=umask,
        user=user,
        group="nogroup" if user else None,
        extra_groups=[] if user else None,
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_two_checkouts_give_the_same_bytes(place: Path, suffix: str) -> None:
    other = "nobody" if os.geteuid() == 0 else None
    one, two = place / "one", place / "some/where/two"
    two.parent.mkdir(parents=True)
    _checkout(one, suffix, 0o022, None)
    _checkout(two, suffix, 0o077, other)

    _build(one, 1, 0o022, {"TZ": "UTC", "LC_ALL": "C"}, None)
    _build(two, 8, 0o077, {"TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"}, other)

    for name in (*OUTPUTS, suffix[1:]):
        first = (one / f"out/image/hello.{name}").read_bytes()
        assert first == (two / f"out/image/hello.{name}").read_bytes(), name
        assert first
