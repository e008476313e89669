from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable

import pytest
from scratch_image.fs.lookup import FileKind, Status
from scratch_image.image.tar_header import (
    END,
    FILE,
    HARD,
    KINDS,
    LINK,
    Header,
    format_header,
    padding,
)
from scratch_image.image.tar_reader import SeekableTar, StreamedTar, TarReader
from tars import member

OTHER = format_header(b"etc/b", size=600) + b"b" * 600 + padding(600)


def odd(block: bytes, at: int, data: bytes) -> bytes:
    """Put `data` into a header, and its checksum right."""
    block = block[:at] + data + block[at + len(data) :]
    total = sum(block[:148]) + sum(block[156:]) + 8 * 32
    return b"%s%06o\0 %s" % (block[:148], total, block[156:])


PLAIN = format_header(b"etc/a", size=3, mtime=7) + b"abc" + padding(3)
LONG = "d" * 60 + "/" + "n" * 60
TARS = [
    pytest.param([], id="empty"),
    pytest.param([member("a/", tarfile.DIRTYPE), member("a/n", tarfile.CHRTYPE)], id="device"),
    pytest.param([PLAIN, member("a/l", tarfile.SYMTYPE, "x"), OTHER], id="link"),
    pytest.param([format_header(LONG.encode()), PLAIN, OTHER], id="prefix"),
    pytest.param([PLAIN, format_header(b"x" * 120), OTHER], id="long name of ours"),
    pytest.param([PLAIN, member("n" * 120, uid=1 << 40), OTHER], id="PAX"),
    pytest.param(
        [OTHER, tarfile.TarInfo(LONG * 3).tobuf(tarfile.GNU_FORMAT), PLAIN], id="GNU long name"
    ),
    pytest.param(
        [PLAIN, odd(format_header(b"b"), 108, b"\x80\0\0\0\0\0\x01\0"), OTHER], id="binary number"
    ),
    pytest.param([odd(format_header(b"b"), 100, b"    644 "), PLAIN], id="number with spaces"),
    pytest.param([odd(format_header(b"b"), 2, b"x"), PLAIN], id="more after a NUL"),
    pytest.param([odd(format_header(b"b"), 505, b"x"), PLAIN], id="more at the end"),
    pytest.param([odd(format_header(b"b"), 257, b"ustar  \0"), PLAIN], id="GNU magic"),
    pytest.param([odd(format_header(b"b"), 265, b"root"), PLAIN], id="name of a user"),
    pytest.param([odd(format_header(b"b/"), 156, b"\0"), PLAIN], id="old directory"),
    pytest.param([odd(format_header(b"b"), 156, b"7"), PLAIN], id="contiguous"),
    pytest.param([format_header(b"b", LINK, link=b"c", size=600), PLAIN], id="link of a size"),
    pytest.param([format_header(b"b", HARD, link=b"etc/a", size=9), PLAIN], id="hard, too"),
    pytest.param([format_header(b"./b//c/../d"), format_header(b"/e/"), PLAIN], id="odd names"),
    pytest.param([format_header("\udcffä".encode("utf-8", "surrogateescape"))], id="not UTF-8"),
    pytest.param([OTHER, format_header(b"etc/passwd", LINK, link=b"x"), OTHER], id="twice"),
]


@pytest.mark.parametrize("step", [1 << 20, 700, 1], ids=["whole", "700 bytes", "bytes"])
@pytest.mark.parametrize("members", TARS)
def test_reader_finds_the_same_as_tarfile(members: Iterable[bytes], step: int) -> None:
    data = b"".join([*members, END])
    chunks = iter([data[at : at + step] for at in range(0, len(data), step)])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
        expected = [_by_tarfile(tar, each) for each in tar.getmembers()]
    reader = TarReader(StreamedTar(chunks))
    assert [(_plain(each), b"".join(reader.content())) for each in reader] == expected


@pytest.mark.parametrize("members", TARS)
def test_seekable_tar_has_the_same_headers(members: Iterable[bytes]) -> None:
    data = b"".join([*members, END])
    streamed = list(TarReader(StreamedTar(iter([data]))))
    assert list(TarReader(SeekableTar(io.BytesIO(data)))) == streamed


def _by_tarfile(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[Header, bytes]:
    names = [name.encode("utf-8", "surrogateescape") for name in (member.name, member.linkname)]
    flag = FILE if member.isreg() else member.type
    status = Status(
        KINDS.get(flag, FileKind.OTHER), member.mode, member.uid, member.gid, target=names[1]
    )
    content = tar.extractfile(member) if member.isreg() else None
    data = content.read() if content else b""
    return Header(names[0].rstrip(b"/"), flag, status, member.size, member.mtime), data


def _plain(header: Header) -> Header:
    return header._replace(name=header.name.rstrip(b"/"))


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(PLAIN + b"junk" * 200, "it is not a whole tar (invalid header)", id="junk"),
        pytest.param(
            PLAIN + PLAIN[:100], "it is not a whole tar (truncated header)", id="cut header"
        ),
        pytest.param(PLAIN[:514], "the end of the tar is missing", id="cut content"),
        pytest.param(OTHER + PLAIN[:512], "the end of the tar is missing", id="no content"),
    ],
)
def test_a_tar_that_ends_early_or_badly(data: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(cause)}$"):
        list(TarReader(StreamedTar(iter([data]))))


def test_a_header_without_end_is_not_read() -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 1 << 23
    data = io.BytesIO(PLAIN + member.tobuf())
    with pytest.raises(ValueError, match=r"^it is not a whole tar \("):
        list(TarReader(SeekableTar(data)))
