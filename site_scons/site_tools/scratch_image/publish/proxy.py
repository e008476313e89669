"""The HTTP proxy on the way to an address, as the environment of the build names it.

HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, and NO_PROXY with hosts, domains, ports and networks, all
in lower or upper case. As with Docker's own tools, no proxy is used for this machine: it would
reach itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from ..errors import InputError
from .credentials import Credentials


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and our credentials for it."""

    url: str
    """``http://proxy.example:3128``, without name and password."""
    user: Credentials = field(default=Credentials(), repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """The headers for the proxy itself."""
        return {"Proxy-Authorization": self.user.basic} if self.user.username else {}


def find(url: str) -> Proxy | None:
    """Return the proxy on the way to `url`; None where there is none.

    InputError when the environment names one that cannot be used.
    """
    from urllib.request import getproxies_environment, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies_environment()
    if not proxies or is_here(parts.hostname or ""):
        return None
    # Only where a proxy is set: the import takes a tenth of a second.
    from requests.utils import select_proxy, should_bypass_proxies

    # The first knows networks, the second knows ports of addresses.
    direct = should_bypass_proxies(url, None) or proxy_bypass(parts.netloc)
    named = None if direct else select_proxy(url, proxies)
    return _read(named, parts.netloc) if named else None


def is_here(host: str) -> bool:
    """Tell whether `host` is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(text: str, host: str) -> Proxy:
    """Return the proxy that a variable names as `text`, with name and password or without."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    place = parts.netloc.rpartition("@")[2]
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            f"use proxy {parts.scheme}://{place}",
            "it is not like http://HOST:PORT",
            f"correct the variable HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or name {host} in "
            "NO_PROXY",
        )
    user = Credentials(unquote(parts.username or ""), unquote(parts.password or ""))
    return Proxy(f"{parts.scheme}://{place}", user)
