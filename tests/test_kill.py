"""SCons killed at any moment: the next build is right, and the one after it is null."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from lab import NO_ENGINE, Lab, Scons
from scratch_image.digest import Digest

OUTPUTS = (".first.trace", ".second.trace", ".ldd", ".files", ".tar", ".oci.tar")

KILLER = """\
import os, signal
os_replace = os.replace
moments = 0

def replace(source, target):
    global moments
    moments += 1
    if moments == int(ARGUMENTS.get("before", 0)):
        os.kill(os.getpid(), signal.SIGKILL)
    os_replace(source, target)
    if moments == int(ARGUMENTS.get("after", 0)):
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace
"""
"""Put before the SConstruct: ends SCons before or after it renames its nth file."""

MOMENTS = 20
"""More than the renames of one whole build, so that every one of them is hit."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, scons: Scons) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("kill"), scons, jobs=2).make()
    sconstruct = lab.project / "SConstruct"
    sconstruct.write_text(KILLER + sconstruct.read_text())
    lab.build()
    return lab


def _edit(lab: Lab, version: str) -> None:
    """Make version "1" or "2" of the world: all steps have to run."""
    lab.compile_reader(version, "data.txt" if version == "1" else "other.txt")
    lab.write(lab.world / "same1.txt", version)


def _outputs(lab: Lab, project: Path | None = None) -> dict[str, Digest]:
    return {name: Digest.of(lab.out(name, project).read_bytes()) for name in OUTPUTS}


@pytest.fixture(scope="module")
def clean(lab: Lab) -> dict[str, dict[str, Digest]]:
    """Give the right outputs of both versions."""
    found = {}
    for version in ("1", "2"):
        _edit(lab, version)
        project = lab.world.parent / f"clean{version}"
        Lab.copy_project(lab.project, project)
        lab.build(project=project)
        found[version] = _outputs(lab, project)
    return found


def _check(lab: Lab, clean: dict[str, dict[str, Digest]], version: str) -> None:
    _edit(lab, version)
    lab.build()

    assert _outputs(lab) == clean[version]
    assert lab.build().steps == []


# After one rename and before the next one, the same lies on the disk but for what is temporary:
# one SCons has the one, and one the other.
@pytest.mark.parametrize("moment", range(1, MOMENTS + 1))
def test_killed_at_a_rename(lab: Lab, clean: dict[str, dict[str, Digest]], moment: int) -> None:
    when = "before" if lab.scons.path else "after"
    _edit(lab, "1")
    lab.build()
    _edit(lab, "2")

    lab.build(f"{when}={moment}", "images/reader", status=None)

    # Half of the time the cause is taken back: what the killed build left must not count.
    _check(lab, clean, "1" if moment % 2 else "2")


def test_every_rename_of_a_build_was_a_moment(lab: Lab) -> None:
    _edit(lab, "1")
    lab.build()
    _edit(lab, "2")

    killed = lab.build(f"after={MOMENTS}", "images/reader", status=None)

    assert killed.status == 0, "MOMENTS is too small: a build renames more files"


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_time(lab: Lab, clean: dict[str, dict[str, Digest]], seed: int) -> None:
    _edit(lab, "1")
    lab.build()
    _edit(lab, "2")
    command = [*lab.scons.command(), "-j2", f"engine={NO_ENGINE}", "images/reader"]
    with subprocess.Popen(
        command,
        cwd=lab.project,
        env={**os.environ, "PYTHONPATH": lab.scons.path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as scons:
        time.sleep(random.Random(seed).uniform(0.2, 0.9))
        os.killpg(scons.pid, signal.SIGKILL)

    _check(lab, clean, "1" if seed % 2 else "2")
