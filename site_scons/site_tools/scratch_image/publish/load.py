"""A load: an archive goes to an engine, without the layers that the engine has."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import EngineError, one_line
from ..fs.digest import Digest
from .engine_client import body, call, engine_error, lines
from .engine_images import LoadedImage, find, has_containerd_store, image_id

if TYPE_CHECKING:
    from requests import Response

    from ..image.archive import Archive

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
