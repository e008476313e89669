"""`DebugTools`: tools to look into a container with, as one more layer for an image beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import progress
from ...fs.target import replacing
from .. import tools
from ..nodes import step_of, top_of
from ..project import Project
from ..variables import read
from .ldd import elf_machine
from .step import ImageParts, Plan, Step, StepKind, require_sources

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class DebugStep(Step):
    """Pack busybox, strace and gdb of the machine; target: a layer."""

    top: bytes = field(repr=False)
    """The project's directory, absolute."""

    def tools(self) -> tuple[str, ...]:
        """Return the reader of ELF files, and the processor, whose machine the tools are for."""
        return tools.elf_reader(), tools.processor()

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the layer for an image whose ldd text is `sources[0]`."""
        from ...fs.overlay import Overlay
        from ...image import layer
        from ...inspect import debug_tools

        debug_tools.require_machine(elf_machine(sources))
        view = Overlay(root, self.top)
        found = debug_tools.collect(view)
        progress.current().expect(layer.size(found.entries, view))
        with replacing(targets[0]) as sink:
            written = layer.write(sink, found.entries, view)
        line = f"{', '.join(found.names)}, {written.size / 1e6:.1f} MB"
        lacks = [f"{each} is left out: apt-get install {each}" for each in found.missing]
        return "\n".join([line, *lacks])


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:  # noqa: ARG001
    """Pack busybox, strace and gdb of the machine below ``/debug``: ``STEM.debug.tar``.

    The source is the ldd text of an image, which names its architecture. The target is a layer.
    """
    require_sources("pack debug tools for", target, source, "one .ldd")
    return Plan(DebugStep(name, top_of(target[0])), target, source, has_root=False)


def _follow(env: Any, given: Mapping[str, Any], parts: ImageParts, tools: list[Any]) -> list[Any]:
    """Declare the image of the same layers and of `tools`; return its archive and its load."""
    tags = [f"{tag.familiar}-debug" for tag in step_of(parts.archive[0]).references]
    stem = f"{parts.stem}.debug"
    sources = [*parts.layers, *tools, *parts.ldd, *parts.traces]
    own = {**given, "IMAGE_TAG": tags}
    archive = list(env.OciImage(stem, sources, **own))
    answers = Project.of(env).answers(read(env.Override(given), "DOCKER_HOST"))
    return archive + (list(env.DockerLoad(stem, archive, **own)) if answers else [])


KIND = StepKind(
    "TOOLS",
    plan,
    (".debug.tar",),
    help="an image beside it that has tools to debug it with",
    request=lambda parts: [(parts.stem, parts.ldd)],
    follow=_follow,
)
