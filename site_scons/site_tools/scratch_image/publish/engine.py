"""The images of an engine: which one has a tag, and the files that a container of it has."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from urllib.parse import quote

from ..errors import EngineError, InputError
from ..fs.digest import Digest
from .engine_api import ASK_SECONDS, PING_SECONDS, api_errors, ask_error, client, document, get


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image that an engine has, or has had."""

    id: str
    """Digest of the config (graph driver) or of the manifest (containerd store)."""
    layers: tuple[Digest, ...]
    """Its blobs, the lowest layer first; none where these are not known."""
    diff_ids: tuple[Digest, ...]

    def text(self) -> bytes:
        """Return the text of which `read` makes the same again."""
        pairs = zip(self.diff_ids, self.layers, strict=True)
        lines = [self.id, *(f"{diff_id} {blob}" for diff_id, blob in pairs)]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def read(cls, text: bytes) -> LoadedImage | None:
        """Return the image that `text` (hostile) describes; None when it is not whole."""
        try:
            digests = [Digest.parse(word) for word in text.decode("ascii", "replace").split()]
        except InputError:
            return None
        if len(digests) % 2 == 0:
            return None
        return cls(str(digests[0]), tuple(digests[2::2]), tuple(digests[1::2]))


def answers(address: str) -> bool:
    """Return whether an engine answers at `address`; never raises."""
    try:
        return get(address, "/_ping", PING_SECONDS).status == 200
    except EngineError:
        return False


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
    answer = get(address, f"/images/{quote(tag, safe='/:')}/json", ASK_SECONDS)
    if answer.status == 404:
        return None
    found = document(address, f"for image {tag}", answer)
    try:
        layers = found["RootFS"].get("Layers") or ()
        diff_ids = tuple(Digest.parse(text) for text in layers)
        return LoadedImage(str(Digest.parse(found["Id"])), (), diff_ids)
    except (InputError, LookupError, TypeError, AttributeError) as error:
        raise ask_error(address, f"for image {tag}", "its answer has no image ID") from error


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
