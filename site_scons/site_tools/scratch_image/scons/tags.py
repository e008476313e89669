"""The tags of an image, which no two images of a project share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import InputError
from ..image.reference import Reference
from .nodes import step_of
from .project import Project
from .sconscript import user_place
from .variables import read


def tags_of(name: str, env: Any) -> tuple[Reference, ...]:
    """Return the tags of the image whose files have the stem `name`; InputError for a bad tag."""
    return tuple(map(Reference.parse, read(env, "IMAGE_TAG") or [name]))


def archive_tags(archive: Any, name: str, env: Any) -> tuple[Reference, ...]:
    """Return the tags of the image whose `archive` is a node: those in it, if we make it."""
    step = step_of(archive)
    return step.references if step else tags_of(name, env)


def claim_tags(name: str, env: Any, target: Any) -> tuple[Reference, ...]:
    """Return the tags of the image `target`; InputError when another image has one of them."""
    tags = tags_of(name, env)
    claim(Project.of(env), tags, target.get_internal_path())
    return tags


def claim(project: Project, tags: Iterable[Reference], image: str) -> None:
    """Note that the target `image` has the `tags`; InputError when another one has one of them."""
    for tag in tags:
        owner, place = project.tags.setdefault(tag.canonical, (image, user_place()))
        if owner != image:
            raise InputError(
                f"tag image {tag.familiar}",
                f"{owner} ({place}) has that tag",
                "give each image its own",
            )
