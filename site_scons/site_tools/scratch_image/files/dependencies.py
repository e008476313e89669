"""What the listed files themselves need: libraries, loaders and interpreters.

Of a program the ldd text tells; this is for all other files: plugins, extension modules, programs
that a run started, and what extra lists bring.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..elf.closure import closures, require
from ..errors import ElfError
from ..fs.overlay import Overlay
from ..fs.paths import escape, show
from .file_list import Entry, Want, of_closure

_OF_A_RUN = ("run:", "target-of:", "needed-by:", "loader-of:", "interpreter-of:", "listed-by:")
"""Reasons of a script that need not be able to start: a run that started it shows what it needs."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What listed files need."""

    wants: tuple[Want, ...]
    findings: tuple[str, ...]
    """What is missing of files that nobody named, a line each."""


def find(
    view: Overlay,
    entries: Iterable[Entry],
    covered: Collection[bytes],
    named: Collection[bytes],
    environment: Mapping[bytes, bytes],
) -> Needs:
    """Return what the ELF files and scripts among `entries` need, but for those `covered`.

    A script needs its interpreter when it may be executed and was brought by more than a run, and
    the program that ``env`` starts for it in `environment`. Libraries and programs of a listed
    name count as found: a plugin's are often loaded by its program. ElfError when something is
    missing for a path in `named`, for which the user asked by its name; for all others that is a
    finding.
    """
    listed = list(entries)
    names = {os.path.basename(entry.path) for entry in listed}
    wants: list[Want] = []
    findings = []
    # What a library needs is in the closure of the program that needs it.
    done = set(covered)
    for path in _users(view, listed, done):
        try:
            for found in closures(view, path, environment):
                if found.path != path:
                    wants.append(Want(found.path, f"interpreter-of:{escape(path).decode()}"))
                wants += of_closure(found)
                done |= {view.walk(library.path).real for library in found.libraries}
                require([one for one in found.missing if os.path.basename(one.name) not in names])
        except ElfError as error:
            if path in named:
                raise
            findings.append(f"{show(path)}: {error}")
    return Needs(tuple(wants), tuple(findings))


def _users(view: Overlay, entries: Iterable[Entry], done: Collection[bytes]) -> Iterator[bytes]:
    """Yield the paths of the files, but for those `done`, that need others to load or start."""
    for entry in entries:
        if entry.kind != "file" or entry.text or entry.path in done:
            continue
        magic = view.magic(entry.path)
        if magic == "elf" or (magic == "script" and entry.mode & 0o111 and _is_to_run(entry)):
            yield entry.path


def _is_to_run(entry: Entry) -> bool:
    return not all(reason.startswith(_OF_A_RUN) for reason in entry.reasons)
