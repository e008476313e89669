"""Real engines, old and new, with small images for them, and a gate before a real registry."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
from engines import dockerd, newer_dockerd
from loads import emptied, tar
from registries import BASIC, IDENTITY, Gate, gate
from scratch_image.fs.digest import Digest
from scratch_image.image.archive import Archive
from scratch_image.publish import engine, engine_client, push, registry_client


@pytest.fixture(scope="package")
def show(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a static program that prints /etc/text."""
    directory = tmp_path_factory.mktemp("show")
    (directory / "show.c").write_text(
        "#include <stdio.h>\n"
        'int main(void) { FILE *f = fopen("/etc/text", "r"); int c;\n'
        "  while (f && (c = getc(f)) != EOF) putchar(c); return !f; }\n"
    )
    subprocess.run(
        ["gcc", "-static", "-Os", "-s", "-o", directory / "show", directory / "show.c"], check=True
    )
    return directory / "show"


@pytest.fixture(scope="package")
def status(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Build a static program that prints its effective capabilities."""
    directory = tmp_path_factory.mktemp("status")
    (directory / "status.c").write_text(
        "#include <stdio.h>\n#include <string.h>\n"
        'int main(void) { FILE *f = fopen("/proc/self/status", "r"); char line[256];\n'
        '  while (fgets(line, 256, f)) if (!strncmp(line, "CapEff", 6)) fputs(line, stdout); }\n'
    )
    subprocess.run(
        ["gcc", "-static", "-Os", "-s", "-o", directory / "status", directory / "status.c"],
        check=True,
    )
    return (directory / "status").read_bytes()


@pytest.fixture(scope="package")
def tcp() -> str:
    """Find an address of this machine on which nothing listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="package")
def daemon(tmp_path_factory: pytest.TempPathFactory, tcp: str) -> Iterator[str]:
    with dockerd(tmp_path_factory.mktemp("engine"), tcp) as address:
        yield address


@pytest.fixture
def address(daemon: str) -> str:
    """Give the address of an engine without images."""
    return emptied(daemon)


STORES = {"graph driver": False, "containerd store": True}


@pytest.fixture(scope="package", params=STORES)
def newer_daemon(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, bool]]:
    containerd = STORES[request.param]
    with newer_dockerd(tmp_path_factory.mktemp("newer"), containerd=containerd) as address:
        yield address, containerd


@pytest.fixture
def newer(newer_daemon: tuple[str, bool]) -> tuple[str, bool]:
    """Give the address of a newer engine without images, and whether it has a containerd store."""
    return emptied(newer_daemon[0]), newer_daemon[1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the targets of requests to engines."""
    targets: list[str] = []
    get = engine_client.get

    def spy(address: str, target: str, seconds: float) -> engine_client.EngineAnswer:
        targets.append(target)
        return get(address, target, seconds)

    monkeypatch.setattr(engine, "get", spy)
    return targets


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[Digest]]:
    """Record what is left out of each archive that is sent."""
    omitted: list[list[Digest]] = []
    chunks = Archive.chunks

    def spy(self: Archive, omit: Collection[Digest] = ()) -> Iterator[bytes]:
        omitted.append(sorted(omit))
        return chunks(self, omit)

    monkeypatch.setattr(Archive, "chunks", spy)
    return omitted


@pytest.fixture
def program(show: Path, tmp_path: Path) -> bytes:
    return tar(tmp_path / "program", {b"/app/show": show.read_bytes()})


@pytest.fixture
def text(tmp_path: Path) -> Callable[[str], bytes]:
    return lambda words: tar(tmp_path / words, {b"/etc/text": words.encode()})


@pytest.fixture
def before(hub: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Gate]:
    """Give a gate before a registry; no user is logged in.

    An earlier gate may have had its port, so nothing is known of where it has blobs.
    """
    monkeypatch.setattr(push, "_places", {})
    monkeypatch.setattr(registry_client, "_WAITS", (0.01, 0.02))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with gate(hub) as made:
        yield made


@pytest.fixture
def log_in(before: Gate, tmp_path: Path) -> Callable[[str], None]:
    """Give a function that writes our login at the gate: ``auth`` or ``identitytoken``."""

    def write(member: str) -> None:
        entry = {"auth": BASIC.partition(" ")[2], "identitytoken": IDENTITY}
        found = {"auths": {before.host: {member: entry[member]}}}
        (tmp_path / "config.json").write_text(json.dumps(found))

    return write
