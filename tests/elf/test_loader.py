from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import arm64
import pytest
from elves import an_elf
from scratch_image.elf.loader import Loader, Loaders, loader_path
from scratch_image.elf.reader import Elf
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
