from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lab import PACKAGE
from scratch_image.scons.steps import table
from scratch_image.scons.steps.step import StepKind


def test_every_step_module_is_in_the_table() -> None:
    files = (PACKAGE / "scons/steps").glob("*.py")
    names = {each.stem for each in files if "\nKIND = " in each.read_text()}

    assert {*table.MODULES.values(), *table.ON_REQUEST.values()} == names


@pytest.mark.parametrize("builder", table.BUILDERS)
def test_kind_of_a_step(builder: str) -> None:
    kind = table.find_kind(builder)

    assert isinstance(kind, StepKind)
    assert kind.label == kind.label.upper()
    assert len(kind.label) <= 5
    assert kind.plan.__doc__
    assert bool(kind.help) == (builder in table.ON_REQUEST)
    assert table.comstr(builder).endswith("COMSTR")


SCONSTRUCT = """
import sys
env = Environment(tools=["scratch_image"], toolpath=[{place!r}])
env.ImageTree("images")
modules = [name.removeprefix("scratch_image.") for name in sys.modules]
print(*sorted(name.removeprefix("scons.steps.") for name in modules if name[:12] == "scons.steps."))
print(*{{"fs.root", "scons.footprint", "sandbox.process", "publish.engine_client"}}.intersection(modules))
"""


def test_a_null_build_imports_the_steps_that_the_project_declares(tmp_path: Path) -> None:
    (tmp_path / "SConstruct").write_text(SCONSTRUCT.format(place=str(PACKAGE.parent)))
    (tmp_path / "images/x").mkdir(parents=True)
    (tmp_path / "images/x/SConscript").write_text(
        'Import("env")\nenv.ScratchImage("x", "/bin/true", DOCKER_HOST="unix:///nonexistent")\n'
    )

    scons = [sys.executable, "-m", "SCons", "-Q", "-n", "images/x"]
    shown = subprocess.run(scons, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)

    steps, slow, *_ = shown.stdout.splitlines()
    assert steps == "file_list image layer_tar ldd step table trace"
    assert slow == ""
