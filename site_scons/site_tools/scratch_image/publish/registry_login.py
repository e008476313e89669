"""A login at a registry: its challenge, and the token or password that answers it.

https://distribution.github.io/distribution/spec/auth/ describes tokens.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from urllib.parse import urlencode

from ..errors import RegistryError, one_line
from . import credentials
from .credentials import Credentials
from .registry_client import LOG_HINT, RegistryAnswer, RegistryClient

_SCHEME_OR_PARAMETER = re.compile(
    r"""([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?""", re.ASCII
)
"""RFC 9110, 11.2 and 11.3."""
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Login:
    """The login at one registry, for several threads at once."""

    def __init__(self, client: RegistryClient) -> None:
        self.authorization = ""
        """The value of the header that a request needs; empty before the first challenge."""
        self._client = client
        self._lock = threading.Lock()
        self._scopes: set[str] = set()

    def renew(self, answer: RegistryAnswer, refused: str) -> None:
        """Find another authorization than `refused`, as the challenge in `answer` wants it."""
        offered = parse_challenges(answer.headers.get("www-authenticate", ""))
        challenge = offered.get("bearer")
        scopes = set(challenge.get("scope", "").split()) if challenge else set()
        if offered and offered.keys().isdisjoint(("bearer", "basic")):
            raise RegistryError(
                f"log in at {self._client.host}",
                f"it takes {one_line(', '.join(offered))} alone",
                "let the registry, or the proxy before it, take Bearer or Basic",
            )
        with self._lock:
            if self.authorization != refused and scopes <= self._scopes:
                return  # Another thread did.
            # One token for all scopes so far: no two requests take it from each other.
            self._scopes |= scopes
            user = credentials.find(self._client.host)
            self._client.hide_credentials(user)
            if challenge is not None:
                token = self._token(user, challenge)
                self._client.hide(token)
                self.authorization = f"Bearer {token}"
            elif user.username:
                self.authorization = user.basic

    def _token(self, user: Credentials, challenge: Mapping[str, str]) -> str:
        """Return the token that the server of the `challenge` (hostile) gives to `user`."""
        if not challenge.get("realm"):
            raise self._client.trust_error("it wants a token, and names no realm")
        realm = self._client.safe_url(challenge["realm"])
        if not realm:
            raise RegistryError(
                f"log in at {self._client.host}", "it wants credentials by plain HTTP", LOG_HINT
            )
        scopes = sorted(self._scopes)
        service = {"service": challenge["service"]} if "service" in challenge else {}
        if user.identity:
            answer = self._refresh(user.identity, realm, {**service, "scope": " ".join(scopes)})
        else:
            query = urlencode([*service.items(), *(("scope", each) for each in scopes)])
            joint = "&" if "?" in realm else "?"
            basic = user.basic if user.username else ""
            answer = self._client.send("GET", f"{realm}{joint}{query}", {}, authorization=basic)
        return self._token_in(answer)

    def _refresh(self, identity: str, realm: str, fields: Mapping[str, str]) -> RegistryAnswer:
        grant = {"grant_type": "refresh_token", "client_id": "scratch_image", **fields}
        data = urlencode({**grant, "refresh_token": identity}).encode()
        headers = {
            "Content-Length": str(len(data)),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self._client.send("POST", realm, headers, lambda: [data])

    def _token_in(self, answer: RegistryAnswer) -> str:
        name = self._client.name
        self._client.check_retryable(f"log in at {name}", answer)
        if answer.status != 200:
            raise self._client.refusal_error(f"log in at {name}", answer)
        found = answer.document
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise self._client.trust_error("its answer to the login has no token")
        return token


def parse_challenges(text: str) -> dict[str, dict[str, str]]:
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
