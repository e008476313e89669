"""Credentials of a user for a registry, as ``docker login`` and credential helpers keep them.

Docker's own SDK reads ``config.json`` (in `DOCKER_CONFIG`, or ``~/.docker``) and calls the helpers
that it names: https://docs.docker.com/reference/cli/docker/login/ . No message shows any of it.
"""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, field

from ..errors import RegistryError


@dataclass(frozen=True, slots=True)
class Credentials:
    """Name and password, or a token, for a registry; all empty for a user without a login."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    """An identity token, which stands for both."""

    @property
    def basic(self) -> str:
        """The value of the header that shows name and password."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


def find(host: str) -> Credentials:
    """Return the credentials for the registry `host`, as references name it.

    RegistryError when Docker's files cannot be read, or a helper fails.
    """
    from docker import auth
    from docker.errors import DockerException

    try:
        config = auth.load_config()
        helper = config.get_credential_store(host)
        if helper and not shutil.which(f"docker-credential-{helper}"):
            raise _find_error(host, f"docker-credential-{helper} is not there", "install it")
        found = config.resolve_authconfig(host) or {}
        # Helpers' answers are written with capitals.
        named = {key.lower(): value for key, value in found.items()}
        words = [named.get(key) or "" for key in ("username", "password", "identitytoken")]
        return Credentials(*map(_check_text, words))
    except (DockerException, LookupError, ValueError, TypeError, AttributeError):
        # The cause may hold the output of a helper, and so a secret.
        cause = "Docker's config.json, or the helper that it names, makes no sense"
        raise _find_error(host, cause, f"run docker login {host}") from None


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _find_error(host: str, cause: str, hint: str) -> RegistryError:
    return RegistryError(f"find credentials for {host}", cause, hint)
