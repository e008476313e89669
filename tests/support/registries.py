"""A real docker-registry for tests, and a gate before it that counts, fails and asks for tokens."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from archives import TAR, build
from scratch_image.fs.digest import Digest
from scratch_image.publish import push
from scratch_image.publish.registry import Tag
from servers import QuietHandler, free_port, running

USER, PASSWORD = "fox", "correct-horse:battery"
BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
IDENTITY = "identity-token-of-fox"


@contextmanager
def docker_registry(directory: Path, *, auth: bool = False, tls: bool = False) -> Iterator[str]:
    """Run Debian's docker-registry with its data below `directory`; give its host and port.

    With `auth` it wants `USER` and `PASSWORD`; with `tls` it has the certificate
    ``directory/ca.pem`` for localhost and registry.test.
    """
    directory.mkdir(parents=True, exist_ok=True)
    host = f"localhost:{free_port()}"
    http_part: dict[str, Any] = {"addr": host, "secret": "none"}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(directory / "data")},
            "delete": {"enabled": True},
        },
        "http": http_part,
    }
    if auth:
        made = subprocess.run(
            ["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True, text=True
        )
        (directory / "htpasswd").write_text(made.stdout)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    if tls:
        _certify(directory)
        http_part["tls"] = {
            "certificate": str(directory / "ca.pem"),
            "key": str(directory / "key.pem"),
        }
    (directory / "config.yml").write_text(json.dumps(config))
    log = directory / "registry.log"
    with running(["docker-registry", "serve", directory / "config.yml"], host, log):
        yield host


def _certify(directory: Path) -> None:
    names = "subjectAltName=DNS:localhost,DNS:registry.test"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "36500"),
            *("-subj", "/CN=localhost", "-addext", names),
            *("-keyout", directory / "key.pem", "-out", directory / "ca.pem"),
        ],
        check=True,
        capture_output=True,
    )


@dataclass
class Fault:
    """The fault of the first request that fits, once."""

    method: str
    part: str
    """Of the request's path."""
    status: int = 0
    """Answered instead of asking the registry; 0 for no answer: the connection is dropped."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of that answer; where `forward`, these replace the registry's own."""
    body: bytes = b""
    forward: bool = False
    """Whether the request goes on to the registry."""
    times: int = 1


@dataclass
class Gate:
    """An HTTP server before a registry."""

    host: str
    """Its own name and port."""
    registry: str
    tokens: bool = False
    """Whether it lets only those pass who show a token that it gave out."""
    service: str = "test"
    realm: str = ""
    """Where tokens are given out; empty for here."""
    challenge: str = "Bearer {}"
    """How it asks for a token; each line is a header of its own, ``{}`` stands for where."""
    faults: list[Fault] = field(default_factory=list)
    log: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Method, path with query, status, and bytes of the body of each request."""
    seen: list[str] = field(default_factory=list)
    """The Authorization header of each request."""

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests had `method` and `part` in their path."""
        return sum(1 for verb, path, *_ in self.log if verb == method and part in path)

    def sent(self) -> int:
        """Return the bytes of blobs that came in."""
        return sum(
            size for verb, path, _, size in self.log if verb == "PUT" and "/uploads/" in path
        )


@contextmanager
def _serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Have `server` answer in a thread of its own while the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def gate(registry: str) -> Iterator[Gate]:
    """Run a gate before the `registry`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made = server.gate = Gate(f"127.0.0.1:{server.server_port}", registry)  # type: ignore[attr-defined]
    with _serving(server):
        yield made


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _answer(self) -> None:
        self.gate: Gate = self.server.gate  # type: ignore[attr-defined]
        self.gate.seen.append(self.headers.get("Authorization") or "")
        fault = self._fault()
        if fault and not fault.status and not fault.forward:
            self.gate.log.append((self.command, self.path, 0, 0))
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault and not fault.forward:
            self._give(fault.status, fault.headers, fault.body, body)
        elif self.path.startswith("/token"):
            self._token(body)
        elif self.gate.tokens and (missing := self._missing()):
            realm = self.gate.realm or f"http://{self.gate.host}/token"
            where = f'realm="{realm}",service="{self.gate.service}",scope="{missing}"'
            self._give(401, {"WWW-Authenticate": self.gate.challenge.format(where)}, b"", body)
        else:
            self._forward(body, fault.headers if fault else {})

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815

    def _fault(self) -> Fault | None:
        for fault in self.gate.faults:
            if fault.times and fault.method == self.command and fault.part in self.path:
                fault.times -= 1
                return fault
        return None

    def _forward(self, body: bytes, replaced: Mapping[str, str]) -> None:
        connection = http.client.HTTPConnection(self.gate.registry)
        headers = dict(self.headers)
        if self.gate.tokens:
            headers.pop("Authorization", None)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        given = {key: text for key, text in answer.getheaders() if key != "Date"}
        self._give(answer.status, {**given, **replaced}, answer.read(), body)
        connection.close()

    def _give(self, status: int, headers: Mapping[str, str], data: bytes, body: bytes) -> None:
        self.gate.log.append((self.command, self.path, status, len(body)))
        self.send_response(status)
        for key, text in {"Content-Length": str(len(data)), **headers}.items():
            # Challenges may come in headers of their own; in others a line end is a fault.
            for line in text.splitlines() if key == "WWW-Authenticate" else filter(None, [text]):
                self.send_header(key, line)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _missing(self) -> str:
        """Return the scopes that the request needs, if its token has not all of them."""
        parts = urlsplit(self.path)
        name = parts.path.removeprefix("/v2/").rpartition("/")[0]
        repository = name.partition("/blobs")[0].partition("/manifests")[0]
        action = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        needed = [f"repository:{repository}:{action}"]
        needed += [f"repository:{each}:pull" for each in parse_qs(parts.query).get("from", [])]
        shown = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        granted = base64.b64decode(shown, validate=False).decode("utf-8", "replace").split()
        return "" if set(needed) <= set(granted) else " ".join(needed)

    def _token(self, body: bytes) -> None:
        query = parse_qs(urlsplit(self.path).query if self.command == "GET" else body.decode())
        known = (
            self.headers.get("Authorization") == BASIC
            if self.command == "GET"
            else query.get("refresh_token") == [IDENTITY]
        )
        if not known or query.get("service") != [self.gate.service]:
            error = {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}
            self._give(401, {}, json.dumps(error).encode(), body)
            return
        scopes = " ".join(query["scope"])
        key = "token" if self.command == "GET" else "access_token"
        token = base64.b64encode(scopes.encode()).decode()
        self._give(200, {}, json.dumps({key: token}).encode(), body)


@dataclass
class Forward:
    """An HTTP proxy, which alone knows where the hosts under ``.test`` are."""

    port: int
    places: dict[str, str]
    """Host and port of each name."""
    user: str = ""
    """The users that it lets pass, as Proxy-Authorization has it; empty for all."""
    log: list[str] = field(default_factory=list)
    """Method and address of each request."""


@contextmanager
def forward(places: dict[str, str]) -> Iterator[Forward]:
    """Run a proxy that knows `places`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    made = server.forward = Forward(server.server_port, places)  # type: ignore[attr-defined]
    with _serving(server):
        yield made


class _Proxy(QuietHandler):
    protocol_version = "HTTP/1.1"

    def _place(self, host: str) -> str:
        """Return where `host` is; empty, and answered, where it is not to be reached."""
        proxy: Forward = self.server.forward  # type: ignore[attr-defined]
        proxy.log.append(f"{self.command} {self.path}")
        known = not proxy.user or self.headers.get("Proxy-Authorization") == proxy.user
        place = proxy.places.get(host, "") if known else ""
        if not place:
            self.send_response(502 if known else 407)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return place

    def do_CONNECT(self) -> None:  # noqa: N802
        self.close_connection = True
        if place := self._place(self.path):
            name, _, port = place.partition(":")
            with socket.create_connection((name, int(port))) as far:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(far, self.connection))
                back.start()
                _pump(self.connection, far)
                back.join()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if place := self._place(parts.netloc):
            connection = http.client.HTTPConnection(place)
            headers = {k: v for k, v in self.headers.items() if not k.startswith("Proxy-")}
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(self.command, target, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for key, text in answer.getheaders():
                self.send_header(key, text)
            self.end_headers()
            self.wfile.write(data)
            connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def pushed(gate: Gate, tmp_path: Path, *names: str) -> Digest:
    """Push a small image to the repositories `names`."""
    build(tmp_path / "x.oci.tar", [TAR])
    tags = [Tag.parse(f"http://{gate.host}/{name}:1") for name in names]
    return push.push(os.fsencode(tmp_path / "x.oci.tar"), tags).digest
