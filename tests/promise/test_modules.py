"""Modules that no run loaded: presets bring them, and an edit of one runs the list and what follows."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Scons
from project import Project

APP = """#!/usr/bin/python3
import sys
import early
if len(sys.argv) > 1:
    import later
    print(later.NAME)
"""

IMAGE = """
env.ScratchImage(
    "out/app", {{"/srv/app.py": "app.py"}}, RUNS=["app.py"], IMAGE_PRESETS={presets!r},
    IMAGE_ENV={{"PYTHONPATH": {lib!r}, "PATH": "/srv:/usr/bin"}}, IMAGE_PACKAGES=False,
)
"""


def _append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def _make(directory: Path) -> None:
    (directory / "lib").mkdir()
    (directory / "app.py").write_text(APP)
    (directory / "app.py").chmod(0o755)
    for name, text in {
        "early": "",
        "later": "NAME = 'later'\n",
        "other": "",
        "more": "",
        "unused": "",
    }.items():
        (directory / f"lib/{name}.py").write_text(text)


def _steps(output: str) -> str:
    return " ".join(sorted(re.findall(r"^([A-Z]+) +app", output, re.MULTILINE)))


EDITS: dict[str, tuple[Callable[[Path], None], str]] = {
    "module without use": (lambda lib: _append(lib / "unused.py", "x"), ""),
    "import in a module that no run loaded": (
        lambda lib: _append(lib / "later.py", "import other\n"), "IMAGE LIST TAR",
    ),
    "import in the program": (
        lambda lib: _append(lib.parent / "app.py", "    import more\n"), "IMAGE LDD LIST TAR TRACE",
    ),
    "module is gone": (lambda lib: (lib / "later.py").unlink(), "IMAGE LIST TAR TRACE"),
}  # fmt: skip


@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
def test_edit_of_a_module_runs_the_list_and_what_follows(
    tmp_path: Path, newest: Scons, jobs: str
) -> None:
    _make(tmp_path)
    project = Project(tmp_path, newest)
    image = IMAGE.format(presets="python-imports", lib=str(tmp_path / "lib"))
    assert _steps(project.run(image, jobs, "out/app.oci.tar")) == "IMAGE LDD LIST TAR TRACE"

    for name, (edit, steps) in EDITS.items():
        edit(tmp_path / "lib")

        assert _steps(project.run(image, jobs, "out/app.oci.tar")) == steps, name
        assert _steps(project.run(image, jobs, "out/app.oci.tar")) == "", name


def test_image_works_on_an_argument_that_no_run_had(tmp_path: Path, newest: Scons) -> None:
    _make(tmp_path)
    project = Project(tmp_path, newest)
    lib = str(tmp_path / "lib")

    output = project.run(IMAGE.format(presets="tmp", lib=lib), "out/app.tar")

    assert (
        "lint: an argument for which /srv/app.py imports another module, such as "
        f"{lib}/later.py: runs loaded 1 of 2; add the preset python-imports\n"
    ) in output
    assert _run(tmp_path, lib)[0] == 1

    output = project.run(IMAGE.format(presets="python-imports", lib=lib), "out/app.tar")

    assert "imports another module" not in output
    assert _run(tmp_path, lib) == (0, "later\n")


def _run(directory: Path, lib: str) -> tuple[int, str]:
    """Run the program with an argument in the unpacked layer."""
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    root = directory / "root"
    root.mkdir(exist_ok=True)
    subprocess.run(["tar", "-xf", directory / "out/app.tar", "-C", root], check=True)
    ran = subprocess.run(
        ["chroot", root, "/srv/app.py", "x"],
        env={"PYTHONPATH": lib, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout
