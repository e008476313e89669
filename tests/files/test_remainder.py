from __future__ import annotations

import os
from pathlib import Path

import pytest
from debs import install
from scratch_image.files import remainder
from scratch_image.files.entry import Entry
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.tree_facts import BaseImage


def _file(path: bytes, source: bytes = b"", text: bytes = b"") -> Entry:
    return Entry("file", 0o644, 0, 0, path, source=source, text=text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree of two files, one with two names."""
    (tmp_path / "a").write_bytes(b"x" * 500_000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"x" * 2_000_000)
    return tmp_path


ENTRIES = (
    _file(b"/a"),
    _file(b"/moved", source=b"/b"),
    _file(b"/text", text=b"text"),
    _file(b"/own", source=b"own/file"),
    Entry("dir", 0o755, 0, 0, b"/"),
)
REST = "; a path in an extra list brings it, scons why/IMAGE WHY=/PATH explains it"


def test_all_that_a_list_does_not_take(tree: Path) -> None:
    files = FileSystem(os.fsencode(tree), image=BaseImage("image x:1", {}, 2, 2_500_000))

    assert remainder.describe(files, ENTRIES) == (
        f"1 files and 2.0 MB of image x:1 stay behind{REST}"
    )


def test_packages_are_counted_where_there_are_some(tree: Path) -> None:
    install(tree, "data", {"/a": "x" * 500_000})
    files = FileSystem(os.fsencode(tree), image=BaseImage("image x:1", {}, 9, 2_500_000, 7))

    assert remainder.describe(files, ENTRIES).startswith("8 files, 6 packages and 2.0 MB of ")


def test_base_that_was_no_image(tree: Path) -> None:
    assert remainder.describe(FileSystem(os.fsencode(tree)), ENTRIES) == ""
