"""Tests of process.py, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scratch_image.errors import ProcessError, ScratchImageError
from scratch_image.sandbox import process

PYTHON = sys.executable


def run(*argv: bytes | str, timeout: float = 20.0) -> process.Result:
    return process.run(argv, timeout=timeout)


def test_only_the_ends_of_much_output_are_kept() -> None:
    found = run("sh", "-c", "echo first; head -c 9000000 /dev/zero; echo last").stdout
    size = 9_000_000 + len("first\nlast\n") - 2 * process.KEPT
    mark = b"\n[%d bytes left out]\n" % size
    assert found.startswith(b"first\n\0")
    assert found.endswith(b"\0last\n")
    assert found.count(mark) == 1
    assert len(found) == 2 * process.KEPT + len(mark)


def test_output_that_just_fits_is_kept_whole() -> None:
    assert run("head", "-c", str(2 * process.KEPT), "/dev/zero").stdout == bytes(2 * process.KEPT)


@pytest.mark.parametrize(
    ("stdout", "stderr", "quote"),
    [
        pytest.param(b" \n", b"one\ntwo\n", "said 'one | two'", id="lines"),
        pytest.param(b"out", b"\xff", r"said '\\xff' after it printed 'out'", id="both outputs"),
        pytest.param(b"", b"x" * 301, f"said '...{'x' * 300}'", id="the end of long ones"),
    ],
)
def test_quote(stdout: bytes, stderr: bytes, quote: str) -> None:
    assert process.quote_output(stdout, stderr) == quote


def python(code: str) -> bytes:
    """Return what `code` prints."""
    return run(PYTHON, "-c", code).check().stdout


def test_interruption_ends_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    monkeypatch.setattr(process, "is_interrupted", lambda: time.monotonic() > begun + 0.5)

    with pytest.raises(ProcessError) as error:
        process.run(["sleep", "60"], timeout=60)

    assert str(error.value) == "cannot go on: the build was interrupted; build again"
    assert time.monotonic() < begun + 10


def test_result_holds_all_that_came_out() -> None:
    found = run("sh", "-c", b"echo out; echo err >&2; exit 3")
    expected = (b"sh", b"-c", b"echo out; echo err >&2; exit 3")
    assert found == process.Result(expected, 3, b"out\n", b"err\n")


def test_environment_is_exact() -> None:
    assert sorted(run("env").stdout.split()) == [
        b"HOME=/",
        b"LC_ALL=C",
        b"PATH=" + process.SEARCH_PATH,
    ]
    found = process.run(["env"], timeout=20, environment={b"PATH": b"/bin", b"A": b"\xff b"})
    assert sorted(found.stdout.splitlines()) == [b"A=\xff b", b"PATH=/bin"]


def test_standard_input(tmp_path: Path) -> None:
    assert run("cat").stdout == b""
    (tmp_path / "in").write_bytes(b"words")
    found = process.run(["cat"], timeout=20, stdin=os.fsencode(tmp_path / "in"))
    assert found.stdout == b"words"


def test_working_directory(tmp_path: Path) -> None:
    assert run("pwd").stdout == b"/\n"
    found = process.run(["pwd"], timeout=20, cwd=os.fsencode(tmp_path))
    assert found.stdout == os.fsencode(tmp_path) + b"\n"


@pytest.fixture
def odd_umask() -> Iterator[None]:
    old = os.umask(0o077)
    yield
    os.umask(old)


@pytest.mark.usefixtures("odd_umask")
def test_nothing_is_inherited() -> None:
    held = os.open("/", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        assert run("sh", "-c", "umask").stdout == b"0022\n"
        listed = python("import os; print(sorted(os.listdir('/proc/self/fd')))")
    finally:
        os.close(held)
    # The fourth is that of the listing.
    assert listed == b"['0', '1', '2', '3']\n"
    assert python("import os; print(os.getsid(0) == os.getpid())") == b"True\n"


def is_alive(pid: bytes) -> bool:
    try:
        with open(b"/proc/%b/stat" % pid, "rb") as stream:
            return stream.read().rpartition(b") ")[2][:1] not in b"ZX"
    except FileNotFoundError:
        return False


def test_at_the_time_limit_the_session_ends() -> None:
    found = run("sh", "-c", "trap '' TERM; sleep 97 & echo $!; sleep 98", timeout=0.3)
    assert found.overdue == (
        b"sh -c trap '' TERM; sleep 97 & echo $!; sleep 98",
        b"sleep 97",
        b"sleep 98",
    )
    assert found.end == "it did not end in time"
    assert not is_alive(found.stdout.strip())


def test_at_the_time_limit_what_is_traced_ends_though_it_left_the_session() -> None:
    command = "setsid sh -c 'echo $$; exec sleep 96' & wait"
    found = run("strace", "-f", "-o", "/dev/null", "sh", "-c", command, timeout=1)
    assert found.overdue == (b"sh -c " + command.encode(), b"sleep 96")
    assert not is_alive(found.stdout.strip())


def test_at_the_time_limit_a_descendant_ends_though_it_left_the_session() -> None:
    found = run("sh", "-c", "setsid sleep 91 & echo $!; sleep 90", timeout=0.3)
    assert b"sleep 91" in found.overdue
    assert not is_alive(found.stdout.strip())


FORKS_FOR_EVER = """
#include <time.h>
#include <unistd.h>
int main(void) {
    time_t end = time(0) + 20;
    for (int n = 0; n < 20; n++) if (!fork()) while (time(0) < end) if (fork()) _exit(0);
}
"""
"""Each process forks once and ends: whoever lists them has old numbers. All end after 20 s."""


@pytest.mark.dangerous
def test_processes_that_fork_and_end_are_all_ended(tmp_path: Path) -> None:
    program = tmp_path / "forks-for-ever"
    command = ["gcc", "-x", "c", "-", "-o", str(program)]
    subprocess.run(command, input=FORKS_FOR_EVER, text=True, check=True)
    log = tmp_path / "log"

    found = run("strace", "-ff", "-o", str(log), str(program), timeout=0.5)

    assert found.overdue
    listed = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True, check=True)
    lines = listed.stdout.splitlines()
    assert [line for line in lines if str(program) in line and line[0] != "Z"] == []


HIDDEN = """
import os, subprocess, sys
sys.path[:0] = {path!r}
from scratch_image.sandbox import process, run
from scratch_image.fs import root
from scratch_image.trace import tracer
try:
    open("/proc/1/stat").read()
except OSError:
    print("hidden")
ran = process.run(["sh", "-c", "setsid sleep {mark} & sleep {mark}"], timeout=0.5)
print(ran.overdue[-1].decode())
words = (b"sh", b"-c", b"setsid sleep {mark} & sleep {mark}")
for private in (False, True):
    try:
        tracer.trace(
            run.Run("x", words, timeout=1.0), b"/bin/sh", root.Root(), private=private
        )
    except tracer.TraceError as error:
        print(error)
settings = run.Run("x", (b"sleep", b"600"), ready="exec:pgrep -x sleep", timeout=20.0, status=-15)
tracer.trace(settings, b"/bin/sleep", root.Root(), private=True)
print("served")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts /proc")
@pytest.mark.parametrize("hides", [1, 2])
def test_processes_are_ended_where_proc_hides_others(hides: int) -> None:
    mark = f"{6000 + os.getpid() % 1000}.{hides}"
    code = HIDDEN.format(path=sys.path, mark=mark)
    script = (
        f"mount -t proc -o hidepid={hides} proc /proc; "
        'exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
    )
    ran = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", PYTHON, "-B", "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=60,
    )

    limit = f"cannot trace run x: after 1 s it still ran (/bin/sh\\040-c\\040setsid\\040sleep\\040{mark}"
    output = ran.stdout.splitlines()
    assert output[:2] == ["hidden", f"sleep {mark}"], ran.stderr
    assert [line.startswith(limit) for line in output[2:4]] == [True, True], ran.stdout
    assert output[4:] == ["served"], ran.stderr
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"sleep {mark}" not in listed.stdout.splitlines()


def test_process_that_left_the_session_cannot_hold_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.3)
    begun = time.monotonic()
    found = run("sh", "-c", "(setsid sleep 5 & echo $!); sleep 95", timeout=0.3)
    assert time.monotonic() - begun < 4
    os.kill(int(found.stdout), signal.SIGKILL)


def test_a_process_that_closes_its_pipes_has_the_same_limit() -> None:
    assert run("sh", "-c", "exec >&- 2>&-; sleep 94", timeout=0.3).overdue


def test_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            run("sh", "-c", f"echo $$ > {pid}; exec sleep 93")
    finally:
        signal.signal(signal.SIGALRM, old)
    assert not is_alive(pid.read_bytes().strip())


def test_threads_may_call() -> None:
    found: dict[int, bytes] = {}

    def call(number: int) -> None:
        found[number] = run("echo", str(number)).stdout

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: b"%d\n" % number for number in range(8)}


def test_check_passes_a_success_on() -> None:
    found = run("true")
    assert found.check() is found


def test_failure_quotes_both_outputs() -> None:
    with pytest.raises(ProcessError) as caught:
        run("sh", "-c", "echo one; echo two; printf '\\377' >&2; exit 3").check()
    assert str(caught.value) == (
        "cannot run sh -c 'echo one; echo two; printf '\"'\"'\\377'\"'\"' >&2; exit 3': "
        "it ended with status 3 and said '\\\\xff' after it printed 'one | two'; run it by hand"
    )
    assert isinstance(caught.value, ScratchImageError)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        pytest.param("kill -SEGV $$", "SIGSEGV", id="a signal with a name"),
        pytest.param("kill -40 $$", "signal 40", id="a real-time signal"),
    ],
)
def test_failure_names_the_signal(command: str, name: str) -> None:
    with pytest.raises(ProcessError) as caught:
        run("sh", "-c", command).check()
    assert str(caught.value) == (
        f"cannot run sh -c '{command}': it was ended by {name} and said ''; run it by hand"
    )


def test_failure_names_the_time_limit() -> None:
    with pytest.raises(ProcessError, match="cannot run sleep 92: it did not end in time"):
        run("sleep", "92", timeout=0.1).check()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(
            ["no-such-tool", "-x"],
            "cannot run no-such-tool -x: No such file or directory ('no-such-tool'); "
            "install it, or correct the command",
            id="missing",
        ),
        pytest.param(
            ["/etc/passwd"],
            "cannot run /etc/passwd: Permission denied ('/etc/passwd'); "
            "install it, or correct the command",
            id="not executable",
        ),
        pytest.param(
            ["echo", b"a\0b"],
            "cannot run echo 'a\\x00b': embedded null byte; install it, or correct the command",
            id="NUL",
        ),
    ],
)
def test_commands_that_cannot_be_started(argv: list[bytes | str], message: str) -> None:
    with pytest.raises(ProcessError) as caught:
        run(*argv)
    assert str(caught.value) == message


def test_missing_standard_input() -> None:
    with pytest.raises(ProcessError) as caught:
        process.run(["cat"], timeout=20, stdin=b"/no/such")
    assert str(caught.value) == (
        "cannot run cat: No such file or directory ('/no/such'); install it, or correct the command"
    )


def test_find() -> None:
    assert process.find(b"env") == b"/usr/bin/env"
    assert process.find(b"/bin/env") == b"/bin/env"
    assert process.find(b"no-such-tool") is None
