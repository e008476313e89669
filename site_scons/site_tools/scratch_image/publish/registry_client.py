"""One HTTP request to a registry: the connection, the limits of an answer, and the errors.

All that a registry answers is hostile until it was checked.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from ..errors import RegistryError, innermost_cause, one_line
from . import proxy
from .credentials import Credentials
from .proxy import Proxy

if TYPE_CHECKING:
    import urllib3

CONNECTIONS = 4
"""Requests that are under way at once."""

LOG_HINT = "look into the registry's log"

_HOSTS = {"docker.io": "registry-1.docker.io"}
"""The host of the registry, where references name another one."""

_CONNECT_SECONDS = 15.0
_READ_SECONDS = 300.0
"""For the next sign of life, while a registry checks a large blob."""

_MAX_ANSWER = 4 << 20
"""Bytes of an answer; registries take no larger manifest."""

_WAITS = (0.2, 1.0, 3.0, 9.0)
"""Seconds before each retry."""
_MAX_WAIT = 60
"""Seconds that a registry may make us wait."""

_RETRYABLE = (408, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed a little later."""

_HINTS = {
    401: "run docker login {host}",
    403: "run docker login {host} as a user who may",
    407: "write the name and password for the proxy into its variable: http://NAME:PASSWORD@HOST",
    413: "let the registry, or the proxy before it, take larger blobs",
}
"""By status of an answer."""
_TLS_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "let SSL_CERT_FILE name the certificate of its authority",
    "SSL": "name its host in REGISTRY_INSECURE if nothing is to be encrypted",
}
"""By a word of the cause."""
_START_HINT = "see that it runs, and that the tag names its host"
_PROXY_HINT = "see that the proxy runs and lets you pass, or name {host} in NO_PROXY"
_TUNNEL = re.compile("Tunnel connection failed: ([0-9]+)")

_Result = TypeVar("_Result")
_Data = Callable[[], Iterable[bytes]]


class RetryableError(RegistryError):
    """A failure after which the same request may succeed."""

    wait = 0.0
    """Seconds that the registry wants us to wait."""

    @classmethod
    def of(cls, failure: RegistryError, wait: float = 0.0) -> RetryableError:
        """Return `failure` as one that may pass after `wait` seconds."""
        made = cls(failure.action, failure.cause, failure.hint)
        made.wait = wait
        return made


def retry(work: Callable[[], _Result]) -> _Result:
    """Do `work`, and again after each `RetryableError`, each time a little later."""
    for wait in _WAITS:
        try:
            return work()
        except RetryableError as error:
            time.sleep(max(wait, error.wait))
    return work()


@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """The answer (hostile) of a registry to one request."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, object]:
        """The JSON object in the body; an empty one when there is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, dict) else {}

    @property
    def reason(self) -> str:
        """The error that the registry reports, as one line."""
        errors = self.document.get("errors")
        if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
            return ""
        return one_line(f"{errors[0].get('code') or ''} {errors[0].get('message') or ''}")

    @property
    def wait(self) -> float:
        """Seconds that the registry wants us to wait."""
        text = self.headers.get("retry-after", "")
        return float(min(int(text[:9]), _MAX_WAIT)) if re.fullmatch("[0-9]+", text) else 0.0


class RegistryClient:
    """The connections to a registry, for several threads at once. It knows no credentials."""

    def __init__(self, origin: str, path: str) -> None:
        """Take `origin` and `path` of a `Tag`; this sends no request."""
        scheme, _, self.host = origin.partition("://")
        self.name = f"{self.host}/{path}"
        """The repository, for messages."""
        self.base = f"{scheme}://{_HOSTS.get(self.host, self.host)}"
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}
        self._secrets: set[str] = set()

    def hide(self, *secrets: str) -> None:
        """Let no message show `secrets`, which only we and the registry may know."""
        self._secrets.update(filter(None, secrets))

    def hide_credentials(self, user: Credentials) -> None:
        """Let no message show the secrets of `user`."""
        self.hide(user.password, user.identity, user.basic.partition(" ")[2])

    def safe_url(self, place: str) -> str:
        """Return the address that `place` (hostile) means; empty if it is less safe than ours.

        It must be encrypted, or at the host that we reach by plain HTTP anyway.
        """
        try:
            url = urljoin(self.base, place)
            parts, own = urlsplit(url), urlsplit(self.base)
        except ValueError:
            return ""
        same = (parts.scheme, parts.hostname) == (own.scheme, own.hostname)
        return url if parts.scheme == "https" or same else ""

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: _Data | None = None,
        authorization: str = "",
    ) -> RegistryAnswer:
        """Send one request, with the chunks of `data`; return the answer."""
        import urllib3

        given = {"User-Agent": "scratch_image", **headers}
        if authorization:
            given["Authorization"] = authorization
        body = data() if data else None
        # The server of uploads or tokens may be on another side of the proxy.
        way = proxy.find(url)
        try:
            response = self._pool(way).request(
                method, url, headers=given, body=body, redirect=False, preload_content=False
            )
            return RegistryAnswer(response.status, response.headers, self._body(response))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._reach_error(error, way) from error

    def _pool(self, way: Proxy | None) -> urllib3.PoolManager:
        """Return the connections that go by the proxy `way`, or directly."""
        if way not in self._pools:
            if way:
                self.hide_credentials(way.user)
            # Of two threads that come here at once, one makes a pool that is never used.
            self._pools.setdefault(way, _connections(way))
        return self._pools[way]

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        body = response.read(_MAX_ANSWER + 1, decode_content=False)
        if len(body) > _MAX_ANSWER:
            response.close()
            raise self.trust_error("its answer has no end")
        response.release_conn()
        return body

    def check_retryable(self, action: str, answer: RegistryAnswer) -> None:
        """Raise RetryableError for an `answer` that may be another one a little later."""
        if answer.status in _RETRYABLE:
            raise RetryableError.of(self.refusal_error(action, answer), answer.wait)

    def refusal_error(self, action: str, answer: RegistryAnswer) -> RegistryError:
        """Return the error of a registry that refuses `action` by `answer`."""
        cause = self._redact(f"it answers {answer.status} {answer.reason}".rstrip())
        hint = _HINTS.get(answer.status, LOG_HINT).format(host=self.host)
        return RegistryError(action, cause, hint)

    def trust_error(self, cause: str) -> RegistryError:
        """Return the error of a registry whose answer cannot be right."""
        return RegistryError(f"trust {self.name}", self._redact(cause), LOG_HINT)

    def _reach_error(self, error: BaseException, way: Proxy | None) -> RegistryError:
        from urllib3.exceptions import ProtocolError, ProxyError, ReadTimeoutError

        retryable = isinstance(error, (ProtocolError, ReadTimeoutError))
        by_proxy = isinstance(error, ProxyError)
        cause = innermost_cause(error)
        hint = next((hint for word, hint in _TLS_HINTS.items() if word in cause), _START_HINT)
        refused = _TUNNEL.search(cause)
        if refused:
            retryable = int(refused[1]) in _RETRYABLE
        if way and (by_proxy or refused):
            cause = f"{cause} (proxy {way.url})"
            hint = _HINTS[407] if refused and refused[1] == "407" else _PROXY_HINT
        hint = hint.format(host=self.host)
        failure = RegistryError(f"reach registry {self.host}", self._redact(cause), hint)
        return RetryableError.of(failure) if retryable else failure

    def _redact(self, text: str) -> str:
        """Return `text` without the secrets, should the registry report them."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _connections(way: Proxy | None) -> urllib3.PoolManager:
    """Return the connections that go by the proxy `way`, or directly."""
    import ssl

    import urllib3

    context = ssl.create_default_context()
    settings: dict[str, Any] = {
        "maxsize": CONNECTIONS,
        "retries": False,
        "timeout": urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        "ssl_context": context,
    }
    if way is None:
        return urllib3.PoolManager(**settings)
    return urllib3.ProxyManager(
        way.url, proxy_headers=way.headers, proxy_ssl_context=context, **settings
    )
