"""Programs of Debian, each unlike the others: their images work, hold no secret, and are the same twice."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import scanners
from lab import NO_ENGINE, PACKAGE, Scons
from scratch_image.fs.digest import Digest

IMAGES = Path(__file__).parent / "debian"
NAMES = sorted(path.name for path in (IMAGES / "images").iterdir())
SECRETS = (".gitconfig", ".curlrc", ".netrc", ".wgetrc", ".sqliterc", ".bash_history")
SECRET = b"planted secret"


def _build(directory: Path, scons: Scons, engine: str, *targets: str) -> str:
    ran = scons.run(
        directory,
        f"tool={PACKAGE.parent}",
        *targets,
        env={"DOCKER_HOST": engine, "HOME": str(directory / "home")},
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def _checkout(directory: Path, authority: Path) -> Path:
    """Copy the repository of images, and plant secrets in the home of who builds."""
    # Files of earlier runs would be an input of the next trace.
    for path in Path("/tmp").glob("traced-*"):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(IMAGES, directory)
    (directory / "home").mkdir()
    for name in SECRETS:
        (directory / "home" / name).write_bytes(SECRET)
    bundle = Path("/etc/ssl/certs/ca-certificates.crt").read_text() + authority.read_text()
    (directory / "images/curl/bundle.pem").write_text(bundle)
    return directory


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate authority, and a server's certificate for localhost beside it."""
    where = tmp_path_factory.mktemp("authority")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=ours -days 9",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 9"
        " -out cert.pem -extfile names",
    ):
        (where / "names").write_text("subjectAltName=DNS:localhost\n")
        subprocess.run(["openssl", *command.split()], cwd=where, check=True, capture_output=True)
    return where / "ca.pem"


@pytest.fixture(scope="module")
def built(
    newest: Scons, engine: str, authority: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Build all images once."""
    directory = _checkout(tmp_path_factory.mktemp("debian") / "one", authority)
    _build(directory, newest, engine, "images")
    return directory


@pytest.mark.parametrize("name", NAMES)
def test_image_passes_its_runs(built: Path, newest: Scons, engine: str, name: str) -> None:
    _build(built, newest, engine, f"test/images/{name}")

    assert (built / f"build/images/{name}/{name}.tested").read_text()
    assert "is up to date" in _build(built, newest, engine, f"images/{name}")
    assert "is up to date" in _build(built, newest, engine, f"test/images/{name}")


@pytest.mark.parametrize("name", NAMES)
def test_image_holds_no_secret(built: Path, name: str) -> None:
    with tarfile.open(built / f"build/images/{name}/{name}.tar") as layer:
        for member in layer.getmembers():
            assert os.path.basename(member.name) not in SECRETS
            file = layer.extractfile(member) if member.isfile() else None
            assert file is None or SECRET not in file.read()


@pytest.mark.parametrize("name", NAMES)
def test_scanner_sees_the_packages_of_all_files(built: Path, name: str) -> None:
    output = built / f"build/images/{name}"

    found = scanners.scanned(output / f"{name}.oci.tar")

    packages = [each["name"] for each in found if each["type"] == "deb"]
    assert len(packages) == len(set(packages))
    assert set(packages) == scanners.owners(output / f"{name}.files")
    licences = {each["name"] for each in found if each["licenses"]}
    assert ({*packages} if name == "sqlite" else set()) <= licences


def test_second_build_is_the_same(
    built: Path, newest: Scons, authority: Path, tmp_path: Path
) -> None:
    again = _checkout(tmp_path / "two", authority)
    _build(again, newest, NO_ENGINE, "images")

    archives = "build/images/{0}/{0}.oci.tar"
    for name in NAMES:
        digests = []
        for directory in (built, again):
            with (directory / archives.format(name)).open("rb") as archive:
                digests.append(Digest.of_stream(archive))
        assert digests[0] == digests[1], name


@contextmanager
def _tls_server(directory: Path, authority: Path) -> Iterator[Path]:
    """Serve one page by TLS on a UNIX socket, which a container without a network can reach."""
    path = directory / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.with_name("cert.pem"), authority.with_name("key.pem"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)

        def serve() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as stream:
                stream.recv(4096)
                stream.sendall(b"HTTP/1.0 200 OK\r\n\r\nby HTTPS\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


def test_https_works_though_no_run_shows_it(
    built: Path, engine: str, authority: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    directory = Path("/tmp") / f"tls-{os.getpid()}"
    directory.mkdir()
    try:
        with _tls_server(directory, authority) as path:
            ran = subprocess.run(
                [
                    *("docker", "-H", engine, "run", "--rm", "--network", "none"),
                    *("-v", f"{directory}:/tls", "curl"),
                    *("-sS", "--unix-socket", f"/tls/{path.name}", "https://localhost/"),
                ],
                capture_output=True,
                check=False,
            )
    finally:
        shutil.rmtree(directory)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"by HTTPS\n", b"")


REDIS = "redis-cli -p 16379"
MEMCACHED = "exec 3<>/dev/tcp/127.0.0.1/11311; echo version >&3; head -n 1 <&3"


@pytest.mark.parametrize(
    ("name", "arguments", "options", "asks"),
    [
        pytest.param("nginx", "-c /etc/scratch_image/nginx.conf", "",
                     {"curl -sS http://127.0.0.1:18080/": "Welcome to nginx!"}, id="nginx"),
        pytest.param("redis", "--port 16379 --bind 127.0.0.1 --dir /tmp --save ''",
                     "--read-only --cap-drop ALL",
                     {f"{REDIS} set key value": "OK", f"{REDIS} get key": "value"}, id="redis"),
        pytest.param("memcached", "-u nobody -l 127.0.0.1 -p 11311", "--read-only",
                     {f"bash -c '{MEMCACHED}'": "VERSION "}, id="memcached"),
    ],
)  # fmt: skip
def test_server_answers_in_a_container(
    built: Path, engine: str, name: str, arguments: str, options: str, asks: dict[str, str]
) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    run = f"run -d --network none {options} {name} {arguments}"
    container = _docker(engine, *shlex.split(run))
    try:
        # Without a network only a process in its namespace reaches it.
        process = _docker(engine, "inspect", "-f", "{{.State.Pid}}", container)
        for ask, expected in asks.items():
            assert expected in _asked(["nsenter", "-t", process, "-n", *shlex.split(ask)])
        _docker(engine, "stop", container)
        assert _docker(engine, "wait", container) == "0"
    finally:
        _docker(engine, "rm", "-f", container)


def _docker(engine: str, *arguments: str) -> str:
    ran = subprocess.run(
        ["docker", "-H", engine, *arguments], check=True, capture_output=True, text=True
    )
    return ran.stdout.strip()


def _asked(command: list[str]) -> str:
    """Return what the server answers to `command`, once it answers."""
    end = time.monotonic() + 30
    while True:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        if ran.returncode == 0 or time.monotonic() > end:
            return ran.stdout
        time.sleep(0.05)
