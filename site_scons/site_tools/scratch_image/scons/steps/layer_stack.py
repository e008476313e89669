"""`LayerStack`: the files of a list, a layer for each Debian package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import progress
from ...fs.target import write
from ...image import compression, layer_stack
from ..nodes import top_of
from ..variables import read
from .step import Plan, Step, StepKind, neighbours, require_sources

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class StackStep(Step):
    """Pack the files of a list by package; target: the list of layers, with blobs beside it."""

    suffix: str
    """A key of `compression.MEDIA_TYPES`: the compression of the blobs."""
    compressor: str
    """As in `LayerStep`."""
    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the blobs of the file list `sources[0]`, or link to those of other images."""
        from ...files import bytecode
        from ...files.entry import read_list
        from ...fs.root import Aspect

        entries, view = read_list(root, self.top, sources[0])
        bytecode.date_sources(view, entries)
        # Directories beside the project hold no images of its tree.
        is_tree = os.path.dirname(targets[0]) != self.top
        for other in [targets[0], *(neighbours(targets[0], layer_stack.SUFFIX) if is_tree else ())]:
            layer_stack.recall(other)
        groups = layer_stack.plan(view, entries)
        progress.current().expect(layer_stack.size(groups, view))
        packed = [layer_stack.pack(targets[0], group, view, self.suffix) for group in groups]
        blobs = [blob for blob, _ in packed]
        write(targets[0], [layer_stack.write(blobs, self.compressor)])
        layer_stack.keep(targets[0], blobs)
        for blob in blobs:
            # A blob that goes, or changes, is made again.
            root.look(blob.path, Aspect.CONTENT)
        sizes = [blob.layer.size for blob in blobs]
        new = sum(blob.layer.size for blob, is_new in packed if is_new)
        return f"{len(blobs)} layers, {sum(sizes) / 1e6:.1f} MB, {new / 1e6:.1f} MB of it new"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Pack the files of a list, a layer for each Debian package: ``STEM.layers``.

    The target has a line for each layer; the blobs lie in ``STEM.blobs``. A layer that another
    image of the tree has is not packed again.
    """
    require_sources("pack", target, source, "one file list")
    suffix = compression.suffix_of(os.fsencode(f"{target[0]}{read(env, 'LAYERTARSUFFIX')}"))
    step = StackStep(name, suffix, compression.compressor(suffix), top_of(target[0]))
    blobs = layer_stack.blobs(os.fsencode(target[0].get_abspath()))
    return Plan(step, target, source, beside=[blobs])


KIND = StepKind("TAR", plan, (".layers",))
