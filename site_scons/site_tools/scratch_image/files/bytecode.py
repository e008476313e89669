"""Python's compiled files: a source keeps the time that a listed .pyc file names.

Python takes ``__pycache__/NAME.cpython-311.pyc`` only while ``NAME.py`` has the modification time
and the size that the .pyc file names (PEP 552, flags 0). A layer has no time later than the epoch.
So a source newer than that would make its .pyc file stale at each start of each container.

The time in the .pyc file is part of the image's bytes anyway. A source that keeps it adds nothing
that could differ between two builds.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from importlib.util import source_from_cache
from typing import TYPE_CHECKING

from ..fs.lookup import Status
from ..fs.root import Aspect

if TYPE_CHECKING:
    from ..fs.overlay import Overlay
    from .entry import Entry

_HEADER = struct.Struct("<4xIII")
"""Flags, and the source's time and size, each modulo 2**32, after the magic number."""


def date_sources(view: Overlay, entries: Iterable[Entry]) -> None:
    """Have the sources in `view` keep their own time where a .pyc file among `entries` names it."""
    files = {entry.path: entry for entry in entries if entry.kind in ("file", "hard")}
    for path, source in _pairs(files):
        # A hard link has the time of the file whose other name it is.
        real = files[source].target or source
        status = view.files.status(real)
        if status is None or files[source].text or status.own_mtime == status.mtime:
            continue
        view.look(real, Aspect.TIME)
        if _names(view, path, status):
            view.keep_time(real)


def _pairs(files: dict[bytes, Entry]) -> Iterator[tuple[bytes, bytes]]:
    """Yield each .pyc file of `files` whose source is there, too, with that source."""
    for path, entry in files.items():
        if path.endswith(b".pyc") and not entry.text:
            try:
                source = os.fsencode(source_from_cache(os.fsdecode(path)))
            except ValueError:
                continue  # It lies in no __pycache__: Python takes it without a source.
            if source in files:
                yield path, source


def _names(view: Overlay, path: bytes, source: Status) -> bool:
    """Tell whether the .pyc file `path` names time and size of `source`."""
    with view.open(path) as stream:
        head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return False
    own = 0, source.own_mtime & 0xFFFFFFFF, source.size & 0xFFFFFFFF
    return _HEADER.unpack(head) == own
