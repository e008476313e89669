from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import arm64
import pytest
from elves import a_cache, a_root, an_elf
from scratch_image.elf import search_path
from scratch_image.elf.loader_cache import Candidate
from scratch_image.elf.processor import Processor, cpuinfo
from scratch_image.elf.reader import Elf, ElfFiles
from scratch_image.elf.search_path import LoadedFile, Loader, Loaders, loader_path
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

X86_64, I386, AARCH64, S390 = 62, 3, 183, 22
GLIBC = "/lib64/ld-linux-x86-64.so.2"
MUSL = b"/opt/musl/lib/ld-musl-x86_64.so.1"


@pytest.mark.parametrize("path", [GLIBC, "/lib/ld-linux.so.2"])
def test_the_directories_are_those_that_the_loader_prints(path: str) -> None:
    loader = Loader.parse(os.fsencode(path), 64, Path(path).read_bytes())
    text = subprocess.run([path, "--help"], capture_output=True, check=True).stdout
    assert list(loader.directories) == re.findall(rb"  (/\S+) \(system search path\)", text)
    assert loader.has_cache
    assert not loader.is_musl


def test_a_loader_of_another_machine_is_read_and_not_executed() -> None:
    path = arm64.LIBRARIES / "ld-linux-aarch64.so.1"
    loader = Loader.parse(b"/lib/ld-linux-aarch64.so.1", 64, path.read_bytes())
    own = b"lib/aarch64-linux-gnu"
    assert loader.directories == (b"/" + own, b"/usr/" + own, b"/lib", b"/usr/lib")
    assert loader.lib == own


@pytest.mark.parametrize(
    ("content", "directories", "lib", "has_cache"),
    [
        pytest.param(
            b"\0lib64\0/etc/ld.so.cache\0x\0/lib64/\0/usr/lib64/\0\0",
            (b"/lib64", b"/usr/lib64"),
            b"lib64",
            True,
            id="fedora",
        ),
        pytest.param(
            b"\0lib\0/nix/x/etc/ld.so.cache\0/nix/x/lib/\0y",
            (b"/nix/x/lib",),
            b"lib",
            False,
            id="nix",
        ),
        pytest.param(
            b"\0/proc/\0x\0/lib/a/\0/usr/lib/a/\0/lib/\0/usr/lib/\0lib/a\0",
            (b"/lib/a", b"/usr/lib/a", b"/lib", b"/usr/lib"),
            b"lib/a",
            False,
            id="the longest table",
        ),
        pytest.param(b"", (b"/lib64", b"/usr/lib64"), b"lib64", True, id="unknown"),
        pytest.param(b"\0/" + 5000 * b"a" + b"/\0", (b"/lib64", b"/usr/lib64"), b"lib64", True,
                     id="no path"),
    ],
)  # fmt: skip
def test_parse(content: bytes, directories: tuple[bytes, ...], lib: bytes, has_cache: bool) -> None:
    expected = Loader(b"/l/ld.so", directories, lib, has_cache=has_cache)
    assert Loader.parse(b"/l/ld.so", 64, content) == expected


def test_the_directories_of_musl_are_read() -> None:
    content = Path("/lib/ld-musl-x86_64.so.1").read_bytes()
    own = Loader(b"/x/ld.so", (b"/lib", b"/usr/local/lib", b"/usr/lib"), is_musl=True)
    assert Loader.parse(b"/x/ld.so", 64, content) == own
    other = content.replace(b"/lib:/usr/local/lib:/usr/lib\0", b"/libs:/opt/a/lib:/opt/b/lib\0\0")
    assert Loader.parse(b"/x/ld.so", 64, other).directories == (
        b"/libs", b"/opt/a/lib", b"/opt/b/lib"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, (b"/lib", b"/usr/local/lib", b"/usr/lib"), id="default"),
        pytest.param(b"/a\n/b:/c\n\n", (b"/a", b"/b", b"/c"), id="file"),
        pytest.param(b"", (), id="empty"),
        pytest.param(b"/a\0b", (b"/a", b"/b"), id="nul"),
    ],
)
def test_musl_path_file(text: bytes | None, expected: tuple[bytes, ...], tmp_path: Path) -> None:
    (tmp_path / "opt/musl/etc").mkdir(parents=True)
    if text is not None:
        (tmp_path / "opt/musl/etc/ld-musl-x86_64.path").write_bytes(text)
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))
    assert Loaders(root).get(MUSL, 64) == Loader(MUSL, expected, is_musl=True)
    assert any(path == b"/opt/musl/etc/ld-musl-x86_64.path" for path, _ in root.looked)


def test_musl_has_no_directories_where_its_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "etc/ld-musl-x86_64.path").mkdir(parents=True)
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))
    assert Loaders(root).get(b"/lib/ld-musl-x86_64.so.1", 64).directories == ()
    (tmp_path / "etc/ld-musl-x86_64.path").rmdir()
    (tmp_path / "etc").rmdir()
    (tmp_path / "etc").write_text("")
    assert Loaders(root).get(b"/lib/ld-musl-x86_64.so.1", 64).directories == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (an_elf(), b"/lib64/ld-linux-x86-64.so.2"),
        (an_elf(interpreter=b"opt/ld.so"), b"/opt/ld.so"),
        (an_elf(interpreter=None), b"/lib64/ld-linux-x86-64.so.2"),
        (an_elf(32, I386, interpreter=None), b"/lib/ld-linux.so.2"),
        (an_elf(64, AARCH64, interpreter=None), b"/lib/ld-linux-aarch64.so.1"),
        (an_elf(interpreter=None, needed=(b"libc.so",)), b"/lib/ld-musl-x86_64.so.1"),
        (
            an_elf(64, AARCH64, interpreter=None, needed=(b"libc.musl-aarch64.so.1",)),
            b"/lib/ld-musl-aarch64.so.1",
        ),
        (an_elf(64, S390, interpreter=None), b""),
    ],
)
def test_loader_path(found: Elf, expected: bytes) -> None:
    assert expected == loader_path(found)


def test_a_root_without_loader_has_the_directories_of_an_unconfigured_one(tmp_path: Path) -> None:
    loaders = Loaders(Root(WatchedFileSystem(os.fsencode(tmp_path))))
    assert loaders.get(b"/lib/ld-linux.so.2", 32).directories == (b"/lib", b"/usr/lib")
    assert loaders.get(b"", 64).directories == (b"/lib64", b"/usr/lib64")
    assert list(loaders.standard()) == []


def test_loaders_at_their_places(tmp_path: Path) -> None:
    (tmp_path / "lib64").mkdir()
    shutil.copy(GLIBC, tmp_path / "lib64")
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))
    (loader,) = Loaders(root).standard()
    assert loader.directories[0] == b"/lib/x86_64-linux-gnu"
    assert (os.fsencode(GLIBC), Aspect.CONTENT) in root.looked


LOADER = "/lib64/ld-linux-x86-64.so.2"
GOLDEN = Path(__file__).parent / "loader_cache"
CACHE = (GOLDEN / "ld.so.cache").read_bytes()


def test_the_loader_finds_the_same_levels() -> None:
    text = subprocess.run([LOADER, "--help"], capture_output=True, check=True).stdout
    levels = re.findall(rb"  (x86-64-v\d) \(supported, searched\)", text)
    assert levels == list(Processor.of(cpuinfo(), an_elf()).levels)


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("opt/v", True),
        ("usr/lib/x86_64-linux-gnu", False),
        ("opt/w", False),
    ],
)
def test_a_library_outside_of_the_loaders_directories_needs_the_cache(
    directory: str, expected: bool, tmp_path: Path
) -> None:
    root = a_root(tmp_path, CACHE)
    for name in ("lib64", "opt/v", "opt/w", "usr/lib/x86_64-linux-gnu"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(LOADER, tmp_path / "lib64")
    paths = [b"/etc/passwd", os.fsencode(f"/{directory}/libv.so.1")]
    assert search_path.needs_cache(root, Loaders(root), paths) is expected
    assert (os.fsencode(LOADER), Aspect.CONTENT) in root.looked


def a_search(
    tmp_path: Path, found: Elf, *, library_path: bytes = b"", secure: bool = False
) -> tuple[search_path.Glibc | search_path.Musl, LoadedFile]:
    program = LoadedFile(b"/opt/p/bin/p", b"/opt/p/bin", found)
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))
    loader = Loaders(root).get(loader_path(found), found.bits)
    environment = {b"LD_LIBRARY_PATH": library_path}
    search = search_path.rules(ElfFiles(root), loader, program, environment, secure=secure)
    return search, program


def directories(search: search_path.Glibc | search_path.Musl, by: LoadedFile) -> list[bytes]:
    """Return where the search looks before the system's directories."""
    found = [os.path.dirname(c.path) for c in search.candidates(b"x", by) if c.level is None]
    return found[: len(found) - len(search.loader.directories)]


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
        expected = b"/a/%s/%sb" % (search.processor.platform, search.processor.platform)
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
    library = LoadedFile(
        b"/l/l.so", b"/l", an_elf(runpath=b"${ORIGIN}/x:$ORIGIN:$ORIGIN.d"), program
    )
    assert directories(search, library) == [b"/l/x", b"/l"]


def test_glibc_asks_the_cache_before_its_own_directories(tmp_path: Path) -> None:
    a_root(tmp_path, CACHE)
    search, program = a_search(tmp_path, an_elf())
    found = [c.path for c in search.candidates(b"libv.so.1", program) if c.level is None]
    assert found == [b"/opt/v/libv.so.1", b"/lib64/libv.so.1", b"/usr/lib64/libv.so.1"]
    assert isinstance(search, search_path.Glibc)
    assert (b"libv.so.1", Aspect.SONAME) in search.files.root.looked


def test_nodefaultlib_leaves_the_system_out(tmp_path: Path) -> None:
    strings = b"/opt/l.so\0/lib64/sub/l.so\0"
    a_root(tmp_path, a_cache([(0x303, 5, 10, 0), (0x303, 5, 0, 0)], strings))
    search, program = a_search(tmp_path, an_elf(flags_1=0x800))
    assert [c.path for c in search.candidates(b"l.so", program)] == [b"/opt/l.so"]


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
    library = LoadedFile(b"/l/l.so", b"/l", an_elf(runpath=b"$ORIGIN"), program)
    assert directories(search, library) == [b"/l", b"/p"]


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
    assert search.expand(b"$ORIGIN", LoadedFile(b"/x", b"/", an_elf())) == b"$ORIGIN"
    assert not search.can_use(Candidate(b"/x", b"x86-64-v2"))


def test_a_name_with_a_slash_is_a_path(tmp_path: Path) -> None:
    for found in (an_elf(), an_elf(interpreter=MUSL)):
        search, program = a_search(tmp_path, found)
        assert list(search.candidates(b"/a/b.so", program)) == [Candidate(b"/a/b.so")]
        assert list(search.candidates(b"./b.so", program)) == [Candidate(b"/./b.so")]


def test_preloads(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ld.so.preload").write_bytes(b"/c.so\td.so:e.so # no.so\n#/no.so\nf.so\0g.so\n")
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))
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
