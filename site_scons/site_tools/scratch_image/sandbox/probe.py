"""One request to a server.

It is a program, too, ``python -I -S probe.py KIND WORD... SECONDS ROOT``, for a server that has a
network and a root of its own: the request has to come from there. It imports nothing of the
package.
"""

import os
import socket
import sys
from collections.abc import Callable

_BODY = 1 << 20
"""Bytes of a page to read."""


def tcp(port: str, seconds: float) -> str:
    """Connect to `port` of 127.0.0.1 within `seconds`; return why that failed, a clause, or ""."""
    return _connect(socket.AF_INET, ("127.0.0.1", int(port)), seconds)


def unix(path: str, seconds: float) -> str:
    """As `tcp`, to the UNIX socket `path`."""
    return _connect(socket.AF_UNIX, path, seconds)


def _connect(family: int, address: tuple[str, int] | str, seconds: float) -> str:
    with socket.socket(family) as client:
        client.settimeout(seconds)
        try:
            client.connect(address)
        except OSError as error:
            return str(error)
    return ""


def page(port: str, target: str, seconds: float) -> str:
    """Get the page `target` from the server at `port` of 127.0.0.1; return why that failed."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=seconds)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        response.read(_BODY)
    except (OSError, http.client.HTTPException) as error:
        return f"there was no answer ({error})"
    finally:
        connection.close()
    return "" if 200 <= response.status < 400 else f"it answered with status {response.status}"


KINDS: dict[str, Callable[..., str]] = {request.__name__: request for request in (tcp, unix, page)}


def main(kind: str, *words: str) -> None:
    """Send the request; print why it failed."""
    *arguments, seconds, root = words
    if kind == "unix":
        # Links on the way are the server's. The name of a socket is short, that of its directory
        # may not be.
        if root != "/":
            os.chroot(root)
        above, arguments = os.path.dirname(arguments[0]), [os.path.basename(arguments[0])]
        os.chdir(above)
    sys.stdout.write(KINDS[kind](*arguments, float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
