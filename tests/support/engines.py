"""Real engines of their own for tests: own data, own socket, gone afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

MIRROR = "http://deb.debian.org/debian"
TRIXIE = Path(__file__).parents[2] / "build/test/docker-trixie"
"""The root of a Debian 13 with Docker and little else, unpacked once."""

_NETLESS = ("--bridge=none", "--iptables=false", "--ip6tables=false")

_CHANGE_ROOT = """
set -eu
mount --bind {root} {root}
for name in dev proc sys; do mount --rbind /$name {root}/$name; done
mkdir -p {root}/var/lib/docker
mount --bind {data} {root}/var/lib/docker
mount --bind {run} {root}/run
PATH=/usr/sbin:/usr/bin exec chroot {root} "$@"
"""
"""For a mount namespace, which ends with the daemon. Containers need a root that is a mount."""


@contextmanager
def dockerd(directory: Path, *hosts: str, options: Sequence[str] = ()) -> Iterator[str]:
    """Run dockerd with its data below `directory`; give its address once it answers.

    `hosts` are addresses at which it listens, as well; `options` are further words. Containers have
    no network but ``--network none``. Only this one process is ended, by its own handle.
    """
    _need_root("dockerd")
    with _place("dockerd") as run:
        command = [
            *("dockerd", *_NETLESS),
            f"--host=unix://{run / 'docker.sock'}",
            *(f"--host={host}" for host in hosts),
            f"--data-root={directory / 'data'}",
            f"--exec-root={run / 'exec'}",
            f"--pidfile={run / 'pid'}",
            *options,
        ]
        with _serving(command, run / "docker.sock", directory / "dockerd.log") as address:
            yield address


@contextmanager
def newer_dockerd(directory: Path, *, containerd: bool) -> Iterator[str]:
    """Run the dockerd of Debian 13 like that of this machine, with the image store of containerd.

    Or with that of a graph driver. Its mounts are its own, and go with it.
    """
    _need_root("dockerd")
    _unpack_trixie()
    data = directory / "data"
    data.mkdir(parents=True)
    with _place("dockerd") as run:
        features = {"features": {"containerd-snapshotter": containerd}}
        (run / "daemon.json").write_text(json.dumps(features))
        script = _CHANGE_ROOT.format(root=TRIXIE, data=data, run=run)
        command = [
            *("unshare", "--mount", "sh", "-c", script, "sh", "dockerd", *_NETLESS),
            *("--host=unix:///run/docker.sock", "--config-file=/run/daemon.json"),
            *("--exec-root=/run/docker", "--pidfile=/run/docker.pid"),
        ]
        with _serving(command, run / "docker.sock", directory / "dockerd.log") as address:
            yield address


@contextmanager
def podman(directory: Path) -> Iterator[str]:
    """Run Podman's service with its data below `directory`; give its address once it answers."""
    _need_root("podman")
    directory.mkdir(parents=True, exist_ok=True)
    # Its own limits are more than a container of CI may give.
    settings = directory / "containers.conf"
    settings.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\n'
    )
    with _place("podman") as run:
        path = run / "podman.sock"
        command = [
            *("env", f"CONTAINERS_CONF={settings}"),
            *("podman", "--storage-driver=vfs", f"--root={directory / 'data'}"),
            *(f"--runroot={run / 'run'}", "system", "service", "--time=0", f"unix://{path}"),
        ]
        with _serving(command, path, directory / "podman.log") as address:
            yield address


def _need_root(program: str) -> None:
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip(f"{program} needs root")


def _unpack_trixie() -> None:
    TRIXIE.parent.mkdir(parents=True, exist_ok=True)
    with (
        TRIXIE.with_suffix(".lock").open("w") as lock,
        tempfile.TemporaryDirectory(dir=TRIXIE.parent) as name,
    ):
        # Another process of the tests may be about to do the same.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if TRIXIE.is_dir():
            return
        # base-files has the links to /usr, without which no program finds its loader.
        words = ["--variant=extract", "--include=docker.io,base-files", "--mode=root"]
        made = subprocess.run(
            ["mmdebstrap", *words, "trixie", f"{name}/root", MIRROR], capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr
        Path(name, "root").rename(TRIXIE)


@contextmanager
def _place(name: str) -> Iterator[Path]:
    """Give a directory for sockets: of their addresses, pytest's would use up the 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _serving(command: Sequence[str], path: Path, log: Path) -> Iterator[str]:
    """Run an engine that listens at `path`; give its address once it answers."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        engine = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait(path, engine, log)
        yield f"unix://{path}"
    finally:
        engine.terminate()
        try:
            engine.wait(30)
        finally:
            engine.kill()


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
