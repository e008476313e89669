"""Tests of execution.py, with real servers: execution/server.py has many manners."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from scratch_image.errors import ProcessError
from scratch_image.sandbox.execution import RunOutcome, execute
from scratch_image.sandbox.run import Run

SERVER = os.path.join(os.path.dirname(__file__), "execution", "server.py")

PYTHON = "/usr/bin/python3"

STRACE = ("strace", "-f", "-o", "/dev/null", "-e", "trace=execve")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def served(place: object, manner: str, *before: str, **settings: object) -> RunOutcome:
    """Return how a run of the server went; by its port it is known to be ready."""
    settings = {"ready": f"tcp:{place}", "timeout": 10.0, **settings}
    run = Run("demo", (b"server",), **settings)  # type: ignore[arg-type]
    return execute(run, [*before, PYTHON, SERVER, str(place), manner])


def failure_text(outcome: RunOutcome) -> str:
    """Return cause and hint in one line, nothing where all went well."""
    failure = outcome.failure
    return f"{failure.cause}; {failure.hint}" if failure else ""


def shell(script: str, **settings: object) -> RunOutcome:
    return execute(Run("demo", (b"sh",), **settings), ["sh", "-c", script])  # type: ignore[arg-type]


# Runs that end by themselves.


def test_all_as_expected() -> None:
    script = 'echo "$PATH$HOME$A"; echo err >&2; exit 3'
    found = shell(script, environment={b"A": b"x"}, status=3)
    assert found.failure is None
    assert (
        found.result.stdout == b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin/x\n"
    )
    assert found.result.stderr == b"err\n"


@pytest.mark.parametrize(
    ("pattern", "failure"),
    [
        pytest.param(b"a.*b\n", "", id="matches, lines and all"),
        pytest.param(
            b"a.*",
            "",
            id="to its end",
        ),
        pytest.param(
            b"a",
            "it printed 'a | b', which does not match b'a'; correct the run, or let it expect that",
            id="the whole has to match",
        ),
    ],
)
def test_expected_output(pattern: bytes, failure: str) -> None:
    assert failure_text(shell("echo a; echo b", stdout=pattern)) == failure


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        pytest.param(
            "echo no >&2; exit 4",
            "it ended with status 4, not with status 0, and said 'no'; install what it lacks, set "
            "TRACE_ROOT=private if that is staged, correct the run, or let it expect that",
            id="status",
        ),
        pytest.param(
            "echo lost; echo no >&2; exit 4",
            "it ended with status 4, not with status 0, and said 'no' after it printed 'lost'; "
            "install what it lacks, set TRACE_ROOT=private if that is staged, correct the run, or "
            "let it expect that",
            id="on both outputs",
        ),
        pytest.param(
            "exec sleep 72",
            "after 0.3 s it still ran (sleep\\04072); "
            "give it a longer timeout, or a command that ends",
            id="time",
        ),
    ],
)
def test_unexpected_ends(script: str, failure: str) -> None:
    assert failure_text(shell(script, timeout=0.3)) == failure


def test_command_that_does_not_exist() -> None:
    with pytest.raises(ProcessError, match="cannot run no-such-tool"):
        execute(Run("demo", (b"x",)), ["no-such-tool"])


# Servers.


@pytest.mark.parametrize("before", [(), STRACE], ids=["alone", "under strace"])
def test_a_server_gets_requests_and_a_signal(before: tuple[str, ...], port: int) -> None:
    found = served(
        port, "clean", *before, probes=(f"http://127.0.0.1:{port}/200", "true"), stdout=b"goodbye\n"
    )
    assert found.failure is None
    assert found.result.stdout == b"goodbye\n"


def test_a_page_that_never_ends(port: int) -> None:
    begun = time.monotonic()
    page = f"http://127.0.0.1:{port}/slow"

    found = served(port, "clean", probes=(page,), timeout=2.0)

    assert f"probe {page!r} failed: it did not end in time" in failure_text(found)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("before", [(), STRACE], ids=["alone", "under strace"])
def test_a_server_that_the_signal_ends(before: tuple[str, ...], port: int) -> None:
    assert served(port, "plain", *before, status=-15).failure is None
    found = failure_text(served(port, "plain", *before, stop=signal.SIGINT, status=-15))
    assert found.startswith("it was ended by SIGINT, not with status -15, and said ")


def test_a_daemon_under_strace(port: int) -> None:
    found = served(port, "daemon", *STRACE, probes=(f"http://127.0.0.1:{port}/204",))
    assert found.failure is None
    assert found.result.stdout == b"goodbye\n"


def test_a_unix_socket(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    assert served(place, "clean", ready=f"unix:{place}").failure is None


def test_a_command_tells_that_it_is_ready(tmp_path: Path) -> None:
    found = execute(
        Run("demo", (b"x",), ready="exec:grep -q ready log", cwd=os.fsencode(tmp_path), timeout=9),
        [
            "sh",
            "-c",
            "trap 'exit 0' TERM; sleep 0.2; echo ready > log; while :; do sleep 0.1; done",
        ],
    )
    assert found.failure is None


def test_a_probe_reads_its_input_where_the_run_starts(port: int, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("word\n")
    probes = ("grep -q word < input",)
    with pytest.raises(ProcessError, match=r"'input'"):
        served(port, "clean", probes=probes)
    probes = (f"grep -q word < {tmp_path}/input",)
    assert served(port, "clean", probes=probes).failure is None


@pytest.mark.parametrize("before", [(), STRACE], ids=["alone", "under strace"])
def test_not_ready(before: tuple[str, ...], port: int) -> None:
    found = served(port, "clean", *before, ready="tcp:1", timeout=0.8)
    assert failure_text(found) == (
        f"after 0.8 s it was not ready (tcp:1), and said 'serving {port}'; "
        "give it a longer timeout, or correct ready"
    )


@pytest.mark.parametrize("before", [(), STRACE], ids=["alone", "under strace"])
def test_ended_before_it_was_ready(before: tuple[str, ...], port: int) -> None:
    assert failure_text(served(port, "dying", *before)) == (
        f"it ended with status 3 before it was ready, and said 'serving {port}'; correct the run"
    )


def test_ended_before_it_was_stopped(port: int) -> None:
    # The first connection tells that it is ready.
    found = served(port, "brief", probes=(f"http://127.0.0.1:{port}/200", "sleep 0.5"))
    assert failure_text(found) == (
        f"it ended with status 0 before it was stopped, and said 'serving {port}'; correct the run"
    )


@pytest.mark.parametrize(
    ("probe", "failure"),
    [
        pytest.param("http://127.0.0.1:{}/404", "it answered with status 404", id="page"),
        pytest.param("http://127.0.0.1:1", "there was no answer ([Errno 111] Connection refused)", id="no server"),
        pytest.param("ls /no/such/{}", "it ended with status 2 and said \"ls: cannot access '/no/such/{}': No such file or directory\"", id="command"),
        pytest.param("sh -c 'echo lost; exit 5'", "it ended with status 5 and said '' after it printed 'lost'", id="command that prints"),
        pytest.param("sleep 73", "it did not end in time and said ''", id="time"),
    ],
)  # fmt: skip
def test_failing_probes(probe: str, failure: str, port: int) -> None:
    found = served(port, "clean", probes=("true", probe.format(port)), timeout=2.0)
    assert failure_text(found) == (
        f"probe {probe.format(port)!r} failed: {failure.format(port)}, and the server said "
        f"'serving {port}'; correct the probe, or the run"
    )


@pytest.mark.parametrize("before", [(), STRACE], ids=["alone", "under strace"])
def test_a_server_that_does_not_stop(before: tuple[str, ...], port: int) -> None:
    found = served(port, "deaf", *before, timeout=1.5)
    assert re.fullmatch(
        r"SIGTERM did not stop it \(/usr/bin/python3 \S+ \d+ deaf\) within 1.5 s; "
        "give it a longer timeout, or the signal that ends it as stop",
        failure_text(found).replace("\\040", " "),
    )
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port))


def test_a_server_that_leaves_processes_behind(port: int) -> None:
    found = served(port, "littering", *STRACE)
    assert failure_text(found) == (
        "SIGTERM ended it, but left processes behind (sleep\\04071); let it end what it starts"
    )
    assert subprocess.run(["pgrep", "-f", "^sleep 71"], check=False).returncode == 1


def test_another_server_in_its_place(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        found = served(port, "clean")
    assert failure_text(found) == (
        f"something else answers at tcp:{port} already; end that, or use another place"
    )
    assert found.result.stderr == b""
