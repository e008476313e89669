"""Tests of process_lines.py: processes, their order and their ends."""

from __future__ import annotations

import re

import pytest
from scratch_image.trace.log import Access
from scratch_image.trace.process_lines import is_whole, join_logs
from scratch_image.trace.record import Use
from strace_logs import GOLDEN_LOGS, accesses


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
