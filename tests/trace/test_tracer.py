"""Tests of tracer.py: real strace on real programs (tracer/*.c), in the file system as it is."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import (
    ODD_NAMES,
    WORKLOADS,
    kind_by_path,
    limited,
    make_odd,
    make_workplace,
    needs_root,
    old_strace,
    settle_clock,
    strace_with,
    trace_error,
    traced,
    uses_below,
)
from scratch_image.errors import TraceError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
from scratch_image.trace.log import Log, parse
from scratch_image.trace.record import Record, Use, Used, write_record
from scratch_image.trace.resolution import resolve
from scratch_image.trace.syscalls import Problem
from scratch_image.trace.tracer import check_log


@needs_root
def test_an_interpreter_that_is_registered_is_an_error(site: Path) -> None:
    (site / "binfmt").mkdir()
    (site / "program").write_bytes(b"scratch-image-test")
    (site / "program").chmod(0o755)
    settle_clock()
    subprocess.run(["mount", "-t", "binfmt_misc", "none", site / "binfmt"], check=True)
    try:
        (site / "binfmt/register").write_text(":scratchtest:M::scratch-image-test::/bin/cat:")
        text = trace_error(site / "program")
    finally:
        (site / "binfmt/scratchtest").write_text("-1")
        subprocess.run(["umount", site / "binfmt"], check=True)
    assert text == (
        f"cannot trust the trace of run demo: {site}/program ran by an interpreter of binfmt_misc, "
        "which strace does not see; name that interpreter as the program"
    )


def test_a_missing_interpreter_is_an_error(site: Path) -> None:
    (site / "script").write_text("#!/no/such/interpreter\n")
    (site / "script").chmod(0o755)
    settle_clock()
    assert trace_error(site / "script") == (
        f"cannot trace run demo: {site}/script needs /no/such/interpreter, and there is no such "
        "file; install it, or build the program for the loader of its root"
    )


@pytest.fixture
def setid(programs: Path, site: Path) -> Path:
    shutil.copy(programs / "setid", site / "setid")
    os.chown(site / "setid", 65534, -1)
    (site / "setid").chmod(0o4755)
    settle_clock()
    return site / "setid"


@needs_root
def test_a_set_id_program_keeps_its_privileges(setid: Path, site: Path) -> None:
    assert uses_below(traced(setid).record, site) == {"setid": "exec"}


@needs_root
@pytest.mark.parametrize(
    ("program", "private", "hint"),
    [
        pytest.param("/bin/sh", False, "install strace 6.2 or newer", id="plain"),
        pytest.param("/bin/sh", True, "set TRACE_ROOT=plain and install strace 6.2 or newer", id="private"),
        pytest.param("setid", True, "set TRACE_ROOT=plain", id="private, the program itself"),
    ],
)  # fmt: skip
def test_privileges_that_a_run_lost_are_an_error(
    program: str, private: bool, hint: str, setid: Path, site: Path
) -> None:
    tool = old_strace(site, "6.1", real=True)
    run = Run("demo", (b"sh", b"-c", b"./setid; exit 0"), cwd=os.getcwdb())
    path = os.fsencode(site / program)
    with pytest.raises(TraceError) as caught:
        tracer.trace(run, path, Root(), tool, private=private)
    assert str(caught.value) == (
        f"cannot trust the trace of run demo: {setid} is set-id, and ran without its privileges; "
        f"{hint}"
    )
    if hint == "set TRACE_ROOT=plain":
        tracer.trace(run, path, Root(), tool)


@needs_root
def test_file_capabilities_count_for_ordinary_users(
    programs: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(programs / "open", site / "capable")
    value = bytes.fromhex("01000002002000000000000000000000000000 00")
    os.setxattr(site / "capable", "security.capability", value)
    settle_clock()
    assert uses_below(traced(site / "capable").record, site) == {"capable": "exec"}
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert trace_error(site / "capable").startswith(
        f"cannot trust the trace of run demo: {site}/capable is set-id"
    )


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        pytest.param(
            "echo one >&2; echo two >&2; exit 3",
            "it ended with status 3, not with status 0, and said 'one | two'",
            id="status",
        ),
        pytest.param(
            "kill -SEGV $$",
            "it was ended by SIGSEGV, not with status 0, and said ''",
            id="signal",
        ),
        pytest.param(
            "yes x | head -301 | tr -d '\\n' >&2; exit 1",
            f"it ended with status 1, not with status 0, and said '...{'x' * 300}'",
            id="much to say",
        ),
    ],
)
def test_unexpected_ends(command: str, cause: str, site: Path) -> None:
    assert trace_error(b"/bin/sh", "-c", command) == (
        f"cannot trace run demo: {cause}; install what it lacks, set TRACE_ROOT=private if that is "
        "staged, correct the run, or let it expect that"
    )


def test_runs_that_never_end(site: Path) -> None:
    text = trace_error(b"/bin/sh", "-c", "setsid sleep 91 & echo $!; exit", timeout=0.7)
    assert text == (
        "cannot trace run demo: after 0.7 s it still ran (sleep\\04091); "
        "give it a longer timeout, or a command that ends"
    )
    assert subprocess.run(["pgrep", "-f", "^sleep 91"], check=False).returncode == 1


@needs_root
@pytest.mark.parametrize(
    ("what", "cause"),
    [
        pytest.param("chroot", "chroot gave the run another view of the file system", id="chroot"),
        pytest.param(
            "namespace", "unshare gave the run another view of the file system", id="unshare"
        ),
        pytest.param(
            "untraced", "clone made a process that strace may not follow", id="CLONE_UNTRACED"
        ),
        pytest.param(
            "handle", "open_by_handle_at opened a file without naming it", id="open_by_handle_at"
        ),
    ],
)
def test_program_that_hides_something(what: str, cause: str, programs: Path, site: Path) -> None:
    assert trace_error(programs / "hides", what) == (
        f"cannot trust the trace of run demo: {cause}; run it without that, "
        "or name its files in an extra list"
    )


def test_lines_that_are_not_understood(site: Path) -> None:
    # With -k strace prints where in the program each call comes from.
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), strace_with(site, "-k"))
    found = re.fullmatch(
        r"cannot trust the trace of run demo: ([0-9]+) lines of it are not understood, "
        r"the first is '> .*'; report this, with the version of strace",
        str(caught.value),
    )
    assert found
    assert int(found[1]) > 1


def test_message_has_all_problems() -> None:
    problems = (Problem(b"a", "did one thing"), Problem(b"b", "did another"))
    with pytest.raises(TraceError, match="demo: a did one thing, b did another; run it without"):
        check_log(Run("demo", (b"x",)), Log((), problems=problems))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        pytest.param(lambda site: (site / "d/b.txt").write_text("new"), "d/b.txt", id="content"),
        pytest.param(lambda site: (site / "d/b.txt").chmod(0o600), "d/b.txt", id="mode"),
        pytest.param(lambda site: (site / "d/real/new").touch(), "d/real", id="listing"),
        pytest.param(lambda site: (site / "d/b.txt").unlink(), "d/b.txt", id="vanished"),
        pytest.param(
            lambda site: (site / "d/b.txt").rename(site / "other"), "d/b.txt", id="renamed"
        ),
        # A file of the directory keeps its time.
        pytest.param(
            lambda site: (site / "kept").rename(site / "none"), "none/file", id="appeared"
        ),
    ],
)
def test_inputs_that_change_meanwhile(
    change: Callable[[Path], object], path: str, site: Path
) -> None:
    (site / "kept").mkdir()
    (site / "kept/file").write_text("kept")

    def meanwhile() -> None:
        while not (site / "started").exists():
            time.sleep(0.01)
        change(site)
        (site / "seen").touch()

    other = threading.Thread(target=meanwhile, daemon=True)
    other.start()
    script = "cat d/b.txt; ls d/real; test -e none/file; : >started; until test -e seen; do sleep 0.02; done"
    text = trace_error(b"/bin/sh", "-c", script)
    other.join()
    assert text == (
        f"cannot trust the trace of run demo: {site}/{path} changed while it ran; "
        "build again when nothing writes to it"
    )


def test_own_changes_to_a_listed_directory_are_no_error(site: Path) -> None:
    script = "ls d >/dev/null; : > d/new; : > d/gone; rm d/gone"
    assert uses_below(traced(b"/bin/sh", "-c", script).record, site) == {
        "d": "list",
        "d/new": "write",
    }


@needs_root
def test_the_setid_fixture_is_set_id(setid: Path) -> None:
    assert setid.stat().st_mode & stat.S_ISUID


def test_names_start_from_the_working_directory(programs: Path, site: Path) -> None:
    assert uses_below(traced(programs / "chdirs").record, site) == {
        "d": "stat",
        "d/b.txt": "read",
        "d/c.txt": "stat",
        "d/link": "link",
        "d/real": "list",
        "d/real/a.txt": "read",
        "d/real/l1": "link",
        "d/real/l2": "link",
        "d/real/nope": "absent",
        "d/sub/chain": "link",
    }


def test_tasks_share_a_working_directory(programs: Path, site: Path) -> None:
    trace = traced(programs / "clonefs")
    assert uses_below(trace.record, site) == {
        "d": "stat",
        "d/b.txt": "stat",
        "d/real": "stat",
        "d/real/a.txt": "stat",
    }
    assert kind_by_path(trace.record)[b"/etc/passwd"] is Use.STAT


def test_threads_signals_and_vfork(programs: Path, site: Path) -> None:
    record = traced(programs / "threads").record
    assert uses_below(record, site) == {"d/b.txt": "read", "d/c.txt": "read"}
    assert kind_by_path(record)[b"/nonexistent"] is Use.ABSENT
    assert kind_by_path(record)[b"/usr/bin/true"] is Use.EXEC


def test_a_thread_executes(programs: Path, site: Path) -> None:
    shutil.copy("/bin/true", site / "d/prog")
    settle_clock()
    assert uses_below(traced(programs / "threadexec").record, site) == {
        "d": "stat",
        "d/prog": "exec",
    }


def test_files_without_names_and_names_without_files(programs: Path, site: Path) -> None:
    record = traced(programs / "memfd").record
    assert uses_below(record, site) == {"d/b.txt": "read"}
    assert kind_by_path(record)[b"/usr/bin/true"] is Use.READ
    assert kind_by_path(record)[b"/etc/hostname"] is Use.READ
    assert not [use for use in record.uses if use.path.startswith((b"/proc", b"/dev", b"/mem"))]


def test_rare_calls(programs: Path, site: Path) -> None:
    assert uses_below(traced(programs / "misc").record, site) == {
        "d": "stat",
        "d/b.txt": "stat",
        "d/c.txt": "stat",
        "d/e.txt": "read",
        "d/link": "link",
        "d/real/a.txt": "stat",
        "d/sub": "stat",
    }


@needs_root
def test_a_namespace_of_process_numbers(site: Path) -> None:
    record = traced(b"/usr/bin/unshare", "--pid", "--fork", "cat", "d/b.txt").record
    assert uses_below(record, site) == {"d/b.txt": "read"}


def test_libraries_opened_by_name(programs: Path, site: Path) -> None:
    record = traced(programs / "dlopens").record
    libraries = {os.path.basename(use.path) for use in record.uses if use.kind is Use.READ}
    assert {b"SJIS.so", b"libc.so.6"} <= libraries
    assert any(name.startswith(b"libz.so.1") for name in libraries)


@pytest.mark.parametrize("kind", ["open", "static", "m32"])
def test_kinds_of_program(kind: str, programs: Path, site: Path) -> None:
    trace = traced(programs / kind, "d/b.txt")
    assert uses_below(trace.record, site) == {"d/b.txt": "read"}
    loaders = [os.path.basename(use.path) for use in trace.record.uses if use.kind is Use.EXEC]
    expected = {"open": [b"ld-linux-x86-64.so.2"], "static": [], "m32": [b"ld-linux.so.2"]}
    assert sorted([kind.encode(), *expected[kind]]) == sorted(loaders)


def test_32_bit_calls(programs: Path, site: Path) -> None:
    assert uses_below(traced(programs / "int80").record, site) == {"d/b.txt": "read"}


def test_io_uring_is_refused(programs: Path, site: Path) -> None:
    assert uses_below(traced(programs / "uring").record, site) == {"d/b.txt": "read"}


def test_a_debugger_looked_for_in_vain(programs: Path, site: Path) -> None:
    assert uses_below(traced(programs / "selfptrace").record, site) == {"d/b.txt": "read"}


def test_a_filter_of_the_programs_own(programs: Path, site: Path) -> None:
    found = uses_below(traced(programs / "refuses").record, site)
    assert found["d/c.txt"] == "stat"


def test_sockets(programs: Path, site: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("d/log")
        settle_clock()
        trace = traced(programs / "talks")
    assert uses_below(trace.record, site) == {
        "d/log": "stat",
        "d/nobody": "absent",
        "d/none": "absent",
    }


def test_a_server(site: Path) -> None:
    script = "trap 'echo bye; exit' TERM; cat d/b.txt; : > up; while :; do sleep 0.1; done"
    trace = traced(
        b"/bin/sh", "-c", script, ready="exec:test -e up", probes=("cat d/c.txt",), timeout=10.0
    )
    assert trace.stdout == b"d/b.txtbye\n"
    assert uses_below(trace.record, site) == {"d/b.txt": "read", "up": "write"}


def test_a_server_that_fails(site: Path) -> None:
    assert trace_error(b"/bin/sh", "-c", "exit 3", ready="tcp:1") == (
        "cannot trace run demo: it ended with status 3 before it was ready, and said ''; "
        "correct the run"
    )
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"tcp:{other.getsockname()[1]}"
        assert trace_error(b"/bin/sh", ready=place) == (
            f"cannot trace run demo: something else answers at {place} already; end that, or use "
            "another place"
        )


def test_descriptors_that_come_by_message(programs: Path, site: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, open("d/b.txt", "rb") as passed:
        server.bind("socket")
        server.listen()

        def send() -> None:
            client, _ = server.accept()
            with client:
                socket.send_fds(client, [b"x"], [passed.fileno()])

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        settle_clock()
        record = traced(programs / "passes", "socket").record
        sender.join()
    assert uses_below(record, site) == {"d/b.txt": "read", "socket": "stat"}


def test_odd_names(programs: Path, site: Path) -> None:
    make_odd(site / "odd")
    try:
        found = uses_below(traced(programs / "names").record, site)
    finally:
        subprocess.run(["rm", "-rf", site / "odd"], check=True)
    assert {f"odd/{name}": "read" for name in ODD_NAMES}.items() <= found.items()
    assert found["odd"] == "stat"
    assert found["odd/" + "L" * 250] == "write"


# The root.


def test_staged_files_are_recorded_at_their_image_paths(programs: Path, site: Path) -> None:
    root = Root(
        WatchedFileSystem(
            staged={
                b"/usr/bin/demo": os.fsencode(programs / "open"),
                b"/etc/demo.conf": os.fsencode(site / "d/link/a.txt"),
            }
        )
    )
    (site / "alias").symlink_to("d/real/a.txt")
    names = (b"d/link/a.txt", b"d/real/a.txt", b"alias")
    run = Run("demo", (b"demo", *names), cwd=os.getcwdb())
    trace = tracer.trace(run, b"/usr/bin/demo", root)
    assert uses_below(trace.record, site) == {"alias": "link"}
    found = kind_by_path(trace.record)
    assert found[b"/usr/bin/demo"] is Use.EXEC
    assert found[b"/etc/demo.conf"] is Use.READ
    assert (b"/usr/bin/demo", Aspect.CONTENT) in root.looked
    assert os.fsencode(programs / "open") not in found


# The environment.


def test_environment_and_standard_input(site: Path) -> None:
    check = 'test "$A$PATH$HOME$LANG" = "1$B/" && test "$(wc -l)" = 2 && test $(umask) = 0022'
    (site / "input").write_text("one\ntwo\n")
    settle_clock()
    path = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    trace = traced(
        b"/bin/sh",
        "-c",
        check,
        environment={b"A": b"1", b"B": path},
        stdin=os.fsencode(site / "input"),
    )
    assert trace.record.found > 0
    env = traced(b"/bin/sh", "-c", 'test -z "$(cat)" && exec env -i /bin/true', stdin=None)
    assert env.record.found > 0


def test_the_runs_own_path_wins(site: Path) -> None:
    environment = {b"PATH": b"/bin", b"HOME": b"/tmp"}
    traced(b"/bin/sh", "-c", 'test "$PATH$HOME" = /bin/tmp', environment=environment)


def test_expected_status_and_counts(site: Path) -> None:
    trace = traced(b"/bin/sh", "-c", "cat /no/such; exit 7", status=7)
    assert kind_by_path(trace.record)[b"/no"] is Use.ABSENT
    absent = [use for use in trace.record.uses if use.kind is Use.ABSENT]
    assert trace.record.absent == len(absent)
    assert trace.record.found == len(trace.record.uses) - len(absent)


def test_text_reads_back(programs: Path, site: Path) -> None:
    root = Root()
    trace = traced(programs / "threads", root=root)
    log = parse(trace.text, os.getcwdb())
    assert log.unparsed == ()
    start = Used(Use.STAT, os.getcwdb())
    record = resolve(log, Root(), time.time_ns())
    assert Record(tuple(sorted({*record.uses, start}, key=lambda use: use.path))) == trace.record


def test_records_do_not_depend_on_the_scheduler(programs: Path, site: Path) -> None:
    records = {write_record(traced(programs / "threads").record) for _ in range(4)}
    assert len(records) == 1


def test_nothing_is_left_behind(
    programs: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(site / "tmp"))
    traced(programs / "open", "d/b.txt")
    trace_error(programs / "open", "d/nothing")
    assert os.listdir("tmp") == []


# Errors.


@pytest.mark.parametrize("directory", [b"/etc/passwd", b"/none"])
def test_plain_run_that_would_start_nowhere(directory: bytes) -> None:
    assert trace_error(b"/bin/true", cwd=directory) == (
        f"cannot trace run demo: it cannot start in {directory.decode()}: there is no such "
        "directory; let it start in a directory that is there"
    )
    traced(b"/bin/true", cwd=b"/etc")


def test_argument_that_names_a_staged_file_is_its_build_path(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("staged")
    time.sleep(0.02)
    root = Root(WatchedFileSystem(staged={b"/srv/data": os.fsencode(tmp_path / "made")}))
    found = tracer.trace(Run("demo", (b"cat", b"/srv/data")), b"/bin/cat", root)
    assert found.stdout == b"staged"
    assert Used(Use.READ, b"/srv/data") in found.record.uses


@pytest.mark.parametrize("private", [False, True])
def test_directory_of_temporary_files_may_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settle_clock()

    found = traced(b"/bin/ls", str(tmp_path), private=private, cwd=b"/").record

    assert Used(Use.LIST, os.fsencode(tmp_path)) in found.uses


def test_standard_input_is_no_file_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("x")
    time.sleep(0.02)
    run = Run("demo", (b"stat", b"-L", b"/dev/stdin"), stdin=os.fsencode(tmp_path / "input"))
    found = tracer.trace(run, b"/usr/bin/stat", Root())
    assert not [use for use in found.record.uses if use.path == run.stdin]


# Private views: what is not as it is in the machine's own file system.


@pytest.mark.parametrize("name", WORKLOADS)
def test_private_record_is_the_plain_one_without_outputs(name: str, site: Path) -> None:
    make_workplace(site)

    private = traced(b"/bin/sh", "-c", WORKLOADS[name], private=True).record
    plain = traced(b"/bin/sh", "-c", WORKLOADS[name]).record

    assert inputs(private) == inputs(plain)


def inputs(record: Record) -> list[Used]:
    return [use for use in record.uses if use.kind is not Use.WRITE]


SERVER = """
import os, signal, socketserver, sys
class Page(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + open("/etc/hostname", "rb").read())
kind, place = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if kind == "tcp":
    socketserver.TCPServer(("127.0.0.1", int(place)), Page).serve_forever()
socketserver.UnixStreamServer(place, Page).serve_forever()
"""

# A server that gets no request but for its readiness may get the signal before it serves one.
ASK = (
    'import socket; s = socket.socket(1); s.connect("/run/x"); s.send(b"\\n"); s.makefile().read()'
)


@pytest.mark.parametrize(
    ("place", "settings"),
    [
        pytest.param(("tcp", "80"), {"ready": "tcp:80", "probes": ("http://127.0.0.1:80/",)}, id="port"),
        pytest.param(("unix", "/run/x"), {"ready": "unix:/var/run/x", "probes": (f"python3 -c '{ASK}'",)},
                     id="socket"),
        pytest.param(("unix", "/run/x"), {"ready": "exec:test -S /run/x",
                                          "probes": ("sh -c 'test -z \"$LC_ALL$HOME\" || exit 0'",)},
                     id="command"),
    ],
)  # fmt: skip
def test_private_server(place: tuple[str, str], settings: dict[str, object]) -> None:
    found = traced(
        b"/usr/bin/python3",
        "-c",
        SERVER,
        *place,
        private=True,
        cwd=b"/",
        timeout=10.0,
        **settings,  # type: ignore[arg-type]
    )

    assert not os.path.exists("/run/x")
    uses = {use.path for use in found.record.uses}
    assert (b"/etc/hostname" in uses) == ("exec" not in str(settings["ready"]))


def test_private_server_that_is_refused() -> None:
    with pytest.raises(TraceError) as caught:
        traced(b"/bin/sleep", "9", private=True, cwd=b"/", ready="exec:false", timeout=0.5)
    assert "after 0.5 s it was not ready (exec:false)" in str(caught.value)


def test_private_run_ended_by_a_signal() -> None:
    traced(b"/bin/sh", "-c", "kill -SEGV $$", private=True, status=-11)
    with pytest.raises(TraceError) as caught:
        traced(b"/bin/sh", "-c", "kill -SEGV $$", private=True)
    assert "it ended with status 139, as after SIGSEGV, not with status 0" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        pytest.param({"cwd": b"/etc/passwd"},
                     "its root cannot be entered at /etc/passwd: Not a directory; let it start "
                     "in a directory that is there", id="directory"),
        pytest.param({},
                     "{here}/odd cannot be executed: Exec format error; build it for this machine, "
                     "or install its interpreter", id="program"),
    ],
)  # fmt: skip
def test_private_run_that_does_not_start(
    site: Path, settings: dict[str, object], cause: str
) -> None:
    (site / "odd").write_bytes(b"\0")
    (site / "odd").chmod(0o755)
    with pytest.raises(TraceError) as caught:
        traced(site / "odd", private=True, **settings)  # type: ignore[arg-type]
    assert str(caught.value) == f"cannot trace run demo: {cause.format(here=site)}"


BOMB = "f() { f | f & }; f; sleep 60"
ZOMBIES = "import os, time\nwhile True:\n    os.fork() or os._exit(0)"
THREADS = (
    "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=[60]).start()"
)


@pytest.mark.dangerous
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("/bin/sh", "-c", BOMB), id="bomb"),
        pytest.param(("/usr/bin/python3", "-c", ZOMBIES), id="nobody waits for them"),
        pytest.param(("/usr/bin/python3", "-c", THREADS), id="threads"),
    ],
)
def test_run_with_too_many_processes(site: Path, words: tuple[str, ...], private: bool) -> None:
    program, *arguments = words
    mark = f"{program}-{os.getpid()}"

    with pytest.raises(TraceError) as caught:
        traced(
            os.fsencode(program), *arguments, mark, **{**limited(processes=60), "private": private}
        )

    assert str(caught.value) == (
        "cannot trace run demo: it had more than 60 processes and threads at once; "
        "let it start fewer, or raise TRACE_PROCESSES"
    )
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert mark not in commands.stdout


def test_as_many_processes_as_are_allowed(site: Path) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 0.6 & done; wait"

    traced(b"/bin/sh", "-c", script, **limited(processes=20))


def test_commands_that_test_a_server_run_in_its_root(site: Path) -> None:
    mark = 4000 + os.getpid() % 1000
    asked = f"sh -c 'setsid sleep {mark} >/dev/null 2>&1 & test ! -e /proc/{os.getpid()}/exe'"
    run = {"ready": "exec:true", "probes": (asked,), "timeout": 10.0, "cwd": b"/"}

    with pytest.raises(TraceError, match="left processes behind"):
        traced(b"/usr/bin/python3", "-c", SERVER, "tcp", "80", private=True, **run)  # type: ignore[arg-type]

    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"sleep {mark}" not in commands.stdout.splitlines()
