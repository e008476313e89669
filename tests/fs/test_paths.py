from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scratch_image.fs import paths
from scratch_image.fs.paths import is_in_kernel_tree


@given(st.binary())
def test_escaped_name_is_one_printable_word_that_unescapes(name: bytes) -> None:
    word = paths.escape(name)

    assert paths.unescape(word) == name
    assert not set(word) & set(range(0x21))
    assert word.decode("utf-8") == paths.show(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        pytest.param(b"/usr/lib", b"/usr/lib", id="plain"),
        pytest.param(b"a b", rb"a\040b", id="blank"),
        pytest.param(b"a\nb", rb"a\012b", id="newline"),
        pytest.param(b"a\\b", rb"a\134b", id="backslash"),
        pytest.param("café".encode(), "café".encode(), id="UTF-8"),
        pytest.param(b"caf\xe9", rb"caf\351", id="Latin-1"),
        pytest.param(b"\x7f", rb"\177", id="delete"),
        pytest.param(b"\xed\xa0\x80", rb"\355\240\200", id="surrogate"),
    ],
)
def test_escape(name: bytes, word: bytes) -> None:
    assert paths.escape(name) == word


@pytest.mark.parametrize(
    ("path", "above"),
    [
        pytest.param(b"/", [], id="root"),
        pytest.param(b"/a", [b"/"], id="top"),
        pytest.param(b"/a/b/c", [b"/", b"/a", b"/a/b"], id="deep"),
    ],
)
def test_parents(path: bytes, above: list[bytes]) -> None:
    assert paths.parents(path) == above


def test_join_keeps_dots_for_the_walk() -> None:
    assert paths.join(b"/a/link", b"../b") == b"/a/link/../b"
    assert paths.join(b"/", b"a") == b"/a"
    assert paths.join(b"/a", b"/b") == b"/b"


def test_is_under_goes_by_components() -> None:
    assert paths.is_under(b"/dev", b"/dev")
    assert paths.is_under(b"/dev/null", b"/dev")
    assert not paths.is_under(b"/develop", b"/dev")
    assert paths.is_under(b"/a", b"/")


@pytest.mark.parametrize("path", [b"/", b"/a", b"/a/...", b"/.a/b."])
def test_a_plain_path(path: bytes) -> None:
    assert paths.is_plain(path)


@pytest.mark.parametrize("path", [b"", b"a", b"//", b"/a/", b"/a//b", b"/./a", b"/a/..", b"/a\0b"])
def test_a_path_that_is_not_plain(path: bytes) -> None:
    assert not paths.is_plain(path)


@pytest.mark.parametrize("path", [b"/proc", b"/proc/self/maps", b"/sys/x", b"/dev/null"])
def test_path_in_a_kernel_tree(path: bytes) -> None:
    assert is_in_kernel_tree(path)


@pytest.mark.parametrize("path", [b"/", b"/develop", b"/srv/proc"])
def test_path_in_no_kernel_tree(path: bytes) -> None:
    assert not is_in_kernel_tree(path)
