from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.elf import search_path
from scratch_image.elf.reader import Elf
from scratch_image.elf.search_path import Candidate, Cpu, LdCache, Loaded
from scratch_image.errors import ElfError
from scratch_image.fs.root import Aspect, Root

X86_64, I386, AARCH64, S390 = 62, 3, 183, 22
GOLDEN = Path(__file__).parent / "search_path"
CACHE = (GOLDEN / "ld.so.cache").read_bytes()


def an_elf(
    bits: int = 64,
    machine: int = X86_64,
    *,
    interpreter: bytes | None = b"/lib64/ld-linux-x86-64.so.2",
    needed: tuple[bytes, ...] = (),
    rpath: bytes | None = None,
    runpath: bytes | None = None,
    flags_1: int = 0,
) -> Elf:
    return Elf(
        bits=bits,
        little_endian=True,
        machine=machine,
        dynamic=True,
        interpreter=interpreter,
        soname=None,
        needed=needed,
        rpath=rpath,
        runpath=runpath,
        flags_1=flags_1,
        filters=(),
        auxiliaries=(),
        audits=(),
        dlopen=(),
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ld.so.cache", id="new"),
        pytest.param("compat.ld.so.cache", id="inside-the-old-format"),
    ],
)
def test_the_cache_that_ldconfig_writes(name: str) -> None:
    """tests/ldso/build.sh made it: libv.so.1 in all levels, libboth.so.1 for two machines."""
    cache = LdCache.parse((GOLDEN / name).read_bytes())
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
    assert len(cache.lookup(b"libboth.so.1", an_elf(64, S390))) == 2, "flags of S390 are not known"
    assert cache.lookup(b"libgone.so.1", an_elf()) == ()


def test_this_machines_cache_holds_what_ldconfig_prints() -> None:
    cache = search_path.ld_cache(Root())
    printed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, check=True).stdout
    found = re.findall(rb"\t(\S+) \(libc6,x86-64\) => (\S+)", printed)
    assert len(found) > 50
    for name, path in found:
        assert path in [candidate.path for candidate in cache.lookup(name, an_elf())]


def test_answer_is_all_that_the_cache_says_of_a_name() -> None:
    cache = LdCache.parse(CACHE)
    assert cache.answer(b"libv.so.1") == (
        b"303 x86-64-v2 /opt/v/glibc-hwcaps/x86-64-v2/libv.so.1\n"
        b"303 x86-64-v3 /opt/v/glibc-hwcaps/x86-64-v3/libv.so.1\n"
        b"303 x86-64-v4 /opt/v/glibc-hwcaps/x86-64-v4/libv.so.1\n"
        b"303 - /opt/v/libv.so.1\n"
    )
    assert cache.answer(b"libgone.so.1") == b""


def test_a_file_without_glibcs_mark_is_an_empty_cache() -> None:
    assert LdCache.parse(b"").answer(b"libc.so.6") == b""
    assert LdCache.parse(b"something else").answer(b"libc.so.6") == b""


MALFORMED = "cannot read loader cache /etc/ld.so.cache: it is malformed; run ldconfig"


@given(st.integers(20, len(CACHE) - 1))
def test_a_cache_cut_short_is_read_or_refused(size: int) -> None:
    try:
        LdCache.parse(CACHE[:size]).answer(b"libv.so.1")
    except ElfError as error:
        assert str(error) == MALFORMED


@given(st.lists(st.tuples(st.integers(20, len(CACHE) - 1), st.integers(0, 255)), max_size=20))
def test_a_damaged_cache_is_read_or_refused(flips: list[tuple[int, int]]) -> None:
    data = bytearray(CACHE)
    for place, value in flips:
        data[place] = value
    try:
        LdCache.parse(bytes(data)).lookup(b"libv.so.1", an_elf())
    except ElfError as error:
        assert str(error) == MALFORMED


def a_cache(
    entries: list[tuple[int, int, int, int]],
    strings: bytes = b"",
    *,
    order: str = "<",
    count: int | None = None,
    extension: bytes = b"",
) -> bytes:
    """Return a cache; the entries are (flags, name, path, hwcap), offsets count from strings."""
    start = 48 + 24 * len(entries)
    at = start + len(strings) if extension else 0
    number = len(entries) if count is None else count
    data = b"glibc-ld.so.cache1.1" + struct.pack(
        f"{order}IIB3xI12x", number, len(strings), 2 if order == "<" else 3, at
    )
    for flags, name, path, hwcap in entries:
        data += struct.pack(f"{order}iIIIQ", flags, start + name, start + path, 0, hwcap)
    return data + strings + extension


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_cache_of_either_byte_order(order: str) -> None:
    cache = LdCache.parse(a_cache([(0x303, 3, 0, 0)], b"/a/l.so\0", order=order))
    assert cache.lookup(b"l.so", an_elf()) == (Candidate(b"/a/l.so"),)


def test_entries_for_unknown_processors_are_no_candidates() -> None:
    named, legacy = 1 << 62, 1 << 63
    cache = LdCache.parse(a_cache([(0x303, 3, 0, named), (0x303, 3, 0, legacy)], b"/a/l.so\0"))
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
        LdCache.parse(data)
    assert str(caught.value) == MALFORMED


def test_extensions_of_other_kinds_are_passed_over() -> None:
    data = a_cache([], extension=struct.pack("<IIIIII", 0xEAA42174, 1, 0, 0, 0, 4))
    assert LdCache.parse(data).answer(b"x") == b""


def a_root(tmp_path: Path, cache: bytes | None = CACHE) -> Root:
    (tmp_path / "etc").mkdir()
    if cache is not None:
        (tmp_path / "etc/ld.so.cache").write_bytes(cache)
    return Root(os.fsencode(tmp_path))


def test_the_cache_is_read_again_only_when_it_changes(tmp_path: Path) -> None:
    root = a_root(tmp_path, a_cache([(0x303, 3, 0, 0)], b"/a/l.so\0"))
    first = search_path.ld_cache(root)
    assert first is search_path.ld_cache(root)
    assert search_path.answer(root, b"l.so") == b"303 - /a/l.so\n"
    (tmp_path / "new").write_bytes(a_cache([(0x303, 3, 0, 0)], b"/b/l.so\0"))
    (tmp_path / "new").rename(tmp_path / "etc/ld.so.cache")
    assert search_path.answer(root, b"l.so") == b"303 - /b/l.so\n"


def test_the_caches_content_is_not_on_record(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    search_path.answer(root, b"libv.so.1")
    assert root.looked == {(b"/etc/ld.so.cache", Aspect.STAT)}


def test_no_cache_is_an_empty_one(tmp_path: Path) -> None:
    assert search_path.answer(a_root(tmp_path, None), b"libc.so.6") == b""
    (tmp_path / "etc/ld.so.cache").mkdir()
    assert search_path.answer(Root(os.fsencode(tmp_path)), b"libc.so.6") == b""


def test_a_cache_of_any_size_is_not_read(tmp_path: Path) -> None:
    root = a_root(tmp_path)
    os.truncate(tmp_path / "etc/ld.so.cache", 1 << 40)
    with pytest.raises(ElfError) as caught:
        search_path.answer(root, b"libc.so.6")
    assert str(caught.value) == MALFORMED


V2 = "fpu sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
V3 = f"{V2} avx f16c fma abm movbe bmi1 bmi2 avx2"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.mark.parametrize(
    ("vendor", "flags", "bits", "machine", "expected"),
    [
        pytest.param("AuthenticAMD", "fpu sse2", 64, X86_64, Cpu((), b"x86_64"), id="v1"),
        pytest.param("AuthenticAMD", V2, 64, X86_64, Cpu((b"x86-64-v2",), b"x86_64"), id="v2"),
        pytest.param(
            "AuthenticAMD", V3, 64, X86_64, Cpu((b"x86-64-v3", b"x86-64-v2"), b"x86_64"), id="v3"
        ),
        pytest.param("AuthenticAMD", V4, 64, X86_64, Cpu(search_path.LEVELS, b"x86_64"), id="v4"),
        pytest.param(
            "GenuineIntel", V4, 64, X86_64, Cpu(search_path.LEVELS, b"haswell"), id="intel"
        ),
        pytest.param("GenuineIntel", V4, 32, I386, Cpu((), b"i686"), id="i386"),
        pytest.param("GenuineIntel", V4, 64, AARCH64, Cpu((), b"aarch64"), id="foreign"),
    ],
)
def test_cpu(vendor: str, flags: str, bits: int, machine: int, expected: Cpu) -> None:
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\nbugs\t\t: x\n\n"
    assert expected == Cpu.of((one * 2).encode(), an_elf(bits, machine))


def test_a_cpu_without_flags_has_no_levels() -> None:
    assert Cpu.of(b"", an_elf()) == Cpu((), b"x86_64")


def test_the_loader_finds_the_same_levels_and_directories() -> None:
    loader = "/lib64/ld-linux-x86-64.so.2"
    text = subprocess.run([loader, "--help"], capture_output=True, check=True).stdout
    levels = re.findall(rb"  (x86-64-v\d) \(supported, searched\)", text)
    assert levels == list(Cpu.of(search_path.cpuinfo(), an_elf()).levels)
    home = os.path.dirname(os.path.realpath(os.fsencode(loader)))
    directories = re.findall(rb"  (/\S+) \(system search path\)", text)
    assert directories == list(search_path.system_directories(home, 64))


@pytest.mark.parametrize(
    ("home", "bits", "expected"),
    [
        pytest.param(
            b"/usr/lib/x86_64-linux-gnu",
            64,
            (b"/lib/x86_64-linux-gnu", b"/usr/lib/x86_64-linux-gnu", b"/lib", b"/usr/lib"),
            id="debian",
        ),
        pytest.param(
            b"/lib32", 32, (b"/lib32", b"/usr/lib32", b"/lib", b"/usr/lib"), id="debian-biarch"
        ),
        pytest.param(b"/usr/lib64", 64, (b"/lib64", b"/usr/lib64"), id="fedora"),
        pytest.param(b"/usr/lib", 32, (b"/lib", b"/usr/lib"), id="fedora-i686"),
        pytest.param(
            b"/usr/lib", 64, (b"/lib64", b"/usr/lib64", b"/lib", b"/usr/lib"), id="fedora-aarch64"
        ),
        pytest.param(b"/nix/store/x-glibc/lib", 64, (b"/nix/store/x-glibc/lib",), id="elsewhere"),
    ],
)
def test_system_directories(home: bytes, bits: int, expected: tuple[bytes, ...]) -> None:
    assert expected == search_path.system_directories(home, bits)


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        (b"/usr/lib/x86_64-linux-gnu", True),
        (b"/usr/lib32", True),
        (b"/usr/local/lib", False),
        (b"/usr/lib/x86_64-linux-gnu/libfakeroot", False),
    ],
)
def test_is_system_directory(directory: bytes, expected: bool) -> None:
    assert expected == search_path.is_system_directory(Root(), directory)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (an_elf(), b"/lib64/ld-linux-x86-64.so.2"),
        (an_elf(interpreter=None), b"/lib64/ld-linux-x86-64.so.2"),
        (an_elf(32, I386, interpreter=None), b"/lib/ld-linux.so.2"),
        (an_elf(64, AARCH64, interpreter=None), b"/lib/ld-linux-aarch64.so.1"),
        (an_elf(interpreter=None, needed=(b"libc.so",)), b"/lib/ld-musl-x86_64.so.1"),
        (
            an_elf(64, AARCH64, interpreter=None, needed=(b"libc.musl-aarch64.so.1",)),
            b"/lib/ld-musl-aarch64.so.1",
        ),
        (an_elf(64, S390, interpreter=None), None),
    ],
)
def test_loader_of(found: Elf, expected: bytes | None) -> None:
    assert expected == search_path.loader_of(found)


def a_search(
    tmp_path: Path, found: Elf, *, library_path: bytes = b"", secure: bool = False
) -> tuple[search_path.Glibc | search_path.Musl, Loaded]:
    program = Loaded(b"/opt/p/bin/p", b"/opt/p/bin", found)
    root = Root(os.fsencode(tmp_path))
    environment = {b"LD_LIBRARY_PATH": library_path}
    return search_path.rules(root, program, environment, secure=secure), program


def directories(search: search_path.Glibc | search_path.Musl, by: Loaded) -> list[bytes]:
    """Return where the search looks before the system's directories."""
    found = [os.path.dirname(c.path) for c in search.candidates(b"x", by) if c.level is None]
    return found[: len(found) - len(search.system)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"$ORIGIN/../$LIB", b"/opt/p/bin/../lib64", id="bare"),
        pytest.param(b"${ORIGIN}${LIB}", b"/opt/p/binlib64", id="curly"),
        pytest.param(b"/a/$PLATFORM/${PLATFORM}b", None, id="platform"),
        pytest.param(b"$ORIGINS $LIBx $LIB_ ${LIB ${ORIGINx}", b"same", id="not-a-token"),
        pytest.param(b"$", b"same", id="dollar"),
    ],
)
def test_expand(text: bytes, expected: bytes | None, tmp_path: Path) -> None:
    search, program = a_search(tmp_path, an_elf())
    assert isinstance(search, search_path.Glibc)
    if expected is None:
        expected = b"/a/%s/%sb" % (search.cpu.platform, search.cpu.platform)
    assert (text if expected == b"same" else expected) == search.expand(text, program)


@pytest.mark.parametrize(
    ("found", "library_path", "secure", "expected"),
    [
        pytest.param(an_elf(), b"", False, [], id="none"),
        pytest.param(an_elf(rpath=b"/r"), b"/l", False, [b"/r", b"/l"], id="rpath-first"),
        pytest.param(an_elf(runpath=b"/r"), b"/l", False, [b"/l", b"/r"], id="runpath-last"),
        pytest.param(an_elf(rpath=b"/r", runpath=b"/s"), b"", False, [b"/s"], id="rpath-ignored"),
        pytest.param(an_elf(runpath=b""), b"/a;/b:/a//", False, [b"/a", b"/b"], id="separators"),
        pytest.param(an_elf(), b"a:", False, [b"/a", b"/"], id="relative"),
        pytest.param(an_elf(rpath=b"/r"), b"/l", True, [b"/r"], id="set-id"),
        pytest.param(
            an_elf(rpath=b"$ORIGIN:/r/$ORIGIN:$ORIGINAL"),
            b"",
            True,
            [b"/$ORIGINAL"],
            id="set-id-origin",
        ),
        pytest.param(
            an_elf(rpath=b"$ORIGIN/../../../usr/lib64/x:$ORIGIN/../../../usr"),
            b"",
            True,
            [b"/opt/p/bin/../../../usr/lib64/x"],
            id="set-id-trusted",
        ),
    ],
)
def test_glibc_directories(
    found: Elf, library_path: bytes, secure: bool, expected: list[bytes], tmp_path: Path
) -> None:
    search, program = a_search(tmp_path, found, library_path=library_path, secure=secure)
    assert expected == directories(search, program)


def test_a_library_of_a_set_id_program_may_say_origin(tmp_path: Path) -> None:
    search, program = a_search(tmp_path, an_elf(), secure=True)
    library = Loaded(b"/l/l.so", b"/l", an_elf(runpath=b"${ORIGIN}/x:$ORIGIN:$ORIGIN.d"), program)
    assert directories(search, library) == [b"/l/x", b"/l"]


def test_glibc_asks_the_cache_before_its_own_directories(tmp_path: Path) -> None:
    a_root(tmp_path)
    search, program = a_search(tmp_path, an_elf())
    found = [c.path for c in search.candidates(b"libv.so.1", program) if c.level is None]
    assert found == [b"/opt/v/libv.so.1", b"/lib64/libv.so.1", b"/usr/lib64/libv.so.1"]
    assert isinstance(search, search_path.Glibc)
    assert (b"libv.so.1", Aspect.SONAME) in search.root.looked


def test_nodefaultlib_leaves_the_system_out(tmp_path: Path) -> None:
    strings = b"/opt/l.so\0/lib64/sub/l.so\0"
    a_root(tmp_path, a_cache([(0x303, 5, 10, 0), (0x303, 5, 0, 0)], strings))
    search, program = a_search(tmp_path, an_elf(flags_1=0x800))
    assert [c.path for c in search.candidates(b"l.so", program)] == [b"/opt/l.so"]


MUSL = b"/opt/musl/lib/ld-musl-x86_64.so.1"


@pytest.mark.parametrize(
    ("rpath", "runpath", "library_path", "secure", "expected"),
    [
        pytest.param(b"/r", None, b"/l\n/m", False, [b"/l", b"/m", b"/r"], id="rpath"),
        pytest.param(b"/q", b"/r:", b"", False, [b"/r"], id="runpath"),
        pytest.param(
            None,
            b"$ORIGIN/a:/b${ORIGIN}",
            b"",
            False,
            [b"/opt/p/bin/a", b"/b/opt/p/bin"],
            id="origin",
        ),
        pytest.param(None, b"/a:$LIB", b"", False, [], id="lib"),
        pytest.param(None, b"$ORIGIN/a", b"/l", True, [], id="set-id"),
    ],
)
def test_musl_directories(
    rpath: bytes | None,
    runpath: bytes | None,
    library_path: bytes,
    secure: bool,
    expected: list[bytes],
    tmp_path: Path,
) -> None:
    found = an_elf(interpreter=MUSL, rpath=rpath, runpath=runpath)
    search, program = a_search(tmp_path, found, library_path=library_path, secure=secure)
    assert isinstance(search, search_path.Musl)
    assert expected == directories(search, program)


def test_musl_inherits_all_search_paths(tmp_path: Path) -> None:
    search, program = a_search(tmp_path, an_elf(interpreter=MUSL, runpath=b"/p"))
    library = Loaded(b"/l/l.so", b"/l", an_elf(runpath=b"$ORIGIN"), program)
    assert directories(search, library) == [b"/l", b"/p"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, [b"/lib", b"/usr/local/lib", b"/usr/lib"], id="default"),
        pytest.param(b"/a\n/b:/c\n\n", [b"/a", b"/b", b"/c"], id="file"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"/a\0b", [b"/a", b"/b"], id="nul"),
    ],
)
def test_musl_path_file(text: bytes | None, expected: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "opt/musl/etc").mkdir(parents=True)
    if text is not None:
        (tmp_path / "opt/musl/etc/ld-musl-x86_64.path").write_bytes(text)
    search, _ = a_search(tmp_path, an_elf(interpreter=MUSL))
    assert expected == search.system


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"libc.so", True),
        (b"libc.musl-x86_64.so.1", True),
        (b"libpthread.so.0", True),
        (MUSL, True),
        (b"libcrypto.so.3", False),
        (b"libz.so.1", False),
    ],
)
def test_musl_is_its_own_libc(name: bytes, expected: bool, tmp_path: Path) -> None:
    search, _ = a_search(tmp_path, an_elf(interpreter=MUSL))
    assert expected == search.is_loader(name)
    assert search.expand(b"$ORIGIN", Loaded(b"/x", b"/", an_elf())) == b"$ORIGIN"
    assert not search.can_use(Candidate(b"/x", b"x86-64-v2"))


def test_a_name_with_a_slash_is_a_path(tmp_path: Path) -> None:
    for found in (an_elf(), an_elf(interpreter=MUSL)):
        search, program = a_search(tmp_path, found)
        assert list(search.candidates(b"/a/b.so", program)) == [Candidate(b"/a/b.so")]
        assert list(search.candidates(b"./b.so", program)) == [Candidate(b"/./b.so")]


def test_preloads(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.preload").write_bytes(b"/c.so\td.so:e.so # no.so\n#/no.so\nf.so\0g.so\n")
    root = Root(os.fsencode(tmp_path))
    environment = {b"LD_PRELOAD": b" a.so:b.so "}
    from_file = [b"/c.so", b"d.so", b"e.so", b"f.so", b"g.so"]
    for found, secure, expected in (
        (an_elf(), False, [b"a.so", b"b.so", *from_file]),
        (an_elf(), True, from_file),
        (an_elf(interpreter=MUSL), False, [b"a.so", b"b.so"]),
    ):
        search, _ = a_search(tmp_path, found, secure=secure)
        assert expected == list(search_path.preloads(root, environment, search))
    assert (b"/etc/ld.so.preload", Aspect.CONTENT) in root.looked
