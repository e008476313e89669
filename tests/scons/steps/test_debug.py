"""The debug sibling of an image: the same layers and settings, and tools."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lab import NO_ENGINE, Scons
from project import Project

LINES = """\
env.ScratchImage(
    "build/hello", "/bin/uname", IMAGE_TAG="example/hello:1", IMAGE_USER="1000:1000",
    EXTRA_FILES="x.extra", IMAGE_ENV={"A": "b"},
)
"""
PLAIN = ["TRACE hello", "LDD hello", "LIST hello", "TAR hello", "IMAGE hello", "LOAD hello"]
SIBLING = ["IMAGE hello.debug", "LOAD hello.debug"]


@pytest.fixture(params=[1, 8])
def jobs(request: pytest.FixtureRequest) -> str:
    """Give the option of SCons for so many jobs."""
    return f"-j{request.param}"


def _steps(output: str) -> list[str]:
    return [" ".join(found) for found in re.findall(r"^([A-Z]+)  +(\S+)", output, re.MULTILINE)]


def _inspect(engine: str, tag: str) -> dict[str, Any]:
    words = ["docker", "-H", engine, "inspect", tag]
    [found] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    return dict(found)


def _run(engine: str, program: str, *words: str) -> str:
    command = ["docker", "-H", engine, "run", "--rm", "--network=none", "--cap-add=SYS_PTRACE"]
    command += [f"--entrypoint={program}", "example/hello:1-debug", *words]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_sibling_has_the_image_and_tools(
    tmp_path: Path, newest: Scons, engine: str, jobs: str
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    project = Project(tmp_path, newest, engine)
    extra = tmp_path / "x.extra"
    extra.write_text("dir /srv\n")
    assert "TOOLS" not in project.run(LINES, jobs)
    digest = _inspect(engine, "example/hello:1")["Id"]

    output = project.run(LINES, "debug/build/hello", jobs)

    assert _steps(output) == ["TOOLS hello", *SIBLING]
    assert re.search(r"^TOOLS  hello +busybox, strace, gdb, ", output, re.MULTILINE)
    plain, debug = (_inspect(engine, f"example/hello:1{end}") for end in ("", "-debug"))
    assert plain["Id"] == digest
    assert debug["Config"] == plain["Config"]
    assert debug["RootFS"]["Layers"][:-1] == plain["RootFS"]["Layers"]
    assert "1000" in _run(engine, "/debug/bin/sh", "-c", "id -u; ls /debug")
    assert "uname(" in _run(engine, "/debug/bin/strace", "-e", "trace=uname", "uname")
    commands = ("-batch", "-ex", "break uname", "-ex", "run", "-ex", "python print(6 * 7)")
    assert "\nBreakpoint 1, " in (said := _run(engine, "/debug/bin/gdb", *commands, "uname"))
    assert "\n42\n" in said
    assert "Unable to find libthread_db" not in said
    assert "is up to date" in project.run(LINES, "debug/build/hello", jobs)
    extra.write_text("dir /srv/www\n")
    changed = _steps(project.run(LINES, "build", "debug/build/hello", jobs))
    assert sorted(changed) == sorted([*PLAIN[2:], *SIBLING])
    edited = LINES.replace("1000:1000", "1001")
    assert _steps(project.run(edited, "debug/build/hello", jobs)) == SIBLING
    assert "is up to date" in project.run(edited, "debug/build/hello", jobs)
    project.run(edited, "-c", jobs)
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == []


def test_sibling_without_an_engine(tmp_path: Path, newest: Scons) -> None:
    project = Project(tmp_path, newest)
    (tmp_path / "x.extra").write_text("")

    output = project.run(LINES, "debug/build/hello")

    assert "docker load -i build/hello.debug.oci.tar" in output
    assert not (tmp_path / "build/hello.debug.iid").exists()
