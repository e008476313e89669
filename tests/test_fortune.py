"""The image of this repository: what it holds, and that it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image import archive, filelist

TOP = PACKAGE.parents[2]


@pytest.fixture(scope="module")
def checkout(
    scons: Scons, engine: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """Build images/fortune in a copy of this repository; give its output and the engine."""
    copy = tmp_path_factory.mktemp("fortune")
    for name in ("images", "site_scons"):
        shutil.copytree(TOP / name, copy / name)
    shutil.copy(TOP / "SConstruct", copy)
    ran = scons.run(copy, "images/fortune", env={"DOCKER_HOST": engine})
    assert ran.returncode == 0, ran.stdout
    yield copy / "build/images/fortune", engine


def test_container_prints_a_fortune(checkout: tuple[Path, str]) -> None:
    _, engine = checkout
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")

    ran = subprocess.run(
        ["docker", "-H", engine, "run", "--rm", "--network", "none", "fortune"],
        capture_output=True,
        check=True,
    )

    assert len(ran.stdout) > 10
    assert ran.stderr == b""


def test_image_holds_program_libraries_loader_and_data(checkout: tuple[Path, str]) -> None:
    output, _ = checkout
    entries = filelist.read((output / "fortune.files").read_bytes(), "fortune.files")

    files = {os.fsdecode(entry.path) for entry in entries if entry.kind == "file"}
    data = {path for path in files if path.startswith("/usr/share/games/fortunes/")}
    library = "/usr/lib/x86_64-linux-gnu/"
    assert files - data == {
        "/usr/games/fortune",
        f"{library}ld-linux-x86-64.so.2",
        f"{library}libc.so.6",
        f"{library}librecode.so.0.0.0",
    }
    assert data == {
        str(path)
        for path in Path("/usr/share/games/fortunes").rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_size_is_that_of_the_files(checkout: tuple[Path, str]) -> None:
    output, _ = checkout
    with tarfile.open(output / "fortune.tar") as layer:
        files = sum(member.size for member in layer.getmembers())

    assert (output / "fortune.oci.tar").stat().st_size < files * 1.03


def test_archive_keeps_its_promises(checkout: tuple[Path, str]) -> None:
    output, _ = checkout

    assert archive.validate(os.fsencode(output / "fortune.oci.tar")) == []


def test_list_answers_why(checkout: tuple[Path, str]) -> None:
    output, _ = checkout

    [line] = [
        line
        for line in (output / "fortune.files").read_text().splitlines()
        if "/libc.so.6 " in line
    ]

    assert line.endswith("/libc.so.6 needed-by:/usr/games/fortune run:default")


def test_strace_text_is_readable(checkout: tuple[Path, str]) -> None:
    output, _ = checkout
    text = (output / "fortune.strace").read_text()

    assert 'execve("/usr/games/fortune", ["/usr/games/fortune"]' in text
    assert '/librecode.so.0", O_RDONLY|O_CLOEXEC) = 3</usr/lib/' in text


def test_image_passes_its_test(checkout: tuple[Path, str], scons: Scons) -> None:
    output, engine = checkout

    ran = scons.run(output.parents[2], "test/images/fortune", env={"DOCKER_HOST": engine})

    assert ran.returncode == 0, ran.stdout
    container = "" if engine == NO_ENGINE else " and in a container"
    assert f"TEST   fortune  default in a root of its own{container}\n" in ran.stdout
    told = (output / "fortune.tested").read_text()
    assert told.startswith("default: status 0, stdout matches, ")
    again = scons.run(output.parents[2], "test/images/fortune", env={"DOCKER_HOST": engine})
    assert "scons: `test/images/fortune' is up to date." in again.stdout


def test_null_build_is_null(checkout: tuple[Path, str], scons: Scons) -> None:
    output, engine = checkout

    ran = scons.run(output.parents[2], "images/fortune", env={"DOCKER_HOST": engine})

    assert "scons: `images/fortune' is up to date." in ran.stdout
