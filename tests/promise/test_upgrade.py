"""A leftover of an earlier version, or of an accident, never makes a stale target or a traceback."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE, Scons

KEPT = sorted((Path(__file__).parent / "upgrade").glob("*.tar.gz"))
ALL = ["TRACE", "LDD", "LIST", "TAR", "IMAGE"]
DATABASE = ".sconsign.dblite"


def _unpack(archive: Path, directory: Path) -> Path:
    directory.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", directory, "--no-same-owner"], check=True)
    return directory


def _build(project: Path, scons: Scons) -> list[str]:
    """Build with the present plugin; return the labels of the steps."""
    ran = scons.run(project, f"tool={PACKAGE.parent}", env={"DOCKER_HOST": NO_ENGINE})
    assert ran.returncode == 0, ran.stdout
    assert "Traceback" not in ran.stdout, ran.stdout
    return re.findall("^(TRACE|LDD|LIST|TAR|IMAGE) ", ran.stdout, re.MULTILINE)


def _made(project: Path) -> dict[str, bytes]:
    """Return the content of what each step made, but for strace's own text, which has times."""
    paths = sorted((project / "build").glob("hello.*"))
    return {path.name: path.read_bytes() for path in paths if path.suffix != ".strace"}


@pytest.mark.parametrize("archive", KEPT, ids=[path.name for path in KEPT])
def test_all_steps_run_once_after_an_upgrade(tmp_path: Path, scons: Scons, archive: Path) -> None:
    project, clean = (_unpack(archive, tmp_path / name) for name in ("project", "clean"))
    for path in [clean / DATABASE, *(clean / "build").iterdir()]:
        path.unlink()
    (project / "note").write_text("edited before the upgrade was used\n")
    (clean / "note").write_text("edited before the upgrade was used\n")

    assert _build(project, scons) == ALL
    assert _build(project, scons) == []

    assert _build(clean, scons) == ALL
    assert _made(project) == _made(clean)


def _edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(project: Path) -> None:
        (project / name).write_bytes(change((project / name).read_bytes()))

    return edit


def _dangling(project: Path) -> None:
    (project / LIST).unlink()
    (project / LIST).symlink_to("nowhere")


LIST = "build/.hello.files.footprint"

SPOILT = [
    pytest.param(_edit(LIST, lambda text: text[: len(text) // 2]), ["LIST"], id="half a footprint"),
    pytest.param(_edit(LIST, lambda text: text[:-2]), ["LIST"], id="no last bracket"),
    pytest.param(_edit(LIST, lambda text: re.sub(rb'"stat":{"[^"]*":"[^"]*",', b'"stat":{', text)),
                 ["LIST"], id="a path less"),
    pytest.param(_edit(LIST, lambda text: b""), ["LIST"], id="empty footprint"),
    pytest.param(_edit(LIST, lambda text: os.urandom(400)), ["LIST"], id="garbage footprint"),
    pytest.param(_edit(LIST, lambda text: text.replace(b"footprint 2", b"footprint 1")), ["LIST"],
                 id="footprint of another version"),
    pytest.param(_edit(LIST, lambda text: text.replace(b'"stat":', b'"glance":')), ["LIST"],
                 id="aspect of another version"),
    pytest.param(_dangling, ["LIST"], id="footprint is a dangling link"),
    pytest.param(lambda project: (project / DATABASE).unlink(), ALL, id="no database"),
    pytest.param(_edit(DATABASE, lambda data: data[: len(data) // 2]), ALL, id="half a database"),
    pytest.param(_edit(DATABASE, lambda data: b""), ALL, id="empty database"),
    pytest.param(_edit(DATABASE, lambda data: b"\0" * 400), ALL, id="garbage database"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "steps"), SPOILT)
def test_what_is_spoilt_is_made_again(
    tmp_path: Path, scons: Scons, spoil: Callable[[Path], None], steps: list[str]
) -> None:
    project = _unpack(KEPT[-1], tmp_path / "project")
    _build(project, scons)

    spoil(project)

    assert _build(project, scons) == steps
    assert _build(project, scons) == []
