"""A store: the place where a cache keeps its entries and blobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .entry import BlobDigest


class StoreError(Exception):
    """A store cannot be reached, refuses, or does not answer in time."""

    def __init__(
        self, cause: str, hint: str = "see that it is there and works", *, writing: bool = False
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        """One line, without secrets."""
        self.hint = hint
        """An imperative: the user does it, and the next build can use the store."""
        self.writing = writing
        """Whether the store only refuses to be written to."""


def reach_error(cause: str) -> StoreError:
    """Return the error of a server that cannot be reached because of `cause`, one line."""
    if "CERTIFICATE" in cause or "SSL" in cause:
        return StoreError(cause, "write the scheme that it speaks, or its authority's certificate")
    return StoreError(cause)


class Store(Protocol):
    """Entries by key, and blobs by digest.

    A store answers once: it does not try again, and raises StoreError instead of waiting for long.
    Whoever uses it stops at the first StoreError, and compares each blob with its digest.
    """

    def entry(self, key: BlobDigest) -> bytes | None:
        """Return the entry of `key`, the message `ActionResult`; None where there is none."""

    def blob(self, digest: BlobDigest) -> bytes | None:
        """Return the blob that `digest` names; None where there is none."""

    def missing(self, digests: Iterable[BlobDigest]) -> set[BlobDigest]:
        """Return those of `digests` whose blobs the store lacks."""

    def keep(
        self,
        key: BlobDigest,
        entry: bytes,
        blobs: Mapping[BlobDigest, bytes],
        *,
        resend: bool = False,
    ) -> None:
        """Send those of `blobs` that the store lacks, and then `entry` as the one of `key`.

        The blobs are action, command and input root of `key`, and all that `entry` names. Each is
        looked up when it is sent: a mapping may read it from a file only then. `resend` sends
        all: a blob that the store has may be damaged.
        """

    def close(self) -> None:
        """Give back connections, if there are any."""
