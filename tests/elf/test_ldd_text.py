from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf import ldd_text
from scratch_image.elf.closure import Closure
from scratch_image.elf.ldd_text import Row
from scratch_image.elf.load import Library, Missing
from scratch_image.errors import InputError

GOLDEN = Path(__file__).parent / "ldd_text"
LOADER = b"/lib64/ld-linux-x86-64.so.2"
LIBC = b"/lib/x86_64-linux-gnu/libc.so.6"


def a_closure(
    path: bytes = b"/p",
    *,
    interpreters: tuple[bytes, ...] = (),
    loader: bytes | None = None,
    static: bool = False,
    libraries: tuple[Library, ...] = (),
    missing: tuple[Missing, ...] = (),
) -> Closure:
    return Closure(path, interpreters, 62, loader, static, libraries, missing)


def test_the_text_of_closures() -> None:
    text = ldd_text.write(
        [
            a_closure(
                b"/usr/bin/a b",
                interpreters=(b"/bin/i", b"/bin/sh"),
                loader=b"/lib/ld.so",
                libraries=(
                    Library(b"libc.so.6", b"/lib/libc.so.6", b"/bin/sh"),
                    Library(b"/x\n.so", b"/x\n.so", b"/lib/libc.so.6"),
                    Library(b"libc.so.6", b"/lib/v/libc.so.6", b"/bin/sh", variant=True),
                ),
                missing=(Missing(b"libz.so.1", b"/bin/sh", ()),),
            ),
            a_closure(b"/sbin/init:", static=True),
        ]
    )
    assert text.decode() == (GOLDEN / "written.ldd").read_text()


def test_reads_back_what_it_writes() -> None:
    lines = (GOLDEN / "written.ldd").read_bytes().splitlines(keepends=True)
    text = b"".join(line for line in lines if b"not found" not in line)
    assert ldd_text.read(text) == (
        Row("program", b"/usr/bin/a b", None),
        Row("interpreter", b"/bin/i", b"/usr/bin/a b"),
        Row("interpreter", b"/bin/sh", b"/bin/i"),
        Row("library", b"/lib/libc.so.6", b"/bin/sh"),
        Row("library", b"/x\n.so", b"/lib/libc.so.6"),
        Row("library", b"/lib/v/libc.so.6", b"/bin/sh"),
        Row("loader", b"/lib/ld.so", b"/bin/sh"),
        Row("program", b"/sbin/init:", None),
    )


names = st.binary(min_size=1).map(lambda name: name.translate(None, b"\0/")).filter(len)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: b"/" + b"/".join(parts))
libraries = st.builds(Library, names, paths, paths, st.booleans())
closures = st.builds(
    a_closure,
    paths,
    interpreters=st.lists(paths, max_size=2).map(tuple),
    loader=st.none() | paths,
    static=st.booleans(),
    libraries=st.lists(libraries, max_size=3).map(tuple),
)


@given(st.lists(closures, min_size=1, max_size=3))
def test_any_closures_are_read_back(written: list[Closure]) -> None:
    expected = []
    for found in written:
        users = (found.path, *found.interpreters)
        expected.append(Row("program", found.path, None))
        expected += [Row("interpreter", users[n + 1], users[n]) for n in range(len(users) - 1)]
        expected += [Row("library", each.path, each.needed_by) for each in found.libraries]
        if found.loader is not None:
            expected.append(Row("loader", found.loader, users[-1]))
    assert tuple(expected) == ldd_text.read(ldd_text.write(written))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "one.ldd",
            [
                Row("library", b"/lib/x86_64-linux-gnu/libselinux.so.1", None),
                Row("library", b"/lib/x86_64-linux-gnu/libc.so.6", None),
                Row("library", b"/lib/x86_64-linux-gnu/libpcre2-8.so.0", None),
                Row("loader", LOADER, None),
            ],
            id="one",
        ),
        pytest.param(
            "several.ldd",
            [
                Row("program", b"/usr/bin/cat", None),
                Row("library", LIBC, b"/usr/bin/cat"),
                Row("loader", LOADER, b"/usr/bin/cat"),
                Row("program", b"/usr/bin/ldd", None),
                Row("program", b"/sbin/ldconfig", None),
                Row("program", b"/tmp/captured/a b", None),
                Row("library", b"/tmp/captured/l i b/libx.so", b"/tmp/captured/a b"),
                Row("library", b"/tmp/captured/l i b/slash.so", b"/tmp/captured/a b"),
                Row("library", LIBC, b"/tmp/captured/a b"),
                Row("loader", LOADER, b"/tmp/captured/a b"),
            ],
            id="several",
        ),
        pytest.param(
            "musl.ldd",
            [
                Row("loader", b"/lib/ld-musl-x86_64.so.1", None),
                Row("loader", b"/lib/ld-musl-x86_64.so.1", None),
            ],
            id="musl",
        ),
        pytest.param("static.ldd", [], id="static"),
        pytest.param("script.ldd", [], id="script"),
    ],
)
def test_reads_what_ldd_printed(name: str, expected: list[Row]) -> None:
    assert expected == list(ldd_text.read((GOLDEN / name).read_bytes()))


def test_the_loader_of_other_distributions() -> None:
    text = (
        b"\tlinux-gate.so.1 =>  (0xb7700000)\n"
        b"\t/lib64/ld-linux-x86-64.so.2 => /usr/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
    )
    assert ldd_text.read(text) == (Row("loader", LOADER, None),)


def test_a_missing_library_in_a_captured_text() -> None:
    text = (GOLDEN / "missing.ldd").read_bytes()
    assert b"libx.so" not in {os.path.basename(row.path) for row in ldd_text.read(text)}
    (missing,) = ldd_text.read_missing(text)
    assert (missing.name, missing.searched) == (b"libx.so", ())


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"./hello:", id="relative-program"),
        pytest.param(b"\tlinux-vdso.so.1 => nowhere", id="not-the-kernels"),
        pytest.param(b"/usr/bin/hello", id="no-colon"),
        pytest.param(b"\tlibx.so => ./libx.so (0x0)", id="relative-library"),
        pytest.param(b"\tVersion information:", id="verbose"),
        pytest.param(b"/usr/bin/a\\000b:", id="nul"),
        pytest.param(b"\t/usr/lib/\0.so", id="bare-nul"),
        pytest.param(b"ldd: ./x: No such file or directory", id="error"),
    ],
)
def test_a_line_that_ldd_does_not_print(line: bytes) -> None:
    with pytest.raises(InputError) as caught:
        ldd_text.read(b"/usr/bin/cat:\n" + line + b"\n")
    assert str(caught.value) == (
        "cannot read ldd text, line 2: it is not a line of ldd with an absolute path; "
        "run ldd with absolute paths and keep its output as it is"
    )


@pytest.mark.parametrize("text", [b"", b"\n\n"])
def test_a_text_of_nothing_is_not_ldds(text: bytes) -> None:
    with pytest.raises(InputError) as caught:
        ldd_text.read(text, "x.ldd")
    assert str(caught.value) == (
        "cannot read x.ldd: it is empty; delete it, and write it again by ldd or build it"
    )


pieces = st.sampled_from(
    [b"\t", b"/a", b" => ", b" (0x1)", b" (needed by /b)", b"not found", b":", b"\n", b"\\0", b"x"]
)


@given(st.binary() | st.lists(pieces | st.binary(max_size=3)).map(b"".join))
def test_any_text_is_read_or_refused(text: bytes) -> None:
    try:
        rows = ldd_text.read(text)
    except InputError as error:
        assert re.match(r"cannot (read|use) ldd text(, line \d+)?: ", str(error))
    else:
        assert all(row.path.startswith(b"/") and b"\0" not in row.path for row in rows)


@pytest.mark.parametrize(
    ("text", "machine"),
    [
        pytest.param(b"/a:\n\tmachine 183 (aarch64)\n/b:\n\tmachine 3 (i386)\n", 183, id="first"),
        pytest.param(b"\tlibc.so.6 => /lib/libc.so.6 (0x1)\n", None, id="as ldd printed it"),
        pytest.param(b"\tmachine 99999999 (x)\n", None, id="no number of 16 bits"),
    ],
)
def test_machine_of_an_ldd_text(text: bytes, machine: int | None) -> None:
    assert machine == ldd_text.machine_number(text)
