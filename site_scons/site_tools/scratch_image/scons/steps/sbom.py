"""`Sbom`: a bill of materials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...fs.target import write
from ...inspect import sbom
from .. import tools
from ..nodes import suffix, top_of
from .step import ImageParts, Plan, Step, StepKind

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class SbomStep(Step):
    """Name the packages and files of an image; target: its bill of materials."""

    suffix: str
    """A key of `sbom.FORMS`."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def tools(self) -> tuple[str, ...]:
        """Return the libraries that write the bill."""
        return (tools.libraries(*sbom.WRITERS[self.suffix]),)

    def shared_words(self) -> tuple[str, ...]:
        """Return the step itself, and its tools."""
        return repr(self), *self.tools()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the bill of the file list `sources[0]` and the image archive `sources[1]`."""
        from ...files.entry import read_list
        from ...image import archive

        entries, view = read_list(root, self.top, sources[0])
        bill = sbom.bill(view, entries, archive.read(sources[1]))
        write(targets[0], [sbom.write(bill, self.suffix)])
        form = sbom.FORMS[self.suffix]
        return f"{form}, {len(bill.files)} files of {len(bill.packages)} packages"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Write a bill of materials: ``STEM.spdx.json`` in SPDX, ``STEM.cdx.json`` in CycloneDX.

    The sources are a file list and its image archive.
    """
    form = sbom.suffix(str(target[0]))
    if [suffix(node) for node in source] != [".files", ".tar"]:
        raise InputError(
            f"make bill of materials {target[0]}",
            "it is made of a file list and an image archive",
            "name just these, in this order",
        )
    return Plan(SbomStep(name, form, top_of(target[0])), target, source)


def _request(parts: ImageParts) -> list[tuple[str, Sequence[Any]]]:
    return [(f"{parts.stem}{form}", [*parts.files, *parts.archive]) for form in sbom.FORMS]


KIND = StepKind(
    "SBOM",
    plan,
    ("", *sbom.FORMS),
    help="bills of materials, in SPDX and CycloneDX",
    request=_request,
)
