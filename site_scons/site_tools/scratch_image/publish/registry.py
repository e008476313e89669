"""A repository in a registry: the digest under a tag, and uploads of blobs and manifests.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md defines requests and
answers. Digests that a registry reports are compared with ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from ..errors import InputError, RegistryError, one_line
from ..fs.digest import Digest
from ..image.config import INDEX_TYPE, MANIFEST_TYPE
from ..image.reference import Reference
from .registry_client import LOG_HINT, RegistryAnswer, RegistryClient, retry
from .registry_login import Login


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """The place where an image has a name: ``https://ghcr.io/me/fortune:1.2``."""

    origin: str
    """``https://HOST``, or ``http://HOST`` without encryption; HOST is the reference's."""
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
        """Return the tag that `reference` names; hosts in `insecure` are reached by plain HTTP."""
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


_ACCEPT = ", ".join(
    (
        MANIFEST_TYPE,
        INDEX_TYPE,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
"""All kinds of manifests: a registry may say that a tag is missing which has another kind."""

_Data = Callable[[], Iterable[bytes]]


def digest_of(tag: Tag) -> Digest | None:
    """Return the digest of the image that the registry holds under `tag`; None without one.

    RegistryError when it cannot be reached, refuses, or its answer cannot be trusted.
    """
    repository = Repository(tag.origin, tag.path)
    return retry(lambda: repository.digest_of(tag.name))


class Repository:
    """A repository in a registry, for several threads at once.

    Each method makes one attempt; RegistryError when it fails.
    """

    def __init__(self, origin: str, path: str) -> None:
        """Take `origin` and `path` of a `Tag`; this sends no request."""
        self._client = RegistryClient(origin, path)
        self.name = self._client.name
        self._login = Login(self._client)
        self._prefix = f"{self._client.base}/v2/{path}/"

    def digest_of(self, name: str) -> Digest | None:
        """Return the digest of the manifest `name`, a tag or a digest; None without one."""
        url = f"{self._prefix}manifests/{name}"
        for method in ("HEAD", "GET"):
            answer = self._request(method, url, {"Accept": _ACCEPT})
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise self._client.refusal_error(f"ask for {name} in {self.name}", answer)
            if digest := self._digest_in(answer):
                return digest
        return Digest.of(answer.body)

    def has_blob(self, digest: Digest) -> bool:
        """Return whether the registry has the blob in this repository."""
        answer = self._request("HEAD", f"{self._prefix}blobs/{digest}")
        if answer.status == 404:
            return False
        # A registry that sends us elsewhere has seen that the blob is there.
        if answer.status // 100 not in (2, 3):
            raise self._client.refusal_error(f"ask for {digest} in {self.name}", answer)
        self._check(answer, digest)
        return True

    def put_blob(self, digest: Digest, size: int, data: _Data, source: str = "") -> None:
        """Give the registry the blob that `data` yields.

        It is not sent where it can be mounted from `source`, another repository of the registry.
        """
        answer = self._start_upload(digest, source)
        if source and answer.status == 201:
            self._check(answer, digest)
            return
        place = answer.headers.get("location")
        if answer.status != 202 or not place:
            raise self._client.refusal_error(f"push {digest} to {self.name}", answer)
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        answer = self._request("PUT", self._upload_url(place, digest), headers, data)
        if answer.status != 201:
            raise self._client.refusal_error(f"push {digest} to {self.name}", answer)
        self._check(answer, digest)

    def _start_upload(self, digest: Digest, source: str) -> RegistryAnswer:
        """Begin an upload, by a mount where there is a `source`."""
        url, length = f"{self._prefix}blobs/uploads/", {"Content-Length": "0"}
        if source:
            query = urlencode({"mount": str(digest), "from": source})
            answer = self._request("POST", f"{url}?{query}", length)
            if answer.status in (201, 202):
                return answer
            # A user who may not read there can still upload.
        return self._request("POST", url, length)

    def _upload_url(self, place: str, digest: Digest) -> str:
        """Return the address of an upload that the registry has begun at `place` (hostile)."""
        url = self._client.safe_url(place)
        if not url:
            raise RegistryError(
                f"push {digest} to {self.name}", "it wants the blob by plain HTTP", LOG_HINT
            )
        return f"{url}{'&' if '?' in url else '?'}{urlencode({'digest': str(digest)})}"

    def put_manifest(self, name: str, media_type: str, data: bytes) -> None:
        """Give the registry the manifest or index `data` as `name`, a tag or a digest."""
        headers = {"Content-Length": str(len(data)), "Content-Type": media_type}
        answer = self._request("PUT", f"{self._prefix}manifests/{name}", headers, lambda: [data])
        if answer.status != 201:
            raise self._client.refusal_error(f"push {name} to {self.name}", answer)
        self._check(answer, Digest.of(data))

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        data: _Data | None = None,
    ) -> RegistryAnswer:
        """Return the answer, after a login if the registry wants one."""
        own = url.startswith(f"{self._client.base}/")
        authorization = self._login.authorization if own else ""
        answer = self._client.send(method, url, headers or {}, data, authorization)
        if answer.status == 401 and own:
            self._login.renew(answer, authorization)
            authorization = self._login.authorization
            answer = self._client.send(method, url, headers or {}, data, authorization)
        self._client.check_retryable(f"use {self.name}", answer)
        return answer

    def _digest_in(self, answer: RegistryAnswer) -> Digest | None:
        """Return the digest that the registry reports (hostile); None when it reports none."""
        text = answer.headers.get("docker-content-digest")
        try:
            return Digest.parse(text) if text else None
        except InputError:
            cause = f"it reports {one_line(text)!r}, which is not a digest"
            raise self._client.trust_error(cause) from None

    def _check(self, answer: RegistryAnswer, digest: Digest) -> None:
        """Raise RegistryError when the registry reports another digest than ours."""
        found = self._digest_in(answer)
        if found and found != digest:
            raise self._client.trust_error(f"it has {found} for {digest}")
