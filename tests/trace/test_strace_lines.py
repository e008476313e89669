"""Tests of strace_lines.py: how lines are split, and what makes them differ."""

from __future__ import annotations

import re

import pytest
from scratch_image.trace.log import Access, Log, parse
from scratch_image.trace.record import Use
from scratch_image.trace.strace_lines import is_whole, join_logs
from strace_logs import GOLDEN_LOGS, accesses


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Hello, world!", id="the program's own words"),
        pytest.param(b'openat(AT_FDCWD, "a", O_RDO', id="cut line"),
        pytest.param(b"<... read resumed>) = 0", id="a second half without the first"),
        pytest.param(b'stat("a\\0b", 0x7ffe) = 0', id="NUL in a name"),
        pytest.param(b"+++ odd +++", id="unknown mark"),
        pytest.param(b"strace: cannot do that", id="a message of strace's"),
    ],
)
def test_lines_that_are_not_understood_are_kept(line: bytes) -> None:
    assert Log((), unparsed=(line,)) == parse(line)


def test_addresses_make_no_difference() -> None:
    missing = b"-1 ENOENT (No such file or directory)"
    lines = [b'readlink("a", 0x7ffe%d, 9) = %b' % (number, missing) for number in (1, 2, 2)]
    assert accesses(*lines) == [Access(b"/w/a", Use.ABSENT, False)]
    moved = accesses(lines[0], b'chdir("d") = 0', lines[1])
    assert [access.path for access in moved] == [b"/w/a", b"/w/d", b"/w/d/a"]


@pytest.mark.parametrize("start", [b"c, ", b"d 3<b>, ", rb"\", ", rb"<\", "])
def test_part_of_a_name_is_no_address(start: bytes) -> None:
    lines = [b'access("%b0x%d", F_OK) = 0' % (start, number) for number in (1, 2)]
    assert len(accesses(*lines)) == 2


def test_part_of_a_directory_is_no_address() -> None:
    lines = [rb'openat(3</d\", 0x%d>, "a", O_RDONLY) = 4' % number for number in (1, 2)]
    assert len(accesses(*lines)) == 2


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'openat(AT_FDCWD, "a" = 3<"x', id="result"),
        pytest.param(b'connect(3, {sun_path="}, 1) = 0', id="socket"),
        pytest.param(b'stat(" , 1) = 0', id="path"),
        pytest.param(b"fchdir(\\<>) = 0", id="descriptor"),
    ],
)
def test_marks_that_belong_together_and_are_apart(line: bytes) -> None:
    assert parse(line).unparsed == (line,)


def test_long_lines_take_no_long_time() -> None:
    for piece in (b"<", b'"', b'\\"', b"<a", b"(", b") = ", b"\\<", b"+++ "):
        assert len(parse(b"stat(" + piece * 100_000).unparsed) == 1


@pytest.mark.parametrize("error", [b"0", b"-1 (errno 18446744073709551595)"])
def test_exec_by_a_thread_goes_on_under_its_leaders_number(error: bytes) -> None:
    found = accesses(
        b"1 clone(flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 2",
        b"1 pause( <unfinished ...>",
        b'2 execve("/bin/true", ["true"], 0x7ffe /* 3 vars */ <unfinished ...>',
        b"1 +++ superseded by execve in pid 2 +++",
        b"1 <... execve resumed>) = " + error,
        b'1 openat(AT_FDCWD, "/etc/a", O_RDONLY) = 3',
        b"1 +++ exited with 0 +++",
    )
    assert [Access(b"/bin/true", Use.EXEC), Access(b"/etc/a", Use.READ)] == found


def test_join_puts_parents_first_and_keeps_odd_ones() -> None:
    logs = {
        9: b'access("c", F_OK) = 0\n+++ exited with 0 +++\n',
        30: b"fork() = 7\nclone3({flags=CLONE_VM} => {parent_tid=[9]}, 88) = 9\nfork() = 70000\n",
        7: b'chdir("d") = 0\n\naccess("b", F_OK) = 0\n',
        8: b'access("o", F_OK) = 0\n',
    }
    text = join_logs(logs)
    assert re.findall(rb"^(\d+) +\S", text, re.MULTILINE) == [
        b"8",
        b"30",
        b"30",
        b"30",
        b"7",
        b"7",
        b"9",
        b"9",
    ]
    assert b"30    fork() = 7\n" in text
    assert text == join_logs(dict(reversed(logs.items())))


def test_join_ends_where_processes_make_each_other() -> None:
    assert (
        join_logs({1: b"fork() = 2\n", 2: b"fork() = 1\n"})
        == b"1     fork() = 2\n2     fork() = 1\n"
    )


def test_each_golden_log_is_whole() -> None:
    assert all(map(is_whole, GOLDEN_LOGS))
    assert not any(is_whole(log[: log.rindex(b"+++", 0, -5)]) for log in GOLDEN_LOGS)
