from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.fs.globs import expand, is_glob, matcher
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in (
        "a/x.so",
        "a/y.so",
        "a/.z.so",
        "a/s/x.so",
        "a/s/t/x.so",
        "b/x.txt",
        "b/[1]",
        "b/*",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "l").symlink_to("a")
    (tmp_path / "a/loop").symlink_to("../a")
    return tmp_path


@pytest.mark.parametrize(
    ("glob", "paths"),
    [
        pytest.param(b"/a/*.so", [b"/a/.z.so", b"/a/x.so", b"/a/y.so"], id="star"),
        pytest.param(b"/a/?.so", [b"/a/x.so", b"/a/y.so"], id="question mark"),
        pytest.param(b"/a/[x-z].so", [b"/a/x.so", b"/a/y.so"], id="range"),
        pytest.param(b"/a/[!x].so", [b"/a/y.so"], id="all but"),
        pytest.param(b"/*/x.*", [b"/a/x.so", b"/b/x.txt", b"/l/x.so"], id="in a directory"),
        pytest.param(b"/a/**/x.so", [b"/a/s/t/x.so", b"/a/s/x.so", b"/a/x.so"],
                     id="any directories"),
        pytest.param(b"/a/s/**", [b"/a/s/t", b"/a/s/t/x.so", b"/a/s/x.so"], id="all below"),
        pytest.param(b"/**/t", [b"/a/s/t"], id="directories from the top"),
        pytest.param(b"/l/[xy].so", [b"/l/x.so", b"/l/y.so"], id="below a link"),
        pytest.param(rb"/b/\133*", [b"/b/[1]"], id="escaped bracket"),
        pytest.param(rb"/b/\052", [b"/b/*"], id="escaped star"),
        pytest.param(b"/a/x.so/*", [], id="below a file"),
        pytest.param(b"/none/*", [], id="no such directory"),
        pytest.param(b"/a/*.txt", [], id="no match"),
    ],
)  # fmt: skip
def test_glob_means(base: Path, glob: bytes, paths: list[bytes]) -> None:
    found = expand(Root(WatchedFileSystem(os.fsencode(base))), glob)

    assert found == paths
    assert all(matcher(glob).fullmatch(path) for path in paths)


def test_listed_directories_are_on_record(base: Path) -> None:
    root = Root(WatchedFileSystem(os.fsencode(base)))

    expand(root, b"/l/*.so")

    assert (b"/a", Aspect.LISTING) in root.looked


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        pytest.param(b"/usr/share/doc", b"/usr/share/doc", True, id="itself"),
        pytest.param(b"/usr/share/doc", b"/usr/share/doc/x/y", True, id="below"),
        pytest.param(b"/usr/share/doc/", b"/usr/share/doc", True, id="slash at the end"),
        pytest.param(b"/usr/share/doc", b"/usr/share/docs", False, id="longer name"),
        pytest.param(b"/usr/*", b"/usr/share/x", True, id="below a match"),
        pytest.param(b"/usr/*.so", b"/usr/a/b.so", False, id="star is within a component"),
        pytest.param(b"/usr/**/b", b"/usr/b", True, id="no directory between"),
        pytest.param(b"/usr/**", b"/usr", False, id="all below is not the directory"),
        pytest.param(b"/**/*.pyc", b"/x.pyc", True, id="from the top"),
        pytest.param(b"/a\nb*", b"/a\nbc\n", True, id="newlines"),
        pytest.param(rb"/a.b", b"/a+b", False, id="dot is a dot"),
        pytest.param(rb"/[\135^]", b"/]", True, id="bracket in a set"),
    ],
)
def test_matcher(glob: bytes, path: bytes, matches: bool) -> None:
    assert (matcher(glob).fullmatch(path) is not None) == matches


@pytest.mark.parametrize(
    ("word", "expected"),
    [(b"/a", False), (b"/a*", True), (b"/?", True), (b"/[a]", True), (b"/[a/]", False)],
)
def test_is_glob(word: bytes, expected: bool) -> None:
    assert is_glob(word) == expected
