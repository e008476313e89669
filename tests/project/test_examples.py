"""The ways into a project: each example is built as its user would, outside of the checkout."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE

TOP = Path(__file__).parents[2]
EXAMPLES = TOP / "examples"
DATABASE = ".sconsign.dblite"
UNTRACKED = shutil.ignore_patterns("__pycache__", ".*", "build", "*.egg-info")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the source distribution, and the wheel that is built from it."""
    place = tmp_path_factory.mktemp("distributions")
    checkout = place / "checkout"
    shutil.copytree(TOP, checkout, ignore=UNTRACKED)
    shutil.copytree(TOP / ".ci", checkout / ".ci")
    command = [sys.executable, "-m", "build", "--outdir", str(place / "dist"), str(checkout)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ran.returncode == 0, ran.stdout
    return place / "dist"


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    [found] = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a virtual environment that has the wheel, and what it asks for."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place, with_pip=True)
    command = [str(place / "bin/python"), "-m", "pip", "install", "-q", str(wheel)]
    subprocess.run(command, check=True)
    return place / "bin/python"


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    files = [path for path in PACKAGE.rglob("*") if path.suffix != ".pyc" and path.is_file()]
    package = [str(path.relative_to(PACKAGE.parent)) for path in files]
    assert "scratch_image/py.typed" in package
    assert sorted(name for name in names if ".dist-info/" not in name) == sorted(package)
    [licence] = [name for name in names if name.endswith("/LICENSE")]
    assert zipfile.ZipFile(wheel).read(licence) == (TOP / "LICENSE").read_bytes()


def test_wheel_tells_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(archive.read(name))

    assert metadata["Name"] == "scons-scratch-image"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True) == (TOP / "README.md").read_bytes()
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert {"sbom", "test"} <= set(metadata.get_all("Provides-Extra", []))


def test_version_is_told_once_alike(wheel: Path) -> None:
    import scratch_image

    assert wheel.name.split("-")[1] == scratch_image.__version__


def test_source_distribution_is_a_checkout(distributions: Path) -> None:
    [archive] = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    present = {name for name in listed.stdout.splitlines() if (TOP / name).exists()}
    assert present - names <= {".gitignore"}


@dataclass(frozen=True)
class Way:
    """One way into a project."""

    example: str
    place: Callable[[Path], None]
    """Puts the plugin where that way has it."""
    stem: str
    """Of the image's step files."""
    targets: tuple[str, ...] = ()


def _copy(where: str) -> Callable[[Path], None]:
    def place(project: Path) -> None:
        shutil.copytree(PACKAGE, project / where / "scratch_image", ignore=UNTRACKED)

    return place


def _checkout(project: Path) -> None:
    _copy("site_scons/site_tools")(project)
    shutil.copy(TOP / "SConstruct", project)
    shutil.copytree(TOP / "images/fortune", project / "images/fortune")


WAYS = [
    Way("pip", lambda project: None, "build/image/hello"),
    Way("toolpath", _copy("vendor"), "build/image/hello"),
    Way("package_dir", _copy("acme_build"), "build/image/count"),
    Way(
        "checkout",
        _checkout,
        "build/images/checksum/checksum",
        ("images/checksum",),
    ),
]


def test_each_example_is_tested() -> None:
    examples = [*(way.example for way in WAYS), "third_party"]
    assert sorted(examples) == sorted(os.listdir(EXAMPLES))


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != DATABASE
    }


def _scons(python: Path, project: Path, *arguments: str) -> str:
    variables = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"DOCKER_HOST": NO_ENGINE, "PYTHONDONTWRITEBYTECODE": "1"}
    # A package of the firm's own is installed; here it lies beside the SConstruct.
    variables |= {"PYTHONPATH": str(project)}
    ran = subprocess.run(
        [python, "-m", "SCons", *arguments],
        cwd=project,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.parametrize("way", WAYS, ids=[way.example for way in WAYS])
def test_example_builds_twice_and_cleans_up_to_the_last_file(
    way: Way, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    project = tmp_path / way.example
    shutil.copytree(EXAMPLES / way.example, project)
    way.place(project)
    is_installed = way.example == "pip"
    python = request.getfixturevalue("installed") if is_installed else Path(sys.executable)
    before = _files(project)

    first = _scons(python, project, *way.targets)
    assert "IMAGE" in first
    assert (project / f"{way.stem}.oci.tar").stat().st_size > 100_000
    second = _scons(python, project, "-Q", *way.targets)
    *null, unloaded = second.splitlines()
    assert all("is up to date" in line for line in null), second
    assert unloaded.startswith("no engine answers at ")
    _scons(python, project, "-c", *way.targets)
    assert _files(project) == before


def test_third_party_project_ships_its_own_build(tmp_path: Path) -> None:
    # The script checks each step itself: built, built again, tested, cleaned up.
    command = [str(EXAMPLES / "third_party/ship"), str(tmp_path), f"{sys.executable} -m SCons"]
    ran = subprocess.run(
        command,
        env={**os.environ, "DOCKER_HOST": NO_ENGINE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert re.search("^TEST   gpsd +version, server in ", ran.stdout, re.MULTILINE)
