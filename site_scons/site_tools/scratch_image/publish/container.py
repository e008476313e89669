"""A run in a container of an engine: started, fed, read to its end, and removed."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .engine_client import ASK_SECONDS, PING_SECONDS, api_errors, client, get

if TYPE_CHECKING:
    from docker import APIClient

    from ..sandbox.process import Result
    from ..sandbox.run import Run

CAPABILITIES = frozenset(
    f"cap_{name}"
    for name in (
        *("audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod"),
        *("net_bind_service", "net_raw", "setfcap", "setgid", "setpcap", "setuid", "sys_chroot"),
    )
)
"""The capabilities that a container has unless more are named to the engine."""


def run_container(
    address: str,
    image: str,
    run: Run,
    program: bytes,
    stdin: bytes | None = None,
    capabilities: Collection[str] = (),
) -> Result:
    """Run `program`, a path in `image`, as `run` says in a container; return how it ended.

    The container has no network but loopback, only the named capabilities, and a file system that
    cannot be written, as far as the run allows; nothing is left of it. As in a trace it has one
    processor, the program is not process 1, and of very much output the middle is left out.
    `stdin` is the standard input. The status of a run that a signal ended is 128 and the signal's
    number. EngineError when the engine cannot be reached, or does not run it.
    """
    # The SDK would leave its socket open where no engine answers.
    get(address, "/_ping", PING_SECONDS)
    with client(address) as sdk, api_errors(f"run image {image}", address):
        name = _create(sdk, image, run, program, capabilities, has_stdin=stdin is not None)
        try:
            return _run(sdk, name, run, stdin)
        finally:
            sdk.remove_container(name, v=True, force=True)


def _create(
    sdk: APIClient,
    image: str,
    run: Run,
    program: bytes,
    capabilities: Collection[str],
    *,
    has_stdin: bool,
) -> str:
    """Create the container; return its ID."""
    from docker.types import LogConfig

    words = [os.fsdecode(word) for word in (program, *run.argv[1:])]
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in run.environment.items()}
    limits = sdk.create_host_config(
        network_mode="host" if run.network == "host" else "none",
        read_only=run.read_only,
        cap_drop=["ALL"] if run.cap_drop else [],
        cap_add=sorted(capabilities),
        # As process 1 the program would not end by its own signals.
        init=True,
        # A run is traced on one processor: a program that counts them finds as many.
        cpuset_cpus=str(min(os.sched_getaffinity(0))),
        log_config=LogConfig(type="none"),
    )
    created = sdk.create_container(
        image,
        # Both are given, so that the image's own command is not.
        entrypoint=words[:1],
        command=words[1:],
        environment=variables,
        working_dir=os.fsdecode(run.cwd),
        host_config=limits,
        stdin_open=has_stdin,
    )
    return str(created["Id"])


def _run(sdk: APIClient, name: str, run: Run, stdin: bytes | None) -> Result:
    """Start the container `name`, wait for its end, and return that."""
    import requests

    from ..sandbox.process import Result

    with _Attached(sdk, name, has_stdin=stdin is not None) as attached:
        sdk.start(name)
        if stdin is not None:
            attached.send(stdin)
        overdue: tuple[bytes, ...] = ()
        try:
            status = sdk.wait(name, timeout=math.ceil(run.timeout))["StatusCode"]
        except requests.RequestException:
            status, overdue = 0, run.argv[:1]
            sdk.kill(name)
        attached.join(ASK_SECONDS)
    return Result(run.argv, status, attached.stdout.text(), attached.stderr.text(), overdue)


class _Attached(threading.Thread):
    """Reads what a container prints, byte by byte: the engine's logs are text.

    The two outputs come in frames over one connection, by which standard input goes as well:
    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self, sdk: APIClient, name: str, *, has_stdin: bool) -> None:
        from ..sandbox.process import Ends

        super().__init__(daemon=True)
        self.stdout, self.stderr = Ends(), Ends()
        names = ["stdout", "stderr", "stream", *(["stdin"] if has_stdin else [])]
        self._reader: Any = sdk.attach_socket(name, params=dict.fromkeys(names, 1))
        # The SDK may give a reader only; its socket can be written to as well.
        self._socket: Any = getattr(self._reader, "_sock", self._reader)
        self._socket.settimeout(None)

    def __enter__(self) -> _Attached:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._socket.close()
        self._reader.close()

    def run(self) -> None:
        """Read; this is what the thread does."""
        from docker.utils.socket import STDOUT, frames_iter

        with suppress(OSError):
            for stream, data in frames_iter(self._socket, tty=False):  # type: ignore[no-untyped-call]
                (self.stdout if stream == STDOUT else self.stderr).add(data)

    def send(self, data: bytes) -> None:
        """Send `data` as standard input, and its end."""
        with suppress(OSError):  # The program may have ended without reading all.
            self._socket.sendall(data)
            self._socket.shutdown(socket.SHUT_WR)
