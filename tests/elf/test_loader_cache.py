from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from elves import a_cache, a_root, an_elf
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf.loader_cache import Candidate, LoaderCache, loader_cache
from scratch_image.elf.machines import I386
from scratch_image.errors import ElfError
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

GOLDEN = Path(__file__).parent / "loader_cache"
CACHE = (GOLDEN / "ld.so.cache").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ld.so.cache", id="new"),
        pytest.param("compat.ld.so.cache", id="inside-the-old-format"),
    ],
)
def test_the_cache_that_ldconfig_writes(name: str) -> None:
    """loader_cache/build.sh made it: libv.so.1 in all levels, libboth.so.1 for two machines."""
    cache = LoaderCache.parse((GOLDEN / name).read_bytes())
    assert (
        Candidate(b"/opt/v/glibc-hwcaps/x86-64-v4/libv.so.1", b"x86-64-v4"),
        Candidate(b"/opt/v/glibc-hwcaps/x86-64-v3/libv.so.1", b"x86-64-v3"),
        Candidate(b"/opt/v/glibc-hwcaps/x86-64-v2/libv.so.1", b"x86-64-v2"),
        Candidate(b"/opt/v/libv.so.1", None),
    ) == cache.lookup(b"libv.so.1", an_elf())
    assert (Candidate(b"/opt/both/libboth.so.1"),) == cache.lookup(b"libboth.so.1", an_elf())
    assert (Candidate(b"/opt/both32/libboth.so.1"),) == cache.lookup(
        b"libboth.so.1", an_elf(32, I386)
    )
    assert len(cache.lookup(b"libboth.so.1", an_elf(64, 22))) == 2, "flags of S390 are not known"
    assert cache.lookup(b"libgone.so.1", an_elf()) == ()


def test_this_machines_cache_holds_what_ldconfig_prints() -> None:
    cache = loader_cache(Root())
    printed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, check=True).stdout
    found = re.findall(rb"\t(\S+) \(libc6,x86-64\) => (\S+)", printed)
    assert len(found) > 50
    for name, path in found:
        assert path in [candidate.path for candidate in cache.lookup(name, an_elf())]


def test_answer_is_all_that_the_cache_says_of_a_name() -> None:
    cache = LoaderCache.parse(CACHE)
    assert cache.answer(b"libv.so.1") == (
        b"303 x86-64-v2 /opt/v/glibc-hwcaps/x86-64-v2/libv.so.1\n"
        b"303 x86-64-v3 /opt/v/glibc-hwcaps/x86-64-v3/libv.so.1\n"
        b"303 x86-64-v4 /opt/v/glibc-hwcaps/x86-64-v4/libv.so.1\n"
        b"303 - /opt/v/libv.so.1\n"
    )
    assert cache.answer(b"libgone.so.1") == b""


def test_a_file_without_glibcs_mark_is_an_empty_cache() -> None:
    assert LoaderCache.parse(b"").answer(b"libc.so.6") == b""
    assert LoaderCache.parse(b"something else").answer(b"libc.so.6") == b""


MALFORMED = "cannot read loader cache /etc/ld.so.cache: it is malformed; run ldconfig"


@given(st.integers(20, len(CACHE) - 1))
def test_a_cache_cut_short_is_read_or_refused(size: int) -> None:
    try:
        LoaderCache.parse(CACHE[:size]).answer(b"libv.so.1")
    except ElfError as error:
        assert str(error) == MALFORMED


@given(st.lists(st.tuples(st.integers(20, len(CACHE) - 1), st.integers(0, 255)), max_size=20))
def test_a_damaged_cache_is_read_or_refused(flips: list[tuple[int, int]]) -> None:
    data = bytearray(CACHE)
    for place, value in flips:
        data[place] = value
    try:
        LoaderCache.parse(bytes(data)).lookup(b"libv.so.1", an_elf())
    except ElfError as error:
        assert str(error) == MALFORMED


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_cache_of_either_byte_order(order: str) -> None:
    cache = LoaderCache.parse(a_cache([(0x303, 3, 0, 0)], b"/a/l.so\0", order=order))
    assert cache.lookup(b"l.so", an_elf()) == (Candidate(b"/a/l.so"),)


def test_entries_for_unknown_processors_are_no_candidates() -> None:
    named, legacy = 1 << 62, 1 << 63
    cache = LoaderCache.parse(a_cache([(0x303, 3, 0, named), (0x303, 3, 0, legacy)], b"/a/l.so\0"))
    assert cache.lookup(b"l.so", an_elf()) == ()
    assert cache.answer(b"l.so") == b"303 ? /a/l.so\n303 legacy /a/l.so\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(a_cache([], count=1 << 31), id="count"),
        pytest.param(a_cache([(0x303, 0, 1 << 20, 0)], b"a\0"), id="path-offset"),
        pytest.param(a_cache([(0x303, 0, 0, 0)], b"a"), id="no-end"),
        pytest.param(a_cache([(0x303, 0, 0, 0)], b"a" * 5000 + b"\0"), id="long"),
        pytest.param(a_cache([(0x303, 0, 0, 0)] * 200, b"a" * 4000 + b"\0"), id="overlap"),
        pytest.param(a_cache([], extension=struct.pack("<II", 1, 0)), id="extension-magic"),
        pytest.param(
            a_cache([], extension=struct.pack("<II", 0xEAA42174, 1 << 30)), id="extension-count"
        ),
        pytest.param(
            a_cache([], extension=struct.pack("<IIIIII", 0xEAA42174, 1, 1, 0, 1 << 20, 4)),
            id="extension-offset",
        ),
    ],
)
def test_malformed_cache(data: bytes) -> None:
    with pytest.raises(ElfError) as caught:
        LoaderCache.parse(data)
    assert str(caught.value) == MALFORMED


def test_extensions_of_other_kinds_are_passed_over() -> None:
    data = a_cache([], extension=struct.pack("<IIIIII", 0xEAA42174, 1, 0, 0, 0, 4))
    assert LoaderCache.parse(data).answer(b"x") == b""


def test_the_cache_is_read_again_only_when_it_changes(tmp_path: Path) -> None:
    root = a_root(tmp_path, a_cache([(0x303, 3, 0, 0)], b"/a/l.so\0"))
    first = loader_cache(root)
    assert first is loader_cache(root)
    assert loader_cache(root).answer(b"l.so") == b"303 - /a/l.so\n"
    (tmp_path / "new").write_bytes(a_cache([(0x303, 3, 0, 0)], b"/b/l.so\0"))
    (tmp_path / "new").rename(tmp_path / "etc/ld.so.cache")
    assert loader_cache(root).answer(b"l.so") == b"303 - /b/l.so\n"


def test_the_caches_content_is_not_on_record(tmp_path: Path) -> None:
    root = a_root(tmp_path, CACHE)
    loader_cache(root).answer(b"libv.so.1")
    assert root.looked == {(b"/etc/ld.so.cache", Aspect.STAT)}


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    assert loader_cache(a_root(tmp_path, None)).answer(b"libc.so.6") == b""
    (tmp_path / "etc/ld.so.cache").mkdir()
    assert loader_cache(Root(WatchedFileSystem(os.fsencode(tmp_path)))).answer(b"libc.so.6") == b""


def test_a_cache_of_any_size_is_not_read(tmp_path: Path) -> None:
    root = a_root(tmp_path, CACHE)
    os.truncate(tmp_path / "etc/ld.so.cache", 1 << 40)
    with pytest.raises(ElfError) as caught:
        loader_cache(root).answer(b"libc.so.6")
    assert str(caught.value) == MALFORMED
