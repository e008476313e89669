"""A registry: what it holds under a tag, and giving it blobs and manifests.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md for what is asked and
answered, https://distribution.github.io/distribution/spec/auth/ for tokens. All that a registry
answers is hostile until it was checked: answers have a limit, and digests are compared.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

from ..errors import InputError, RegistryError, one_line
from ..fs.digest import Digest
from ..image.config import INDEX_TYPE, MANIFEST_TYPE
from ..image.settings import Reference
from . import credentials, proxy
from .credentials import Credentials
from .proxy import Proxy

if TYPE_CHECKING:
    import urllib3

CONNECTIONS = 4
"""How many requests are under way at once."""

_HOSTS = {"docker.io": "registry-1.docker.io"}
"""Where the registry is, if not at the host that references name."""

_ACCEPT = ", ".join(
    (
        MANIFEST_TYPE,
        INDEX_TYPE,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
"""Whatever lies under a tag: without these words a registry may say that nothing does."""

_CONNECT_SECONDS = 15.0
_READ_SECONDS = 300.0
"""For the next sign of life, while a registry checks a large blob."""

_MAX_ANSWER = 4 << 20
"""Bytes of an answer; registries take no larger manifest."""

_WAITS = (0.2, 1.0, 3.0, 9.0)
"""Seconds before what failed is tried again."""
_MAX_WAIT = 60
"""Seconds that a registry may ask us to wait."""

_PASSING = (408, 429, 500, 502, 503, 504)
"""What registries answer when the same request may go well a little later."""

_MENDS = {
    401: "run docker login {host}",
    403: "run docker login {host} as a user who may",
    407: "write the name and password for the proxy into its variable: http://NAME:PASSWORD@HOST",
    413: "let the registry, or the proxy before it, take larger blobs",
}
_LOOK = "look into the registry's log"
_TLS_MENDS = {
    "CERTIFICATE_VERIFY_FAILED": "let SSL_CERT_FILE name who vouches for it",
    "SSL": "name its host in REGISTRY_INSECURE if nothing is to be encrypted",
}
_START = "see that it runs, and that the tag names its host"
_PROXY = "see that the proxy runs and lets you pass, or name {host} in NO_PROXY"
_TUNNEL = re.compile("Tunnel connection failed: ([0-9]+)")

_SCHEME_OR_PARAMETER = re.compile(
    r"""([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?""", re.ASCII
)
"""RFC 9110, 11.2 and 11.3."""
_TOKEN = re.compile(r"[\x21-\x7e]+")

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """Where an image has a name: ``https://ghcr.io/me/fortune:1.2``."""

    origin: str
    """``https://HOST``, or ``http://HOST`` where nothing is encrypted; HOST is the reference's."""
    path: str
    """The repository on that host."""
    name: str
    """The tag alone."""

    def __str__(self) -> str:
        return f"{self.origin}/{self.path}:{self.name}"

    @property
    def host(self) -> str:
        """The registry, with its port."""
        return self.origin.partition("://")[2]

    @property
    def shown(self) -> str:
        """The tag as users write it."""
        return str(self).partition("://")[2]

    @classmethod
    def of(cls, reference: Reference, insecure: Collection[str]) -> Tag:
        """Return the tag that `reference` names; hosts in `insecure` are spoken to in clear."""
        host = re.sub(r":[0-9]+\Z", "", reference.domain)
        plain = host in insecure or reference.domain in insecure
        scheme = "http" if plain else "https"
        return cls(f"{scheme}://{reference.domain}", reference.path, reference.tag)

    @classmethod
    def parse(cls, text: str) -> Tag:
        """Return the tag whose text is `text`."""
        place, _, name = text.rpartition(":")
        scheme, _, rest = place.partition("://")
        host, _, path = rest.partition("/")
        return cls(f"{scheme}://{host}", path, name)


class _PassingError(RegistryError):
    """What may go well when it is tried again."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def tagged(tag: Tag) -> Digest | None:
    """Return the digest of what the registry holds under `tag`; None when it holds nothing.

    RegistryError when it cannot be reached, refuses, or its answer cannot be trusted.
    """
    repository = Repository(tag.origin, tag.path)
    return patiently(lambda: repository.digest_of(tag.name))


def patiently(work: Callable[[], _Made]) -> _Made:
    """Do `work`, again and again while what goes wrong may pass, each time a little later."""
    for wait in _WAITS:
        try:
            return work()
        except _PassingError as error:
            time.sleep(max(wait, error.wait))
    return work()


class Repository:
    """A repository in a registry, for several threads at once.

    Each method makes one attempt; RegistryError when it fails.
    """

    def __init__(self, origin: str, path: str) -> None:
        """Take `origin` and `path` of a `Tag`; nothing is asked yet."""
        scheme, _, self._host = origin.partition("://")
        self._path = path
        self._base = f"{scheme}://{_HOSTS.get(self._host, self._host)}"
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}
        self._login = threading.Lock()
        self._authorization = ""
        self._scopes: set[str] = set()
        self._secrets: set[str] = set()

    def digest_of(self, name: str) -> Digest | None:
        """Return the digest of the manifest `name`, a tag or a digest; None without one."""
        url = self._url(f"manifests/{name}")
        for method in ("HEAD", "GET"):
            answer = self._request(method, url, {"Accept": _ACCEPT})
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise self._refused(f"ask for {name} in", answer)
            told = answer.headers.get("docker-content-digest")
            if told:
                return self._told(told)
        return Digest.of(answer.body)

    def has_blob(self, digest: Digest) -> bool:
        """Tell whether the registry has the blob in this repository."""
        answer = self._request("HEAD", self._url(f"blobs/{digest}"))
        if answer.status == 404:
            return False
        # A registry that sends us elsewhere has seen that the blob is there.
        if answer.status // 100 not in (2, 3):
            raise self._refused(f"ask for {digest} in", answer)
        self._check(answer, digest)
        return True

    def put_blob(
        self, digest: Digest, size: int, data: Callable[[], Iterable[bytes]], source: str = ""
    ) -> None:
        """Give the registry the blob that `data` yields.

        It is not sent where it can be mounted from `source`, another repository of the registry.
        """
        answer = self._start(digest, source)
        if source and answer.status == 201:
            self._check(answer, digest)
            return
        place = answer.headers.get("location")
        if answer.status != 202 or not place:
            raise self._refused(f"push {digest} to", answer)
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        sent = self._request("PUT", self._upload(place, digest), headers, data)
        if sent.status != 201:
            raise self._refused(f"push {digest} to", sent)
        self._check(sent, digest)

    def _start(self, digest: Digest, source: str) -> _Answer:
        """Begin an upload, by a mount where there is a `source`."""
        url, length = self._url("blobs/uploads/"), {"Content-Length": "0"}
        if source:
            query = urlencode({"mount": str(digest), "from": source})
            answer = self._request("POST", f"{url}?{query}", length)
            if answer.status in (201, 202):
                return answer
            # Who may not read there can still upload.
        return self._request("POST", url, length)

    def _upload(self, place: str, digest: Digest) -> str:
        """Return the address of an upload that the registry has begun at `place` (hostile)."""
        url = self._safe(place)
        if not url:
            cause = "it wants the blob in the clear"
            raise RegistryError(f"push {digest} to {self._shown}", cause, _LOOK)
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'digest': str(digest)})}"

    def put_manifest(self, name: str, media_type: str, data: bytes) -> None:
        """Give the registry the manifest or index `data` as `name`, a tag or a digest."""
        headers = {"Content-Length": str(len(data)), "Content-Type": media_type}
        answer = self._request("PUT", self._url(f"manifests/{name}"), headers, lambda: [data])
        if answer.status != 201:
            raise self._refused(f"push {name} to", answer)
        self._check(answer, Digest.of(data))

    # One request

    @property
    def _shown(self) -> str:
        return f"{self._host}/{self._path}"

    def _url(self, place: str) -> str:
        return f"{self._base}/v2/{self._path}/{place}"

    def _safe(self, place: str) -> str:
        """Return the address that `place` (hostile) means; empty if it is less safe than ours.

        It has to be encrypted, or at the host with which we speak in clear anyway.
        """
        try:
            url = urljoin(self._base, place)
            parts, own = urlsplit(url), urlsplit(self._base)
        except ValueError:
            return ""
        same = (parts.scheme, parts.hostname) == (own.scheme, own.hostname)
        return url if parts.scheme == "https" or same else ""

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: Callable[[], Iterable[bytes]] | None = None,
    ) -> _Answer:
        """Return the answer, for which we log in if the registry asks for it."""
        own = url.startswith(f"{self._base}/")
        shown = self._authorization if own else ""
        answer = self._send(method, url, headers or {}, data, shown)
        if answer.status == 401 and own:
            self._log_in(answer, shown)
            answer = self._send(method, url, headers or {}, data, self._authorization)
        if answer.status in _PASSING:
            raise _PassingError(str(self._refused("use", answer)), _wait(answer))
        return answer

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Callable[[], Iterable[bytes]] | None = None,
        authorization: str = "",
    ) -> _Answer:
        import urllib3

        given = {"User-Agent": "scratch_image", **headers}
        if authorization:
            given["Authorization"] = authorization
        body = data() if data else None
        # Where uploads and tokens are asked for may be on another side of the proxy.
        way = proxy.find(url)
        try:
            response = self._pool(way).request(
                method, url, headers=given, body=body, redirect=False, preload_content=False
            )
            return _Answer(response.status, response.headers, self._body(response))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._unreached(error, way) from error

    def _pool(self, way: Proxy | None) -> urllib3.PoolManager:
        """Return the connections that go by the proxy `way`, or directly."""
        if way not in self._pools:
            if way:
                self._secrets |= {way.user.password, way.user.basic.partition(" ")[2]}
            # Of two threads that come here at once, one makes a pool that is never used.
            self._pools.setdefault(way, _connections(way))
        return self._pools[way]

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        body = response.read(_MAX_ANSWER + 1, decode_content=False)
        if len(body) > _MAX_ANSWER:
            response.close()
            raise self._untrusted("its answer has no end")
        response.release_conn()
        return body

    # Who we are

    def _log_in(self, answer: _Answer, shown: str) -> None:
        """Find what to show instead of `shown`, which the registry did not take."""
        offered = _challenges(answer.headers.get("www-authenticate", ""))
        challenge = offered.get("bearer")
        scopes = set(challenge.get("scope", "").split()) if challenge else set()
        if offered and offered.keys().isdisjoint(("bearer", "basic")):
            raise RegistryError(
                f"log in at {self._host}",
                f"it takes {one_line(', '.join(offered))} alone",
                "let the registry, or the proxy before it, take Bearer or Basic",
            )
        with self._login:
            if self._authorization != shown and scopes <= self._scopes:
                return  # Another thread did.
            # One token for all that was asked so far: no two requests take it from each other.
            self._scopes |= scopes
            user = credentials.find(self._host)
            self._secrets |= {user.password, user.identity, user.basic.partition(" ")[2]}
            if challenge is not None:
                token = self._token(user, challenge)
                self._secrets.add(token)
                self._authorization = f"Bearer {token}"
            elif user.username:
                self._authorization = user.basic

    def _token(self, user: Credentials, challenge: Mapping[str, str]) -> str:
        """Return the token that the server of the `challenge` (hostile) gives to `user`."""
        if not challenge.get("realm"):
            raise self._untrusted("it asks for a token, and tells no realm")
        realm = self._safe(challenge["realm"])
        if not realm:
            raise RegistryError(
                f"log in at {self._host}", "it wants credentials in the clear", _LOOK
            )
        scopes = sorted(self._scopes)
        service = {"service": challenge["service"]} if "service" in challenge else {}
        if user.identity:
            answer = self._refreshed(user.identity, realm, {**service, "scope": " ".join(scopes)})
        else:
            query = urlencode([*service.items(), *(("scope", each) for each in scopes)])
            shown = user.basic if user.username else ""
            joint = "&" if "?" in realm else "?"
            answer = self._send("GET", f"{realm}{joint}{query}", {}, authorization=shown)
        return self._token_in(answer)

    def _refreshed(self, identity: str, realm: str, fields: Mapping[str, str]) -> _Answer:
        grant = {"grant_type": "refresh_token", "client_id": "scratch_image", **fields}
        data = urlencode({**grant, "refresh_token": identity}).encode()
        headers = {
            "Content-Length": str(len(data)),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self._send("POST", realm, headers, lambda: [data])

    def _token_in(self, answer: _Answer) -> str:
        if answer.status in _PASSING:
            raise _PassingError(str(self._refused("log in at", answer)), _wait(answer))
        if answer.status != 200:
            raise self._refused("log in at", answer)
        found = _object(answer.body)
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._untrusted("its answer to the login has no token")
        return token

    # What goes wrong

    def _told(self, text: str) -> Digest:
        """Return the digest that the registry told as `text` (hostile)."""
        try:
            return Digest.parse(text)
        except InputError:
            raise self._untrusted(f"it tells digest {one_line(text)!r}, which is none") from None

    def _check(self, answer: _Answer, digest: Digest) -> None:
        """See that the registry, where it tells a digest, means what we mean."""
        told = answer.headers.get("docker-content-digest")
        if told and self._told(told) != digest:
            raise self._untrusted(f"it has {one_line(told)} for {digest}")

    def _refused(self, verb: str, answer: _Answer) -> RegistryError:
        cause = f"it answers {answer.status} {_reason(answer.body)}".rstrip()
        mend = _MENDS.get(answer.status, _LOOK).format(host=self._host)
        return RegistryError(self._hidden(f"cannot {verb} {self._shown}: {cause}; {mend}"))

    def _untrusted(self, cause: str) -> RegistryError:
        return RegistryError(self._hidden(f"cannot trust {self._shown}: {cause}; {_LOOK}"))

    def _unreached(self, error: BaseException, way: Proxy | None) -> RegistryError:
        from urllib3.exceptions import ProtocolError, ProxyError, ReadTimeoutError

        passes = isinstance(error, (ProtocolError, ReadTimeoutError))
        by_proxy = isinstance(error, ProxyError)
        # What libraries wrap around the cause says less than the cause.
        while error.__cause__ or error.__context__:
            error = error.__cause__ or error.__context__ or error
        cause = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
        mend = next((mend for word, mend in _TLS_MENDS.items() if word in cause), _START)
        refused = _TUNNEL.search(cause)
        if refused:
            passes = int(refused[1]) in _PASSING
        if way and (by_proxy or refused):
            cause = f"{cause} (proxy {way.url})"
            mend = _MENDS[407] if refused and refused[1] == "407" else _PROXY
        text = f"cannot reach registry {self._host}: {cause}; {mend.format(host=self._host)}"
        return _PassingError(self._hidden(text)) if passes else RegistryError(self._hidden(text))

    def _hidden(self, text: str) -> str:
        """Return `text` without what only we and the registry may know, should it tell it."""
        for secret in sorted(filter(None, self._secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _connections(way: Proxy | None) -> urllib3.PoolManager:
    """Return the connections that go by the proxy `way`, or directly."""
    import ssl

    import urllib3

    context = ssl.create_default_context()
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    if way is None:
        return urllib3.PoolManager(
            maxsize=CONNECTIONS, retries=False, timeout=timeout, ssl_context=context
        )
    return urllib3.ProxyManager(
        way.url,
        proxy_headers=way.headers,
        proxy_ssl_context=context,
        maxsize=CONNECTIONS,
        retries=False,
        timeout=timeout,
        ssl_context=context,
    )


def _challenges(text: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each scheme in the challenges `text` (hostile).

    Of several challenges of one scheme the first counts, of several parameters of one name, too.
    Names are in lower case.
    """
    found: dict[str, dict[str, str]] = {}
    challenge: dict[str, str] = {}
    for match in _SCHEME_OR_PARAMETER.finditer(text):
        name, quoted, bare = match[1].lower(), match[2], match[3]
        if quoted is None and bare is None:
            challenge = {}
            found.setdefault(name, challenge)
        else:
            challenge.setdefault(name, bare or re.sub(r"\\(.)", r"\1", quoted or ""))
    return found


def _wait(answer: _Answer) -> float:
    """Return how many seconds the registry asks us to wait."""
    text = answer.headers.get("retry-after", "")
    return float(min(int(text[:9]), _MAX_WAIT)) if re.fullmatch("[0-9]+", text) else 0.0


def _object(body: bytes) -> dict[str, object]:
    """Return the JSON object in `body` (hostile); an empty one when there is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _reason(body: bytes) -> str:
    """Return what an answer (hostile) says of an error."""
    errors = _object(body).get("errors")
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return ""
    return one_line(f"{errors[0].get('code') or ''} {errors[0].get('message') or ''}")
