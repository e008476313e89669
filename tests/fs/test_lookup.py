from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.lookup import MADE_UP_DIR, locate, walk
from scratch_image.fs.paths import is_plain


@pytest.mark.parametrize(
    ("path", "links", "real", "exists"),
    [
        pytest.param(b"/usr/lib", [], b"/usr/lib", True, id="no link"),
        pytest.param(b"/", [], b"/", True, id="the root itself"),
        pytest.param(b"/lib/libx.so.1", [b"/lib", b"/usr/lib/libx.so.1"],
                     b"/usr/lib/libx.so.1.0", True, id="links on the way and at the end"),
        pytest.param(b"/abs", [b"/abs", b"/usr/lib/libx.so.1"],
                     b"/usr/lib/libx.so.1.0", True, id="absolute link stays in the root"),
        pytest.param(b"/lib/../lib", [b"/lib"], b"/usr/lib", True, id=".. after a link"),
        pytest.param(b"/../../usr", [], b"/usr", True, id=".. above the root"),
        pytest.param(b"//usr/./lib/", [], b"/usr/lib", True, id="slashes and dots"),
        pytest.param(b"/no/such/file", [], b"/no", False, id="first missing component"),
        pytest.param(b"/usr/lib/libx.so.1.0/x", [], b"/usr/lib/libx.so.1.0/x", False,
                     id="below a file"),
        pytest.param(b"/usr/lib/libx.so.1.0/../x", [], b"/usr/lib/libx.so.1.0", False,
                     id=".. after a file"),
        pytest.param(b"/abs/../../usr", [b"/abs", b"/usr/lib/libx.so.1"],
                     b"/usr/lib/libx.so.1.0", False, id=".. after a link to a file"),
        pytest.param(b"/dangling", [b"/dangling"], b"/nowhere", False, id="dangling link"),
    ],
)  # fmt: skip
def test_walk_goes_as_the_kernel_does(
    base: bytes, path: bytes, links: list[bytes], real: bytes, exists: bool
) -> None:
    found = walk(FileSystem(base).status, path)

    assert list(found.links) == links
    assert found.real == real
    assert (found.status is not None) == exists


NAMES = b"usr lib libx.so.1.0 libx.so.1 abs loop dangling .. . no".split()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*NAMES, b""]) | st.binary(max_size=9), max_size=7))
def test_walk_ends_at_a_plain_path(base: bytes, names: list[bytes]) -> None:
    path = b"/" + b"/".join(name.replace(b"\0", b"") for name in names)
    found = walk(FileSystem(base).status, path)
    assert all(map(is_plain, (*found.links, found.real)))


def test_walk_without_following_ends_at_the_link(base: bytes) -> None:
    found = walk(FileSystem(base).status, b"/lib/libx.so.1", follow=False)

    assert found.links == (b"/lib",)
    assert found.real == b"/usr/lib/libx.so.1"
    assert found.status is not None
    assert found.status.target == b"libx.so.1.0"


def test_loop_of_links_does_not_exist(base: bytes) -> None:
    assert walk(FileSystem(base).status, b"/loop").status is None


@pytest.mark.parametrize(
    ("path", "barrier", "left"),
    [
        pytest.param(b"/lib/libx.so.1/x", b"/usr/lib/libx.so.1.0", (), id="a file"),
        pytest.param(b"/usr/none", b"", (), id="nothing"),
        pytest.param(b"/usr/../abs", b"", (), id="a directory that a link leads into"),
        pytest.param(b"/usr/../none", b"", (b"/usr",), id="a directory that .. left"),
    ],
)
def test_walk_has_what_it_depends_on(
    base: bytes, path: bytes, barrier: bytes, left: tuple[bytes, ...]
) -> None:
    found = walk(FileSystem(base).status, path)

    assert (found.barrier, found.left) == (barrier, left)


def test_any_status_will_do() -> None:
    there = {b"/": MADE_UP_DIR, b"/a": MADE_UP_DIR}

    assert walk(there.get, b"/a").status is MADE_UP_DIR
    assert walk(there.get, b"/a/b").status is None


def test_path_below_a_link_lies_where_the_link_leads(base: bytes) -> None:
    files = FileSystem(base)

    assert locate(files.walk, b"/lib/none/x") == b"/usr/lib/none/x"
    assert locate(files.walk, b"/none/x") == b"/none/x"
