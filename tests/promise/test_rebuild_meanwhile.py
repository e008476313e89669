"""The promise, for a file that changes while a step runs: the next build runs that step again."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

SCONSTRUCT = f"""\
import importlib, os
DefaultEnvironment(tools=[])
env = Environment(tools=["scratch_image"], toolpath=["{PACKAGE.parent}"], DOCKER_HOST="{NO_ENGINE}")

env.ScratchImage(
    "image",
    {{"/usr/bin/reader": "reader", "/srv/tree": env.Dir("tree")}},
    RUNS=["reader {{world}}/data"],
    EXTRA_FILES="image.extra",
    IMAGE_LAYERS=ARGUMENTS.get("layers", "single"),
)
if "step" in ARGUMENTS:
    module, name = ARGUMENTS["step"].split(".")
    step = getattr(importlib.import_module(f"scratch_image.scons.steps.{{module}}"), name)
    run = step.run

    def edited(self, *arguments):
        # After the step has looked at everything, and before the state of that is taken.
        told = run(self, *arguments)
        with open(ARGUMENTS["edit"], "a") as file:
            file.write("\\n# more\\n")
        if ARGUMENTS.get("mode"):
            os.chmod(ARGUMENTS["edit"], int(ARGUMENTS["mode"], 8))
        return told

    step.run = edited
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a project whose program reads a file, whose list maps two, and with a directory."""
    (tmp_path / "world").mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "world/data").write_text("data\n")
    (tmp_path / "SConstruct").write_text(SCONSTRUCT.replace("{world}", f"{tmp_path}/world"))
    (tmp_path / "image.extra").write_text("a -> /srv/a\nb -> /srv/b\nnone -> /srv/none\n")
    (tmp_path / "none").mkdir()
    for name in ("a", "b", "none/one", "tree/file"):
        (tmp_path / name).write_text(f"{name}\n")
    code = "#include <fcntl.h>\nint main(int c, char **v) { return open(v[1], 0) < 0; }\n"
    subprocess.run(
        ["gcc", "-x", "c", "-", "-o", tmp_path / "reader"], input=code, text=True, check=True
    )
    return tmp_path


def _build(project: Path, scons: Scons, *arguments: str) -> str:
    ran = scons.run(project, "-Q", *arguments)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


ROWS = [
    pytest.param("trace.TraceStep", "world/data", "", "TRACE", (), id="TRACE"),
    pytest.param("ldd.LddStep", "reader", "", "LDD", (), id="LDD"),
    pytest.param("file_list.ListStep", "a", "755", "LIST", (), id="LIST"),
    pytest.param("layer_tar.LayerStep", "a", "", "TAR", (), id="TAR"),
    pytest.param("layer_tar.LayerStep", "world/data", "", "TAR", (), id="TAR of a traced file"),
    pytest.param("layer_tar.LayerStep", "tree/file", "", "TAR", (), id="TAR of a directory"),
    pytest.param("file_list.ListStep", "tree/file", "755", "LIST", (), id="LIST of a directory"),
    pytest.param("layer_stack.StackStep", "b", "", "TAR", ("layers=packages",), id="LAYERS"),
    pytest.param("sbom.SbomStep", "a", "", "SBOM", ("image.spdx.json",), id="SBOM"),
    pytest.param("report.ReportStep", "a", "755", "PAGE", ("image.report.html",), id="REPORT"),
]


@pytest.mark.parametrize(("step", "edit", "mode", "label", "arguments"), ROWS)
def test_step_runs_again(
    project: Path, newest: Scons, step: str, edit: str, mode: str, label: str, arguments: list[str]
) -> None:
    if "." in "".join(arguments):
        _build(project, newest)

    disturbed = _build(project, newest, f"step={step}", f"edit={edit}", f"mode={mode}", *arguments)
    explained = _build(project, newest, "--debug=explain", *arguments)

    staged = {"reader": "/usr/bin/reader", "tree/file": "/srv/tree/file"}
    path = staged.get(edit, f"{project}/{edit}")
    assert f"\n{path} changed while this step ran: the next build runs it again\n" in disturbed
    assert f"\n{label:5}  image" in f"\n{explained}"
    assert f": {path}: changed while the step ran\n" in explained
    assert f"{label:5}  image" not in _build(project, newest, *arguments)


def test_source_that_changes_is_used_by_the_next_build(project: Path, scons: Scons) -> None:
    _build(project, scons, "step=file_list.ListStep", "edit=image.extra")

    assert "\nLIST   image" in f"\n{_build(project, scons)}"
    assert "LIST   image" not in _build(project, scons)


def test_sparse_file_that_is_still_packed_does_not_hide_an_edit(
    project: Path, newest: Scons
) -> None:
    with (project / "b").open("wb") as file:
        file.truncate(1 << 28)
    command = [*newest.command(), "-Q"]

    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as scons:
        while scons.poll() is None and not _is_packing(project, 1 << 25):
            time.sleep(0.001)
        (project / "a").write_text("edited\n")
        output, _ = scons.communicate()

    assert f"\n{project}/a changed while this step ran: the next build runs it again\n" in output
    assert "TAR    image" in _build(project, newest)
    with (project / "image.tar").open("rb") as file:
        assert b"edited\n" in file.read(1 << 22)
    assert "TAR    image" not in _build(project, newest)


def _is_packing(project: Path, size: int) -> bool:
    return any(os.path.getsize(path) > size for path in project.glob(".image.tar.*.new"))


def test_tag_that_is_moved_while_an_image_is_loaded_is_loaded_again(
    project: Path, newest: Scons, engine: str
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    text = (project / "SConstruct").read_text()
    text = text.replace(f'"{NO_ENGINE}"', f'"{engine}"').replace(
        "        with open(",
        f'        os.system("docker -H {engine} rmi image >/dev/null")\n        with open(',
    )
    (project / "SConstruct").write_text(text)

    _build(project, newest, "step=load.LoadStep", "edit=unread")

    assert "LOAD   image" in _build(project, newest)
    assert "LOAD   image" not in _build(project, newest)
