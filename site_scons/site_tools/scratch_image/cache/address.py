"""The address of a cache on a server: what its URL says, with the secrets kept apart."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ..errors import InputError, one_line
from ..publish import proxy
from ..publish.credentials import Credentials

_PORTS = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
"""The schemes, and the port of a URL that names none."""

_PATH = re.compile(r"[\w.~%+:/-]*", re.ASCII)

_SECRET = re.compile(r"^([a-z]+://)?.*@|[?#].*")
"""All of a malformed URL that may be a secret, but for the scheme before it."""

_HINT = "write https://HOST/PATH, grpcs://HOST/INSTANCE, or an absolute directory"


@dataclass(frozen=True, slots=True)
class Address:
    """The place of a cache, and the user of its URL."""

    scheme: str
    """``http``, ``https``, ``grpc`` or ``grpcs``."""
    host: str
    """Host and port."""
    path: str
    """The prefix of all names over HTTP, the name of the instance over gRPC; often empty."""
    user: Credentials = field(default=Credentials(), repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that the URL `text` means; InputError when it means none."""
        try:
            parts = urlsplit(text)
            port = parts.port or _PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise _address_error(text) from None
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        plain = _PATH.fullmatch(parts.path) and not parts.query and not parts.fragment
        if not host or not plain:
            raise _address_error(text)
        user = Credentials(unquote(parts.username or ""), unquote(parts.password or ""))
        return cls(parts.scheme, f"{host}:{port}", parts.path.strip("/"), user)

    def __str__(self) -> str:
        """Return the URL without user and password."""
        host = self.host.removesuffix(f":{_PORTS[self.scheme]}")
        return f"{self.scheme}://{host}/{self.path}".rstrip("/")

    @property
    def web(self) -> str:
        """The URL with the scheme ``http`` or ``https``, as proxies are chosen by."""
        scheme = "https" if self.is_encrypted else "http"
        return f"{scheme}://{self.host}/{self.path}".rstrip("/")

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("https", "grpcs")

    @property
    def is_private(self) -> bool:
        """Whether credentials may be sent there: no other machine can read the connection."""
        return self.is_encrypted or proxy.is_here(self.host.rpartition(":")[0].strip("[]"))

    def error(self, cause: str, hint: str) -> InputError:
        """Return the error of a cache that cannot be used."""
        return InputError(f"use cache {self}", cause, hint)


def _address_error(text: str) -> InputError:
    shown = _SECRET.sub(r"\1", one_line(text))
    return InputError(f"use cache {shown}", "it is no URL of a cache", _HINT)
