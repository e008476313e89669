"""SCons killed at any moment: the next build is right, and the one after it is null."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Lab, Scons
from scratch_image.fs.digest import Digest

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
# one SCons is killed after each second rename, and the other one before it.
@pytest.mark.parametrize("moment", range(2, MOMENTS + 1, 2))
def test_killed_at_a_rename(lab: Lab, clean: dict[str, dict[str, Digest]], moment: int) -> None:
    when = "before" if lab.scons.path else "after"
    _edit(lab, "1")
    lab.build()
    _edit(lab, "2")

    lab.build(f"{when}={moment}", "images/reader", status=None)

    # Half of the time the cause is taken back: what the killed build left must not count.
    _check(lab, clean, "1" if moment % 4 else "2")


def test_every_rename_of_a_build_was_a_moment(lab: Lab) -> None:
    _edit(lab, "1")
    lab.build()
    _edit(lab, "2")

    killed = lab.build(f"after={MOMENTS}", "images/reader", status=None)

    assert killed.status == 0, "MOMENTS is too small: a build renames more files"


SLEEPER = """\
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{tool}"], DOCKER_HOST="{engine}")
env.ScratchImage("build/sleeper", "/bin/sleep", RUNS=["sleep " + ARGUMENTS["seconds"]])
"""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted_run_ends_at_once(tmp_path: Path, scons: Scons, number: int, jobs: int) -> None:
    seconds = f"{6000 + os.getpid() % 1000}"
    sconstruct = SLEEPER.format(tool=PACKAGE.parent, engine=NO_ENGINE)
    (tmp_path / "SConstruct").write_text(sconstruct)
    command = [*scons.command(), f"-j{jobs}", f"seconds={seconds}", "build/sleeper.strace"]

    def runs() -> bool:
        commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        return f"/bin/sleep {seconds}" in commands.stdout.splitlines()

    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": scons.path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 20
        while not runs() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)

    assert process.returncode == 2
    assert "Build interrupted." in output
    assert not runs()
    again = scons.run(tmp_path, "seconds=0", "build/sleeper.strace")
    assert again.returncode == 0, again.stdout


@pytest.mark.parametrize("seed", range(3))
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
