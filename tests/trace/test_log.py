"""Tests of log.py: forms of output, working directories, and hostile text."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import kind_by_path
from scratch_image.errors import InputError
from scratch_image.fs.root import Root
from scratch_image.trace.log import Access, Log, line_number, parse, parse_captured
from scratch_image.trace.record import Use
from scratch_image.trace.resolution import resolve
from scratch_image.trace.strace_lines import is_whole
from scratch_image.trace.syscalls import Problem
from strace_logs import GOLDEN_LOGS, access_key, accesses, read_golden

ODD_NAME = b'q"uo\\te <1> \xff\xc3\xa9\n\x012'

DEMO = b"/srv/demo"

ALONE = {
    Access(DEMO + b"/demo", Use.EXEC),
    Access(b"/proc/self/exe", Use.STAT, follow=False),
    Access(DEMO, Use.STAT),
    Access(DEMO + b"/missing/x", Use.ABSENT),
    Access(DEMO + b"/nowhere", Use.ABSENT),
    Access(DEMO + b"/nobody", Use.ABSENT),
    Access(DEMO + b"/link", Use.STAT, follow=False),
    Access(DEMO + b"/link", Use.STAT, real=DEMO + b"/real"),
    Access(DEMO + b"/real/a.txt", Use.STAT),
    Access(DEMO + b"/real/../sub/chain", Use.READ, real=DEMO + b"/real/a.txt"),
    Access(DEMO + b"/sub", Use.STAT, real=DEMO + b"/sub"),
    Access(DEMO + b"/sub", Use.STAT),
    Access(DEMO + b"/sub", Use.LIST, follow=False),
    Access(DEMO + b"/" + ODD_NAME, Use.READ, real=DEMO + b"/" + ODD_NAME),
    Access(DEMO + b"/both", Use.READ, real=DEMO + b"/both"),
    Access(DEMO + b"/both", Use.WRITE, real=DEMO + b"/both"),
    Access(DEMO + b"/new", Use.CREATE, follow=False),
    Access(DEMO + b"/new", Use.WRITE, follow=False),
    Access(DEMO + b"/new/out", Use.CREATE, real=DEMO + b"/new/out"),
    Access(DEMO + b"/new/out", Use.READ, follow=False),
    Access(DEMO + b"/new/out", Use.WRITE, follow=False),
    Access(DEMO + b"/new/out2", Use.CREATE, follow=False),
    Access(DEMO + b"/new/out2", Use.WRITE, follow=False),
}
"""The accesses of the first thread of demo.c."""

ALL = ALONE | {
    Access(DEMO + b"/real", Use.STAT),
    Access(DEMO + b"/real/../sub", Use.STAT),
    Access(DEMO + b"/real/a.txt", Use.READ, real=DEMO + b"/real/a.txt"),
}
"""The accesses of all of demo.c."""


@pytest.mark.parametrize(
    ("name", "accesses"),
    [
        pytest.param("alone", ALONE, id="one process"),
        pytest.param("alone-r", ALONE, id="one process, relative times"),
        pytest.param("f-y-o", ALL, id="process numbers in a column"),
        pytest.param("f-stderr", ALL, id="process numbers in brackets"),
        pytest.param("f-r-stderr", ALL, id="process numbers in brackets, relative times"),
        pytest.param("f-tt-T", ALL, id="times of day and durations"),
        pytest.param("f-ttt", ALL, id="seconds since 1970"),
        pytest.param("f-t-r", ALL, id="times of day and relative times"),
        pytest.param("f-yy", ALL, id="all about descriptors"),
        pytest.param("f-xx", ALL, id="strings in hex"),
        pytest.param("f-bpf", ALL, id="seccomp-bpf"),
    ],
)
def test_every_form_of_output_means_the_same(name: str, accesses: set[Access]) -> None:
    log = parse(read_golden(name), b"/srv")
    assert Log(tuple(sorted(accesses, key=access_key))) == log


def test_without_descriptor_paths_a_descriptor_is_a_problem() -> None:
    log = parse(read_golden("f-o"), b"/srv")
    by_descriptor = {
        Access(DEMO + b"/real/../sub/chain", Use.READ, real=DEMO + b"/real/a.txt"),
        Access(DEMO + b"/sub", Use.LIST, follow=False),
    }
    names = {(access.path, access.kind) for access in ALL - by_descriptor}
    assert names == {(access.path, access.kind) for access in log.accesses}
    assert [problem.call for problem in log.problems] == [b"faccessat2", b"getdents64", b"openat"]
    assert all(problem.cause.endswith("for want of strace -y") for problem in log.problems)


def test_equal_lines_show_the_working_directory_too() -> None:
    there, elsewhere = (
        b'newfstatat(AT_FDCWD</%b>, "/x", 0x7ffe%%d, 0) = -1 ENOENT (No such file)' % place
        for place in (b"there", b"elsewhere")
    )
    lines = [there % 1, elsewhere % 2, there % 3, b'access("f", F_OK) = 0']
    assert [access.path for access in accesses(*lines)] == [b"/there/f", b"/x"]


# Working directories.


def paths_of(*lines: bytes, cwd: bytes = b"/w") -> list[tuple[bytes, bool]]:
    """Return path and certainty of what `lines` look at by access(2)."""
    text = [line.replace(b"@", b'access("f", F_OK) = 0') for line in lines]
    found = accesses(*text, cwd=cwd)
    return [(access.path, access.sure) for access in found if access.path.endswith(b"/f")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([b"@"], [b"/w/f"], id="at the start"),
        pytest.param([b'chdir("d") = 0', b"@"], [b"/w/d/f"], id="chdir"),
        pytest.param([b'chdir("/d") = 0', b"@"], [b"/d/f"], id="absolute chdir"),
        pytest.param([b'chdir("..") = 0', b"@"], [b"/w/../f"], id="dots are left alone"),
        pytest.param(
            [b'chdir("d") = -1 EACCES (Permission denied)', b"@"], [b"/w/f"], id="failed chdir"
        ),
        pytest.param([b"fchdir(4</d>) = 0", b"@"], [b"/d/f"], id="fchdir"),
        pytest.param(
            [b"fchdir(4</d>) = -1 EACCES (Permission denied)", b"@"], [b"/w/f"], id="failed fchdir"
        ),
        pytest.param([b'openat(AT_FDCWD</x>, "g", O_RDONLY) = 3', b"@"], [b"/x/f"], id="-y tells"),
        pytest.param(
            [b'openat(AT_FDCWD</x>(deleted), "g", O_RDONLY) = -1 ENOENT (None)', b"@"],
            [b"/w/f"],
            id="a deleted place",
        ),
        pytest.param(
            [
                b'statx(AT_FDCWD</x>, "/g") = 0',
                b'chdir("/z") = 0',
                b'statx(AT_FDCWD</x>, "/g") = 0',
                b"@",
            ],
            [b"/x/f"],
            id="-y tells again",
        ),
        pytest.param([b'getcwd("/x", 4096) = 3', b"@"], [b"/x/f"], id="getcwd tells"),
        pytest.param(
            [b"1 fork() = 2", b'1 chdir("p") = 0', b"1 @", b'2 chdir("c") = 0', b"2 @"],
            [b"/w/c/f", b"/w/p/f"],
            id="a child starts where its parent is",
        ),
        pytest.param(
            [b'1 chdir("p") = 0', b"2 @", b"1 vfork() = 2"],
            [b"/w/p/f"],
            id="a child's line comes first",
        ),
        pytest.param(
            [b"1 clone3({flags=0}, 88 <unfinished ...>", b"2 @", b"1 <... clone3 resumed>) = 2"],
            [b"/w/f"],
            id="halves",
        ),
        pytest.param(
            [
                b"1 fork() = 2",
                b'2 chdir("c") = 0',
                b"2 +++ exited with 0 +++",
                b"1 fork() = 2",
                b"2 @",
            ],
            [b"/w/f"],
            id="a number that comes again",
        ),
        pytest.param(
            [
                b"1 clone(flags=CLONE_FS) = 2",
                b"2 unshare(CLONE_FS) = 0",
                b'2 chdir("c") = 0',
                b"2 @",
            ],
            [b"/w/c/f"],
            id="sharing no longer",
        ),
    ],
)
def test_working_directory(lines: list[bytes], expected: list[bytes]) -> None:
    assert [(path, True) for path in expected] == paths_of(*lines)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [b"1 clone(flags=CLONE_FS) = 2", b"1 @", b'2 chdir("c") = 0'],
            [b"/w/c/f", b"/w/f"],
            id="moved by a thread",
        ),
        pytest.param(
            [b"1 clone(flags=CLONE_FS) = 2", b"1 fork() = 3", b'2 chdir("/c") = 0', b"3 @"],
            [b"/c/f", b"/w/f"],
            id="a child of a group that moved",
        ),
        pytest.param(
            [
                b"1 clone(flags=CLONE_FS) = 2",
                b"1 @",
                b'2 openat(AT_FDCWD</y>, "g", O_RDONLY) = 3',
                b'2 openat(AT_FDCWD</y>, "h", O_RDONLY) = 3',
            ],
            [b"/w/f", b"/y/f"],
            id="-y tells of another place",
        ),
        pytest.param(
            [b'1 chdir("/x") = 0', b"9 @"], [b"/w/f", b"/x/f"], id="a process that nobody made"
        ),
    ],
)
def test_an_uncertain_working_directory_gives_all_candidates(
    lines: list[bytes], expected: list[bytes]
) -> None:
    assert [(path, False) for path in expected] == paths_of(*lines)


def test_moving_about_too_much_is_a_problem() -> None:
    moves = [b'1 chdir("/%d") = 0' % number for number in range(99)]
    lines = [b"1 clone(flags=CLONE_FS) = 2", *moves, b"2 exit(0) = ?"]
    (problem,) = parse(b"\n".join(lines)).problems
    assert Problem(b"chdir", "moved about too much to be followed") == problem


def test_moving_too_deep_is_a_problem() -> None:
    lines = [b'chdir("%b") = 0' % (b"d" * 200)] * 400
    (problem,) = parse(b"\n".join(lines)).problems
    assert Problem(b"chdir", "moved about too much to be followed") == problem


NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name))


@settings(max_examples=25)
@given(names=st.lists(NAMES, min_size=1, max_size=8))
def test_any_name_survives(names: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    where = os.fsencode(tmp_path_factory.mktemp("names"))
    wanted = [name for name in names if name not in (b".", b"..") and len(name) < 200]
    for name in wanted:
        with open(os.path.join(where, name), "w"):
            pass
    log = os.path.join(where, b"../log")
    command = [b"strace", b"-y", b"-s", b"1", b"-e", b"trace=%file", b"-o", log, b"--"]
    # A name with a slash before it is never an option.
    subprocess.run([*command, b"cat", *[b"./" + name for name in wanted]], cwd=where, check=True)
    with open(log, "rb") as stream:
        found = parse(stream.read(), where)
    opened = {access.real for access in found.accesses if access.path.startswith(where + b"/./")}
    assert found.unparsed == ()
    assert {os.path.join(where, name) for name in wanted} == opened


# Suites.


def suite(*lines: str) -> Log:
    """Return the log of a suite about the program /p, with these lines."""
    text = "".join(f"{line}\n" for line in ('1 execve("/bin/sh", [], 0x1) = 0', *lines))
    return parse(text.encode(), b"/d", lambda path: os.path.normpath(path) == b"/d/p")


def sides(log: Log) -> dict[str, bool]:
    """Return of each path without a slash whether only a harness used it."""
    return {
        os.path.basename(access.path).decode(): access.is_harness
        for access in log.accesses
        if access.kind is Use.STAT
    }


def test_a_program_of_a_suite_and_its_children_are_no_harness() -> None:
    log = suite(
        '1 stat("a", {}) = 0',
        "1 fork() = 2",
        '1 stat("b", {}) = 0',
        '2 stat("c", {}) = 0',
        '2 execve("/none/p", [], 0x1) = -1 ENOENT (No such file or directory)',
        '2 execve("./p", [], 0x1) = 0',
        '2 stat("d", {}) = 0',
        "2 clone(flags=SIGCHLD) = 3",
        "2 +++ exited with 0 +++",
        '3 execve("/bin/cat", [], 0x1) = 0',
        '3 stat("e", {}) = 0',
        '3 execve("/d/p", [], 0x1) = 0',
        "1 fork() = 4",
        '4 execve("/bin/cat", [], 0x1) = 0',
        '4 stat("f", {}) = 0',
    )
    assert sides(log) == {"a": True, "b": True, "c": True, "d": False, "e": False, "f": True}
    assert log.starts == ((b"/d/./p", 1), (b"/d/p", 1))
    assert log.calls == {b"execve", b"stat", b"clone"}


def test_a_use_by_both_sides_is_there_twice() -> None:
    log = suite(
        '1 stat("/a", {}) = 0',
        "1 fork() = 2",
        '2 execve("p", [], 0x1) = 0',
        '2 stat("/a", {}) = 0',
        "1 fork() = 3",
        '3 stat("/a", {}) = 0',
    )
    found = [access.is_harness for access in log.accesses if access.path == b"/a"]
    assert found == [False, True]


def test_the_harness_itself_is_no_start_of_a_program() -> None:
    text = b'1 execve("/p", [], 0x1) = 0\n1 stat("/a", {}) = 0\n'
    log = parse(text, b"/", lambda path: path == b"/p")
    assert log.starts == ()
    assert all(access.is_harness for access in log.accesses)


def test_a_process_of_unknown_birth_may_be_the_programs() -> None:
    log = suite("1 fork() = ?", "1 +++ killed by SIGKILL +++", '2 stat("/a", {}) = 0')
    assert sides(log) == {"a": False}


def test_a_thread_of_a_harness_becomes_a_program() -> None:
    together = suite(
        "1 clone(flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 2",
        "1 pause( <unfinished ...>",
        '2 execve("/d/p", [], 0x1 <unfinished ...>',
        "1 +++ superseded by execve in pid 2 +++",
        "1 <... execve resumed>) = 0",
        '1 stat("/a", {}) = 0',
    )
    apart = suite(
        "1 clone(flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 2",
        '1 stat("/b", {}) = 0',
        "1 +++ superseded by execve in pid 2 +++",
        "1 <... execve resumed>) = 0",
        '1 stat("/a", {}) = 0',
        '2 execve("/d/p", [], 0x1 <pid changed to 1 ...>',
    )
    assert sides(together) == {"a": False}
    assert sides(apart) == {"a": False, "b": True}


PIECES = st.sampled_from(
    [
        *(b"openat(", b"AT_FDCWD", b"</d>", b"<", b">", b'"', b'"a"', b"...", b", ", b") = "),
        *(b"0", b"3", b"-1 ENOENT (x)", b"?", b"\\", b"\0", b"\n", b"1 ", b"2 ", b"[pid 3] "),
        *(b"<unfinished ...>", b"<... openat resumed>", b"+++ exited with 0 +++"),
        *(b"+++ superseded by execve in pid 2 +++", b"strace: Process 2 attached\n"),
        *(b"clone(flags=CLONE_FS", b"unshare(CLONE_FS", b"chdir(", b"fchdir(", b"getdents64("),
        *(b"recvmsg(", b"cmsg_data=[", b"bind(", b"sun_path=", b"{", b"}"),
    ]
)


@settings(max_examples=400)
@given(text=st.binary() | st.lists(PIECES).map(b"".join))
def test_no_bytes_raise_anything(text: bytes) -> None:
    log = parse(text, is_program=lambda path: path.endswith(b"a"))
    assert list(log.accesses) == sorted(log.accesses, key=access_key)
    assert all(access.path[:1] == b"/" and b"\0" not in access.path for access in log.accesses)


@settings(max_examples=300)
@given(data=st.data())
def test_no_mutated_log_raises_anything(data: st.DataObject) -> None:
    log = data.draw(st.sampled_from(GOLDEN_LOGS))
    start = data.draw(st.integers(0, len(log)))
    text = log[start : start + 2000]
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(PIECES) + text[at + data.draw(st.integers(0, 6)) :]
    log_of = parse(text)
    assert is_whole(text) in (True, False)
    faults: list[bytes | Problem] = [*log_of.unparsed, *log_of.problems]
    for fault in faults:
        assert 1 <= line_number(text, fault) <= text.count(b"\n") + 1


# Logs that a user captured.

CAPTURED = (
    b'1 execve("/bin/cat", ["cat"], 0x7ffc /* 9 vars */ <unfinished ...>\n'
    b'2 openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>\n'
    b"1 <... execve resumed>) = 0\n1 +++ exited with 0 +++\n2 +++ exited with 0 +++\n"
)


def test_a_captured_text_has_a_record() -> None:
    found = kind_by_path(resolve(parse_captured(CAPTURED, "x.strace"), Root(), started_ns=0))
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
def test_a_captured_text_that_is_unfit(text: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_captured(text, "x")
    assert str(caught.value) == f"cannot {message}"
