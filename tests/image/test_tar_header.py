from __future__ import annotations

import io
import os
import tarfile

import pytest
from scratch_image.fs.lookup import FileKind, Status
from scratch_image.image import tar_header


@pytest.mark.parametrize(
    ("key", "number", "plain"),
    [
        pytest.param("uid", (1 << 21) - 1, True, id="largest plain uid"),
        pytest.param("uid", 1 << 21, False, id="uid"),
        pytest.param("gid", 4294967294, False, id="gid"),
        pytest.param("size", (1 << 33) - 1, True, id="largest plain size"),
        pytest.param("size", 1 << 33, False, id="size 8 GiB"),
        pytest.param("mtime", 1 << 33, False, id="time in 2242"),
    ],
)
def test_a_pax_record_holds_what_ustar_cannot(key: str, number: int, plain: bool) -> None:
    numbers = {key: number}
    block = tar_header.format_header(b"x", **numbers)  # type: ignore[arg-type]
    assert plain == (len(block) == tar_header.BLOCK)
    with tarfile.open(fileobj=io.BytesIO(block + tar_header.END)) as tar:
        first = tar.next()
    assert number == getattr(first, key)


@pytest.mark.parametrize("length", range(85, 110))
def test_the_length_of_a_pax_record_counts_its_own_digits(length: int) -> None:
    # Around 100 bytes in all, the length gains a digit by counting itself.
    name = b"n" * 101 + b"m" * length
    data = tar_header.format_header(name) + tar_header.END
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == [os.fsdecode(name)]


@pytest.mark.parametrize(
    ("name", "is_whole"),
    [
        pytest.param(b"with space", True, id="space"),
        pytest.param(b"new\nline", True, id="newline"),
        pytest.param(b"\xff\xfe", True, id="not UTF-8"),
        pytest.param(b"n" * 100, True, id="100 bytes"),
        pytest.param(b"n" * 101, False, id="101 bytes"),
        pytest.param(b"d" * 155 + b"/" + b"n" * 100, True, id="longest that ustar splits"),
        pytest.param(b"d" * 156 + b"/" + b"n" * 99, False, id="prefix too long"),
    ],
)
def test_a_header_block_is_read_back(name: bytes, is_whole: bool) -> None:
    block = tar_header.format_header(name, mode=0o4755, uid=7, gid=(1 << 21) - 1, size=9, mtime=5)
    status = Status(FileKind.FILE, 0o4755, 7, (1 << 21) - 1)
    expected = tar_header.Header(name, tar_header.FILE, status, size=9, mtime=5)
    assert tar_header.parse_header(block) == (expected if is_whole else None)


@pytest.mark.parametrize("at", [0, 9, 100, 124, 140, 148, 156, 157, 199, 257, 345, 400, 511])
def test_a_header_with_a_flaw_is_not_read(at: int) -> None:
    block = tar_header.format_header(b"x", tar_header.LINK, link=b"y")
    assert tar_header.parse_header(block) is not None
    assert tar_header.parse_header(block[:at] + b"1" + block[at + 1 :]) is None
