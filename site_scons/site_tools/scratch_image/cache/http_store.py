"""A store that speaks Bazel's HTTP protocol: GET and PUT of ``ac/HASH`` and ``cas/HASH``.

https://bazel.build/remote/caching#http-caching . bazel-remote, nginx with WebDAV and others do.
All that the server answers is hostile until it was checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import innermost_cause
from ..publish import proxy
from . import deadline
from .address import Address
from .cache_login import CacheLogin
from .deadline import finish_within
from .entry import MAX_ENTRY, BlobDigest, CacheEntry
from .store import StoreError, reach_error
from .tls import Tls

if TYPE_CHECKING:
    import urllib3

_CONNECTIONS = 16
"""Connections that are kept."""

_CHUNK = 1 << 16
"""Bytes that are sent at a time: each chunk has `deadline.CONNECT` seconds."""

_MOST = 8 << 20
"""Bytes of a body that are read at a time."""

_SMALL = 1 << 16
"""Bytes of a blob that is sent without a question for it, or of an answer that says nothing."""

_REASONS = {
    401: ("its token or password is missing, wrong or expired", "renew it"),
    403: ("its user may not do that", "use it as another user, or only read from it"),
    413: ("the blob is too large for it", "let the server, or the proxy before it, take more"),
    507: ("its disk is full", "let the server delete old blobs"),
}
"""By status of an answer: cause and hint."""
_LOG_HINT = "look into the server's log"


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    name: str
    """Below the URL of the cache."""
    data: bytes | None = None
    most: int = 0
    """Bytes of the answer's body, at most."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    length: str
    """The header Content-Length."""
    body: bytes | None
    """None for one that is too long."""


class HttpStore:
    """A cache that a web server keeps, for several threads at once."""

    def __init__(self, address: Address, tls: Tls, login: CacheLogin) -> None:
        """Take the address, our certificates and our login; this sends no request."""
        self._address = address
        self._login = login
        self._pool = _connections(address, tls)

    def entry(self, key: BlobDigest) -> bytes | None:
        """Return the entry of `key`; None where there is none, or it is too large."""
        return self._get(f"ac/{key.hex}", MAX_ENTRY, deadline.SILENCE)

    def blob(self, digest: BlobDigest) -> bytes | None:
        """Return the blob that `digest` names; None where there is none, or another."""
        seconds = deadline.blob_seconds(digest.size)
        body = self._get(f"cas/{digest.hex}", digest.size, seconds)
        return body if body is not None and BlobDigest.of(body) == digest else None

    def missing(self, digests: Iterable[BlobDigest]) -> set[BlobDigest]:
        """Return those of `digests` whose blobs the store lacks, or has in another size."""
        wanted = [*digests]
        requests = [_Request("HEAD", f"cas/{each.hex}") for each in wanted]
        found = zip(wanted, self._send(requests, deadline.SILENCE), strict=True)
        return {digest for digest, answer in found if not _is_there(digest, answer)}

    def keep(
        self,
        key: BlobDigest,
        entry: bytes,
        blobs: Mapping[BlobDigest, bytes],
        *,
        resend: bool = False,
    ) -> None:
        """Send blobs and then `entry`, as `Store.keep` says.

        Action, command and input root stay here: no server wants them over HTTP, and each of them
        would be one more request, and one more file.
        """
        wanted = {each.digest for each in CacheEntry.read(entry).files}
        large = {each for each in wanted if each.size > _SMALL}
        self._put((f"cas/{each.hex}", blobs[each]) for each in wanted - large)
        for each in large if resend else self.missing(large):
            self._put([(f"cas/{each.hex}", blobs[each])])
        self._put([(f"ac/{key.hex}", entry)])

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.clear()

    def _get(self, name: str, most: int, seconds: float) -> bytes | None:
        (answer,) = self._send([_Request("GET", name, most=most)], seconds)
        if answer.status != 404:
            _check(answer)
        return answer.body if answer.status == 200 else None

    def _put(self, files: Iterable[tuple[str, bytes]]) -> None:
        requests = [_Request("PUT", name, data) for name, data in files]
        seconds = deadline.blob_seconds(sum(len(each.data or b"") for each in requests))
        for answer in self._send(requests, seconds):
            _check(answer, writing=True)

    def _send(self, requests: Sequence[_Request], seconds: float) -> list[_Answer]:
        """Send all `requests` at once, as far as there are connections; return the answers."""
        import urllib3

        headers = {"User-Agent": "scratch_image", **self._login.headers()}
        works = [partial(self._exchange, each, headers) for each in requests]
        groups = [works[at : at + _CONNECTIONS] for at in range(0, len(works), _CONNECTIONS)]
        try:
            return [each for group in groups for each in finish_within(seconds, group)]
        except (urllib3.exceptions.HTTPError, OSError, ValueError, RuntimeError) as error:
            raise self._reach_error(error) from error

    def _exchange(self, request: _Request, headers: Mapping[str, str]) -> _Answer:
        """Send one request, a second time if the server has just closed the kept connection."""
        from urllib3.exceptions import ProtocolError

        try:
            return self._exchange_once(request, headers)
        except ProtocolError as error:
            if not isinstance(error.args[-1], ConnectionError):
                raise
            return self._exchange_once(request, headers)

    def _exchange_once(self, request: _Request, headers: Mapping[str, str]) -> _Answer:
        data = request.data
        length = {} if data is None else {"Content-Length": str(len(data))}
        response = self._pool.request(
            request.method,
            f"{self._address}/{request.name}",
            headers={**headers, **length},
            body=None if data is None else _chunks(data),
            redirect=False,
            preload_content=False,
        )
        body = _read_body(response, max(request.most, _SMALL))
        announced = response.headers.get("Content-Length", "")
        return _Answer(response.status, announced, body if len(body) <= request.most else None)

    def _reach_error(self, error: BaseException) -> StoreError:
        """Return the error of a server that does not answer, or not to the end."""
        from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

        late = (TimeoutError, ReadTimeoutError, ConnectTimeoutError)
        if isinstance(error, late) and not isinstance(error, NewConnectionError):
            return StoreError("it does not answer in time")
        return reach_error(self._login.redact(innermost_cause(error)))


def _is_there(digest: BlobDigest, answer: _Answer) -> bool:
    """Tell whether `answer` to HEAD says that the blob is there, in its size."""
    if answer.status != 404:
        _check(answer)
    return answer.status == 200 and answer.length in ("", str(digest.size))


def _check(answer: _Answer, *, writing: bool = False) -> None:
    """Raise StoreError for an `answer` that refuses a request."""
    status = answer.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        cause, hint = "a redirect, which is not followed", "write the address that it leads to"
    else:
        cause, hint = _REASONS.get(status, ("", _LOG_HINT))
    raise StoreError(f"it answers {status}: {cause}".rstrip(": "), hint, writing=writing)


def _read_body(response: urllib3.BaseHTTPResponse, room: int) -> bytes:
    """Return the body, or more than `room` bytes of it. One that is cut off is an error."""
    chunks: list[bytes] = []
    while room >= 0 and (chunk := response.read(_MOST, decode_content=False)):
        chunks.append(chunk)
        room -= len(chunk)
    if room < 0:
        response.close()
    response.release_conn()
    return b"".join(chunks)


def _chunks(data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for at in range(0, len(data), _CHUNK):
        yield bytes(view[at : at + _CHUNK])


def _connections(address: Address, tls: Tls) -> urllib3.PoolManager:
    """Return the connections to the server, by a proxy where the environment names one."""
    import urllib3

    settings: dict[str, Any] = {
        "maxsize": _CONNECTIONS,
        "retries": False,
        "timeout": urllib3.Timeout(connect=deadline.CONNECT, read=deadline.SILENCE),
    }
    if address.is_encrypted:
        settings["ssl_context"] = tls.context(address)
    way = proxy.find(address.web)
    if way is None:
        return urllib3.PoolManager(**settings)
    return urllib3.ProxyManager(way.url, proxy_headers=way.headers, **settings)
