from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from scratch_image.elf.lookup import ElfFiles
from scratch_image.errors import ElfError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

TRUE = "/usr/bin/true"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "d").mkdir()
    shutil.copy(TRUE, tmp_path / "d/true")
    (tmp_path / "d/link").symlink_to("/e/true")
    (tmp_path / "e").symlink_to("d")
    (tmp_path / "d/text").write_text("text")
    return Root(WatchedFileSystem(os.fsencode(tmp_path)))


@pytest.mark.parametrize(
    ("path", "looked"),
    [
        pytest.param(b"/d/true", {(b"/d/true", Aspect.CONTENT)}, id="file"),
        pytest.param(
            b"/e/true",
            {(b"/e", Aspect.STAT), (b"/d/true", Aspect.CONTENT)},
            id="linked directory",
        ),
        pytest.param(
            b"/d/link",
            {(b"/d/link", Aspect.STAT), (b"/e", Aspect.STAT), (b"/d/true", Aspect.CONTENT)},
            id="link",
        ),
    ],
)
def test_find(path: bytes, looked: set[tuple[bytes, Aspect]], root: Root) -> None:
    found = ElfFiles(root).find(path)
    assert found is not None
    assert (found.real, found.elf.machine) == (b"/d/true", 62)
    assert root.looked == looked


@pytest.mark.parametrize(
    ("path", "looked"),
    [
        pytest.param(b"/d/no", (b"/d/no", Aspect.STAT), id="name"),
        pytest.param(b"/no/x", (b"/no", Aspect.STAT), id="directory"),
        pytest.param(b"/d/text/x", (b"/d/text", Aspect.STAT), id="file for a directory"),
        pytest.param(b"/d/", (b"/d", Aspect.CONTENT), id="directory for a file"),
        pytest.param(b"/d/..", (b"/", Aspect.CONTENT), id="no name"),
    ],
)
def test_what_is_not_there_is_on_record(
    path: bytes, looked: tuple[bytes, Aspect], root: Root
) -> None:
    assert ElfFiles(root).find(path) is None
    assert looked in root.looked


def test_a_file_that_is_no_elf_file(root: Root) -> None:
    with pytest.raises(ElfError, match="cannot read ELF file /d/text: "):
        ElfFiles(root).find(b"/d/text")


def test_each_look_happens_once(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ElfFiles(root)
    first = files.find(b"/e/true")
    assert files.directory(b"/e") == b"/d"
    assert files.directory(b"/x") is None
    monkeypatch.setattr(root.files, "status", None)
    assert files.find(b"/e/true") is first
    assert files.directory(b"/e") == b"/d"
    assert files.directory(b"/x") is None
