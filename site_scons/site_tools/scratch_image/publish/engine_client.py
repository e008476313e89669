"""One request to an engine, Docker or Podman: by its socket, or by the SDK.

The API: https://docs.docker.com/reference/api/engine/ . An address is written as in DOCKER_HOST.
The request of a build that has nothing to do goes over the socket itself: importing the engine's
SDK takes a quarter of a second, the request a few milliseconds.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import EngineError, InputError, innermost_cause, one_line

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

ASK_SECONDS = 60.0
"""For an answer that an engine has at hand, even a busy one."""
PING_SECONDS = 5.0

WRONG_HINT = "see that Docker or Podman listens there"
LOG_HINT = "look into the engine's log"
_START_HINT = "start it, or set DOCKER_HOST"
_PROXY_HINT = "see that the proxy runs and lets you pass, or name the engine's host in NO_PROXY"

_HINTS = (
    ("no space left", "free space in the engine's data folder, which `docker info` names"),
    ("permission denied", "add the user who runs scons to the group that owns the socket"),
    ("docker-init", "install tini where the engine runs"),
    ("container-init", "install catatonit where the engine runs"),
    ("invalid tar header", "name the layer .tar or .tar.gz: this engine may not know zstd"),
)
"""By words of the cause."""

_UNIX = "unix://"

_MAX_ANSWER = 16 << 20
"""Bytes of an answer."""
_MAX_LINE = 1 << 20
"""Bytes of one line of an answer that comes by lines."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\r\n]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,15}) *\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """The answer (hostile) of an engine to one request."""

    status: int
    """HTTP status."""
    body: bytes


def ask_error(address: str, question: str, cause: str, hint: str = WRONG_HINT) -> EngineError:
    """Return the error of an engine that does not answer `question`: ``for image NAME``."""
    return EngineError(f"ask engine at {address} {question}", cause, hint)


def engine_error(action: str, address: str, cause: str) -> EngineError:
    """Return the error of an engine that cannot do `action`, with a hint that fits `cause`."""
    cause = f"engine at {address}: {cause}"
    return EngineError(action, cause, _hint(cause))


def _hint(cause: str, default: str = LOG_HINT) -> str:
    return next((hint for words, hint in _HINTS if words in cause.lower()), default)


def get(address: str, target: str, seconds: float) -> EngineAnswer:
    """Return the answer to a GET of `target`; EngineError when there is none in `seconds`."""
    if address.startswith(_UNIX):
        return _get_by_socket(address, target, seconds)
    with call(address, seconds, "GET", target) as response:
        return EngineAnswer(response.status_code, body(address, response))


def _get_by_socket(address: str, target: str, seconds: float) -> EngineAnswer:
    """Ask by HTTP/1.0, in which the answer ends with the connection and is in one piece."""
    request = f"GET {target} HTTP/1.0\r\nHost: engine\r\n\r\n".encode()
    received = bytearray()
    deadline = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(address.removeprefix(_UNIX))
            connection.sendall(request)
            while len(received) <= _MAX_ANSWER and (piece := connection.recv(1 << 16)):
                received += piece
                connection.settimeout(max(0.001, deadline - time.monotonic()))
    except (OSError, ValueError) as error:
        raise _reach_error(address, error) from error
    return _parse(address, bytes(received))


def _parse(address: str, received: bytes) -> EngineAnswer:
    """Return the HTTP answer in the bytes `received` (hostile)."""
    if len(received) > _MAX_ANSWER:
        raise ask_error(address, "anything", "its answer has no end")
    head, gap, content = received.partition(b"\r\n\r\n")
    status = _STATUS.match(head + b"\r\n")
    if not status or not gap:
        raise ask_error(address, "anything", "its answer is not HTTP")
    length = _LENGTH.search(head + b"\r\n")
    if length and len(content) < int(length[1]):
        raise ask_error(address, "anything", "its answer was cut off", LOG_HINT)
    return EngineAnswer(int(status[1]), content)


@contextmanager
def call(
    address: str, seconds: float, method: str, target: str, data: Iterable[bytes] | None = None
) -> Iterator[Response]:
    """Give the response to one request by the SDK, which knows TCP, TLS and SSH, as well."""
    # With a version the SDK need not ask for it. Targets without one mean the engine's own.
    with client(address, "1.41") as sdk:
        url = sdk.base_url + target
        with sdk.request(method, url, data=data, timeout=seconds, stream=True) as response:
            yield response


@contextmanager
def client(address: str, version: str = "auto") -> Iterator[APIClient]:
    """Give the SDK's client; EngineError for a connection that fails meanwhile."""
    import docker
    import requests
    from docker.utils import kwargs_from_env

    from . import proxy

    settings = {**os.environ, "DOCKER_HOST": address}
    try:
        with docker.APIClient(
            version=version, use_ssh_client=True, **kwargs_from_env(environment=settings)
        ) as sdk:
            # By itself the SDK asks a proxy even for this machine, and reads netrc files.
            tcp = sdk.base_url.startswith(("http://", "https://"))
            sdk.trust_env = tcp and proxy.find(sdk.base_url) is not None
            yield sdk
    except InputError as error:
        raise EngineError(error.action, error.cause, error.hint) from error
    except requests.exceptions.ProxyError as error:
        raise _reach_error(address, error, _PROXY_HINT) from error
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
        raise _reach_error(address, error) from error


@contextmanager
def api_errors(action: str, address: str) -> Iterator[None]:
    """Turn the SDK's error about `action` into ours."""
    import docker

    try:
        yield
    except docker.errors.APIError as error:
        raise engine_error(action, address, one_line(error.explanation or error)) from error


def _reach_error(address: str, error: BaseException, hint: str = _START_HINT) -> EngineError:
    cause = innermost_cause(error)
    return EngineError(f"reach engine at {address}", cause, _hint(cause, hint))


def body(address: str, response: Response) -> bytes:
    """Return the body of `response`; EngineError when it has no end."""
    received = bytearray()
    for piece in response.iter_content(1 << 16):
        received += piece
        if len(received) > _MAX_ANSWER:
            raise ask_error(address, "anything", "its answer has no end")
    return bytes(received)


def lines(address: str, response: Response) -> Iterator[bytes]:
    """Yield the lines of the body of `response`; EngineError when one has no end."""
    rest = b""
    for piece in response.iter_content(1 << 16):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > _MAX_LINE:
            raise ask_error(address, "to load", "its answer has no end")
    yield rest


def document(address: str, question: str, answer: EngineAnswer) -> dict[str, Any]:
    """Return the object in `answer`; EngineError when there is none, or the engine failed."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if answer.status != 200:
        message = found.get("message") if isinstance(found, dict) else ""
        cause = f"it answers {answer.status} {one_line(message)}".rstrip()
        raise ask_error(address, question, cause, _hint(cause))
    if not isinstance(found, dict):
        raise ask_error(address, question, "its answer is not a JSON object")
    return found
