"""Servers for tests: small ones of HTTP, and programs that listen at a port."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that prints nothing."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Ping(QuietHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@contextmanager
def ping_server(path: Path) -> Iterator[None]:
    """Run what answers as an engine does to a ping, at the socket `path`."""
    with UnixStreamServer(str(path), _Ping) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


@contextmanager
def running(command: list[Any], host: str, log: Path) -> Iterator[None]:
    """Run a server; begin when it listens at `host`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(host, server, log)
        yield
    finally:
        server.terminate()
        server.wait(30)


def _wait(host: str, server: subprocess.Popen[bytes], log: Path) -> None:
    name, _, port = host.partition(":")
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((name, int(port)), 1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(
                    f"{server.args!r} does not start:\n{log.read_text()}"
                ) from None
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
