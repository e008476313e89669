"""Tests of strace_line.py: how lines are split, and what makes them differ."""

from __future__ import annotations

import pytest
from scratch_image.trace.log import Access, Log, parse
from scratch_image.trace.record import Use
from strace_logs import accesses


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
