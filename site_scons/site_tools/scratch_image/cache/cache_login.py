"""A login at a cache: the headers that show who sends a request.

They come from the URL, from a file with a token, or from a credential helper of Bazel:
https://github.com/EngFlow/credential-helper-spec . No message and no signature has any of it.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..errors import ProcessError
from ..sandbox import process
from .address import Address
from .store import StoreError

_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]{1,65536}")

_HELPER_SECONDS = 10.0
"""As long as Bazel waits for one."""

_Source = Callable[[], "Headers"]


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers of requests, which are secret."""

    values: Mapping[str, str] = field(repr=False)
    expires: float = float("inf")
    """Seconds since 1970 after which others are needed."""


@dataclass(frozen=True, slots=True)
class CredentialSources:
    """Where credentials for a cache come from, if not from its URL."""

    token_file: str = ""
    """A file that has a bearer token; empty for none."""
    helper: str = ""
    """A credential helper: a program, by path or name; empty for none."""


class CacheLogin:
    """The login at a cache, for several threads at once."""

    def __init__(self, address: Address, sources: CredentialSources) -> None:
        """Take user and password of `address`, else the token, else the helper's answer.

        InputError when other machines could read them on their way. This runs no helper.
        """
        self._source = _choose_source(address, sources)
        if self._source and not address.is_private:
            raise address.error(
                "its credentials would be sent unencrypted",
                f"write {address.scheme}s://, or give no credentials",
            )
        self._headers = Headers({}, 0.0)
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """Return the headers of a request; StoreError when they cannot be had."""
        if not self._source:
            return {}
        with self._lock:
            if time.time() >= self._headers.expires:
                self._headers = self._source()
            return self._headers.values

    def redact(self, text: str) -> str:
        """Return `text` without the secrets, should a server repeat them."""
        for value in self._headers.values.values():
            for secret in (value, value.rpartition(" ")[2]):
                text = text.replace(secret, "***")
        return text


def _choose_source(address: Address, sources: CredentialSources) -> _Source | None:
    if address.user.username:
        basic = Headers({"Authorization": address.user.basic})
        return lambda: basic
    if sources.token_file:
        return lambda: _read_token(sources.token_file)
    if sources.helper:
        return lambda: _run_helper(sources.helper, str(address))
    return None


def _read_token(path: str) -> Headers:
    """Return the token in the file `path`; StoreError when there is none."""
    try:
        with open(path, encoding="ascii") as file:
            token = file.read(1 << 17).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII text"
        raise StoreError(f"its token file {path}: {reason}") from error
    if not _TOKEN.fullmatch(token):
        raise StoreError(f"its token file {path} has no token, or more than one")
    return Headers({"Authorization": f"Bearer {token}"})


def _run_helper(helper: str, url: str) -> Headers:
    """Return the headers that the credential `helper` gives for `url`; StoreError for none."""
    with tempfile.NamedTemporaryFile() as question:
        question.write(json.dumps({"uri": url}).encode())
        question.flush()
        try:
            result = process.run(
                [helper, "get"],
                timeout=_HELPER_SECONDS,
                environment=os.environb,
                stdin=os.fsencode(question.name),
            )
        except ProcessError as error:
            raise StoreError(f"its credential helper {helper}: {error.cause}") from error
    if result.is_failure:
        # Its output may have a secret.
        raise StoreError(f"its credential helper {helper}: {result.end}")
    try:
        return _parse_headers(result.stdout)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise StoreError(f"its credential helper {helper}: its answer makes no sense") from None


def _parse_headers(text: bytes) -> Headers:
    """Return the headers in a helper's answer `text`; ValueError and the like when it is none."""
    answer = json.loads(text)
    values = {name: ", ".join(each) for name, each in answer.get("headers", {}).items() if each}
    if not all(map(_HEADER.fullmatch, values)) or not all(map(_VALUE.fullmatch, values.values())):
        raise ValueError
    expires = answer.get("expires")
    if not expires:
        return Headers(values)
    return Headers(values, datetime.datetime.fromisoformat(expires).timestamp())
