"""A file list under examination, of files that a test made."""

from __future__ import annotations

import os
from pathlib import Path

from scratch_image.files.entry import Entry
from scratch_image.files.finding import Examined
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.trace.record import Record, Used


def write_elf(path: Path, *strings: str) -> None:
    """Write what counts as an ELF file with these `strings`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF\0" + b"".join(os.fsencode(each) + b"\0" for each in strings))
    path.chmod(0o755)


def examine(
    base: Path, *listed: str | Entry, uses: tuple[Used, ...] = (), presets: tuple[str, ...] = ()
) -> Examined:
    """Return the list of the paths and entries `listed` in `base`, made of one run."""
    view = Overlay(Root(WatchedFileSystem(os.fsencode(base))), b"/project")
    entries = [each if isinstance(each, Entry) else _entry(base, each) for each in listed]
    return Examined(view.files, tuple(entries), (("default", Record(uses)),), frozenset(presets))


def _entry(base: Path, words: str) -> Entry:
    """Return the entry of ``PATH REASON...``; a run is the reason where there is none.

    A file that does not exist is one that a preset wrote.
    """
    path, *reasons = words.split()
    place = base / path[1:]
    kind = "link" if place.is_symlink() else "dir" if place.is_dir() else "file"
    mode = place.lstat().st_mode & 0o7777 if place.exists() else 0o644
    target = os.readlink(os.fsencode(place)) if kind == "link" else b""
    text = b"" if place.exists() else b"text"
    why = tuple(reasons or ["run:default"])
    return Entry(kind, mode, 0, 0, os.fsencode(path), target, why, text=text)
