from __future__ import annotations

import os
import shutil
from importlib.metadata import distribution
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image.elf import processor
from scratch_image.scons import tools
from scratch_image.scons.steps import table
from scratch_image.scons.steps.step import Step

UNUSED = {
    "SysrootStep": "a lock and a digest say what its tree is; an upgrade is no reason for another",
    "LayerStep": "its compressor is a value of the step",
    "StackStep": "its compressor is a value of the step",
    "IndexStep": "its bytes are those of the archives",
    "LoadStep": "the engine's answer is in the footprint",
    "PushStep": "the registry's answer is in the footprint",
}
"""The steps whose bytes depend on no tool, and why."""


def test_each_step_names_its_tools_or_has_none() -> None:
    for builder in table.BUILDERS:
        table.find_kind(builder)  # imports its module
    steps = {step.__name__: step for step in Step.__subclasses__()}

    assert {name for name, step in steps.items() if step.tools is Step.tools} == {*UNUSED}


def test_program_that_is_upgraded_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "strace"
    path.write_text("1")
    path.chmod(0o755)
    before = tools.program(os.fsencode(path))

    path.write_text("22")

    assert tools.program(os.fsencode(path)) != before
    assert tools.program(b"no-such-program") == "no no-such-program"
    assert tools.program(b"strace").startswith("/usr/bin/strace ")


def test_libraries_are_told_with_their_versions() -> None:
    installed = distribution("spdx-tools").version

    assert tools.libraries("spdx-tools", "no-such") == f"spdx-tools {installed}, no no-such"
    assert tools.elf_reader() == f"pyelftools {distribution('pyelftools').version}"


def test_processor_is_told_by_what_it_can_load() -> None:
    assert b"processor" in processor.cpuinfo()
    assert processor.cpuinfo().count(b"flags\t") <= 1
    assert tools.processor().split()[0] == os.uname().machine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "SConstruct").write_text(f"""\
DefaultEnvironment(tools=[])
env = Environment(
    tools=["scratch_image"],
    toolpath=["{PACKAGE.parent}"],
    DOCKER_HOST="{NO_ENGINE}",
    STRACE="{tmp_path}/strace",
)
env.ScratchImage("x", "/bin/true")
""")
    shutil.copy("/usr/bin/strace", tmp_path)
    return tmp_path


def _steps(project: Path, scons: Scons, **env: str) -> list[str]:
    ran = scons.run(project, "-Q", ".", "x.spdx.json", "x.cdx.json", env=env)
    assert ran.returncode == 0, ran.stdout
    return [line.split()[0] for line in ran.stdout.splitlines() if line[:1].isupper()]


def test_upgrade_runs_the_steps_that_it_concerns(project: Path, newest: Scons) -> None:
    _steps(project, newest)
    library = Path(str(distribution("spdx-tools").locate_file("")))
    (name,) = library.glob("spdx_tools-*.dist-info")
    upgraded = project / "newer" / "spdx_tools-99.dist-info"
    upgraded.mkdir(parents=True)
    text = (name / "METADATA").read_text()
    version = f"Version: {distribution('spdx-tools').version}\n"
    (upgraded / "METADATA").write_text(text.replace(version, "Version: 99\n"))
    newer = {"PYTHONPATH": str(project / "newer")}

    assert _steps(project, newest, **newer) == ["SBOM"]
    assert _steps(project, newest, **newer) == []
    os.utime(project / "strace")
    assert _steps(project, newest, **newer) == ["TRACE"]
    assert _steps(project, newest, **newer) == []
