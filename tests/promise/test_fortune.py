"""The image of this repository: what it holds, and that it runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import audit
import pytest
import scanners
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image.files.entry import read_entries

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
    entries = read_entries((output / "fortune.files").read_bytes(), "fortune.files")

    files = {os.fsdecode(each.path) for each in entries if each.kind == "file" and not each.text}
    data = {path for path in files if path.startswith("/usr/share/games/fortunes/")}
    library = "/usr/lib/x86_64-linux-gnu/"
    assert files - data == {
        "/etc/debian_version",
        "/usr/lib/os-release",
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


def test_scanner_sees_the_packages_of_all_files(checkout: tuple[Path, str]) -> None:
    output, _ = checkout

    found = scanners.scanned(output / "fortune.oci.tar")

    packages = {each["name"] for each in found}
    assert packages == scanners.owners(output / "fortune.files")
    assert packages >= {"base-files", "fortune-mod", "fortunes-min", "libc6", "librecode0"}
    assert all("distro=debian-" in each["purl"] for each in found)


def test_bills_name_all_files_and_are_the_same_twice(
    checkout: tuple[Path, str], scons: Scons
) -> None:
    output, engine = checkout
    bills = [output / "fortune.spdx.json", output / "fortune.cdx.json"]
    assert not any(bill.exists() for bill in bills)

    def build() -> list[str]:
        ran = scons.run(output.parents[2], "sbom/images/fortune", env={"DOCKER_HOST": engine})
        assert ran.returncode == 0, ran.stdout
        return re.findall(r"SBOM   fortune +(.*), [0-9.]+ s", ran.stdout)

    told = build()
    texts = [bill.read_bytes() for bill in bills]
    assert build() == []
    for bill in bills:
        bill.unlink()

    assert build() == told
    assert [bill.read_bytes() for bill in bills] == texts
    entries = read_entries((output / "fortune.files").read_bytes(), "fortune.files")
    files = {os.fsdecode(entry.path) for entry in entries if entry.kind in ("file", "hard")}
    spdx, cyclonedx = map(json.loads, texts)
    assert {each["fileName"] for each in spdx["files"]} == {f".{path}" for path in files}
    assert {
        each["name"] for part in cyclonedx["components"] for each in part["components"]
    } == files
    found = scanners.scanned(output / "fortune.oci.tar")
    purls = {each["purl"] for each in cyclonedx["components"] if "purl" in each}
    assert purls == {each["purl"] for each in found}
    packages = {each["name"] for each in spdx["packages"]} - {"fortune:latest"}
    assert packages == {each["name"] for each in found}
    counts = f"{len(files)} files of {len(packages)} packages"
    assert told == [f"SPDX, {counts}", f"CycloneDX, {counts}"]


def test_what_scanners_are_told_takes_little(checkout: tuple[Path, str]) -> None:
    output, _ = checkout
    with tarfile.open(output / "fortune.tar") as layer:
        told = [member.size for member in layer if member.name.startswith("var/lib/dpkg/status.d/")]

    packages = scanners.owners(output / "fortune.files")
    assert len(told) == 2 * len(packages)
    assert sum(told) < 2700 * len(packages)


def test_size_is_that_of_the_files(checkout: tuple[Path, str]) -> None:
    output, _ = checkout
    with tarfile.open(output / "fortune.tar") as layer:
        files = sum(member.size for member in layer.getmembers())

    assert (output / "fortune.oci.tar").stat().st_size < files * 1.03


def test_archive_keeps_its_promises(checkout: tuple[Path, str]) -> None:
    output, _ = checkout

    assert audit.validate(os.fsencode(output / "fortune.oci.tar")) == []


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
    assert f"TEST   fortune             default in a root of its own{container}, " in ran.stdout
    told = (output / "fortune.tested").read_text()
    assert told.startswith("default: status 0, stdout matches, ")
    again = scons.run(output.parents[2], "test/images/fortune", env={"DOCKER_HOST": engine})
    assert "scons: `test/images/fortune' is up to date." in again.stdout


STRUCTURE = """\
schemaVersion: 2.0.0
commandTests:
  - {name: fortune, command: /usr/games/fortune, args: [-f], exitCode: 0, expectedError: [fortunes]}
fileExistenceTests:
  - {name: program, path: /usr/games/fortune, shouldExist: true, permissions: -rwxr-xr-x, uid: 0}
  - {name: shell, path: /bin/sh, shouldExist: false}
fileContentTests:
  - {name: data, path: /usr/share/games/fortunes/literature, expectedContents: [Twain]}
metadataTest:
  cmd: [/usr/games/fortune]
  envVars: [{key: PATH, value: /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}]
  exposedPorts: []
  volumes: []
"""


def test_container_structure_test_passes(checkout: tuple[Path, str], tmp_path: Path) -> None:
    _, engine = checkout
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    (tmp_path / "structure.yaml").write_text(STRUCTURE)

    tool = [sys.executable, "-m", "container_structure_test", "test"]
    ran = subprocess.run(
        [*tool, "--image", "fortune", "--config", tmp_path / "structure.yaml"],
        env={**os.environ, "DOCKER_HOST": engine},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout
    assert "Passes:      5" in ran.stdout


def test_null_build_is_null(checkout: tuple[Path, str], scons: Scons) -> None:
    output, engine = checkout

    ran = scons.run(output.parents[2], "images/fortune", env={"DOCKER_HOST": engine})

    assert "scons: `images/fortune' is up to date." in ran.stdout
