"""The images of an engine: which one has a tag, and the files that a container of it has."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..errors import EngineError, InputError
from ..fs.digest import Digest
from ..fs.private_file import Format
from .engine_client import ASK_SECONDS, api_errors, ask_error, client, document, get

_FORMAT = Format("loaded", 1)


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image that an engine has, or has had."""

    id: str
    """Digest of the config (graph driver) or of the manifest (containerd store)."""
    layers: tuple[Digest, ...]
    """Its blobs, the lowest layer first; none where these are not known."""
    diff_ids: tuple[Digest, ...]

    def text(self) -> bytes:
        """Return the image as its private file has it."""
        pairs = [(str(a), str(b)) for a, b in zip(self.diff_ids, self.layers, strict=True)]
        return _FORMAT.write({"id": self.id, "layers": pairs})

    @classmethod
    def read(cls, text: bytes) -> LoadedImage | None:
        """Return the image in `text`, a private file; None for anything else."""
        return _FORMAT.read(text, cls._of)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> LoadedImage:
        pairs = [(Digest.parse(diff_id), Digest.parse(blob)) for diff_id, blob in values["layers"]]
        layers = tuple(blob for _, blob in pairs)
        return cls(str(Digest.parse(values["id"])), layers, tuple(diff_id for diff_id, _ in pairs))


def image_id(address: str, tag: str) -> str | None:
    """Return the ID of the image that the engine has under `tag`; None when it has none.

    EngineError when the engine cannot be reached, or its answer makes no sense.
    """
    present = find(address, tag)
    return present.id if present else None


def find(address: str, tag: str) -> LoadedImage | None:
    """Return the image that the engine has under `tag`, without blobs; None when it has none.

    EngineError as for `image_id`.
    """
    found = _inspect(address, tag)
    if found is None:
        return None
    try:
        layers = found["RootFS"].get("Layers") or ()
        diff_ids = tuple(Digest.parse(text) for text in layers)
        return LoadedImage(str(Digest.parse(found["Id"])), (), diff_ids)
    except (InputError, LookupError, TypeError, AttributeError) as error:
        raise ask_error(address, f"for image {tag}", "its answer has no image ID") from error


def _inspect(address: str, image: str) -> dict[str, Any] | None:
    answer = get(address, f"/images/{quote(image, safe='/:')}/json", ASK_SECONDS)
    return None if answer.status == 404 else document(address, f"for image {image}", answer)


def config(address: str, image: str) -> dict[str, Any]:
    """Return the config (hostile) of `image`: how a container of it runs.

    EngineError as for `image_id`, and when there is no such image.
    """
    found = _inspect(address, image)
    settings = found and (found.get("Config") or {})
    if not isinstance(settings, dict):
        raise ask_error(address, f"for image {image}", "its answer has no config")
    return settings


def has_containerd_store(address: str) -> bool:
    """Return whether the engine keeps images in a containerd store, and not in a graph driver's."""
    answer = get(address, "/info", ASK_SECONDS)
    status = document(address, "what it is", answer).get("DriverStatus")
    return isinstance(status, list) and ["driver-type", "io.containerd.snapshotter.v1"] in status


def export(address: str, image: str) -> Generator[bytes, None, None]:
    """Yield the tar of the file system that a container of `image` would start with.

    Nothing runs, and no container is left. EngineError when the engine cannot be reached, has no
    such image, or does not export it.
    """
    present = find(address, image)
    if present is None:
        raise EngineError(
            f"export image {image}", f"engine at {address} has none of that name", "pull or load it"
        )
    with client(address) as sdk, api_errors(f"export image {image}", address):
        # An image without a command needs one that is never run.
        name = sdk.create_container(present.id, command=["none"])["Id"]
        try:
            yield from sdk.export(name)
        finally:
            sdk.remove_container(name, v=True, force=True)
