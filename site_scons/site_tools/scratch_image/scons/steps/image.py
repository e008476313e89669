"""`OciImage`: an image of layers."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ... import progress
from ...files.secret_refusal import refuse_settings
from ...fs.target import replacing
from ...image.reference import Reference
from ...image.settings import Settings
from .. import tools
from ..bases import SETTINGS, Inheritance, image_env
from ..nodes import step_of, suffix
from ..project import claim_tags
from ..variables import read
from .ldd import elf_machine
from .step import Plan, Step, StepKind, content, require_sources
from .trace import is_traced

if TYPE_CHECKING:
    from ...fs.root import Root


@dataclass(frozen=True)
class ImageStep(Step):
    """Make an image of layers; target: the image archive."""

    layers: int
    """Number of the sources that are layers or stacks: they come first, the lowest layer first.

    The ldd text of the image's program may follow: its architecture is the image's. Without one
    the image is for this machine's.
    """
    settings: Settings
    references: tuple[Reference, ...]
    address: str = field(repr=False)
    """Of the engine that the image is for; the step only looks whether it answers."""
    runs: tuple[str, ...] = ()
    """Names of the runs whose records are the last sources: the image's user can repeat them."""
    base: Inheritance = field(default_factory=Inheritance)

    def inherit(self, root: Root) -> ImageStep:
        """Return the step with the settings of the image that its base was made of."""
        return replace(self, settings=self.base.settle(self.settings, root))

    def tools(self) -> tuple[str, ...]:
        """Return the processor: without an ldd text the image is for its architecture."""
        return (tools.processor(),)

    def run(self, root: Root, targets: Sequence[bytes], sources: Sequence[bytes]) -> str:
        """Write the archive of the image; InputError when its settings keep it from starting."""
        from ...image import archive, layer_stack, permissions
        from ...image.config import Image, architecture
        from ...image.rootfs import Contents
        from ...publish import ping
        from ...trace.record import read_record

        rest = sources[self.layers :]
        texts, records = rest[: len(rest) - len(self.runs)], rest[len(rest) - len(self.runs) :]
        contents = Contents()
        paths = sources[: self.layers]
        # Each file is read twice: to hash it, and to copy it.
        files = [file for path in paths for file in layer_stack.files(path)]
        progress.current().expect(2 * sum(map(os.path.getsize, files)))
        blobs = [blob for path in paths for blob in layer_stack.read(path, contents.add)]
        settings = replace(self.settings, architecture=architecture(elf_machine(texts)))
        image = Image(settings, tuple(blob.layer for blob in blobs))
        contents.require(settings)
        read_records = [read_record(content(path)) for path in records]
        permissions.require(contents, settings, dict(zip(self.runs, read_records, strict=True)))
        with replacing(targets[0]) as sink:
            archive.write(sink, image, [blob.path for blob in blobs], self.references)
        digest = image.manifest.config.digest.short
        if ping.answers(self.address):
            return digest
        path = os.path.relpath(os.fsdecode(targets[0]))
        return f"{digest}\nno engine answers at {self.address}: docker load -i {path}"


def plan(name: str, target: list[Any], source: list[Any], env: Any) -> Plan:
    """Make an image of layers: ``STEM.oci.tar``.

    The sources are layers, the lowest first, and the program's ldd text, which names the
    architecture. Where the image has a user who is not root, the targets of `Strace` are sources,
    too: that user has to be able to read the files that the runs have read. The target is an OCI
    layout, and ``docker load`` takes it.
    """
    require_sources("make image", target, source, "layers, and the program's .ldd", sys.maxsize)
    references = claim_tags(name, env, target[0])
    texts = [node for node in source if suffix(node) == ".ldd"]
    layers = [node for node in source if node not in texts and not is_traced(node)]
    settings = _settings(env)
    traced = [node for node in source if is_traced(node) and suffix(node) == ".trace"]
    base = Inheritance.of(env, SETTINGS)
    records = [] if settings.is_roots and "user" not in base.names else traced
    step = ImageStep(
        name,
        len(layers),
        settings,
        references,
        read(env, "DOCKER_HOST"),
        tuple(step_of(node).command.name for node in records),
        base,
    )
    return Plan(step, target, [*layers, *texts, *records])


def _settings(env: Any) -> Settings:
    settings = Settings(
        created=read(env, "SOURCE_DATE_EPOCH"),
        entrypoint=read(env, "IMAGE_ENTRYPOINT"),
        cmd=read(env, "IMAGE_CMD"),
        env=sort_names(image_env(env)),
        user=read(env, "IMAGE_USER"),
        workdir=read(env, "IMAGE_WORKDIR"),
        labels=sort_names(read(env, "IMAGE_LABELS")),
        ports=read(env, "IMAGE_PORTS"),
        volumes=read(env, "IMAGE_VOLUMES"),
        stop_signal=read(env, "IMAGE_STOP_SIGNAL"),
        health_check=read(env, "IMAGE_HEALTHCHECK"),
        annotations=sort_names(read(env, "IMAGE_ANNOTATIONS")),
    )
    settings.check()
    check = settings.health_check
    commands = {
        "IMAGE_ENTRYPOINT": settings.entrypoint,
        "IMAGE_CMD": settings.cmd,
        "IMAGE_HEALTHCHECK": check.command if check else (),
    }
    variables = {**settings.env, **settings.labels, **settings.annotations}
    refuse_settings(read(env, "IMAGE_ALLOW"), variables, commands)
    return settings


def sort_names(given: Mapping[str, str]) -> dict[str, str]:
    """Return `given` in the order of its names: order has no meaning there."""
    return dict(sorted(given.items()))


KIND = StepKind("IMAGE", plan, (".oci.tar",))
