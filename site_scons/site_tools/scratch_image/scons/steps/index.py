"""`ImageIndex`: an image for several platforms."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import progress
from ...errors import InputError
from ...files.secret_refusal import refuse_settings
from ...fs.paths import show
from ...fs.target import replacing
from ...image import config
from ...image.labels import check_labels
from ...image.reference import Reference
from ..project import claim_tags
from ..variables import read
from .image import sort_names
from .step import Plan, Step, StepKind, require_sources

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class IndexStep(Step):
    """Join images of one platform each; target: the archive of a multi-platform image."""

    platforms: tuple[str, ...]
    """The architecture that each image has to have; empty where any will do."""
    references: tuple[Reference, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the index of the image archives `sources`, in their order."""
        from ...image import archive

        images = [archive.read(path) for path in sources]
        blobs = {each: blob for image in images for each, blob in image.blobs.items()}
        progress.current().expect(sum(blob.size for blob in blobs.values()))
        for image, wanted in zip(images, self.platforms, strict=bool(self.platforms)):
            if image.architecture != wanted:
                raise InputError(
                    f"index {show(image.path)} for {wanted}",
                    f"its program is for {image.architecture}",
                    "give the platform's own program and base",
                )
        with replacing(targets[0]) as sink:
            digest = archive.write_index(sink, images, self.references, self.annotations)
        return f"{digest.short} for {', '.join(image.architecture for image in images)}"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Join image archives, one for each platform: ``STEM.index.oci.tar``.

    The target is an OCI layout with an image index.
    """
    require_sources("index", target, source, "image archives", sys.maxsize)
    platforms = platforms_of(read(env, "IMAGE_PLATFORMS"))
    if platforms and len(platforms) != len(source):
        raise InputError(
            f"index {target[0]}",
            f"it has {len(source)} images for {len(platforms)} platforms",
            "give one for each, in their order",
        )
    references = claim_tags(name, env, target[0])
    annotations = check_labels(sort_names(read(env, "IMAGE_ANNOTATIONS")))
    refuse_settings(read(env, "IMAGE_ALLOW"), annotations, {})
    step = IndexStep(name, tuple(platforms.values()), references, annotations)
    return Plan(step, target, source)


def platforms_of(names: Iterable[str]) -> dict[str, str]:
    """Return the architectures of the platforms `names`; InputError when one is there twice."""
    found = {name: config.architecture_of(name) for name in names}
    for name, architecture in found.items():
        if list(found.values()).count(architecture) > 1:
            raise InputError(
                f"build for platform {name!r}",
                f"another one is for {architecture}, too",
                "name each once",
            )
    return found


KIND = StepKind("INDEX", plan, (".index.oci.tar",))
