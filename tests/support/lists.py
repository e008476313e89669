"""File lists of small trees, as lines of text."""

from __future__ import annotations

import os
from pathlib import Path

from scratch_image.files.entry import write_entries
from scratch_image.files.extra_list import LineKind, parse
from scratch_image.files.merge import Merge, merge
from scratch_image.files.request import Request, from_extras
from scratch_image.fs.globs import matcher
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem


def a_view(base: Path) -> Overlay:
    return Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project")


def list_lines(base: Path, *requests: Request) -> list[str]:
    """Return the list's lines without mode and owner."""
    text = write_entries(merge(a_view(base), requests)).decode()
    rows = [line.split(" ") for line in text.splitlines()[1:]]
    return [" ".join([row[0], *row[3:]]) for row in rows]


def extra_lines(base: Path, text: str) -> list[str]:
    """Return the lines that the extra list `text` of the project in `base` makes."""
    view = Overlay(Root(WatchedFileSystem(os.fsencode("/"))), os.fsencode(base))
    extras = parse(text.format(base=base).encode(), "t/x.extra", lambda name: b"")
    requests = list(from_extras(view, extras))
    out = [matcher(extra.path) for extra in extras if extra.kind is LineKind.OUT]
    lines = write_entries(Merge(view, left_out=out).extend(requests)).decode().splitlines()[1:]
    return [line for line in lines if " parent" not in line]
