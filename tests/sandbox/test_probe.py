"""Tests of probe.py, as the program that it is; test_execution.py uses it with real servers."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from scratch_image.sandbox import probe


def _send(*words: str) -> str:
    """Return the output of the program."""
    command = [sys.executable, "-I", "-S", probe.__file__, *words, "5", "/"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.fixture
def listening() -> socket.socket:
    """Give a socket of a port of 127.0.0.1."""
    return socket.create_server(("127.0.0.1", 0))


def test_port(listening: socket.socket) -> None:
    port = str(listening.getsockname()[1])
    with listening:
        assert _send("tcp", port) == ""

    assert _send("tcp", port) == "[Errno 111] Connection refused"


def test_socket_with_a_long_name(tmp_path: Path) -> None:
    above = tmp_path / ("d" * 120)
    above.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        (tmp_path / "short").symlink_to(above)
        server.bind(f"{tmp_path}/short/s")
        server.listen()
        assert _send("unix", f"{above}/s") == ""

    assert _send("unix", f"{above}/s") == "[Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        pytest.param(b"HTTP/1.0 204 Yes\r\n\r\n", "", id="found"),
        pytest.param(b"HTTP/1.0 404 No\r\n\r\n", "it answered with status 404", id="not found"),
        pytest.param(b"nonsense", "there was no answer (nonsense)", id="no HTTP"),
    ],
)
def test_page(listening: socket.socket, answer: bytes, failure: str) -> None:
    def serve() -> None:
        with listening, listening.accept()[0] as client:
            assert client.recv(1 << 16).startswith(b"GET /a?b HTTP/1.1\r\n")
            client.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    assert _send("page", str(listening.getsockname()[1]), "/a?b") == failure
    server.join()
