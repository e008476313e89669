"""The flow that this project began with: fortune is installed in a Debian, and packed out of it.

Nothing of it has to be on the machine. The Debian is made of packages, or is an engine's image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import elftools
import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image.sandbox import process
from scratch_image.sysroot import image_root

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

TAR = """\
debian = env.Sysroot("build/debian", "debian.tar")
"""

IMAGE = """\
debian = env.Sysroot("build/debian", image="example/debian:1")
"""

TAIL = """\
env.ScratchImage(
    "build/fortune",
    "/usr/games/fortune",
    ROOT=debian,
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
    with image_root.unpacked_layers([os.fsencode(tar)]) as sandbox:
        words = [*sandbox.unshare_words(), *sandbox.enter_words({}, b"/")]
        return process.run([*words, b"/usr/games/fortune"], timeout=10).check().stdout


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
    sources = (project / "build/debian.root/etc/apt/sources.list").read_text()
    assert " bookworm-security main\n" in sources


def test_null_build_does_not_scan_the_tree(project: Path, newest: Scons) -> None:
    log = project / "log"

    ran = subprocess.run(
        ["strace", "-f", "-o", log, "-e", "trace=%file", *newest.command(), "build"],
        cwd=project, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "is up to date" in ran.stdout
    # It has thousands of files.
    assert log.read_text().count("debian.root/") < 300


@pytest.fixture(scope="module")
def docker(engine: str) -> list[str]:
    """Give the words that speak to an engine."""
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    return ["docker", "-H", engine]


def _import(docker: list[str], root: Path, name: str) -> None:
    """Give the engine an image of the files below `root`."""
    with subprocess.Popen(["tar", "-c", "-C", root, "."], stdout=subprocess.PIPE) as tar:
        command = [*docker, "import", "-", name]
        subprocess.run(command, stdin=tar.stdout, check=True, capture_output=True)


def test_image_of_an_engines_image_is_the_same(
    project: Path, newest: Scons, engine: str, docker: list[str], tmp_path: Path
) -> None:
    _import(docker, project / "build/debian.root", "example/debian:1")

    output = _build(tmp_path / "other", newest, IMAGE, engine)

    assert "  example/fortune:1 sha256:" in output
    for name in ("fortune.ldd", "fortune.files", "fortune.tar", "fortune.oci.tar"):
        made, other = project / "build" / name, tmp_path / "other/build" / name
        assert made.read_bytes() == other.read_bytes(), name
    ran = [*docker, "run", "--rm", "--network=none", "example/fortune:1"]
    assert len(subprocess.run(ran, capture_output=True, check=True).stdout) > 10
    assert "is up to date" in _build(tmp_path / "other", newest, IMAGE, engine)


# Other hosts

HOST = "python3,strace,mmdebstrap"
"""The needs of a machine that builds such an image."""


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the root of a machine with Debian 13."""
    if os.geteuid() != 0:
        pytest.skip("a machine's root is made and entered by root")
    root = tmp_path_factory.mktemp("machine") / "trixie"
    words = ["--variant=minbase", f"--include={HOST}", "--mode=root", "trixie", str(root)]
    mirror = "http://deb.debian.org/debian"
    made = subprocess.run(["mmdebstrap", *words, mirror], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    yield root
    shutil.rmtree(root)


BUILD = """
set -eu
mount --bind {root} {root}
mount -t proc proc {root}/proc
for name in null zero full random urandom; do mount --bind /dev/$name {root}/dev/$name; done
mkdir -p {root}/ours {root}/others
mount --bind {ours} {root}/ours
mount --bind {others} {root}/others
cp /etc/resolv.conf {root}/etc/resolv.conf
exec chroot {root} env -C /project PYTHONPATH=/others PATH=/usr/sbin:/usr/bin python3 -B -m SCons -Q
"""


OTHERS = Path(elftools.__file__).parents[1]
"""Where SCons and the libraries lie that we use."""


def _write(directory: Path, project: Path, base: str) -> None:
    """Write the project to `directory`, where our package lies in /ours."""
    directory.mkdir()
    for name in ("fortune.extra", "bookworm.lock"):
        shutil.copy(project / name, directory)
    head = HEAD.format(tool="/ours", engine=NO_ENGINE)
    (directory / "SConstruct").write_text(head + base + TAIL)


def test_another_host_builds_the_same_image(project: Path, trixie: Path) -> None:
    _write(trixie / "project", project, PACKAGES)
    script = BUILD.format(root=trixie, ours=PACKAGE.parent, others=OTHERS)

    ran = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "trace: " not in ran.stdout
    version = (trixie / "etc/debian_version").read_text()
    assert version.startswith("13") != Path("/etc/debian_version").read_text().startswith("13")
    for name in ("debian.sysroot", "fortune.trace", "fortune.files", "fortune.oci.tar"):
        made, other = project / "build" / name, trixie / "project/build" / name
        assert made.read_bytes() == other.read_bytes(), name


def test_container_builds_the_same_image(
    project: Path, trixie: Path, docker: list[str], tmp_path: Path
) -> None:
    _write(tmp_path / "project", project, TAR)
    tree, tar = project / "build/debian.root", tmp_path / "project/debian.tar"
    subprocess.run(["tar", "-cf", tar, "-C", tree, "."], check=True)
    _import(docker, trixie, "example/host:1")
    volumes = {PACKAGE.parent: "/ours:ro", OTHERS: "/others:ro", tmp_path / "project": "/project"}

    def build(*options: str) -> str:
        command: list[str] = [
            *docker, "run", "--rm", "--network=none", "--workdir=/project", *options,
            *(f"--volume={ours}:{place}" for ours, place in volumes.items()),
            *("--env=PYTHONPATH=/others", "example/host:1", "python3", "-B", "-m", "SCons", "-Q"),
        ]  # fmt: skip
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return ran.stdout

    refused = build()
    output = build("--security-opt=seccomp=unconfined")

    assert "in Docker give --privileged or --security-opt seccomp=unconfined" in refused
    assert "TRACE  fortune" in output
    for name in ("fortune.trace", "fortune.files", "fortune.oci.tar"):
        made, other = project / "build" / name, tmp_path / "project/build" / name
        assert made.read_bytes() == other.read_bytes(), name
