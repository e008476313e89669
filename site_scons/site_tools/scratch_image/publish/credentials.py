"""Who a user is at a registry, as ``docker login`` and credential helpers have written it down.

Docker's own SDK reads ``config.json`` (in `DOCKER_CONFIG`, or ``~/.docker``) and asks the helpers
that it names: https://docs.docker.com/reference/cli/docker/login/ . Nothing here is ever shown.
"""

from __future__ import annotations

import base64
import shutil
from dataclasses import dataclass, field

from ..errors import RegistryError


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user shows to a registry; all empty for who has nothing to show."""

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

    RegistryError when what Docker has written down cannot be read, or a helper fails.
    """
    from docker import auth
    from docker.errors import DockerException

    try:
        config = auth.load_config()
        helper = config.get_credential_store(host)
        if helper and not shutil.which(f"docker-credential-{helper}"):
            raise _unfound(host, f"docker-credential-{helper} is not there", "install it")
        found = config.resolve_authconfig(host) or {}
        # Helpers' answers are written with capitals.
        named = {key.lower(): value for key, value in found.items()}
        words = [named.get(key) or "" for key in ("username", "password", "identitytoken")]
        return Credentials(*map(_text, words))
    except (DockerException, LookupError, ValueError, TypeError, AttributeError):
        # The cause may hold what a helper has printed, and so a secret.
        cause = "Docker's config.json, or the helper that it names, makes no sense"
        raise _unfound(host, cause, f"run docker login {host}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _unfound(host: str, cause: str, mend: str) -> RegistryError:
    return RegistryError(f"find credentials for {host}", cause, mend)
