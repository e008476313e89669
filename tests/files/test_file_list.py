"""Tests of file_list.py: what comes to the requests of the sources, and the findings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from debs import install
from lists import a_view
from scratch_image.errors import ElfError, ListError
from scratch_image.files import file_list
from scratch_image.files.entry import Entry
from scratch_image.files.file_list import FileList
from scratch_image.files.list_options import ListOptions
from scratch_image.files.list_sources import Sources
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root
from scratch_image.fs.unpacked_tree import BaseImage


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

    assert file_list.describe_remainder(files, ENTRIES) == (
        f"1 files and 2.0 MB of image x:1 stay behind{REST}"
    )


def test_packages_are_counted_where_there_are_some(tree: Path) -> None:
    install(tree, "data", {"/a": "x" * 500_000})
    files = FileSystem(os.fsencode(tree), image=BaseImage("image x:1", {}, 9, 2_500_000, 7))

    assert file_list.describe_remainder(files, ENTRIES).startswith(
        "8 files, 6 packages and 2.0 MB of "
    )


def test_base_that_was_no_image(tree: Path) -> None:
    assert file_list.describe_remainder(FileSystem(os.fsencode(tree)), ENTRIES) == ""


def _sources(view: Overlay, form: str, text: str, options: ListOptions) -> Sources:
    sources = Sources(view, options)
    sources.add(view, form, "x", "x", text.encode())
    return sources


def _build(view: Overlay, form: str, text: str, options: ListOptions) -> FileList:
    return file_list.build(view, _sources(view, form, text, options), options)


def test_dependencies_presets_and_package_records_come_to_the_requests(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "script").chmod(0o755)
    view = Overlay(Root(), os.fsencode(tmp_path))

    made = _build(view, "extra", "script -> /opt\n", ListOptions(presets=("tmp",)))

    reasons = {reason.partition(":")[0] for entry in made.entries for reason in entry.reasons}
    assert reasons >= {"extra", "interpreter-of", "needed-by", "loader-of", "preset", "packages"}
    assert made.findings == ()


def test_missing_dependencies_and_gaps_are_findings(base: Path) -> None:
    (base / "data/script").write_text("#!/none\n")
    (base / "data/script").chmod(0o755)
    view, options = a_view(base), ListOptions()
    sources = _sources(view, "extra", "/data\n/run\n", options)

    made = file_list.build(view, sources, options)

    assert (*map(str, made.findings),) == (
        "the use of /data/script: its interpreter /none does not exist; install it "
        "or fix the #! line",
        "no image has devices, FIFOs and sockets: /run/fifo; leave them out of the list "
        "(!/run/fifo)",
    )
    assert file_list.find_gaps(view, made.entries, sources, options) == made.findings


def test_missing_library_of_the_program_is_an_error(base: Path) -> None:
    with pytest.raises(ElfError, match=r"libnone\.so"):
        _build(a_view(base), "ldd", "\tlibnone.so => not found\n", ListOptions())


def test_secrets_are_an_error_unless_they_are_allowed(base: Path) -> None:
    (base / "etc/shadow").write_text("x")

    with pytest.raises(ListError, match="/etc/shadow is a secret"):
        _build(a_view(base), "extra", "/etc/shadow\n", ListOptions())

    made = _build(a_view(base), "extra", "/etc/shadow\n", ListOptions(allow=(b"/etc/shadow",)))
    assert [entry.path for entry in made.entries] == [b"/etc", b"/etc/shadow"]
