"""The state of an image that an engine or a registry has under a tag."""

from __future__ import annotations

from ..errors import ScratchImageError

REMOTE = ("image", "tag")
"""The aspects (see `fs.root`) that no file system has: an engine's image, a registry's tag."""


def remote_state(path: bytes, aspect: str) -> str:
    """Return the digest under the "path" of a remote `aspect`, or a word; never raises."""
    try:
        find = _registry_digest if aspect == "tag" else _engine_image
        return find(path.decode()) or "absent"
    except (ScratchImageError, UnicodeDecodeError) as error:
        return unknown_state(error)


def _registry_digest(text: str) -> str:
    from ..publish import registry
    from ..publish.registry import Tag

    return str(registry.digest_of(Tag.parse(text)) or "")


def _engine_image(text: str) -> str:
    from ..publish import engine

    address, _, name = text.partition(" ")
    return engine.image_id(address, name) or ""


def unknown_state(error: Exception) -> str:
    """Return the state of a file that may not be read, or of an engine that is down.

    It is a state like any other: the step that runs because of it reports the error.
    """
    return f"unknown {error}"
