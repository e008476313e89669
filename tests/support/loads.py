"""Small images for engines, and engines that lie."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import audit
from scratch_image.files.entry import Entry
from scratch_image.fs.digest import Digest
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.image import archive, compression, layer
from scratch_image.image.config import Image
from scratch_image.image.reference import Reference
from scratch_image.image.settings import Settings
from scratch_image.publish import container
from scratch_image.sandbox.run import Run

SETTINGS = Settings("amd64", entrypoint=["/app/show"])

NAME = "example/show:1"


def docker(address: str, *arguments: str) -> str:
    done = subprocess.run(["docker", "-H", address, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def emptied(address: str) -> str:
    """Remove all images of the engine at `address`."""
    found = docker(address, "image", "ls", "-aq").split()
    if found:
        docker(address, "image", "rm", "-f", *sorted(set(found)))
    return address


def run(address: str, name: str = NAME) -> str:
    """Return the output of the image; an engine under load may lose that of a short run, once."""
    command = "run", "--rm", "--network", "none", name
    return docker(address, *command) or docker(address, *command)


def tar(path: Path, staged: dict[bytes, bytes], suffix: str = ".tar") -> bytes:
    """Write a layer with `staged` files (image path to bytes) and return where it lies."""
    root = {}
    entries = {Entry("dir", 0o755, 0, 0, os.path.dirname(name)) for name in staged}
    for number, (name, data) in enumerate(staged.items()):
        source = path.with_name(f"{path.name}.{number}")
        source.write_bytes(data)
        source.chmod(0o755)
        root[name] = os.fsencode(source)
        entries.add(Entry("file", 0o755, 0, 0, name))
    made = path.with_name(path.name + suffix)
    with made.open("wb") as output, compression.compress(output, suffix) as sink:
        layer.write(sink, entries, Root(WatchedFileSystem(b"/", root, epoch=0)))
    return os.fsencode(made)


def capable(directory: Path, status: bytes) -> bytes:
    """Write an image of a program with a capability, under two names and a user; return its path."""
    (directory / "status").write_bytes(status)
    own = {"mode": 0o755, "uid": 0, "gid": 0, "capabilities": "cap_net_raw=ep"}
    entries = [
        Entry("dir", 0o755, 0, 0, b"/app"),
        Entry("file", path=b"/app/status", **own),  # type: ignore[arg-type]
        Entry("hard", path=b"/app/twin", target=b"/app/status", **own),  # type: ignore[arg-type]
    ]
    with (directory / "status.tar").open("wb") as sink:
        staged = {b"/app/status": os.fsencode(directory / "status")}
        layer.write(sink, entries, Root(WatchedFileSystem(b"/", staged, epoch=0)))
    settings = Settings("amd64", cmd=["/app/status"], user="1000")
    return build(directory, [os.fsencode(directory / "status.tar")], settings)[0]


def effective(address: str, program: str) -> list[str]:
    """Return the capabilities that `program` has in a container."""
    return docker(address, "run", "--rm", "--network", "none", NAME, program).split()


def build(
    directory: Path,
    layers: list[bytes],
    settings: Settings = SETTINGS,
    tags: tuple[str, ...] = (NAME,),
) -> tuple[bytes, Image]:
    """Write an archive of the layer files `layers`; return where it lies and what it holds."""
    image = Image(settings, tuple(layer.read(path) for path in layers))
    path = Path(tempfile.mkdtemp(dir=directory)) / "x.oci.tar"
    with path.open("wb") as sink:
        archive.write(sink, image, layers, [Reference.parse(tag) for tag in tags])
    # Engines have to take layers that hide each other's files, too, which ours do not.
    wrong = audit.validate(os.fsencode(path))
    assert [line for line in wrong if not line.endswith(": packed more than once")] == []
    return os.fsencode(path), image


def config_id(image: Image) -> str:
    return str(Digest.of(image.config.json()))


@contextmanager
def liar(*answers: bytes) -> Iterator[str]:
    """Serve, at the address given, each of `answers` to one connection, the last one for ever.

    A fake, since no engine at hand gives such answers.
    """
    directory = tempfile.mkdtemp(prefix="liar-", dir="/tmp")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/docker.sock")
        server.listen()
        left = list(answers)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    _answer(connection, left.pop(0) if len(left) > 1 else left[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix://{directory}/docker.sock"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    shutil.rmtree(directory)


def _answer(connection: socket.socket, answer: bytes) -> None:
    received = b""
    while not received.endswith(b"\r\n\r\n" if received[:4] != b"POST" else b"\r\n0\r\n\r\n"):
        piece = connection.recv(1 << 20)
        received += piece
        if not piece or (answer == CUT and received[:4] == b"POST"):
            return
    with suppress(OSError):  # The other side may have had enough.
        connection.sendall(answer)


CUT = b""
"""Answer nothing, and close the connection as soon as a request has begun."""


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.0 {status}\r\nContent-Length: {size}\r\n\r\n".encode() + body


ID = "sha256:" + "1" * 64

NONE = http(b'{"message":"No such image"}', "404 Not Found")


def own_id(path: bytes, containerd: bool) -> str:
    """Return the ID by which a store knows the image in the archive `path`."""
    image = archive.read(path)
    return str(image.manifest if containerd else image.config)


def check_streams(address: str, directory: Path) -> None:
    """Check what a container reads, prints and ends by, byte by byte."""
    with tarfile.open(directory / "busybox.tar", "w") as tar:
        tar.add("/bin/busybox", "busybox")
    command = ["docker", "-H", address, "import", str(directory / "busybox.tar"), "busybox:1"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    def run(*words: bytes, stdin: bytes | None = None) -> tuple[int, bytes, bytes]:
        run = Run("x", (b"busybox", *words))
        result = container.run_container(address, "busybox:1", run, b"/busybox", stdin)
        return result.status, result.stdout, result.stderr

    data = os.urandom(500_000)
    assert run(b"cat", stdin=data) == (0, data, b"")
    script = b"printf '\\377'; printf '\\376' >&2; kill -ABRT $$"
    assert run(b"sh", b"-c", script) == (134, b"\377", b"\376")
    assert run(b"nproc") == (0, b"1\n", b"")
