"""`DockerLoad`: an image in an engine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...fs.digest import Digest
from ...fs.target import write
from ...image.reference import Reference
from ..nodes import sibling
from ..project import archive_tags
from ..variables import read
from .step import Plan, Step, StepKind, content, neighbours, require_sources, shorten

if TYPE_CHECKING:
    from ...fs.root import Root
    from ...publish.engine import LoadedImage


@dataclass(frozen=True)
class LoadStep(Step):
    """Give an image to an engine; targets: the ID that it has there, and the layers with it."""

    references: tuple[Reference, ...]
    address: str

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Load the archive `sources[0]`."""
        from ...fs.root import Aspect
        from ...publish import engine

        # The engine has the layers that it got with this image before, and with other images.
        others = [targets[1], *neighbours(targets[1], b".loaded")]
        loaded = engine.load(self.address, sources[0], [*filter(None, map(_read_loaded, others))])
        for reference in self.references:
            tag = f"{self.address} {reference.familiar}".encode()
            root.know(tag, Aspect.IMAGE, loaded.id)
        write(targets[0], [loaded.id.encode() + b"\n"])
        write(targets[1], [loaded.text()])
        names = shorten([each.familiar for each in self.references])
        return f"{names} {Digest(loaded.id).short}"


def _read_loaded(path: bytes) -> LoadedImage | None:
    """Return the loaded image that the text `path` describes; None where there is no text."""
    from ...publish.engine import LoadedImage

    with suppress(OSError):
        return LoadedImage.read(content(path))
    return None


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Give an image archive to the engine: ``STEM.iid``.

    The target holds the image ID as the engine reports it.
    """
    require_sources("load", target, source, "one image archive")
    step = LoadStep(name, archive_tags(source[0], name, env), read(env, "DOCKER_HOST"))
    return Plan(step, [target[0], sibling(target[0], ".loaded")], source)


KIND = StepKind("LOAD", plan, (".iid",))
