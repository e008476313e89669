"""The things that tests share: the oldest and the newest SCons, a real engine, programs to trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import throwaway
from engines import dockerd
from hypothesis import settings
from lab import NO_ENGINE, Scons
from programs import compile_all, make_site
from registries import docker_registry

TOP = Path(__file__).parents[1]

# Not in /tmp, of which private runs see nothing.
TEMPORARY = Path(os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/var/tmp"))

# A machine under load is no fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

OUR_OWN = {
    "test_builders", "test_footprint_node", "test_platforms", "test_project", "test_step_inputs",
    "test_suites", "test_sysroots", "test_image_tree", "test_upgrade", "test_variables",
}  # fmt: skip
"""Modules about our own messages and values, which one SCons shows as well as two."""


def _oldest() -> Scons:
    """Return the oldest SCons that pyproject allows, installed once below build/."""
    found = re.search(r'"scons>=([0-9.]+)"', (TOP / "pyproject.toml").read_text())
    assert found
    wanted = found[1]
    place = TOP / "build" / "test" / f"scons-{wanted}"
    if not (place / "SCons").is_dir():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--target", place, f"scons=={wanted}"],
            check=True,
        )
    return Scons(wanted, str(place))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep one SCons for modules of `OUR_OWN`, and begin with the files that take minutes.

    Both processes then end at about the same time.
    """
    items[:] = [item for item in items if not _is_one_scons_more(item)]
    items.sort(key=lambda item: not item.nodeid.startswith("tests/promise/"))


def _is_one_scons_more(item: pytest.Item) -> bool:
    values = item.callspec.params if hasattr(item, "callspec") else {}
    return values.get("scons") == "oldest" and item.path.stem in OUR_OWN


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a dangerous test where it cannot run in a throw-away root."""
    outside = throwaway.INSIDE not in os.environ
    if item.get_closest_marker("dangerous") and outside and (cause := throwaway.refusal()):
        pytest.skip(cause)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a dangerous test in a throw-away root, by another pytest."""
    if not pyfuncitem.get_closest_marker("dangerous") or throwaway.INSIDE in os.environ:
        return None
    throwaway.run(pyfuncitem.nodeid)
    return True


@pytest.fixture(scope="session", autouse=True)
def _open_directories(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Open pytest's directories to ordinary users, once: their modes are in footprints below."""
    base = tmp_path_factory.getbasetemp()
    for directory in (base, *base.parents):
        if directory.is_relative_to(TEMPORARY) and directory != TEMPORARY:
            directory.chmod(0o755)


@pytest.fixture(scope="session", autouse=True)
def _heed_signals() -> None:
    """Have programs end by SIGINT, though tests run in the background, where it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", params=["newest", "oldest"])
def scons(request: pytest.FixtureRequest) -> Scons:
    """Give each SCons in turn."""
    return Scons(version("scons"), "") if request.param == "newest" else _oldest()


@pytest.fixture(scope="session")
def newest() -> Scons:
    """Give the SCons that is installed."""
    return Scons(version("scons"), "")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a Docker engine of our own; without root, of none."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        yield NO_ENGINE
        return
    with dockerd(tmp_path_factory.mktemp("engine")) as address:
        yield address


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the host of a registry that takes all from everybody."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the programs of tracer/*.c."""
    where = tmp_path_factory.mktemp("programs").resolve()
    compile_all(where)
    return where


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory, full of files and links, in which programs run."""
    where = tmp_path.resolve()
    make_site(where)
    monkeypatch.chdir(where)
    return where


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Give the directory of what is temporary; nothing may be left in it."""
    assert tmp_path.exists()  # pytest has its own directory from here on
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)
        assert os.listdir(name) == []
