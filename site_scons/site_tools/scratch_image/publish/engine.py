"""An engine: which image has a tag, a load without the layers that it has, an export."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import EngineError, InputError, one_line
from ..fs.digest import Digest
from ..fs.private_file import Format
from .engine_client import (
    ASK_SECONDS,
    api_errors,
    ask_error,
    body,
    call,
    client,
    document,
    engine_error,
    get,
    lines,
)

if TYPE_CHECKING:
    from requests import Response

    from ..image.archive import Archive


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


_LOAD_SECONDS = 600.0
"""For the next sign of life while an engine unpacks layers."""

_WHOLE = frozenset[Digest]()


def load(address: str, archive_path: bytes, known: Sequence[LoadedImage] = ()) -> LoadedImage:
    """Give the engine the image in the archive under its tags; return it as it is there.

    Only missing layers are sent, nothing at all when the tags are right. `known` are images that
    this project gave to engines: layers of these are left out, if this one still has the image.
    An engine that refuses the part gets the whole, twice if it has to be. InputError when the
    archive is broken; EngineError when the engine cannot be reached, or does not take the image.
    """
    from ..image import archive

    image = archive.read(archive_path)
    found = loaded_id(address, image) or _load_missing(address, image, known)
    return LoadedImage(found, image.layers, image.diff_ids)


def _load_missing(address: str, image: Archive, known: Sequence[LoadedImage]) -> str:
    """Load `image`; return its ID."""
    if omit := omittable_layers(address, image, known):
        # A containerd store may count on files of a refused load while it removes them: so the
        # whole is sent again, and once more later, when they are gone.
        for omitted, seconds in ((omit, 0.0), (_WHOLE, 0.5), (_WHOLE, 2.0)):
            with suppress(EngineError):
                return _send(address, image, omitted)
            time.sleep(seconds)
    return _send(address, image, _WHOLE)


def _send(address: str, image: Archive, omit: Collection[Digest]) -> str:
    """Send the archive without the blobs in `omit`; return the ID that the image has then."""
    with call(address, _LOAD_SECONDS, "POST", "/images/load", image.chunks(omit)) as response:
        cause = refusal(address, response)
    found = None if cause else loaded_id(address, image)
    if not found:
        cause = cause or "it took the image, but has another one under that tag"
        raise engine_error(f"load image {image.references[0]}", address, cause)
    return found


def loaded_id(address: str, image: Archive) -> str | None:
    """Return the ID of `image` when the engine has just that under each of its tags."""
    ids = {image_id(address, reference.familiar) for reference in image.references}
    found = ids.pop()
    return found if not ids and found in (str(image.config), str(image.manifest)) else None


def omittable_layers(
    address: str, image: Archive, known: Sequence[LoadedImage]
) -> frozenset[Digest]:
    """Return the layer blobs of `image` that the engine has, by another image that is there.

    Of the images that it may have, the one with most of the layers comes first.
    """
    present = (find(address, each.familiar) for each in image.references)
    others = [*filter(None, present), *known]
    if not others:
        return frozenset()
    same = _same_blobs if has_containerd_store(address) else _same_start
    found = [(same(image, each), each.id) for each in others]
    for omit, other in sorted(found, key=lambda pair: -len(pair[0])):
        if omit and image_id(address, other) == other:
            return omit
    return frozenset()


def _same_blobs(image: Archive, other: LoadedImage) -> frozenset[Digest]:
    """Return the blobs of both: a containerd store needs none of them.

    By the diff ID alone it would take its own unpacked files for the blob, and could never push
    the image again. So only images that this project gave to it count.
    """
    return frozenset(image.layers) & frozenset(other.layers)


def _same_start(image: Archive, other: LoadedImage) -> frozenset[Digest]:
    """Return the blobs with which both begin: a graph driver needs none of them.

    It finds a layer by the chain of all below it.
    """
    pairs = zip(image.diff_ids, other.diff_ids, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return frozenset(image.layers[:same]) - frozenset(image.layers[same:])


def refusal(address: str, response: Response) -> str:
    """Return why the engine did not take an image, by its report; nothing when it did."""
    if response.status_code != 200:
        return _failure(body(address, response)) or f"it answers {response.status_code}"
    # Read to the end: an engine that loses its listener stops loading.
    failures = [_failure(line) for line in lines(address, response) if line.strip()]
    return next(filter(None, failures), "")


def _failure(line: bytes) -> str:
    """Return the error in one `line` of the report of a load, else nothing."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return "its answer is not JSON"
    detail = event.get("errorDetail") or event.get("error") or event.get("message")
    if isinstance(detail, dict):
        detail = detail.get("message") or detail
    # The containerd store of Docker 28 reports this one as if it were progress.
    if not detail and "Error unpacking" in str(event.get("stream")):
        detail = event["stream"]
    return one_line(detail)
