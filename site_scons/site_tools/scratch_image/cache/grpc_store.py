"""A store that speaks the Remote Execution API over gRPC: its action cache and its blobs.

https://github.com/bazelbuild/remote-apis . `entry` writes and reads the messages, so that grpcio
alone is needed, and no generated code. All that the server answers is hostile until it was checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote
from uuid import uuid4

from ..errors import one_line
from ..publish import proxy
from . import deadline
from .address import Address
from .cache_login import CacheLogin
from .entry import BlobDigest, EntryError, read_fields, write_fields
from .store import StoreError, reach_error
from .tls import Tls

if TYPE_CHECKING:
    import grpc

_API = "/build.bazel.remote.execution.v2"
_ACTIONS = f"{_API}.ActionCache"
_BLOBS = f"{_API}.ContentAddressableStorage"
_STREAM = "/google.bytestream.ByteStream"

_MOST = (4 << 20) - (128 << 10)
"""Bytes of blobs in one message: servers take 4 MiB, with all that surrounds them."""
_AROUND = 256
"""Bytes around each blob in a message, at most."""

_SMALL = 1 << 16
"""Bytes of blobs that are sent without a question for them: it would cost as much."""

_CHUNK = 1 << 20
"""Bytes of a blob that are sent at a time, where it is too large for one message."""

_REASONS = {
    "UNAUTHENTICATED": ("its token or password is missing, wrong or expired", "renew it"),
    "PERMISSION_DENIED": (
        "its user may not do that",
        "use it as another user, or only read from it",
    ),
    "RESOURCE_EXHAUSTED": ("its disk or a quota is full", "let the server delete old blobs"),
    "UNIMPLEMENTED": ("it is no such cache", "write the URL of a cache"),
}
"""By status of a call: cause and hint."""

_T = TypeVar("_T")
_Metadata = tuple[tuple[str, str], ...]
_Fields = Iterable[tuple[int, int | bytes]]


class GrpcStore:
    """A cache that a server of the Remote Execution API keeps, for several threads at once."""

    def __init__(self, address: Address, tls: Tls, login: CacheLogin) -> None:
        """Take the address, our certificates and our login; this sends no request."""
        self._instance = unquote(address.path)
        self._login = login
        self._channel = _channel(address, tls)

    def entry(self, key: BlobDigest) -> bytes | None:
        """Return the entry of `key`; None where there is none, or it is too large."""
        inline = ((3, 1), (4, 1))  # stdout and stderr: servers may keep them as blobs
        return self._ask(
            f"{_ACTIONS}/GetActionResult", ((2, key.write()), *inline), deadline.SILENCE
        )

    def blob(self, digest: BlobDigest) -> bytes | None:
        """Return the blob that `digest` names; None where there is none, or another."""
        body = self._read(digest) if digest.size <= _MOST else self._download(digest)
        return body if body is not None and BlobDigest.of(body) == digest else None

    def missing(self, digests: Iterable[BlobDigest]) -> set[BlobDigest]:
        """Return those of `digests` whose blobs the store lacks."""
        known = set(digests)
        fields = [(2, digest.write()) for digest in known]
        answer = self._ask(f"{_BLOBS}/FindMissingBlobs", fields, deadline.SILENCE)
        return known if answer is None else known & _digests(answer)

    def keep(
        self,
        key: BlobDigest,
        entry: bytes,
        blobs: Mapping[BlobDigest, bytes],
        *,
        resend: bool = False,
    ) -> None:
        """Send blobs and then `entry`, as `Store.keep` says."""
        is_small = sum(digest.size for digest in blobs) <= _SMALL
        wanted = sorted(blobs if resend or is_small else self.missing(blobs))
        for batch in _batches(digest for digest in wanted if digest.size <= _MOST):
            self._update({digest: blobs[digest] for digest in batch})
        for digest in wanted:
            if digest.size > _MOST:
                self._upload(digest, blobs[digest])
        fields = ((2, key.write()), (3, entry))
        self._ask(f"{_ACTIONS}/UpdateActionResult", fields, deadline.SILENCE, writing=True)

    def close(self) -> None:
        """Close the connection; calls that are under way end with StoreError."""
        self._channel.close()

    def _read(self, digest: BlobDigest) -> bytes | None:
        seconds = deadline.message_seconds(digest.size)
        answer = self._ask(f"{_BLOBS}/BatchReadBlobs", ((2, digest.write()),), seconds)
        responses = _values(answer or b"", 1)
        return b"".join(_values(responses[0], 2)) if responses else None

    def _update(self, blobs: Mapping[BlobDigest, bytes]) -> None:
        """Send `blobs` in one message."""
        requests = [write_fields(((1, each.write()), (2, blobs[each]))) for each in blobs]
        seconds = deadline.message_seconds(sum(map(len, requests)))
        fields = [(2, request) for request in requests]
        answer = self._ask(f"{_BLOBS}/BatchUpdateBlobs", fields, seconds, writing=True)
        for response in _values(answer or b"", 1):
            for status in _values(response, 2):
                _check_status(status)

    def _ask(
        self, method: str, fields: _Fields, seconds: float, *, writing: bool = False
    ) -> bytes | None:
        """Call `method` with a message of our instance and `fields`; return the answer.

        None where the server has none, or one that is too large.
        """
        message = write_fields(((1, self._instance.encode()), *fields))

        def call(metadata: _Metadata) -> bytes | None:
            unary = self._channel.unary_unary(method)
            answer: bytes | None = unary(message, timeout=seconds, metadata=metadata)
            return answer

        return self._try(call, writing=writing)

    def _download(self, digest: BlobDigest) -> bytes | None:
        message = write_fields(((1, self._resource("blobs", digest)),))
        seconds = deadline.blob_seconds(digest.size)

        def read(metadata: _Metadata) -> bytes | None:
            call = self._channel.unary_stream(f"{_STREAM}/Read")(
                message, timeout=seconds, metadata=metadata
            )
            found = bytearray()
            with deadline.watch(call.cancel) as progress:
                for response in call:
                    progress()
                    found += b"".join(_values(response, 10))
                    if len(found) > digest.size:
                        call.cancel()
                        return None
            return bytes(found)

        return self._try(read)

    def _upload(self, digest: BlobDigest, data: bytes) -> None:
        name = self._resource(f"uploads/{uuid4()}/blobs", digest)
        seconds = deadline.blob_seconds(digest.size)

        def write(metadata: _Metadata) -> None:
            with deadline.watch(lambda: call.cancel()) as progress:
                call = self._channel.stream_unary(f"{_STREAM}/Write").future(
                    _chunks(name, data, progress), timeout=seconds, metadata=metadata
                )
                call.result()

        self._try(write, writing=True)

    def _resource(self, kind: str, digest: BlobDigest) -> bytes:
        """Return the name of a blob's stream."""
        instance = f"{self._instance}/" if self._instance else ""
        return f"{instance}{kind}/{digest.hex}/{digest.size}".encode()

    def _try(self, call: Callable[[_Metadata], _T], *, writing: bool = False) -> _T | None:
        """Return the result of `call`; None where the server has none to read; else StoreError."""
        import grpc

        headers = self._login.headers()
        try:
            return call(tuple((name.lower(), value) for name, value in headers.items()))
        except grpc.FutureCancelledError as error:
            raise StoreError("it does not answer in time") from error
        except grpc.RpcError as error:
            status, details = error.code().name, self._login.redact(error.details() or "")
            if not writing and status in ("NOT_FOUND", "RESOURCE_EXHAUSTED"):
                return None
            raise _refusal_error(status, details, writing=writing) from error
        except (ValueError, RuntimeError) as error:  # A closed channel, or no room for a thread.
            raise StoreError(one_line(error)) from error


def _refusal_error(status: str, details: str, *, writing: bool) -> StoreError:
    """Return the error of a call that ended with `status`."""
    if status in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return StoreError("it does not answer in time")
    if status == "UNAVAILABLE":
        return reach_error(one_line(details.rpartition("last error: ")[2]))
    cause, hint = _REASONS.get(status, ("", "look into the server's log"))
    return StoreError(f"it answers {status}: {cause}".rstrip(": "), hint, writing=writing)


def _check_status(message: bytes) -> None:
    """Raise StoreError when `message`, the `Status` of one blob, is a refusal."""
    import grpc

    code = dict(read_fields(message)).get(1, 0)
    if code:
        names = {each.value[0]: each.name for each in grpc.StatusCode}
        raise _refusal_error(names.get(code, "UNKNOWN"), "", writing=True)


def _values(message: bytes, number: int) -> list[bytes]:
    """Return the values of the field `number` in an answer; StoreError when it is none."""
    try:
        fields = list(read_fields(message))
    except EntryError as error:
        raise StoreError("its answer makes no sense", "look into the server's log") from error
    return [value for each, value in fields if each == number and isinstance(value, bytes)]


def _digests(message: bytes) -> set[BlobDigest]:
    try:
        return {BlobDigest.read(each) for each in _values(message, 2)}
    except EntryError as error:
        raise StoreError("its answer makes no sense", "look into the server's log") from error


def _batches(digests: Iterable[BlobDigest]) -> Iterator[list[BlobDigest]]:
    """Yield `digests` in lists of blobs that have room in one message."""
    batch: list[BlobDigest] = []
    size = 0
    for digest in digests:
        size += digest.size + _AROUND
        if batch and size > _MOST:
            yield batch
            batch, size = [], digest.size + _AROUND
        batch.append(digest)
    if batch:
        yield batch


def _chunks(name: bytes, data: bytes, progress: Callable[[], None]) -> Iterator[bytes]:
    """Yield the messages `WriteRequest` that bring `data`."""
    for at in range(0, len(data), _CHUNK):
        progress()
        chunk = data[at : at + _CHUNK]
        last = int(at + len(chunk) == len(data))
        yield write_fields(((1, b"" if at else name), (2, at), (3, last), (10, chunk)))


def _channel(address: Address, tls: Tls) -> grpc.Channel:
    """Return the connection to the server, by a proxy where the environment names one."""
    # Steps fork while gRPC is busy: its handlers of fork(2), which we do not need, would complain.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import grpc
    except ImportError as error:
        raise address.error(
            f"package {error.name} is not installed", "run pip install scons-scratch-image[remote]"
        ) from error
    options: list[tuple[str, Any]] = [
        ("grpc.primary_user_agent", "scratch_image"),
        ("grpc.service_config_disable_resolution", 1),
        *_proxy_options(address),
    ]
    target = f"dns:///{address.host}"
    if not address.is_encrypted:
        return grpc.insecure_channel(target, options)
    credentials = grpc.ssl_channel_credentials(*tls.texts(address))
    return grpc.secure_channel(target, credentials, options)


def _proxy_options(address: Address) -> list[tuple[str, Any]]:
    way = proxy.find(address.web)
    if way is None:
        return [("grpc.enable_http_proxy", 0)]
    scheme, _, host = way.url.partition("://")
    user = f"{quote(way.user.username, '')}:{quote(way.user.password, '')}@"
    return [("grpc.http_proxy", f"{scheme}://{user if way.user.username else ''}{host}")]
