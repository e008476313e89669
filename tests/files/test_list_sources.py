"""Tests of list_sources.py: sources of all forms, and what they say together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lists import a_view
from scratch_image.files.list_options import ListOptions
from scratch_image.files.list_sources import Sources
from scratch_image.files.request import Request
from scratch_image.fs.overlay import Overlay

RECORD = b"# scratch_image trace 1\n"


def _read(view: Overlay, options: ListOptions, **texts: bytes) -> Sources:
    """Return sources of a text of each form, whose names are those of the forms."""
    sources = Sources(view, options)
    for form, text in texts.items():
        sources.add(view, form, form, form, text)
    return sources


@pytest.mark.parametrize(
    ("form", "text", "requests"),
    [
        pytest.param("record", RECORD + b"read /data/a\nabsent /none\n",
                     [Request(b"/data/a", "run:record")], id="record"),
        pytest.param("strace", b'open("/data/a", O_RDONLY) = 3\n+++ exited with 0 +++\n',
                     [Request(b"/data/a", "run:strace")], id="strace"),
        pytest.param("ldd", b"\tlibx.so.1 => /lib/libx.so.1 (0x1)\n",
                     [Request(b"/lib/libx.so.1", "needed-by")], id="ldd"),
        pytest.param("extra", b"!/etc/**\n/data/a\n",
                     [Request(b"/data/a", "extra:extra", line="extra:2")], id="extra"),
    ],
)  # fmt: skip
def test_a_source_of_each_form(base: Path, form: str, text: bytes, requests: list[Request]) -> None:
    sources = _read(a_view(base), ListOptions(), **{form: text})

    assert sources.requests == requests


def test_staged_files_and_directories_that_come_whole(base: Path) -> None:
    options = ListOptions(staged=(b"/etc/hosts",), listed=(b"/data/sub",))
    sources = _read(a_view(base), options, record=RECORD + b"list /data\nlist /data/sub\n")

    assert sources.requests[0] == Request(b"/etc/hosts", "staged")
    assert sources.requests[-1] == Request(b"/data/sub/b", "listed-by:record", required=False)
    assert [name for name, _ in sources.runs] == ["record"]


def test_libraries_that_a_run_loaded_are_not_missing(base: Path) -> None:
    ldd = b"\tlibx.so.1.0 => not found\n\tliby.so => not found\n"
    sources = _read(
        a_view(base), ListOptions(), ldd=ldd, record=RECORD + b"read /opt/libx.so.1.0\n"
    )

    assert [each.name for each in sources.missing_libraries()] == [b"liby.so"]


def test_lines_and_files_of_extra_lists(base: Path) -> None:
    view = a_view(base)
    text = b"/bin/prog\n/usr/bin/p*\n/lib/libx.so.1\n"
    sources = _read(view, ListOptions(), extra=text)

    assert sources.lines(view)[b"/usr/bin/prog"] == ["extra:1", "extra:2"]
    assert sources.explicit_files(view) == {b"/usr/bin/prog", b"/usr/lib/libx.so.1.0"}


@pytest.mark.parametrize(
    ("text", "skipped"),
    [
        pytest.param("/run\n", ["/run/fifo"], id="listed"),
        pytest.param("/run\n!/run/fifo\n", [], id="left out"),
        pytest.param("/data\n", [], id="elsewhere"),
    ],
)
def test_files_that_no_image_holds_are_skipped(base: Path, text: str, skipped: list[str]) -> None:
    view = a_view(base)
    sources = _read(view, ListOptions(), extra=text.encode())

    assert sources.skipped_paths(view) == list(map(os.fsencode, skipped))
