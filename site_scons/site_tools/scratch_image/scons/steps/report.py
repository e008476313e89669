"""`ImageReport`: a page of an image's settings, layers and files, and why it has these."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...fs.target import write
from ...sandbox import process
from ..nodes import step_of
from .file_list import ListStep, find_mentions, is_extra_list
from .step import Plan, Step, StepKind, content
from .trace import is_traced

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class ReportStep(Step):
    """Describe the content of an image; target: a page."""

    listing: ListStep
    """The step that made the list."""
    commands: tuple[tuple[str, str], ...]
    """Names and command lines of runs."""
    has_archive: bool = True
    """Whether the third source is the image archive."""

    def inherit(self, root: Root) -> ReportStep:
        """Return the step with the options of its list as they are in the base's image."""
        return replace(self, listing=self.listing.inherit(root))

    def tools(self) -> tuple[str, ...]:
        """Return what the findings of lint depend on."""
        return self.listing.tools()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the page of a list, its layers, and the image archive if that is a source.

        The list's own sources follow.
        """
        from ...files import file_list, package_records
        from ...files.entry import read_list
        from ...inspect import report, report_facts

        entries, view = read_list(root, self.listing.top, sources[0])
        request = self.listing.read(view, sources[3 if self.has_archive else 2 :])
        commands = dict(self.commands)
        found = ((entry.path, package_records.owner(view, entry)) for entry in entries)
        page = report.Report(
            self.name,
            entries,
            report_facts.read_layers(sources[1]),
            [
                report.RunSummary(name, commands.get(name, ""), record)
                for name, record in request.runs
            ],
            [*map(str, file_list.find_gaps(view, entries, request, self.listing.options))],
            {path: owned.package.name for path, owned in found if owned},
            report_facts.read_image(sources[2]) if self.has_archive else None,
        )
        # The page shows what changed since the last report. No other step depends on the page.
        earlier = content(targets[0]) if os.path.exists(targets[0]) else b""
        write(targets[0], [report.page(page, earlier)])
        return f"{len(entries)} paths, {len(page.findings)} findings"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Describe what is in the image, and why: ``STEM.report.html``.

    The sources are the targets of `FileList`, `LayerTar` and `OciImage`. Without the last one the
    page has no settings of the image. The target is one page, which needs no network.
    """
    listing = step_of(source[0]) if len(source) in (2, 3) else None
    if not isinstance(listing, ListStep):
        raise InputError(
            f"report on {target[0]}",
            "it is made of a file list, its layer and the image archive",
            "name what FileList, LayerTar and OciImage made",
        )
    lists = source[0].sources
    commands = {
        step_of(node).command.name: process.command_line(step_of(node).command.argv)
        for node in lists
        if is_traced(node)
    }
    step = ReportStep(name, listing, tuple(sorted(commands.items())), len(source) == 3)
    extra_lists = [node for node in lists if is_extra_list(node)]
    return Plan(
        step, target, [*source, *lists], mentions=functools.partial(find_mentions, extra_lists)
    )


KIND = StepKind(
    "PAGE",
    plan,
    (".report.html",),
    help="a page that shows what is in it, and why",
    request=lambda parts: [(parts.stem, [*parts.files, *parts.layers, *parts.archive])],
)
