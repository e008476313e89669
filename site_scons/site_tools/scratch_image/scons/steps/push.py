"""`RegistryPush`: an image in registries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...fs.target import write
from ...publish.registry import Tag
from ..project import archive_tags
from ..variables import read
from .step import Plan, Step, StepKind, neighbours, require_sources, shorten

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class PushStep(Step):
    """Give an image to registries; target: a line for each tag, with the digest."""

    tags: tuple[Tag, ...]

    def has_work(self) -> bool:
        """Tell whether one of the tags names a registry."""
        return bool(self.tags)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Push the archive `sources[0]`, of one image or an index."""
        from ...fs.root import Aspect
        from ...publish import push

        # The registry can mount layers that other images of the tree have brought.
        for other in neighbours(targets[0], b".pushed"):
            push.recall(other)
        if not self.tags:
            raise InputError(
                f"push {self.name}", "none of its tags names a registry", "write HOST/NAME:TAG"
            )
        pushed = push.push(sources[0], self.tags)
        for tag in self.tags:
            root.know(str(tag).encode(), Aspect.TAG, str(pushed.digest))
        write(targets[0], [f"{tag.shown}@{pushed.digest}\n".encode() for tag in self.tags])
        names = shorten([tag.shown for tag in self.tags])
        return f"{names} {pushed.digest.short}, sent {pushed.sent / 1e6:.1f} MB"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Give an image archive, or an index, to the registries that its tags name: ``STEM.pushed``.

    The target has a line for each such tag: what the registry has there, by digest.
    """
    require_sources("push", target, source, "one image archive")
    references, insecure = archive_tags(source[0], name, env), read(env, "REGISTRY_INSECURE")
    tags = tuple(Tag.of(each, insecure) for each in references if each.hosted)
    return Plan(PushStep(name, tags), target, source[:1])


KIND = StepKind(
    "PUSH",
    plan,
    (".pushed",),
    help="gives it to the registries that its tags name",
    request=lambda parts: [(parts.stem, parts.archive)],
    is_per_platform=False,
)
