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

import arm64
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import (
    ODD_NAMES,
    WORKLOADS,
    kind_by_path,
    limited,
    make_odd,
    make_workplace,
    needs_root,
    settle_clock,
    trace_error,
    traced,
    uses_below,
)
from scratch_image.elf.loader_cache import CACHE
from scratch_image.errors import InputError, TraceError
from scratch_image.fs.root import Aspect, Root
from scratch_image.sandbox import process
from scratch_image.sandbox.run import Run
from scratch_image.trace import tracer
from scratch_image.trace.strace import Access, Log, Problem, Use, parse
from scratch_image.trace.tracer import Record, Used, read_record, settle, write_record

# What programs do.


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


@pytest.mark.parametrize("private", [False, True])
def test_a_file_is_taken_for_a_directory(site: Path, private: bool) -> None:
    names = [
        "d/b.txt/../c.txt",
        "d/real/l1/../../e.txt",
        "d/b.txt/x",
        "d/c.txt/.",
        "d/sub/../e.txt",
    ]
    record = traced(b"/bin/cat", *names, private=private, status=1).record
    assert uses_below(record, site) == {
        "d/b.txt": "stat",
        "d/b.txt/x": "absent",
        "d/c.txt": "stat",
        "d/e.txt": "read",
        "d/real/a.txt": "stat",
        "d/real/l1": "link",
        "d/sub": "stat",
    }
    assert read_record(write_record(record)) == record


@pytest.mark.parametrize("private", [False, True])
def test_an_interpreter_that_is_not_there(site: Path, private: bool) -> None:
    (site / "script").write_text(f"#!{site}/none/x\n")
    (site / "script").chmod(0o755)

    record = traced(b"/bin/sh", "-c", "./script", private=private, status=127).record

    assert uses_below(record, site) == {"none": "absent", "script": "stat"}


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
    assert parse(trace.text, os.getcwdb()).sockets == (os.fsencode(site / "d/log"),)


def test_a_server(site: Path) -> None:
    script = "trap 'echo bye; exit' TERM; cat d/b.txt; : > up; while :; do sleep 0.1; done"
    trace = traced(
        b"/bin/sh", "-c", script, ready="exec:test -e up", probes=("cat d/c.txt",), timeout=10.0
    )
    assert trace.stdout == b"d/b.txtbye\n"
    assert uses_below(trace.record, site) == {"d/b.txt": "read", "up": "write"}


def test_a_server_in_trouble(site: Path) -> None:
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


def test_outputs(programs: Path, site: Path) -> None:
    (site / "o").mkdir()
    for name in ("changed", "unchanged", "removed"):
        (site / "o" / name).write_text("old")
    settle_clock()
    made = ["created", "dir", "dir/file", "fifo", "link", "renamed", "socket", "symlink", "tmpfile"]
    assert uses_below(traced(programs / "writes").record, site) == {
        **{f"o/{name}": "write" for name in [*made, "changed", "removed"]},
        "o": "stat",
        "o/unchanged": "read",
    }


# What the kernel does without a call.


def test_interpreters_of_scripts(site: Path) -> None:
    (site / "inner").write_text("#! /usr/bin/env -S sh\nexit 0\n")
    (site / "outer").write_text(f"#!{site}/bin/inner argument\n")
    for name in ("inner", "outer"):
        (site / name).chmod(0o755)
    (site / "bin").symlink_to(".")
    settle_clock()
    record = traced(site / "outer").record
    assert uses_below(record, site) == {"bin": "link", "inner": "exec", "outer": "exec"}
    executed = {use.path for use in record.uses if use.kind is Use.EXEC}
    assert {b"/usr/bin/env", b"/usr/bin/dash"} <= executed
    assert any(os.path.basename(path).startswith(b"ld-linux") for path in executed)
    assert kind_by_path(record)[b"/lib64"] is Use.LINK


def test_a_script_without_interpreter(site: Path) -> None:
    (site / "script").write_text("cat d/b.txt\n")
    (site / "script").chmod(0o755)
    settle_clock()
    record = traced(b"/bin/sh", "-c", "./script").record
    assert uses_below(record, site) == {"d/b.txt": "read", "script": "read"}


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
        f"cannot trust the trace of run demo: {site}/program was run by what binfmt_misc names for "
        "it, which strace does not see; name that as the program"
    )


def test_a_foreign_program_is_run_by_a_registered_interpreter(site: Path) -> None:
    program = bytearray(Path("/bin/true").read_bytes())
    program[18:20] = (243).to_bytes(2, "little")
    (site / "riscv").write_bytes(program)
    path = os.fsencode(site / "riscv")
    assert tracer._Settling(Log((Access(path, Use.EXEC),)), Root(), 1).registered == [path]


def test_a_missing_interpreter_is_an_error(site: Path) -> None:
    (site / "script").write_text("#!/no/such/interpreter\n")
    (site / "script").chmod(0o755)
    settle_clock()
    assert trace_error(site / "script") == (
        f"cannot trace run demo: {site}/script cannot be executed: No such file or directory; "
        "build it for this machine, or install its interpreter"
    )


# The root.


def test_staged_files_are_recorded_at_their_image_paths(programs: Path, site: Path) -> None:
    root = Root(
        staged={
            b"/usr/bin/demo": os.fsencode(programs / "open"),
            b"/etc/demo.conf": os.fsencode(site / "d/link/a.txt"),
        }
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


def test_what_the_trace_depends_on_is_looked_at(programs: Path, site: Path) -> None:
    root = Root()
    traced(programs / "chdirs", root=root)
    start = os.fsencode(site)
    assert {
        (os.fsdecode(path[len(start) + 1 :]), aspect)
        for path, aspect in root.looked
        if path.startswith(start)
    } == {
        ("", Aspect.SIZE),
        ("d", Aspect.SIZE),
        ("d/b.txt", Aspect.CONTENT),
        ("d/c.txt", Aspect.SIZE),
        ("d/link", Aspect.STAT),
        ("d/real", Aspect.LISTING),
        ("d/real/a.txt", Aspect.CONTENT),
        ("d/real/l1", Aspect.STAT),
        ("d/real/l2", Aspect.STAT),
        ("d/real/nope", Aspect.STAT),
        ("d/sub/chain", Aspect.STAT),
    }


def test_outputs_and_the_kernels_trees_are_not_looked_at(programs: Path, site: Path) -> None:
    (site / "o").mkdir()
    (site / "o/changed").touch()
    (site / "o/removed").touch()
    settle_clock()
    root = Root()
    traced(programs / "writes", root=root)
    looked = {path for path, _ in root.looked}
    assert os.fsencode(site / "o/changed") not in looked
    assert not [path for path in looked if path.startswith((b"/proc", b"/dev", b"/sys"))]


def test_of_the_loaders_cache_only_its_answers_are_looked_at(programs: Path, site: Path) -> None:
    root = Root()
    record = traced(programs / "open", root=root).record
    assert kind_by_path(record)[CACHE] is Use.READ
    assert (CACHE, Aspect.STAT) in root.looked
    assert (CACHE, Aspect.CONTENT) not in root.looked
    assert (b"libc.so.6", Aspect.SONAME) in root.looked


def test_without_the_loaders_cache_no_answer_is_looked_at(programs: Path, site: Path) -> None:
    root = Root()
    traced(programs / "static", root=root)
    assert not [name for name, aspect in root.looked if aspect is Aspect.SONAME]


def test_looks_of_before_are_kept() -> None:
    root = Root()
    root.look(b"/kept", Aspect.HARD)
    settle(Log(()), root, 1)
    assert root.looked == {(b"/kept", Aspect.HARD)}


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
    assert trace.files > 0
    env = traced(b"/bin/sh", "-c", 'test -z "$(cat)" && exec env -i /bin/true', stdin=None)
    assert env.files > 0


def test_the_runs_own_path_wins(site: Path) -> None:
    environment = {b"PATH": b"/bin", b"HOME": b"/tmp"}
    traced(b"/bin/sh", "-c", 'test "$PATH$HOME" = /bin/tmp', environment=environment)


def test_expected_status_and_counts(site: Path) -> None:
    trace = traced(b"/bin/sh", "-c", "cat /no/such; exit 7", status=7)
    assert kind_by_path(trace.record)[b"/no"] is Use.ABSENT
    absent = [use for use in trace.record.uses if use.kind is Use.ABSENT]
    assert trace.absent == len(absent)
    assert trace.files == len(trace.record.uses) - len(absent)


def test_text_reads_back(programs: Path, site: Path) -> None:
    root = Root()
    trace = traced(programs / "threads", root=root)
    log = parse(trace.text, os.getcwdb())
    assert log.unparsed == ()
    start = Used(Use.STAT, os.getcwdb())
    record = settle(log, Root(), time.time_ns())
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


@pytest.mark.parametrize("tool", [None, b"/usr/bin/taskset"])
def test_pinning_needs_no_taskset(
    tool: bytes | None, programs: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = process.find
    monkeypatch.setattr(process, "find", lambda name: tool if name == b"taskset" else find(name))
    check = f"test $(nproc) {'=' if tool else '-ge'} 1"
    traced(b"/bin/sh", "-c", check)


# Set-id programs.


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
def test_file_capabilities_count_for_who_is_not_root(
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


# Errors.


def test_no_strace(programs: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), b"no-strace")
    assert str(caught.value) == (
        "cannot trace run demo: there is no no-strace; apt-get install strace, or correct STRACE"
    )


def old_strace(where: Path, version: str, *, real: bool = False) -> bytes:
    """Return a strace that says it is `version`, and works only when `real`."""
    tool = where / "strace"
    body = 'exec /usr/bin/strace "$@"' if real else "exit 1"
    tool.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "strace -- version {version}" && exit\n{body}\n'
    )
    tool.chmod(0o755)
    return os.fsencode(tool)


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        pytest.param(
            "4.26",
            "is strace 4.26, which does not know all calls; install 5.10 or newer",
            id="too old",
        ),
        pytest.param(
            "none",
            "does not tell its version as strace does; apt-get install strace, or correct STRACE",
            id="another program",
        ),
    ],
)
def test_unfit_strace(version: str, cause: str, tmp_path: Path) -> None:
    tool = old_strace(tmp_path, version)
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), tool)
    assert str(caught.value) == f"cannot trace run demo: {tmp_path}/strace {cause}"


def test_forbidden_ptrace(programs: Path) -> None:
    tool = os.fsencode(programs / "noptrace")
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), tool)
    assert str(caught.value) == (
        "cannot trace run demo: the kernel forbids ptrace; in Docker give --cap-add SYS_PTRACE (and, "
        "before Docker 19.03, --security-opt seccomp=unconfined), on a host set "
        "kernel.yama.ptrace_scope=0"
    )


def wrapper(directory: Path, flag: str) -> bytes:
    """Make a strace that always has one flag more."""
    made = directory / "strace"
    made.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || set -- {flag} "$@"\nexec /usr/bin/strace "$@"\n'
    )
    made.chmod(0o755)
    return os.fsencode(made)


def test_strace_that_fails(site: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), wrapper(site, "--nonsense"))
    assert str(caught.value).startswith("cannot trace run demo: strace failed and said ")
    assert "nonsense" in str(caught.value)
    assert str(caught.value).endswith("; install another release of strace")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        pytest.param("none", "there is no {}/none; build or install it", id="missing"),
        pytest.param("d/none/x", "there is no {}/d/none; build or install it", id="missing above"),
        pytest.param("dangling", "there is no {}/none; build or install it", id="dangling link"),
        pytest.param(
            "d",
            "{}/d is no executable file; name the program, and make it executable",
            id="directory",
        ),
        pytest.param(
            "d/b.txt",
            "{}/d/b.txt is no executable file; name the program, and make it executable",
            id="not executable",
        ),
        pytest.param(
            "broken",
            "{}/broken cannot be executed: Exec format error; build it for this machine, or "
            "install its interpreter",
            id="foreign",
        ),
    ],
)
def test_unfit_programs(name: str, cause: str, site: Path) -> None:
    (site / "broken").write_bytes(b"\x7fELF garbage")
    (site / "broken").chmod(0o755)
    (site / "dangling").symlink_to("none")
    settle_clock()
    assert trace_error(site / name) == f"cannot trace run demo: {cause.format(site)}"


def test_a_program_for_another_machine(tmp_path: Path) -> None:
    program = arm64.make_hello(tmp_path / "hello")
    assert trace_error(program) == (
        f"cannot trace run demo: {program} is a program for aarch64 and this machine is x86_64; "
        "apt-get install qemu-user-static and allow private roots, or set RUNS=[] and list its "
        "files by extra lists"
    )


def test_another_root_cannot_be_run_in(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(os.fsencode(tmp_path)))
    assert str(caught.value) == (
        f"cannot trace run demo: its root is {tmp_path}, and this run would see the machine's own; "
        "allow private roots, or set RUNS=[] and list its files"
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


@pytest.mark.parametrize("directory", [b"/etc/passwd", b"/none"])
def test_plain_run_that_would_start_nowhere(directory: bytes) -> None:
    assert trace_error(b"/bin/true", cwd=directory) == (
        f"cannot trace run demo: it cannot start in {directory.decode()}: there is no such "
        "directory; let it start in a directory that is there"
    )
    traced(b"/bin/true", cwd=b"/etc")


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
def test_what_hides_something(what: str, cause: str, programs: Path, site: Path) -> None:
    assert trace_error(programs / "hides", what) == (
        f"cannot trust the trace of run demo: {cause}; run it without that, "
        "or name its files in an extra list"
    )


@pytest.mark.parametrize("private", [False, True])
def test_logs_that_are_too_large(
    site: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    monkeypatch.setattr(tracer, "_MOST_LOG", 1000)

    with pytest.raises(TraceError) as caught:
        traced(b"/bin/ls", private=private, cwd=b"/")

    assert str(caught.value) == "cannot trace run demo: its log has 0 MB; let it do less"


def test_lines_that_are_not_understood(site: Path) -> None:
    # With -k strace prints where in the program each call comes from.
    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"x",)), b"/bin/true", Root(), wrapper(site, "-k"))
    found = re.fullmatch(
        r"cannot trust the trace of run demo: ([0-9]+) lines of it are not understood, "
        r"the first is '> .*'; report this, with the version of strace",
        str(caught.value),
    )
    assert found
    assert int(found[1]) > 1


def test_all_problems_are_told() -> None:
    problems = (Problem(b"a", "did one thing"), Problem(b"b", "did another"))
    with pytest.raises(TraceError, match="demo: a did one thing, b did another; run it without"):
        tracer._check_log(Run("demo", (b"x",)), Log((), problems=problems))


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
        "build again when it is at rest"
    )


def test_own_changes_to_a_listed_directory_are_no_error(site: Path) -> None:
    script = "ls d >/dev/null; : > d/new; : > d/gone; rm d/gone"
    assert uses_below(traced(b"/bin/sh", "-c", script).record, site) == {
        "d": "list",
        "d/new": "write",
    }


# Settling, seen alone.


def settled(*accesses: Access, root: Root | None = None, started_ns: int = 1) -> dict[bytes, Use]:
    return kind_by_path(settle(Log(accesses), root or Root(), started_ns))


def test_the_strongest_use_counts(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    uses = [Use.STAT, Use.READ, Use.STAT]
    later = time.time_ns()
    assert settled(*[Access(path, use) for use in uses], started_ns=later) == {path: Use.READ}


def test_a_candidate_that_does_not_agree_is_dropped(site: Path) -> None:
    path, other = os.fsencode(site / "d/b.txt"), os.fsencode(site / "b.txt")
    accesses = [
        Access(place, kind, sure=False)
        for place in (path, other)
        for kind in (Use.STAT, Use.ABSENT)
    ]
    assert settled(*accesses) == {path: Use.STAT, other: Use.ABSENT}


def test_what_was_absent_and_is_there_now(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    assert settled(Access(path + b"/", Use.ABSENT)) == {path: Use.STAT}


def test_an_unknown_start_takes_all_writes_for_outputs(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    write = Access(path, Use.WRITE)
    assert settled(write, started_ns=0) == {path: Use.WRITE}
    assert settled(write, started_ns=time.time_ns()) == {path: Use.STAT}


def test_dots_lead_out_of_the_kernels_trees(site: Path) -> None:
    path = os.fsencode(site / "d/b.txt")
    assert settled(Access(b"/proc/.." + path, Use.STAT)) == {path: Use.STAT}


def test_below_what_the_run_made_nothing_is_an_input(site: Path) -> None:
    made = os.fsencode(site / "d")
    accesses = [Access(made, Use.CREATE, follow=False), Access(made + b"/none", Use.ABSENT)]
    assert settled(*accesses, started_ns=0) == {
        os.fsencode(site): Use.STAT,
        made: Use.WRITE,
    }


def test_a_path_that_is_too_long_ends_where_it_can_be_seen() -> None:
    assert settled(Access(b"/usr/" + b"x" * 300 + b"/y", Use.STAT)) == {b"/usr": Use.STAT}


def test_an_interpreter_is_relative_to_the_root(site: Path) -> None:
    script = site / "script"
    script.write_text("#!bin/dash\n")
    settle_clock()
    found = settled(Access(os.fsencode(script), Use.EXEC), started_ns=time.time_ns())
    assert found[b"/usr/bin/dash"] is Use.EXEC


def test_interpreters_that_name_each_other_end(site: Path) -> None:
    script = site / "script"
    script.write_text(f"#!{script}\n")
    path = os.fsencode(script)
    assert settled(Access(path, Use.EXEC), started_ns=time.time_ns()) == {path: Use.EXEC}


CAPTURED = (
    b'1 execve("/bin/cat", ["cat"], 0x7ffc /* 9 vars */ <unfinished ...>\n'
    b'2 openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>\n'
    b"1 <... execve resumed>) = 0\n1 +++ exited with 0 +++\n2 +++ exited with 0 +++\n"
)


def test_a_captured_text_is_settled() -> None:
    found = kind_by_path(tracer.captured(CAPTURED, "x.strace", Root()))
    assert (found[b"/etc/passwd"], found[b"/usr/bin/cat"]) == (Use.READ, Use.EXEC)


AGAIN = "capture it again by strace -f -y -o FILE"
ENDS = f"the log ends before its processes do; {AGAIN}, without -qq"
WAY_OUT = f"{AGAIN}, run it without that call, or name its files in an extra list"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"hello world\n", f"read x:1: 'hello world' is no line of strace; {AGAIN}", id="other"),
        pytest.param(b"", f"use x:0: {ENDS}", id="nothing"),
        pytest.param(CAPTURED[:-1], f"use x:5: {ENDS}", id="no newline"),
        pytest.param(CAPTURED[:-24], f"use x:4: {ENDS}", id="no end"),
        pytest.param(CAPTURED[:100], f"read x:2: 'openat(AT_FDCWD</>, \"/etc/passw' is no line of strace; {AGAIN}", id="cut in a line"),
        pytest.param(CAPTURED.replace(b"resumed>)", b"resumed>"), f"read x:3: 'execve(\"/bin/cat\", [\"cat\"], 0x7ffc /* 9 vars */ = 0' is no line of strace; {AGAIN}", id="halves"),
        pytest.param(b'2 mount("a", "/b", "c", 0, NULL) = -1 EPERM (No)\n2 mount("a", "/b", "c", 0, NULL) = 0\n' + CAPTURED, f"use x:2: mount gave the run another view of the file system; {WAY_OUT}", id="refused call"),
        pytest.param(b"2 getdents64(3, 0x55 /* 2 entries */, 32768) = 48\n" + CAPTURED, f"use x:1: getdents64 named a directory by its descriptor only, for want of strace -y; {WAY_OUT}", id="no names"),
    ],
)  # fmt: skip
def test_a_captured_text_that_is_of_no_use(text: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        tracer.captured(text, "x", Root())
    assert str(caught.value) == f"cannot {message}"


# Records as text.

RECORD = Record(
    (
        Used(Use.STAT, b"/"),
        Used(Use.LINK, b"/bin"),
        Used(Use.READ, b"/etc/a b\n\xff\\"),
        Used(Use.WRITE, b"/tmp/out"),
        Used(Use.LIST, b"/usr"),
        Used(Use.EXEC, b"/usr/bin/true"),
        Used(Use.ABSENT, b"/x"),
    )
)

TEXT = rb"""# scratch_image trace 1
stat /
link /bin
read /etc/a\040b\012\377\134
write /tmp/out
list /usr
exec /usr/bin/true
absent /x
"""


def test_record_as_text() -> None:
    assert write_record(RECORD) == TEXT
    assert read_record(TEXT) == RECORD


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        pytest.param(b"", 1, "it is no whole record", id="empty"),
        pytest.param(b"# another\n", 1, "it is no whole record", id="header"),
        pytest.param(TEXT + b"stat", 1, "it is no whole record", id="cut"),
        pytest.param(TEXT + b"\n", 9, "it is no kind and link-free path", id="empty line"),
        pytest.param(TEXT + b"look /y\n", 9, "it is no kind and link-free path", id="kind"),
        pytest.param(TEXT + b"create /y\n", 9, "it is no kind and link-free path", id="log only"),
        pytest.param(TEXT + b"stat y\n", 9, "it is no kind and link-free path", id="relative"),
        pytest.param(TEXT + b"stat /y/../z\n", 9, "it is no kind and link-free path", id="dots"),
        pytest.param(TEXT + b"stat /y z\n", 9, "it is no kind and link-free path", id="blank"),
        pytest.param(TEXT + b"stat /y\\000\n", 9, "it is no kind and link-free path", id="NUL"),
        pytest.param(TEXT + b"stat /y\\101\n", 9, "it is no kind and link-free path", id="escape"),
        pytest.param(TEXT + b"stat /a\n", 9, "it is out of order", id="order"),
        pytest.param(TEXT + b"stat /x\n", 9, "it is out of order", id="twice"),
    ],
)
def test_malformed_records(text: bytes, line: int, cause: str) -> None:
    with pytest.raises(InputError) as caught:
        read_record(text)
    assert str(caught.value) == (
        f"cannot read line {line} of a trace record: {cause}; build it again"
    )


@given(text=st.binary())
def test_no_text_raises_anything_else(text: bytes) -> None:
    try:
        record = read_record(tracer.HEADER + text)
    except InputError:
        return
    assert write_record(record) == tracer.HEADER + text


@needs_root
def test_the_setid_fixture_is_set_id(setid: Path) -> None:
    assert setid.stat().st_mode & stat.S_ISUID


def test_argument_that_names_a_staged_file_is_its_build_path(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("staged")
    time.sleep(0.02)
    root = Root(staged={b"/srv/data": os.fsencode(tmp_path / "made")})
    found = tracer.trace(Run("demo", (b"cat", b"/srv/data")), b"/bin/cat", root)
    assert found.stdout == b"staged"
    assert Used(Use.READ, b"/srv/data") in found.record.uses


@pytest.mark.parametrize("private", [False, True])
def test_directory_of_what_is_temporary_may_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settle_clock()

    found = traced(b"/bin/ls", str(tmp_path), private=private, cwd=b"/").record

    assert Used(Use.LIST, os.fsencode(tmp_path)) in found.uses


def test_directories_of_the_build_are_looked_at_and_in_no_image(tmp_path: Path) -> None:
    here = os.fsencode(tmp_path)
    (tmp_path / "made").write_text("#!/bin/sh\nls ${0%/*}\n")
    (tmp_path / "made").chmod(0o755)
    settle_clock()
    root = Root(staged={b"/srv/tool": here + b"/made"})

    found = tracer.trace(Run("demo", (b"tool",)), b"/srv/tool", root)

    assert found.stdout == b"made\n"
    assert not [use for use in found.record.uses if use.path.startswith(here)]
    assert (here, Aspect.LISTING) in root.looked


def test_directory_of_a_file_that_was_made_and_removed_is_needed(tmp_path: Path) -> None:
    script = f"echo x > {tmp_path}/gone; rm {tmp_path}/gone"
    found = tracer.trace(Run("demo", (b"sh", b"-c", script.encode())), b"/bin/sh", Root())
    uses = [use for use in found.record.uses if use.path.startswith(os.fsencode(tmp_path))]
    assert uses == [Used(Use.STAT, os.fsencode(tmp_path))]


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


@pytest.mark.dangerous
@needs_root
@pytest.mark.parametrize("move", ["ln", "mv"])
def test_what_a_private_run_read_by_another_name_is_an_input(move: str) -> None:
    script = f"{move} /etc/debian_version /etc/other && cat /etc/other"

    found = traced(b"/bin/sh", "-c", script, private=True, cwd=b"/")

    assert found.stdout == Path("/etc/debian_version").read_bytes()
    assert Used(Use.READ, b"/etc/debian_version") in found.record.uses


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

# A server that is only asked whether it is ready may be told to stop before it serves anybody.
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
    ("settings", "told"),
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
    site: Path, settings: dict[str, object], told: str
) -> None:
    (site / "odd").write_bytes(b"\0")
    (site / "odd").chmod(0o755)
    with pytest.raises(TraceError) as caught:
        traced(site / "odd", private=True, **settings)  # type: ignore[arg-type]
    assert str(caught.value) == f"cannot trace run demo: {told.format(here=site)}"


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


def test_what_asks_a_server_is_where_that_is(site: Path) -> None:
    mark = 4000 + os.getpid() % 1000
    asked = f"sh -c 'setsid sleep {mark} >/dev/null 2>&1 & test ! -e /proc/{os.getpid()}/exe'"
    run = {"ready": "exec:true", "probes": (asked,), "timeout": 10.0, "cwd": b"/"}

    with pytest.raises(TraceError, match="left processes behind"):
        traced(b"/usr/bin/python3", "-c", SERVER, "tcp", "80", private=True, **run)  # type: ignore[arg-type]

    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"sleep {mark}" not in commands.stdout.splitlines()


# Programs for another machine, run by qemu.


def test_private_run_of_a_program_for_another_machine(tmp_path: Path) -> None:
    root = Root(os.fsencode(arm64.make_base(tmp_path / "base")))
    time.sleep(0.02)

    found = tracer.trace(Run("demo", (b"hello",)), b"/usr/bin/hello", root, private=True)

    assert found.stdout == b"hello\n"
    uses = {use.path for use in found.record.uses if use.kind is not Use.ABSENT}
    assert uses == {b"/", b"/lib/ld-linux-aarch64.so.1", b"/lib/libc.so.6", b"/usr/bin/hello"}
    assert root.looked >= {(path, Aspect.CONTENT) for path in uses - {b"/"}}


def test_emulated_program_that_ends_otherwise(tmp_path: Path) -> None:
    root = Root(os.fsencode(arm64.make_base(tmp_path / "base")))

    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"hello",), status=3), b"/usr/bin/hello", root, private=True)

    assert "it ended with status 0, not with status 3" in str(caught.value)


def test_emulated_programs_start_others(tmp_path: Path) -> None:
    base = arm64.make_base(tmp_path / "base")
    arm64.make_starter(base / "usr/bin/starter")
    (base / "usr/bin/script").write_text("#!/usr/bin/starter\n")
    (base / "usr/bin/script").chmod(0o755)
    time.sleep(0.02)

    found = tracer.trace(
        Run("demo", (b"script",)), b"/usr/bin/script", Root(os.fsencode(base)), private=True
    )

    assert found.stdout == b"hello\n"
    executed = {os.path.basename(use.path) for use in found.record.uses if use.kind is Use.EXEC}
    assert executed == {b"script", b"starter", b"hello", b"ld-linux-aarch64.so.1"}


def test_emulator_that_the_kernel_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = Root(os.fsencode(arm64.make_base(tmp_path / "base")))
    find = process.find
    # What is not there cannot be registered, as nothing can before Linux 6.7.
    monkeypatch.setattr(
        process, "find", lambda name: b"/nonexistent" if name[:5] == b"qemu-" else find(name)
    )

    with pytest.raises(TraceError) as caught:
        tracer.trace(Run("demo", (b"hello",)), b"/usr/bin/hello", root, private=True)

    assert str(caught.value) == (
        "cannot trace run demo: /usr/bin/hello cannot be executed: Exec format error; use Linux "
        "6.7 or newer, or have /nonexistent registered, as by binfmt-support"
    )
