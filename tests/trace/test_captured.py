"""Tests of captured.py."""

from __future__ import annotations

import pytest
from programs import (
    kind_by_path,
)
from scratch_image.errors import InputError
from scratch_image.fs.root import Root
from scratch_image.trace.captured import read_captured
from scratch_image.trace.record import Use

CAPTURED = (
    b'1 execve("/bin/cat", ["cat"], 0x7ffc /* 9 vars */ <unfinished ...>\n'
    b'2 openat(AT_FDCWD</>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>\n'
    b"1 <... execve resumed>) = 0\n1 +++ exited with 0 +++\n2 +++ exited with 0 +++\n"
)


def test_a_captured_text_has_a_record() -> None:
    found = kind_by_path(read_captured(CAPTURED, "x.strace", Root()))
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
        read_captured(text, "x", Root())
    assert str(caught.value) == f"cannot {message}"
