"""A venv that pip fills is one entry of an image, as docs/howto/directories.md has it."""

from __future__ import annotations

import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from lab import Scons
from project import Project
from scratch_image.files.entry import read_entries

SCONSTRUCT = """\
env.Command(
    "build/venv/pyvenv.cfg",
    "requirements.txt",
    [
        "rm -rf ${TARGET.dir}",
        "/usr/bin/python3 -m venv ${TARGET.dir}",
        "${TARGET.dir}/bin/pip install --quiet --no-index --find-links wheels -r $SOURCE",
        "${TARGET.dir}/bin/pip uninstall --quiet --yes pip setuptools",
    ],
)
env.ScratchImage(
    "build/app", {"/srv/app.py": "app.py", "/opt/venv": env.Dir("build/venv")}, IMAGE_PACKAGES=False
)
"""


def _wheel(directory: Path, name: str) -> None:
    record, info = "", f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": f"TEXT = '{name}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
            record += f"{path},,\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


@pytest.fixture
def project(tmp_path: Path, scons: Scons) -> Project:
    has_venv = ["/usr/bin/python3", "-c", "import ensurepip, venv"]
    if subprocess.run(has_venv, capture_output=True).returncode:
        pytest.skip("no venv: apt-get install python3-venv")
    (tmp_path / "wheels").mkdir()
    for name in ("greeting", "farewell"):
        _wheel(tmp_path / "wheels", name)
    (tmp_path / "requirements.txt").write_text("greeting\n")
    (tmp_path / "app.py").write_text(
        "#!/opt/venv/bin/python3\nimport greeting\nprint(greeting.TEXT)\n"
    )
    (tmp_path / "app.py").chmod(0o755)
    return Project(tmp_path, scons)


def _steps(printed: str) -> list[str]:
    return re.findall(r"^([A-Z]+)  ", printed, re.MULTILINE)


@pytest.mark.parametrize("scons", ["newest"], indirect=True)
def test_image_of_a_venv(project: Project, tmp_path: Path) -> None:
    project.run(SCONSTRUCT, "-Q", "-j8")

    assert (tmp_path / "build/app.stdout").read_text() == "greeting\n"
    assert _steps(project.run(SCONSTRUCT, "-Q")) == []
    listed = read_entries((tmp_path / "build/app.files").read_bytes(), "app")
    found = {entry.path.decode(): entry for entry in listed}
    packages = next(path for path in found if path.endswith("/site-packages"))
    assert {f"{packages}/greeting/__init__.py", "/opt/venv/pyvenv.cfg"} <= found.keys()
    assert found["/opt/venv/bin/python3"].target == b"/usr/bin/python3"
    assert found["/usr/bin/python3"].kind == "link"
    assert not any("/pip/" in path for path in found)
    assert project.run(SCONSTRUCT, "-Q", "build/app.tested").startswith("TEST")

    (tmp_path / "requirements.txt").write_text("greeting\nfarewell\n")
    printed = project.run(SCONSTRUCT, "-Q", "-j8")

    # Python lists the directory of the packages.
    assert _steps(printed) == ["TRACE", "LIST", "TAR", "IMAGE"]
    assert _steps(project.run(SCONSTRUCT, "-Q")) == []
