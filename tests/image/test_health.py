"""The program of a health check: it says what a server says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.root import Root
from scratch_image.image import health
from scratch_image.scons.steps.health import HealthStep

ARM64 = "aarch64-linux-gnu-gcc"


@pytest.fixture(scope="module", params=["gcc", "musl-gcc", ARM64])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the program; give the words that start it."""
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    made = tmp_path_factory.mktemp("health") / "x.health"
    line = HealthStep("x", (request.param,)).run(Root(), [os.fsencode(made)], [])
    assert line.endswith(f" kB by {request.param}")
    assert made.stat().st_size < 40_000
    return ["qemu-aarch64-static", str(made)] if request.param == ARM64 else [str(made)]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Give the port of a server that answers as the path says, and keeps connections open."""
    kept: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):  # The listener is shut down at the end.
            while True:
                connection, _ = listener.accept()
                kept.append(connection)
                request = connection.recv(9999).decode()
                assert request.endswith("\r\n\r\n")
                connection.sendall(ANSWERS[request.split(" ")[1]])
                if request.startswith("GET /nothing "):
                    connection.close()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in kept:
        connection.close()


ANSWERS = {
    "/": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "/moved?to=x": b"HTTP/1.1 302 Found\r\n\r\n",
    "/ill": b"HTTP/1.0 503 Service Unavailable\r\n\r\n",
    "/odd": b"220 mail.example ESMTP 2 3\r\n",
    "/long": b"HTTP/1.1 200 " + b"x" * 300,
    "/nothing": b"",
}


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/", 0, "HTTP/1.1 200 OK"),
        ("", 0, "HTTP/1.1 200 OK"),
        ("/moved?to=x", 0, "HTTP/1.1 302 Found"),
        ("/ill", 1, "HTTP/1.0 503 Service Unavailable"),
        ("/odd", 1, "220 mail.example ESMTP 2 3"),
        ("/long", 0, ("HTTP/1.1 200 " + "x" * 300)[:256]),
        ("/nothing", 1, ""),
    ],
)
def test_answer_of_the_server(
    program: list[str], port: int, path: str, status: int, said: str
) -> None:
    page = f"http://127.0.0.1:{port}{path}"

    ran = subprocess.run([*program, page], capture_output=True, text=True, timeout=50)

    assert (ran.returncode, ran.stdout, ran.stderr) == (status, said, "")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="no page"),
        pytest.param(["http://127.0.0.1:1/"], id="no server"),
        pytest.param(["http://127.0.0.2:80/"], id="another host"),
        pytest.param(["x"], id="no address"),
        pytest.param(["http://127.0.0.1:80/" + "x" * 9000], id="long page"),
        pytest.param(["http://127.0.0.1:80/", "x"], id="two pages"),
    ],
)
def test_without_an_answer(program: list[str], words: list[str]) -> None:
    ran = subprocess.run([*program, *words], capture_output=True, timeout=50)

    assert (ran.returncode, ran.stdout) == (1, b"")


def test_page_that_is_checked() -> None:
    assert health.command("http://127.0.0.1:80") == (health.PROGRAM, "http://127.0.0.1:80")
    assert health.is_page(("https://x",))
    assert not health.is_page(("http-check",))
    assert not health.is_page(("http://127.0.0.1:80/", "x"))


@pytest.mark.parametrize(
    "page",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://localhost:80/",
        "https://127.0.0.1:80/",
        "http://127.0.0.1:80/a b",
    ],
)
def test_page_that_cannot_be_checked(page: str) -> None:
    with pytest.raises(InputError) as error:
        health.command(page)

    assert str(error.value) == (
        f"cannot check health by {page!r}: it is no page of 127.0.0.1; "
        "write http://127.0.0.1:PORT/..., or name a program of the image"
    )


def test_program_is_for_the_machine_of_the_image() -> None:
    health.require_machine(62, 62)

    with pytest.raises(InputError) as error:
        health.require_machine(62, 183)

    assert str(error.value) == (
        "cannot check health in the image: its program is for aarch64, and the compiler made one "
        "for x86_64; set CC to a C compiler for aarch64"
    )
