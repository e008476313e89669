"""The sources of a file list: records of runs, strace's and ldd's texts, and extra lists."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..elf import closure
from ..fs import globs
from ..fs.lookup import FileKind
from ..fs.overlay import Overlay
from ..trace.log import parse_captured
from ..trace.record import read_record
from ..trace.resolution import resolve
from . import extra_list
from .exclusions import is_made_by_runtime
from .extra_list import Extra, LineKind
from .request import from_extras, from_ldd, from_listings, from_record, from_staged

if TYPE_CHECKING:
    from ..elf.closure import LddRow
    from ..elf.link_map import Missing
    from ..fs.overlay import OverlaidFiles
    from ..trace.record import Record
    from .list_options import ListOptions


class Sources:
    """All that the sources of a file list request together."""

    def __init__(self, view: Overlay, options: ListOptions) -> None:
        """Begin with the staged files alone."""
        self.requests = [*from_staged(view.below, options.staged)]
        self.runs: list[tuple[str, Record]] = []
        """Names of runs, each with its record."""
        self.rows: list[LddRow] = []
        """Of ldd texts."""
        self.missing: list[Missing] = []
        """Of ldd texts."""
        self.left_out: list[re.Pattern[bytes]] = []
        """Patterns of the paths that extra lists leave out."""
        self._listed = options.listed

    def add(self, view: Overlay, form: str, name: str, file: str, text: bytes) -> None:
        """Add the requests of the source `text`; its `form` is record, strace, ldd or extra.

        `name` is that of the run, or of the extra list; `file` is the path of the text in messages.
        """
        if form == "record":
            self._add_record(view, name, read_record(text))
        elif form == "strace":
            # The time of the run is unknown, so all files that were open for writing are outputs.
            record = resolve(parse_captured(text, file), view.below, started_ns=0)
            self._add_record(view, name, record)
        elif form == "ldd":
            rows = closure.read_closures(text, file)
            self.rows += rows
            self.missing += closure.read_missing(text)
            self.requests += from_ldd(rows)
        else:
            extras = read_extras(view, name, text)
            self.requests += from_extras(view, extras)
            self.left_out += left_out_patterns(extras)

    def _add_record(self, view: Overlay, run: str, record: Record) -> None:
        self.runs.append((run, record))
        self.requests += from_record(record, run)
        self.requests += from_listings(view, record, run, self._listed)

    def missing_libraries(self) -> list[Missing]:
        """Return the libraries that neither an ldd text names nor a run loaded.

        A run may find one by what a script, or the program itself, sets (LD_LIBRARY_PATH, dlopen).
        """
        uses = [use for _, record in self.runs for use in record.uses]
        loads = [use for use in uses if use.kind in ("read", "link", "exec")]
        loaded = {os.path.basename(use.path) for use in loads}
        return [each for each in self.missing if os.path.basename(each.name) not in loaded]

    def files_with_libraries(self, view: Overlay) -> frozenset[bytes]:
        """Return the files of ldd texts: these texts have the libraries of each file, too."""
        return frozenset(view.walk(row.path).real for row in self.rows)

    def programs(self) -> list[bytes]:
        """Return the programs of the ldd texts."""
        return [row.path for row in self.rows if row.kind == "program"]

    def lines(self, view: Overlay) -> dict[bytes, list[str]]:
        """Return by path the lines of extra lists that request it."""
        found: dict[bytes, set[str]] = {}
        for each in self.requests:
            if each.line:
                found.setdefault(view.walk(each.path, follow=False).real, set()).add(each.line)
        return {path: sorted(lines) for path, lines in found.items()}

    def skipped_paths(self, view: Overlay | OverlaidFiles) -> list[bytes]:
        """Return the devices, FIFOs and sockets in the directories that lists name, sorted."""
        found = set()
        for each in self.requests:
            if each.line or each.reason.startswith("listed-by:"):
                status = view.files.status(each.path)
                if status is not None and status.kind is FileKind.OTHER:
                    found.add(each.path)
        return sorted(
            path
            for path in found
            if not is_made_by_runtime(path)
            and not any(rule.fullmatch(path) for rule in self.left_out)
        )

    def explicit_files(self, view: Overlay) -> frozenset[bytes]:
        """Return the files that a line of an extra list names."""
        return frozenset(view.walk(each.path).real for each in self.requests if each.is_explicit)


def read_extras(view: Overlay, name: str, text: bytes) -> tuple[Extra, ...]:
    """Return the lines of the extra list `text`, and of the lists that it includes."""
    return extra_list.parse(text, name, lambda included: _project_file(view, included))


def left_out_patterns(found: Iterable[Extra]) -> list[re.Pattern[bytes]]:
    """Return patterns of the paths that extra lists leave out."""
    return [globs.matcher(extra.path) for extra in found if extra.kind is LineKind.OUT]


def _project_file(view: Overlay, name: str) -> bytes:
    """Return the text of the project's file `name`; OSError when there is none."""
    found = view.below.walk(view.source(os.fsencode(name)))
    if found.status is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with view.below.open(found.real) as stream:
        return stream.read()
