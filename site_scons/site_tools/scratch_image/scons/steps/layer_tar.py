"""`LayerTar`: the files of a list, as one layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import progress
from ...fs.target import replacing
from ...image import compression
from ..nodes import top_of
from .step import Plan, Step, StepKind, require_sources

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class LayerStep(Step):
    """Pack the files of a list; target: one layer, compressed as its suffix says."""

    compressor: str
    """As `compression.compressor` names it: another one gives other bytes."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def shared_words(self) -> tuple[str, ...] | None:
        """Return the step itself if gzip packs its layer: zstd takes less time than a transfer."""
        return (repr(self),) if self.compressor.startswith("zlib ") else None

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the layer of the file list `sources[0]`."""
        from ...files import bytecode
        from ...files.entry import read_list
        from ...image import layer

        entries, view = read_list(root, self.top, sources[0])
        bytecode.date_sources(view, entries)
        progress.current().expect(layer.size(entries, view))
        suffix = compression.suffix_of(targets[0])
        with replacing(targets[0]) as sink, compression.compress(sink, suffix) as stream:
            written = layer.write(stream, entries, view)
        return f"{written.size / 1e6:.1f} MB"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Pack the files of a file list as one deterministic tar: ``STEM.tar``.

    The target may as well end in ``.tar.gz`` or ``.tar.zst``.
    """
    require_sources("pack", target, source, "one file list")
    suffix = compression.suffix_of(os.fsencode(str(target[0])))
    step = LayerStep(name, compression.compressor(suffix), top_of(target[0]))
    return Plan(step, target, source)


KIND = StepKind("TAR", plan, ("$LAYERTARSUFFIX", ".tar", ".tar.gz", ".tar.zst"))
