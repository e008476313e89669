"""Dependencies of listed files: libraries, loaders and interpreters.

The ldd text has those of the image's program. These are for all other files: plugins, extension
modules, programs that a run started, and files of extra lists.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..elf.closure import Closure, Closures, require
from ..errors import ElfError
from ..fs.overlay import Overlay
from ..fs.paths import escape, show
from .entry import Entry
from .finding import Finding, Rank
from .request import Request, from_closure

_NOT_TO_RUN = (
    *("run:", "target-of:", "needed-by:", "loader-of:", "interpreter-of:", "listed-by:"),
    *("preset:node-modules", "preset:perl-modules", "preset:python-imports"),
)
"""Reasons of scripts that need not start: a run that started one has shown its dependencies, and
a program does not start the modules that it imports."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The dependencies of listed files."""

    requests: tuple[Request, ...]
    findings: tuple[Finding, ...]
    """Missing dependencies of files that no line of an extra list names."""


def find(
    view: Overlay,
    entries: Iterable[Entry],
    done: Collection[bytes],
    explicit: Collection[bytes],
    environment: Mapping[bytes, bytes],
    programs: Iterable[bytes] = (),
) -> Dependencies:
    """Return the dependencies of the ELF files and scripts among `entries`, but for those `done`.

    `programs` are the image's: libraries among `entries` are searched as they search theirs.
    A script that is executable, and that not only runs brought, depends on its interpreter and on
    the program that ``env`` starts for it in `environment`. A library or program whose name is
    listed counts as found. A missing one is an ElfError for the paths in `explicit`, which lines of
    extra lists name; else a finding.
    """
    listed = list(entries)
    names = {os.path.basename(entry.path) for entry in listed}
    requests: list[Request] = []
    findings, done = [], set(done)
    users = list(_users(view, listed, done))
    image = _image(view, environment, programs if users else ())
    links = _links(view, listed) if users else {}
    for path in image.order(users):
        if path in done:
            continue
        paths = [path, *links.get(path, ())]
        try:
            for found in _closures(image, paths):
                if found.path not in paths:
                    requests.append(Request(found.path, f"interpreter-of:{escape(path).decode()}"))
                requests += from_closure(found)
                done |= {view.walk(library.path).real for library in found.libraries}
                require([one for one in found.missing if os.path.basename(one.name) not in names])
        except ElfError as error:
            if path in explicit:
                raise
            what = show(path)
            findings.append(Finding(Rank.BROKEN, f"the use of {what}", error.cause, error.hint))
    return Dependencies(tuple(requests), tuple(findings))


def _image(
    view: Overlay, environment: Mapping[bytes, bytes], programs: Iterable[bytes]
) -> Closures:
    """Return the closures of an image of `programs`."""
    image = Closures(view, environment)
    for program in programs:
        # An ldd text that a user keeps may name what is no program here.
        with contextlib.suppress(ElfError):
            image.find(program)
    return image


def _links(view: Overlay, entries: Iterable[Entry]) -> dict[bytes, list[bytes]]:
    """Return the links of libraries among `entries`, by the paths that they lead to."""
    links: dict[bytes, list[bytes]] = {}
    for entry in entries:
        if entry.kind == "link" and b".so" in os.path.basename(entry.path):
            links.setdefault(view.walk(entry.path).real, []).append(entry.path)
    return links


def _closures(image: Closures, paths: Sequence[bytes]) -> list[Closure]:
    """Return the closures of the first of `paths` that misses nothing, or of the first of all.

    They are paths of one file: a library is searched from where a program opens it.
    """
    found = image.find(paths[0])
    for path in paths[1:]:
        if not any(each.missing for each in found):
            break
        other = image.find(path)
        found = found if any(each.missing for each in other) else other
    return found


def _users(view: Overlay, entries: Iterable[Entry], done: Collection[bytes]) -> Iterator[bytes]:
    """Yield the paths of the files, but for those `done`, that may depend on other files."""
    for entry in entries:
        if entry.kind != "file" or entry.text or entry.path in done:
            continue
        magic = view.magic(entry.path)
        if magic == "elf" or (magic == "script" and entry.mode & 0o111 and _is_to_run(entry)):
            yield entry.path


def _is_to_run(entry: Entry) -> bool:
    return not all(reason.startswith(_NOT_TO_RUN) for reason in entry.reasons)
