"""The flow that this project began with: fortune is installed in a Debian, and packed out of it.

Nothing of it has to be on the machine. The Debian is made of packages, or is an engine's image.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image import process, sandbox

HEAD = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
"""

PACKAGES = """\
debian = env.Sysroot(
    "build/debian",
    packages="fortune-mod fortunes-min",
    suite="bookworm",
    lock="bookworm.lock",
)
"""

IMAGE = """\
debian = env.Sysroot("build/debian", image="example/debian:1")
"""

RUNS = "[]"
"""Nothing is traced in a sysroot."""

TAIL = f"""\
env.ScratchImage(
    "build/fortune",
    "/usr/games/fortune",
    ROOT=debian,
    RUNS={RUNS},
    EXTRA_FILES="fortune.extra",
    IMAGE_TAG="example/fortune:1",
)
"""


def _build(directory: Path, scons: Scons, base: str, engine: str = NO_ENGINE, *targets: str) -> str:
    """Build the image in `directory`, out of the sysroot that `base` declares."""
    directory.mkdir(exist_ok=True)
    head = HEAD.format(tool=PACKAGE.parent, engine=engine)
    (directory / "SConstruct").write_text(head + base + TAIL)
    (directory / "fortune.extra").write_text("/usr/share/games/fortunes\n")
    ran = scons.run(directory, *targets)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def _prints(tar: Path) -> bytes:
    """Return what fortune prints with nothing but what the layer `tar` holds."""
    with sandbox.unpacked([os.fsencode(tar)]) as box:
        command = [*box.outside(), *box.inside({}, b"/"), b"/usr/games/fortune"]
        return process.run(command, timeout=10).check().stdout


@pytest.fixture(scope="module")
def project(newest: Scons, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the image out of packages, from Debian's own mirror."""
    project = tmp_path_factory.mktemp("article") / "project"
    _build(project, newest, PACKAGES)
    return project


def test_image_of_packages_is_small_and_runs(project: Path) -> None:
    tar = project / "build/fortune.tar"

    assert (project / "build/fortune.oci.tar").stat().st_size < 4.3e6
    assert len(_prints(tar)) > 10
    assert "\nlibc6=2.36-" in (project / "bookworm.lock").read_text()


def test_null_build_does_not_scan_the_tree(project: Path, newest: Scons) -> None:
    log = project / "log"

    ran = subprocess.run(
        ["strace", "-f", "-o", log, "-e", "trace=%file", *newest.command(), "build"],
        cwd=project, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "is up to date" in ran.stdout
    assert log.read_text().count("debian.root/") < 300


def test_image_of_an_engines_image_is_the_same(
    project: Path, newest: Scons, engine: str, tmp_path: Path
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    tar, docker = tmp_path / "debian.tar", ["docker", "-H", engine]
    subprocess.run(["tar", "-cf", tar, "-C", project / "build/debian.root", "."], check=True)
    imported = [*docker, "import", str(tar), "example/debian:1"]
    subprocess.run(imported, check=True, capture_output=True)

    output = _build(tmp_path / "other", newest, IMAGE, engine)

    assert "LOAD   fortune  example/fortune:1 sha256:" in output
    for name in ("fortune.ldd", "fortune.files", "fortune.tar", "fortune.oci.tar"):
        made, other = project / "build" / name, tmp_path / "other/build" / name
        assert made.read_bytes() == other.read_bytes(), name
    ran = [*docker, "run", "--rm", "--network=none", "example/fortune:1"]
    assert len(subprocess.run(ran, capture_output=True, check=True).stdout) > 10
    assert "is up to date" in _build(tmp_path / "other", newest, IMAGE, engine)
