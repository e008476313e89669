"""The engine, Docker or Podman: which image it has, giving it a new one, and running a container.

Its API: https://docs.docker.com/reference/api/engine/ . An address is written as in DOCKER_HOST.
The one question of a build that has nothing to do is asked over the socket itself: importing the
engine's SDK takes a quarter of a second, the question a few milliseconds.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import socket
import threading
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import EngineError, InputError, one_line
from ..fs.digest import Digest
from . import proxy

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

    from ..image.archive import Archive
    from ..sandbox.process import Result
    from ..sandbox.run import Run

_UNIX = "unix://"

_ASK_SECONDS = 60.0
"""For an answer that an engine has at hand, even a busy one."""
_PING_SECONDS = 5.0
_LOAD_SECONDS = 600.0
"""For the next sign of life while an engine unpacks layers."""

_MAX_ANSWER = 16 << 20
"""Bytes of an answer."""
_MAX_LINE = 1 << 20
"""Bytes of one line of the report of a load."""

_HEAD = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[^\r\n]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,15}) *\r\n", re.IGNORECASE)

_MENDS = (
    ("no space left", "free space in the engine's data folder, which `docker info` names"),
    ("permission denied", "add the user who runs scons to the group that owns the socket"),
    ("docker-init", "install tini where the engine runs"),
    ("container-init", "install catatonit where the engine runs"),
    ("invalid tar header", "name the layer .tar or .tar.gz: this engine may not know zstd"),
)
"""What mends an error whose text has these words."""

_START = "start it, or set DOCKER_HOST"
_BYPASS = "see that the proxy runs and lets you pass, or name the engine's host in NO_PROXY"
_LOOK = "look into the engine's log"
_WHO = "see that Docker or Podman listens there"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an engine answers to one request."""

    status: int
    """HTTP status."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that an engine was given, or has under a tag."""

    id: str
    """Digest of the config (graph driver) or of the manifest (containerd store)."""
    layers: tuple[Digest, ...]
    """Its blobs, the lowest layer first; none where these are not known."""
    diff_ids: tuple[Digest, ...]

    def text(self) -> bytes:
        """Return the text of which `read` makes the same again."""
        pairs = zip(self.diff_ids, self.layers, strict=True)
        lines = [self.id, *(f"{diff_id} {blob}" for diff_id, blob in pairs)]
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def read(cls, text: bytes) -> Loaded | None:
        """Return what `text` (hostile) tells; None when it is not whole."""
        try:
            digests = [Digest.parse(word) for word in text.decode("ascii", "replace").split()]
        except InputError:
            return None
        if len(digests) % 2 == 0:
            return None
        return cls(str(digests[0]), tuple(digests[2::2]), tuple(digests[1::2]))


def image_id(address: str, tag: str) -> str | None:
    """Return the ID of the image that the engine has under `tag`; None when it has none.

    EngineError when the engine cannot be reached, or answers what cannot be understood.
    """
    present = _inspect(address, tag)
    return present.id if present else None


def answers(address: str) -> bool:
    """Tell whether an engine answers at `address`; never raises."""
    try:
        return _get(address, "/_ping", _PING_SECONDS).status == 200
    except EngineError:
        return False


def load(address: str, archive_path: bytes, known: Sequence[Loaded] = ()) -> Loaded:
    """Give the engine the image in the archive under its tags; return what it has there.

    Only what is missing is sent, nothing at all when the tags are right. `known` are images that
    this project gave to engines: of these layers are left out, if this one still has the image.
    Should the engine refuse the part, it gets the whole, twice if it has to be. InputError when the
    archive is broken; EngineError when the engine cannot be reached, or does not take the image.
    """
    from ..image import archive

    image = archive.read(archive_path)
    return Loaded(_brought(address, image, known), image.layers, image.diff_ids)


def _brought(address: str, image: Archive, known: Sequence[Loaded]) -> str:
    """Return the ID of `image` once the engine has it."""
    found = _loaded(address, image)
    if found:
        return found
    omit = _omittable(address, image, known)
    whole = frozenset[Digest]()
    # What a refused load has unpacked goes while a containerd store counts on it: again, then, and
    # later, when that has gone.
    for each, seconds in ((omit, 0.0), (whole, 0.5), (whole, 2.0)) if omit else ():
        with suppress(EngineError):
            return _sent(address, image, each)
        time.sleep(seconds)
    return _sent(address, image, whole)


CAPABILITIES = frozenset(
    f"cap_{name}"
    for name in (
        *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod"),
        *("net_bind_service", "net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
    )
)
"""The capabilities that a container has unless more are named to the engine."""


def run_container(
    address: str,
    image: str,
    run: Run,
    program: bytes,
    stdin: bytes | None = None,
    capabilities: Collection[str] = (),
) -> Result:
    """Run `program`, a path in `image`, as `run` says in a container; return how it ended.

    The container has no network but loopback, no capabilities but those named and a file system
    that is not written to, as far as the run allows; nothing is left of it. As in a trace it has
    one processor, the program is not process 1, and of very much output the middle is left out.
    Standard input has the bytes `stdin`. A status that a signal left is 128 and the signal's
    number. EngineError when the engine cannot be reached, or does not run it.
    """
    import docker

    # The SDK would leave its socket open where nobody answers.
    _get(address, "/_ping", _PING_SECONDS)
    with _client(address, "auto") as client:
        try:
            has_stdin = stdin is not None
            name = _create(client, image, run, program, capabilities, has_stdin=has_stdin)
            try:
                return _run(client, name, run, stdin)
            finally:
                client.remove_container(name, v=True, force=True)
        except docker.errors.APIError as error:
            cause = one_line(error.explanation or error)
            raise EngineError(
                f"run image {image}", f"engine at {address}: {cause}", _mend(cause)
            ) from error


def export(address: str, image: str) -> Generator[bytes, None, None]:
    """Yield the tar of the file system that a container of `image` would start with.

    Nothing runs, and no container is left. EngineError when the engine cannot be reached, has no
    such image, or does not export it.
    """
    import docker

    present = _inspect(address, image)
    if present is None:
        raise EngineError(
            f"export image {image}", f"engine at {address} has none of that name", "pull or load it"
        )
    with _client(address, "auto") as client:
        try:
            # An image without a command needs one that is never run.
            name = client.create_container(present.id, command=["none"])["Id"]
            try:
                yield from client.export(name)
            finally:
                client.remove_container(name, v=True, force=True)
        except docker.errors.APIError as error:
            cause = one_line(error.explanation or error)
            raise EngineError(
                f"export image {image}", f"engine at {address}: {cause}", _mend(cause)
            ) from error


def _create(
    client: APIClient,
    image: str,
    run: Run,
    program: bytes,
    capabilities: Collection[str],
    *,
    has_stdin: bool,
) -> str:
    """Create the container; return its ID."""
    from docker.types import LogConfig

    words = [os.fsdecode(word) for word in (program, *run.argv[1:])]
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in run.environment.items()}
    limits = client.create_host_config(
        network_mode="host" if run.network == "host" else "none",
        read_only=run.read_only,
        cap_drop=["ALL"] if run.cap_drop else [],
        cap_add=sorted(capabilities),
        # As process 1 the program would not end by its own signals.
        init=True,
        # A run is traced on one processor: a program that counts them finds as many.
        cpuset_cpus=str(min(os.sched_getaffinity(0))),
        log_config=LogConfig(type="none"),
    )
    created = client.create_container(
        image,
        # Both are given, so that the image's own command is not.
        entrypoint=words[:1],
        command=words[1:],
        environment=variables,
        working_dir=os.fsdecode(run.cwd),
        host_config=limits,
        stdin_open=has_stdin,
    )
    return str(created["Id"])


def _run(client: APIClient, name: str, run: Run, stdin: bytes | None) -> Result:
    """Start the container `name`, wait for its end, and return that."""
    import requests

    from ..sandbox.process import Result

    with _Attached(client, name, has_stdin=stdin is not None) as attached:
        client.start(name)
        if stdin is not None:
            attached.send(stdin)
        overdue: tuple[bytes, ...] = ()
        try:
            status = client.wait(name, timeout=math.ceil(run.timeout))["StatusCode"]
        except requests.RequestException:
            status, overdue = 0, run.argv[:1]
            client.kill(name)
        attached.join(_ASK_SECONDS)
    return Result(run.argv, status, attached.stdout.text(), attached.stderr.text(), overdue)


class _Attached(threading.Thread):
    """Reads what a container prints, byte by byte: the engine's logs are text.

    The two outputs come in frames over one connection, by which standard input goes as well:
    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self, client: APIClient, name: str, *, has_stdin: bool) -> None:
        from ..sandbox.output import Ends

        super().__init__(daemon=True)
        self.stdout, self.stderr = Ends(), Ends()
        names = ["stdout", "stderr", "stream", *(["stdin"] if has_stdin else [])]
        self._reader: Any = client.attach_socket(name, params=dict.fromkeys(names, 1))
        # The SDK may give a reader only; its socket can be written to as well.
        self._socket: Any = getattr(self._reader, "_sock", self._reader)
        self._socket.settimeout(None)

    def __enter__(self) -> _Attached:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._socket.close()
        self._reader.close()

    def run(self) -> None:
        """Read; this is what the thread does."""
        from docker.utils.socket import STDOUT, frames_iter

        with suppress(OSError):
            for stream, data in frames_iter(self._socket, tty=False):  # type: ignore[no-untyped-call]
                (self.stdout if stream == STDOUT else self.stderr).add(data)

    def send(self, data: bytes) -> None:
        """Send `data` as standard input, and its end."""
        with suppress(OSError):  # The program may have ended without reading all.
            self._socket.sendall(data)
            self._socket.shutdown(socket.SHUT_WR)


def _sent(address: str, image: Archive, omit: Collection[Digest]) -> str:
    """Send the archive without the blobs in `omit`; return the ID that the image has then."""
    with _call(address, _LOAD_SECONDS, "POST", "/images/load", image.chunks(omit)) as response:
        cause = _refusal(address, response)
    found = None if cause else _loaded(address, image)
    if not found:
        cause = cause or "it took the image, but has another one under that tag"
        raise EngineError(
            f"load image {image.references[0]}", f"engine at {address}: {cause}", _mend(cause)
        )
    return found


def _loaded(address: str, image: Archive) -> str | None:
    """Return the ID of `image` when the engine has just that under each of its tags."""
    ids = {image_id(address, reference.familiar) for reference in image.references}
    found = ids.pop()
    return found if not ids and found in (str(image.config), str(image.manifest)) else None


def _omittable(address: str, image: Archive, known: Sequence[Loaded]) -> frozenset[Digest]:
    """Return the layer blobs that the engine has, by an image that is there.

    Of those that it may have it is asked for the one with most of the layers first.
    """
    tagged = (_inspect(address, each.familiar) for each in image.references)
    others = [*filter(None, tagged), *known]
    if not others:
        return frozenset()
    same = _same_blobs if _has_containerd_store(address) else _same_start
    found = [(same(image, each), each.id) for each in others]
    for omit, other in sorted(found, key=lambda pair: -len(pair[0])):
        if omit and image_id(address, other) == other:
            return omit
    return frozenset()


def _same_blobs(image: Archive, other: Loaded) -> frozenset[Digest]:
    """Return the blobs of both: what a containerd store needs not be sent.

    By the diff ID alone it would take its own unpacked files for the blob, and could never push
    the image again. So only what this project gave to it counts.
    """
    return frozenset(image.layers) & frozenset(other.layers)


def _same_start(image: Archive, other: Loaded) -> frozenset[Digest]:
    """Return the blobs with which both begin: what a graph driver needs not be sent.

    It finds a layer by the chain of all below it.
    """
    pairs = zip(image.diff_ids, other.diff_ids, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return frozenset(image.layers[:same]) - frozenset(image.layers[same:])


def _has_containerd_store(address: str) -> bool:
    answer = _get(address, "/info", _ASK_SECONDS)
    status = _json(address, "what it is", answer).get("DriverStatus")
    return isinstance(status, list) and ["driver-type", "io.containerd.snapshotter.v1"] in status


def _inspect(address: str, tag: str) -> Loaded | None:
    answer = _get(address, f"/images/{quote(tag, safe='/:')}/json", _ASK_SECONDS)
    if answer.status == 404:
        return None
    found = _json(address, f"for image {tag}", answer)
    try:
        layers = found["RootFS"].get("Layers") or ()
        return Loaded(
            str(Digest.parse(found["Id"])), (), tuple(Digest.parse(text) for text in layers)
        )
    except (InputError, LookupError, TypeError, AttributeError) as error:
        raise _unasked(address, f"for image {tag}", "its answer tells no image ID", _WHO) from error


def _json(address: str, what: str, answer: _Answer) -> dict[str, Any]:
    """Return the object in `answer`; EngineError when there is none, or the engine failed."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if answer.status != 200:
        message = found.get("message") if isinstance(found, dict) else ""
        cause = f"it answers {answer.status} {one_line(message)}".rstrip()
        raise _unasked(address, what, cause, _mend(cause))
    if not isinstance(found, dict):
        raise _unasked(address, what, "its answer is not a JSON object", _WHO)
    return found


def _unasked(address: str, what: str, cause: str, mend: str) -> EngineError:
    return EngineError(f"ask engine at {address} {what}", cause, mend)


def _unreached(address: str, error: BaseException, hint: str = _START) -> EngineError:
    # What libraries wrap around the cause says less than the cause.
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    cause = getattr(error, "strerror", None) or one_line(error) or type(error).__name__
    return EngineError(f"reach engine at {address}", cause, _mend(cause, hint))


def _mend(cause: str, default: str = _LOOK) -> str:
    return next((mend for words, mend in _MENDS if words in cause.lower()), default)


def _get(address: str, target: str, seconds: float) -> _Answer:
    if address.startswith(_UNIX):
        return _get_by_socket(address, target, seconds)
    with _call(address, seconds, "GET", target) as response:
        return _Answer(response.status_code, _body(address, response))


def _get_by_socket(address: str, target: str, seconds: float) -> _Answer:
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
        raise _unreached(address, error) from error
    return _parsed(address, bytes(received))


def _parsed(address: str, received: bytes) -> _Answer:
    """Return the HTTP answer in the bytes `received` (hostile)."""
    if len(received) > _MAX_ANSWER:
        raise _unasked(address, "anything", "its answer has no end", _WHO)
    head, gap, body = received.partition(b"\r\n\r\n")
    status = _HEAD.match(head + b"\r\n")
    if not status or not gap:
        raise _unasked(address, "anything", "its answer is not HTTP", _WHO)
    length = _LENGTH.search(head + b"\r\n")
    if length and len(body) < int(length[1]):
        raise _unasked(address, "anything", "its answer was cut off", _LOOK)
    return _Answer(int(status[1]), body)


@contextmanager
def _call(
    address: str, seconds: float, method: str, target: str, data: Iterable[bytes] | None = None
) -> Iterator[Response]:
    """Give the response to one request by the SDK, which knows TCP, TLS and SSH, as well."""
    # The version is given so that it is not asked for. Targets without one mean the engine's own.
    with _client(address, "1.41") as client:
        url = client.base_url + target
        with client.request(method, url, data=data, timeout=seconds, stream=True) as response:
            yield response


@contextmanager
def _client(address: str, version: str) -> Iterator[APIClient]:
    """Give the SDK's client; EngineError for what goes wrong with the connection meanwhile."""
    import docker
    import requests
    from docker.utils import kwargs_from_env

    settings = {**os.environ, "DOCKER_HOST": address}
    try:
        with docker.APIClient(
            version=version, use_ssh_client=True, **kwargs_from_env(environment=settings)
        ) as client:
            # By itself the SDK asks a proxy even for this machine, and reads netrc files.
            tcp = client.base_url.startswith(("http://", "https://"))
            client.trust_env = tcp and proxy.find(client.base_url) is not None
            yield client
    except InputError as error:
        raise EngineError(str(error)) from error
    except requests.exceptions.ProxyError as error:
        raise _unreached(address, error, _BYPASS) from error
    except (docker.errors.DockerException, requests.RequestException, OSError, ValueError) as error:
        raise _unreached(address, error) from error


def _body(address: str, response: Response) -> bytes:
    received = bytearray()
    for piece in response.iter_content(1 << 16):
        received += piece
        if len(received) > _MAX_ANSWER:
            raise _unasked(address, "anything", "its answer has no end", _WHO)
    return bytes(received)


def _refusal(address: str, response: Response) -> str:
    """Return why the engine did not take an image, by its report; nothing when it did."""
    if response.status_code != 200:
        return _failure(_body(address, response)) or f"it answers {response.status_code}"
    # Read to the end: an engine that loses its listener stops loading.
    failures = [_failure(line) for line in _lines(address, response) if line.strip()]
    return next(filter(None, failures), "")


def _lines(address: str, response: Response) -> Iterator[bytes]:
    rest = b""
    for piece in response.iter_content(1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _MAX_LINE:
            raise _unasked(address, "to load", "its answer has no end", _WHO)
    yield rest


def _failure(line: bytes) -> str:
    """Return the error in one `line` of the report of a load, else nothing."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return "its answer is not JSON"
    detail = event.get("errorDetail") or event.get("error") or event.get("message")
    if isinstance(detail, dict):
        detail = detail.get("message") or detail
    # The containerd store of Docker 28 reports this one as if it were progress.
    if not detail and "Error unpacking" in str(event.get("stream")):
        detail = event["stream"]
    return one_line(detail)
