"""The file list of an image: what its sources, their dependencies, presets and packages request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..elf import closure
from ..fs.overlay import OverlaidFiles, Overlay
from . import dependencies, lint, package_records, presets
from .dependencies import Dependencies
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


def build(view: Overlay, sources: Sources, options: ListOptions) -> FileList:
    """Return the list of all files that `sources` and `options` bring; `view` gets new files.

    ElfError for a missing library, ListError for a path that cannot be listed or is a secret.
    """
    closure.require(sources.missing_libraries())
    merge = Merge(view, options.allow, sources.left_out)
    found = _dependencies(view, sources, options, merge.extend(sources.requests))
    traced = merge.extend(found.requests)
    image = presets.ListedImage(traced, options.user, options.locales)
    entries = merge.extend(presets.requests(view, image, options.presets))
    if options.packages:
        release = package_records.release_requests(view, entries, with_copyright=options.copyright)
        entries = merge.extend(package_records.record_requests(view, merge.extend(release)))
    refuse_content(view, entries, options.allow)
    user = presets.lacks_certificates(view, traced)
    is_fixed = user and not presets.lacks_certificates(view.files, entries)
    findings = _lint(view.files, entries, sources, options, found)
    return FileList(entries, findings, user if is_fixed else "")


def find_gaps(
    view: Overlay, entries: Sequence[Entry], sources: Sources, options: ListOptions
) -> tuple[Finding, ...]:
    """Return the findings about `entries`, the list that `build` returns: lint's, on the record."""
    listed = Merge(view, options.allow, sources.left_out).extend(sources.requests)
    found = _dependencies(view, sources, options, listed)
    return _lint(view, entries, sources, options, found)


def _lint(
    view: Overlay | OverlaidFiles,
    entries: Sequence[Entry],
    sources: Sources,
    options: ListOptions,
    found: Dependencies,
) -> tuple[Finding, ...]:
    image = Examined(view, tuple(entries), tuple(sources.runs), frozenset(options.presets))
    return lint.find(image, found.findings, sources.skipped_paths(view))


def _dependencies(
    view: Overlay, sources: Sources, options: ListOptions, entries: Sequence[Entry]
) -> Dependencies:
    done, explicit = sources.files_with_libraries(view), sources.explicit_files(view)
    programs = sources.programs()
    return dependencies.find(view, entries, done, explicit, dict(options.environment), programs)
