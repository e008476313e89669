from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf import reader
from scratch_image.elf.reader import Elf, ElfFiles
from scratch_image.errors import ElfError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

GOLDEN = Path(__file__).parent / "reader"
LIBRARY = (GOLDEN / "library.64.so").read_bytes()
ORDERS = [
    pytest.param(bits, order, id=f"{bits}-bit-{word}")
    for bits in (64, 32)
    for order, word in (("<", "little"), (">", "big"))
]
NEEDED, STRTAB, SONAME, RPATH, FILTER = 1, 5, 14, 15, 0x7FFFFFFF
INTERP, DYNAMIC, LOAD, NOTE = 3, 2, 1, 4


def read(data: bytes) -> Elf:
    return reader.read(io.BytesIO(data), b"/x")


def segment(bits: int, order: str, kind: int, start: int, size: int) -> bytes:
    if bits == 64:
        return struct.pack(f"{order}IIQQQQQQ", kind, 4, start, start, start, size, size, 1)
    return struct.pack(f"{order}IIIIIIII", kind, start, start, start, size, size, 4, 1)


def write(
    bits: int = 64,
    order: str = "<",
    *,
    tags: Sequence[tuple[int, int]] = (),
    strings: bytes = b"",
    interpreter: bytes | None = None,
    note: bytes = b"",
) -> bytes:
    """Return an ELF file; the address of each byte is its offset, strings start at 0x400."""
    word = "Q" if bits == 64 else "I"
    dynamic = b"".join(struct.pack(f"{order}{word}{word}", *tag) for tag in tags)
    parts = [(LOAD, 0, 0x4000), (NOTE, 0x1000, len(note))]
    if tags:
        parts.append((DYNAMIC, 0x200, len(dynamic)))
    if interpreter is not None:
        parts.append((INTERP, 0x3000, len(interpreter)))
    headers = b"".join(segment(bits, order, *part) for part in parts)
    size, entry = (64, 56) if bits == 64 else (52, 32)
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    rest = struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH",
        3, 22, 1, 0, size, 0, 0, size, entry, len(parts), 0, 0, 0,
    )  # fmt: skip
    data = bytearray(0x4000)
    for start, part in (
        (0, ident + rest + headers),
        (0x200, dynamic),
        (0x400, strings),
        (0x1000, note),
        (0x3000, interpreter or b""),
    ):
        data[start : start + len(part)] = part
    return bytes(data)


def dlopen_note(text: bytes, order: str = "<") -> bytes:
    other = struct.pack(f"{order}III", 4, 5, 1) + b"GNU\0" + b"12345\0\0\0"
    return other + struct.pack(f"{order}III", 4, len(text), 0x407C0C0A) + b"FDO\0" + text


@pytest.mark.parametrize(("bits", "machine"), [(64, 62), (32, 3)])
def test_reads_all_that_gcc_and_ld_write(bits: int, machine: int) -> None:
    expected = Elf(
        bits=bits,
        little_endian=True,
        machine=machine,
        interpreter=None,
        soname=b"liball.so.2",
        needed=(b"libneeded.so.1",),
        rpath=None,
        runpath=b"$ORIGIN/../lib:/opt/lib",
        flags_1=0x800,
        filters=(b"libfilter.so",),
        auxiliaries=(b"libauxiliary.so",),
        audits=(b"libdep1.so:libdep2.so", b"libaudit.so"),
        dlopen=(),
    )
    actual = read((GOLDEN / f"library.{bits}.so").read_bytes())
    assert expected == actual
    assert actual.avoids_default_directories


REQUIRED_OF_TWO = b'[{"soname":["x","y"],"priority":"required"},{"soname":["z"]}]'


@pytest.mark.parametrize(("bits", "order"), ORDERS)
def test_reads_each_class_and_byte_order(bits: int, order: str) -> None:
    actual = read(
        write(
            bits,
            order,
            tags=[(NEEDED, 1), (STRTAB, 0x400), (RPATH, 5), (NEEDED, 5), (0, 0), (SONAME, 1)],
            strings=b"\0\xff.a\0b\0",
            interpreter=b"/lib/ld.so\0junk\0",
            note=dlopen_note(REQUIRED_OF_TWO, order),
        )
    )
    assert (bits, order == "<", 22) == actual.abi
    assert actual.needed == (b"\xff.a", b"b")
    assert actual.rpath == b"b"
    assert actual.soname is None, "what follows DT_NULL does not count"
    assert actual.interpreter == b"/lib/ld.so"
    assert actual.dlopen == ((b"x", b"y"),)
    assert not actual.avoids_default_directories


def test_reads_a_file_without_dynamic_table() -> None:
    actual = read(write())
    assert (actual.needed, actual.soname) == ((), None)
    assert actual.interpreter is None
    assert actual.needed == ()


def test_agrees_with_readelf() -> None:
    places = ("/usr/lib/x86_64-linux-gnu", "/usr/lib32", "/usr/bin")
    files = [path for place in places for path in sorted(Path(place).iterdir())[::20]]
    files = [path for path in files if path.is_file() and reader.is_elf(path.read_bytes()[:4])]
    assert len(files) > 30
    for path in files:
        text = subprocess.run(
            ["readelf", "-ldW", path], capture_output=True, check=True, env={"LC_ALL": "C"}
        ).stdout
        with path.open("rb", buffering=0) as stream:
            actual = reader.read(stream, os.fsencode(path))
        assert re.findall(rb"\(NEEDED\).*\[(.*)\]", text) == list(actual.needed)
        assert re.findall(rb"\(SONAME\).*\[(.*)\]", text) == [actual.soname] * bool(actual.soname)
        found = re.findall(rb"program interpreter: (.*)\]", text)
        assert found == [actual.interpreter] * bool(actual.interpreter)


@given(st.integers(0, len(LIBRARY) - 1))
def test_a_file_cut_short_is_read_or_refused(size: int) -> None:
    try:
        read(LIBRARY[:size])
    except ElfError as error:
        assert str(error).startswith("cannot read ELF file /x: ")


@given(st.lists(st.tuples(st.integers(0, len(LIBRARY) - 1), st.integers(0, 255)), max_size=20))
def test_a_damaged_file_is_read_or_refused(flips: list[tuple[int, int]]) -> None:
    data = bytearray(LIBRARY)
    for place, value in flips:
        # Most of the file is code that the reader skips: headers and dynamic table are the target.
        data[place if place % 3 else place % 0x200] = value
    try:
        read(bytes(data))
    except ElfError as error:
        assert str(error).startswith("cannot read ELF file /x: ")


def test_a_file_that_is_no_elf_file_is_refused() -> None:
    with pytest.raises(ElfError) as caught:
        read(b"#!/bin/sh\n")
    expected = "cannot read ELF file /x: it is cut short or malformed; build or install it again"
    assert expected == str(caught.value)


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(
            patched(write(), 56, "<H", 0xFFFF),
            "it has more program headers than the kernel takes",
            id="headers",
        ),
        pytest.param(
            write(interpreter=b"/lib/ld.so\0")[:0x3004],
            "its PT_INTERP segment is cut short or too long",
            id="cut",
        ),
        pytest.param(
            patched(write(tags=[(0, 0)]), 64 + 2 * 56 + 32, "<Q", 1 << 40),
            "its PT_DYNAMIC segment is cut short or too long",
            id="huge",
        ),
        pytest.param(
            write(tags=[(NEEDED, 1), (0, 0)]),
            "its dynamic table has names but no string table",
            id="no-table",
        ),
        pytest.param(
            write(tags=[(NEEDED, 1), (STRTAB, 0x9000)]),
            "its string table lies in no segment",
            id="nowhere",
        ),
        pytest.param(
            write(tags=[(NEEDED, 0), (STRTAB, 0x400)], strings=b"a" * 0x3C00),
            "a name in its dynamic table has no end",
            id="endless",
        ),
        pytest.param(
            write(tags=[(NEEDED, 1 << 63), (STRTAB, 0x400)]),
            "it is cut short or malformed",
            id="far",
        ),
        pytest.param(
            write(note=dlopen_note(b'[{"soname":"libz.so"}]')),
            "its dlopen note is not as UAPI.12 describes",
            id="note-text",
        ),
        pytest.param(
            write(note=dlopen_note(b"[1]")),
            "its dlopen note is not as UAPI.12 describes",
            id="note-number",
        ),
        pytest.param(
            write(note=dlopen_note(b"[{}]")),
            "its dlopen note is not as UAPI.12 describes",
            id="note-empty",
        ),
        pytest.param(
            write(note=dlopen_note(json.dumps([{"soname": ["\ud800"]}]).encode())),
            "it is cut short or malformed",
            id="note-surrogate",
        ),
        pytest.param(
            write(note=dlopen_note(b"[" * 5000)),
            "it is cut short or malformed",
            id="note-deep",
        ),
    ],
)
def test_malformed(data: bytes, cause: str) -> None:
    with pytest.raises(ElfError) as caught:
        read(data)
    assert f"cannot read ELF file /x: {cause}; build or install it again" == str(caught.value)


def test_long_notes_of_core_dumps_are_not_read() -> None:
    data = patched(write(note=dlopen_note(b"[1]")), 64 + 56 + 32, "<Q", 1 << 20)
    assert read(data).dlopen == ()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(b"\x7fELF\2\1", True, id="elf"),
        pytest.param(b"\x7fEL", False, id="short"),
        pytest.param(b"#!/bin/sh", False, id="script"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_is_elf(head: bytes, expected: bool) -> None:
    assert expected == reader.is_elf(head)


SCRIPTS = [
    pytest.param(b"#!/bin/echo\n", b"/bin/echo", id="plain"),
    pytest.param(b"#! \t /bin/echo \t x y\n", b"/bin/echo", id="blanks-and-argument"),
    pytest.param(b"#!/bin/echo", b"/bin/echo", id="no-newline"),
    pytest.param(b"#!/bin/echo\0x", b"/bin/echo", id="nul"),
    pytest.param(b"#!/bin/" + b"e" * 240 + b" a" * 20, b"/bin/" + b"e" * 240, id="long-argument"),
    pytest.param(b"#!/bin/" + b"./" * 124 + b"sh", None, id="cut"),
    pytest.param(b"#!/bin/" + b"./" * 200 + b"sh\n", None, id="too-long"),
    pytest.param(b"#!\n/bin/echo", None, id="empty"),
    pytest.param(b"#! \t \n/bin/echo", None, id="blank"),
    pytest.param(b"# !/bin/echo\n", None, id="comment"),
    pytest.param(b"echo\n", None, id="text"),
]


@pytest.mark.parametrize(("text", "expected"), SCRIPTS)
def test_interpreter_of_script(text: bytes, expected: bytes | None) -> None:
    assert expected == reader.interpreter_of_script(text)


@pytest.mark.parametrize(("text", "expected"), SCRIPTS)
def test_the_kernel_sees_the_same_interpreter(
    text: bytes, expected: bytes | None, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_bytes(text)
    script.chmod(0o755)
    try:
        printed = subprocess.run([script], capture_output=True, check=True).stdout
    except OSError as error:
        absent = expected is not None and not os.path.lexists(expected)
        assert (errno.ENOENT if absent else errno.ENOEXEC) == error.errno
    else:
        assert expected == b"/bin/echo"
        assert os.fsencode(script) in printed


@pytest.mark.parametrize(
    ("head", "machine"),
    [
        pytest.param(b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00", 183, id="little-endian"),
        pytest.param(b"\x7fELF\x02\x02" + bytes(12) + b"\x00\x16", 22, id="big-endian"),
        pytest.param(b"\x7fELF\x02\x01", None, id="cut short"),
        pytest.param(b"#!/bin/sh\n" + bytes(10), None, id="script"),
    ],
)
def test_machine_of_the_first_bytes(head: bytes, machine: int | None) -> None:
    assert machine == reader.machine_of(head)


TRUE = "/usr/bin/true"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "d").mkdir()
    shutil.copy(TRUE, tmp_path / "d/true")
    (tmp_path / "d/link").symlink_to("/e/true")
    (tmp_path / "e").symlink_to("d")
    (tmp_path / "d/text").write_text("text")
    return Root(WatchedFileSystem(os.fsencode(tmp_path)))


@pytest.mark.parametrize(
    ("path", "looked"),
    [
        pytest.param(b"/d/true", {(b"/d/true", Aspect.CONTENT)}, id="file"),
        pytest.param(
            b"/e/true",
            {(b"/e", Aspect.STAT), (b"/d/true", Aspect.CONTENT)},
            id="linked directory",
        ),
        pytest.param(
            b"/d/link",
            {(b"/d/link", Aspect.STAT), (b"/e", Aspect.STAT), (b"/d/true", Aspect.CONTENT)},
            id="link",
        ),
    ],
)
def test_find(path: bytes, looked: set[tuple[bytes, Aspect]], root: Root) -> None:
    found = ElfFiles(root).find(path)
    assert found is not None
    assert (found.real, found.elf.machine) == (b"/d/true", 62)
    assert root.looked == looked


@pytest.mark.parametrize(
    ("path", "looked"),
    [
        pytest.param(b"/d/no", (b"/d/no", Aspect.STAT), id="name"),
        pytest.param(b"/no/x", (b"/no", Aspect.STAT), id="directory"),
        pytest.param(b"/d/text/x", (b"/d/text", Aspect.STAT), id="file for a directory"),
        pytest.param(b"/d/", (b"/d", Aspect.CONTENT), id="directory for a file"),
        pytest.param(b"/d/..", (b"/", Aspect.CONTENT), id="no name"),
    ],
)
def test_what_is_not_there_is_on_record(
    path: bytes, looked: tuple[bytes, Aspect], root: Root
) -> None:
    assert ElfFiles(root).find(path) is None
    assert looked in root.looked


def test_a_file_that_is_no_elf_file(root: Root) -> None:
    with pytest.raises(ElfError, match="cannot read ELF file /d/text: "):
        ElfFiles(root).find(b"/d/text")


def test_each_look_happens_once(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ElfFiles(root)
    first = files.find(b"/e/true")
    assert files.directory(b"/e") == b"/d"
    assert files.directory(b"/x") is None
    monkeypatch.setattr(root.files, "status", None)
    assert files.find(b"/e/true") is first
    assert files.directory(b"/e") == b"/d"
    assert files.directory(b"/x") is None
