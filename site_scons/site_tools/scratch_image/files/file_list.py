"""The file list of an image: what its sources, their dependencies, presets and packages request."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..elf import closure
from ..fs.file_system import FileSystem
from ..fs.lookup import FileKind, Status
from ..fs.overlay import OverlaidFiles, Overlay
from . import dependencies, dpkg, imports, lint, package_records, presets
from .account_files import kept_accounts
from .entry import Entry
from .finding import Examined, Finding
from .list_options import ListOptions
from .list_sources import Sources
from .merge import Merge
from .secret_refusal import refuse_content


@dataclass(frozen=True, slots=True)
class FileList:
    """A file list, and how it came about."""

    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    """Those of `find_gaps`."""
    certificates_for: str
    """The file for which certificates were added; empty if none were."""
    accounts: tuple[str, ...]
    """The accounts in account files that were written for the image."""


def build(view: Overlay, sources: Sources, options: ListOptions) -> FileList:
    """Return the list of all files that `sources` and `options` bring; `view` gets new files.

    ElfError for a missing library, ListError for a path that cannot be listed or is a secret.
    """
    closure.require(sources.missing_libraries())
    merge = Merge(view, options.allow, sources.left_out)
    traced, gaps = _with_dependencies(view, sources, options, merge)
    image = presets.ListedImage(traced, options.user, options.locales, options.accounts)
    entries = merge.extend(presets.requests(view, image, {*options.presets} - {*imports.PRESETS}))
    if options.packages:
        release = package_records.release_requests(view, entries, with_copyright=options.copyright)
        entries = merge.extend(package_records.record_requests(view, merge.extend(release)))
    refuse_content(view, entries, options.allow)
    user = presets.lacks_certificates(view, traced)
    is_fixed = user and not presets.lacks_certificates(view.files, entries)
    findings = _lint(view.files, entries, sources, options, gaps)
    return FileList(entries, findings, user if is_fixed else "", kept_accounts(entries))


def find_gaps(
    view: Overlay, entries: Sequence[Entry], sources: Sources, options: ListOptions
) -> tuple[Finding, ...]:
    """Return the findings about `entries`, the list that `build` returns: lint's, on the record."""
    merge = Merge(view, options.allow, sources.left_out)
    _, gaps = _with_dependencies(view, sources, options, merge)
    return _lint(view, entries, sources, options, gaps)


def _with_dependencies(
    view: Overlay, sources: Sources, options: ListOptions, merge: Merge
) -> tuple[tuple[Entry, ...], tuple[Finding, ...]]:
    """Return the entries that `sources` and modules bring with all that these need, and the gaps.

    `merge` gets their requests.
    """
    find = functools.partial(
        dependencies.find,
        view,
        explicit=sources.explicit_files(view),
        environment=dict(options.environment),
        programs=sources.programs(),
    )
    done = sources.files_with_libraries(view)
    found = find(merge.extend(sources.requests), done)
    entries = merge.extend(found.requests)
    modules = [*imports.requests(_examination(view, entries, sources, options), options.presets)]
    if not modules:
        return entries, found.findings
    done |= {entry.path for entry in entries}
    more = find(merge.extend(modules), done)
    return merge.extend(more.requests), (*found.findings, *more.findings)


def _lint(
    view: Overlay | OverlaidFiles,
    entries: Sequence[Entry],
    sources: Sources,
    options: ListOptions,
    gaps: Sequence[Finding],
) -> tuple[Finding, ...]:
    image = _examination(view, entries, sources, options)
    return lint.find(image, gaps, sources.skipped_paths(view))


def _examination(
    view: Overlay | OverlaidFiles, entries: Sequence[Entry], sources: Sources, options: ListOptions
) -> Examined:
    return Examined(view, tuple(entries), tuple(sources.runs), frozenset(options.presets))


def describe_remainder(files: FileSystem, entries: Iterable[Entry]) -> str:
    """Return a line about the part of the image in `files` that `entries` do not take.

    Nothing where `files` were not made of an image. Looks at them go on no record.
    """
    image = files.image
    if not image.name:
        return ""
    taken = dict(_taken_files(files, entries))
    size = sum({status.inode: status.size for status in taken.values()}.values())
    inodes = {status.inode for status in taken.values()}
    owners = {path: dpkg.lookup(files, path) for path in taken if image.packages}
    packages = {found.package.key for found in owners.values() if found}
    parts = [f"{image.files - len(inodes)} files"]
    if image.packages:
        parts.append(f"{image.packages - len(packages)} packages")
    return (
        f"{', '.join(parts)} and {(image.size - size) / 1e6:.1f} MB of {image.name} stay behind; "
        "a path in an extra list brings it, scons why/IMAGE WHY=/PATH explains it"
    )


def _taken_files(files: FileSystem, entries: Iterable[Entry]) -> Iterator[tuple[bytes, Status]]:
    """Yield the files of the base among `entries`, by their paths there."""
    for entry in entries:
        place = entry.source or entry.path
        status = None if entry.text or place in files.staged else files.status(place)
        if status is not None and status.kind is FileKind.FILE:
            yield place, status
