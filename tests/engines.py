"""Real engines of their own for tests: own data, own socket, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def dockerd(directory: Path, *hosts: str) -> Iterator[str]:
    """Run dockerd with its data below `directory`; give its address once it answers.

    `hosts` are addresses at which it listens, as well. Containers have no network but
    ``--network none``. Only this one process is ended, by its own handle.
    """
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("dockerd needs root")
    directory.mkdir(parents=True, exist_ok=True)
    # Addresses of Unix sockets have at most 107 bytes, which pytest's directories use up.
    short = Path(tempfile.mkdtemp(prefix="dockerd-", dir="/tmp"))
    path = short / "docker.sock"
    command = [
        "dockerd",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        f"--host=unix://{path}",
        *(f"--host={host}" for host in hosts),
        f"--data-root={directory / 'data'}",
        f"--exec-root={short / 'exec'}",
        f"--pidfile={short / 'pid'}",
    ]
    log = directory / "dockerd.log"
    with log.open("wb") as output:
        engine = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(path, engine, log)
        yield f"unix://{path}"
    finally:
        engine.terminate()
        engine.wait(30)
        shutil.rmtree(short, ignore_errors=True)


@contextmanager
def podman(directory: Path) -> Iterator[str]:
    """Run Podman's service with its data below `directory`; give its address once it answers."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("podman needs root here")
    directory.mkdir(parents=True, exist_ok=True)
    short = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
    path = short / "podman.sock"
    # Its own limits are more than a container of CI may give.
    (directory / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\n'
    )
    command = [
        *("podman", "--storage-driver=vfs", f"--root={directory / 'data'}"),
        *(f"--runroot={short / 'run'}", "system", "service", "--time=0", f"unix://{path}"),
    ]
    log = directory / "podman.log"
    environment = {**os.environ, "CONTAINERS_CONF": str(directory / "containers.conf")}
    with log.open("wb") as output:
        engine = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait(path, engine, log)
        yield f"unix://{path}"
    finally:
        engine.terminate()
        engine.wait(30)
        shutil.rmtree(short, ignore_errors=True)


def _wait(path: Path, engine: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not _answers(path):
        if engine.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the engine does not start:\n{log.read_text()}")
        time.sleep(0.02)


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.0 200")
    except OSError:
        return False
