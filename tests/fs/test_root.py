from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scratch_image.errors import InputError, ListError
from scratch_image.fs.capabilities import ATTRIBUTE, attribute
from scratch_image.fs.owners import Owners
from scratch_image.fs.paths import is_plain
from scratch_image.fs.root import Aspect, Kind, Root
from scratch_image.scons import state


@pytest.fixture
def base(tmp_path: Path) -> bytes:
    """Make a small file system: usrmerge, a chain of links, a loop."""
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libx.so.1.0").write_text("x")
    (tmp_path / "usr/lib/libx.so.1").symlink_to("libx.so.1.0")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "abs").symlink_to("/usr/lib/libx.so.1")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere/x")
    return os.fsencode(tmp_path)


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
    root = Root(base)
    walk = root.walk(path)

    assert list(walk.links) == links
    assert walk.real == real
    assert (walk.status is not None) == exists
    assert {(link, Aspect.STAT) for link in links} <= root.looked
    assert any(looked == real for looked, _ in root.looked) or not exists


NAMES = b"usr lib libx.so.1.0 libx.so.1 abs loop dangling .. . no".split()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*NAMES, b""]) | st.binary(max_size=9), max_size=7))
def test_walk_ends_at_a_plain_path(base: bytes, names: list[bytes]) -> None:
    path = b"/" + b"/".join(name.replace(b"\0", b"") for name in names)
    walk = Root(base).walk(path)
    assert all(map(is_plain, (*walk.links, walk.real)))


def test_walk_without_following_ends_at_the_link(base: bytes) -> None:
    walk = Root(base).walk(b"/lib/libx.so.1", follow=False)

    assert walk.links == (b"/lib",)
    assert walk.real == b"/usr/lib/libx.so.1"
    assert walk.status is not None
    assert walk.status.target == b"libx.so.1.0"


def test_loop_of_links_does_not_exist(base: bytes) -> None:
    assert Root(base).walk(b"/loop").status is None


def test_missing_path_is_on_record(base: bytes) -> None:
    root = Root(base)

    assert root.status(b"/nothing") is None
    assert root.looked == {(b"/nothing", Aspect.STAT)}


def test_staged_file_lies_at_its_image_path(base: bytes, tmp_path: Path) -> None:
    made = tmp_path / "build"
    made.write_text("program")
    made.chmod(0o700)
    root = Root(base, {b"/lib/app/bin/hello": os.fsencode(made)}, epoch=5)

    walk = root.walk(b"/lib/app/bin/hello")

    assert walk.links == (b"/lib",)
    assert walk.real == b"/usr/lib/app/bin/hello"
    assert walk.status is not None
    assert (walk.status.mode, walk.status.uid, walk.status.gid) == (0o755, 0, 0)
    assert (walk.status.mtime, walk.status.names, walk.status.size) == (5, 1, 7)
    assert root.image(os.fsencode(made)) == b"/usr/lib/app/bin/hello"
    assert root.listing(b"/usr/lib/app") == [b"bin"]
    assert root.listing(b"/usr/lib") == [b"app", b"libx.so.1", b"libx.so.1.0"]
    with root.open(walk.real) as stream:
        assert stream.read() == b"program"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        pytest.param([b"/usr/lib"], "/usr/lib: there is a directory", id="directory"),
        pytest.param([b"/lib"], "/lib: there is a directory", id="link to a directory"),
        pytest.param([b"/abs/a/x"], "/abs/a/x: /usr/lib/libx.so.1.0 is no directory",
                     id="below a file"),
        pytest.param([b"/dangling/x"], "/dangling/x: /dangling is no directory",
                     id="below a link that leads nowhere"),
        pytest.param([b"/x", b"/x/y"], "/x/y: /x is no directory", id="below another one"),
        pytest.param([b"/x/y", b"/x"], "/x: there is a directory", id="above another one"),
        pytest.param([b"/lib/x", b"/usr/lib/x"], "/usr/lib/x: another file is staged at /usr/lib/x",
                     id="twice"),
    ],
)  # fmt: skip
def test_staged_file_that_has_no_place(base: bytes, paths: list[bytes], message: str) -> None:
    with pytest.raises(InputError) as error:
        Root(base, dict.fromkeys(paths, base + b"/usr/lib/libx.so.1.0"))

    assert str(error.value) == f"cannot stage {message}; stage it elsewhere"


@pytest.mark.parametrize("path", [b"/usr/lib/libx.so.1.0", b"/abs", b"/dangling", b"/a/b"])
def test_staged_file_takes_the_place_of_a_file_or_a_link_to_one(base: bytes, path: bytes) -> None:
    root = Root(base, {path: base + b"/usr/lib/libx.so.1.0"})

    assert root.staged == {path: base + b"/usr/lib/libx.so.1.0"}
    # What is staged elsewhere is in no step's record.
    assert (path, Aspect.STAT) not in root.looked


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param("", "{place} does not exist; build it, or name another file", id="missing"),
        pytest.param(
            "none", "it is a link to none, which is not there; stage that, too", id="link"
        ),
    ],
)
def test_staged_file_that_is_not_there(
    base: bytes, tmp_path: Path, target: str, message: str
) -> None:
    place = tmp_path / "place"
    if target == "/":
        place.mkdir()
    elif target:
        place.symlink_to(target)
    root = Root(base, {b"/srv/x": os.fsencode(place)})

    with pytest.raises(InputError) as error:
        root.require_staged()

    assert str(error.value) == f"cannot stage /srv/x: {message.format(place=place)}"


def test_staged_link_leads_to_what_is_staged_or_in_the_base(base: bytes, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("y")
    (tmp_path / "y").write_text("")
    (tmp_path / "other").symlink_to("/usr/lib/libx.so.1.0")
    names = {b"/srv/x": "link", b"/srv/y": "y", b"/srv/z": "other"}
    root = Root(base, {path: os.fsencode(tmp_path / name) for path, name in names.items()})

    looked = set(root.looked)

    root.require_staged()

    assert root.looked == looked


def test_directory_that_only_staged_files_need_is_made_up(base: bytes, tmp_path: Path) -> None:
    (tmp_path / "build").write_text("data")
    root = Root(base, {b"/srv/data/x": os.fsencode(tmp_path / "build")})

    status = root.status(b"/srv/data")

    assert status is not None
    assert (status.kind, status.mode, status.uid) == (Kind.DIR, 0o755, 0)
    found = root.status(b"/srv/data/x")
    assert found is not None
    assert found.mode == 0o644


@pytest.mark.parametrize(
    ("mtime", "seen"),
    [
        pytest.param(100, 100, id="older than the epoch"),
        pytest.param(1000, 500, id="newer than the epoch"),
        pytest.param(-5, 0, id="before 1970"),
    ],
)
def test_no_file_is_newer_than_the_epoch(base: bytes, mtime: int, seen: int) -> None:
    os.utime(base + b"/usr/lib/libx.so.1.0", (mtime, mtime))

    status = Root(base, epoch=500).status(b"/usr/lib/libx.so.1.0")

    assert status is not None
    assert status.mtime == seen


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: None, "cannot read /x: No such file or directory; ", id="gone"),
        pytest.param(lambda path: path.mkdir(), "cannot read /x: it is not a regular file; ",
                     id="directory"),
        pytest.param(_fifo, "cannot read /x: it is not a regular file; ", id="FIFO"),
        pytest.param(lambda path: path.symlink_to("y"), "cannot read /x: Too many levels",
                     id="link"),
    ],
)  # fmt: skip
def test_open_refuses_what_is_no_regular_file(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "x")

    with pytest.raises(ListError) as error, Root(os.fsencode(tmp_path)).open(b"/x"):
        pass

    assert str(error.value).startswith(message)


def test_hidden_directories_have_nothing_of_the_base(base: bytes) -> None:
    for name in (b"/home/me", b"/home/app", b"/homes"):
        os.makedirs(base + name)
        for each in (b"/data", b"/tool"):
            with open(base + name + each, "w") as stream:
                stream.write("x")
    root = Root(base, {b"/home/app/made": base + b"/homes/data"})

    root.hide([b"/home"], [b"/home/me/tool", b"/usr/lib"])

    there = {
        path: root.status(path) is not None
        for path in (
            b"/home",
            b"/home/me",
            b"/home/me/tool",
            b"/home/me/data",
            b"/home/app/made",
            b"/home/app/data",
            b"/homes/data",
        )
    }
    assert [path for path, found in there.items() if not found] == [
        b"/home/me/data",
        b"/home/app/data",
    ]
    names = [root.listing(path) for path in (b"/home", b"/home/me", b"/home/app", b"/homes")]
    assert names == [[b"app", b"me"], [b"tool"], [b"made"], [b"data", b"tool"]]
    views = {path for path, aspect in root.looked if aspect is Aspect.VIEW}
    assert views == {b"/home", b"/home/me/tool"}


def test_path_that_may_not_be_looked_at_is_an_error(tmp_path: Path) -> None:
    long = b"/" + b"n" * 300

    with pytest.raises(ListError) as error:
        Root(os.fsencode(tmp_path)).status(long)

    assert "File name too long; build again, or leave it out" in str(error.value)


def test_listing_a_file_is_an_error(base: bytes) -> None:
    with pytest.raises(ListError) as error:
        Root(base).listing(b"/usr/lib/libx.so.1.0")

    assert str(error.value) == (
        "cannot list /usr/lib/libx.so.1.0: Not a directory; build again, or leave it out"
    )


def test_listing_of_nothing_is_empty(base: bytes) -> None:
    assert Root(base).listing(b"/nothing") == []


@pytest.mark.parametrize(
    ("content", "magic"),
    [
        pytest.param(b"\x7fELF\x02", "elf", id="ELF file"),
        pytest.param(b"#!/bin/sh\n", "script", id="script"),
        pytest.param(b"\x7fEL", "other", id="cut short"),
        pytest.param(b"", "other", id="empty"),
    ],
)
def test_magic(tmp_path: Path, content: bytes, magic: str) -> None:
    (tmp_path / "x").write_bytes(content)
    root = Root(os.fsencode(tmp_path))

    assert root.magic(b"/x") == magic
    assert root.looked == {(b"/x", Aspect.MAGIC)}


@pytest.mark.parametrize(
    ("content", "trusts"),
    [
        pytest.param(b"\x7fELF\0SSL_CTX_set_default_verify_paths\0", True, id="OpenSSL"),
        pytest.param(b"\x7fELF\0gnutls_certificate_set_x509_system_trust\0", True, id="GnuTLS"),
        pytest.param(b"\x7fELF/etc/ssl/certs/ca-certificates.crt", True, id="path"),
        pytest.param(b"\x7fELF\0SSL_CTX_use_certificate\0", False, id="server"),
        pytest.param(b"#!/bin/sh\ncat /etc/ssl/certs/*", False, id="script"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_trusts(tmp_path: Path, content: bytes, *, trusts: bool) -> None:
    (tmp_path / "x").write_bytes(content)
    root = Root(os.fsencode(tmp_path))

    assert root.trusts(b"/x") == trusts
    assert root.looked == {(b"/x", Aspect.TRUST)}


def test_base_has_the_owners_of_its_record_and_the_project_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "base/etc").mkdir(parents=True)
    (tmp_path / "base/etc/shadow").write_text("base")
    project = os.fsencode(tmp_path / "project")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/list").write_text("project")
    record = Owners(roots=True, listed={b"/etc/shadow": (0o640, 0, 42), project: (0, 1, 2)})

    root = Root(os.fsencode(tmp_path / "base"), owners=record, own=project)

    shadow, top = root.status(b"/etc/shadow"), root.status(project)
    assert shadow is not None
    assert top is not None
    assert (shadow.mode, shadow.uid, shadow.gid) == (0o640, 0, 42)
    assert (top.mode, top.uid) != (0, 1)
    walk = root.walk(project + b"/list")
    assert walk.real == project + b"/list"
    assert root.machine(walk.real) == walk.real
    assert root.machine(b"/etc/shadow") == os.fsencode(tmp_path / "base/etc/shadow")
    assert root.listing(b"/") == [b"etc"]


def test_project_is_there_whatever_the_base_has(tmp_path: Path) -> None:
    project, base = tmp_path / "project", tmp_path / "base"
    project.mkdir()
    (base / "etc").mkdir(parents=True)
    (project / "conf").write_text("conf")
    (project / "link").symlink_to("conf")
    root = Root(os.fsencode(base), own=os.fsencode(project))
    path = os.fsencode(project / "conf")

    found = root.walk(os.fsencode(project / "link"))

    assert (found.real, root.machine(path)) == (path, path)
    assert root.machine(b"/etc") == os.fsencode(base / "etc")
    assert root.walk(os.fsencode(tmp_path)).status is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_staged_file_has_its_capabilities(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("")
    (tmp_path / "other").write_text("")
    os.setxattr(tmp_path / "program", ATTRIBUTE, attribute("cap_net_raw=ep"))
    staged = {
        b"/srv/" + name: os.fsencode(tmp_path) + b"/" + name for name in (b"program", b"other")
    }
    root = Root(b"/", staged)

    assert root.capabilities(b"/srv/program") == "cap_net_raw=ep"
    assert root.capabilities(b"/srv/other") == root.capabilities(b"/srv/none") == ""
    assert (b"/srv/program", Aspect.CAPABILITIES) in root.looked


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_change_of_capabilities_is_explained(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("")
    root = Root(os.fsencode(tmp_path))
    assert root.capabilities(b"/program") == ""
    taken = state.take(root)

    os.setxattr(tmp_path / "program", ATTRIBUTE, attribute("cap_net_raw=ep"))

    assert state.explain(taken, taken.again(root)) == ["/program: capabilities changed"]


def test_link_that_is_replaced_again_and_again_is_one_or_the_other(tmp_path: Path) -> None:
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            (tmp_path / "new").symlink_to("target")
            (tmp_path / "new").replace(tmp_path / "path")
            (tmp_path / "new").write_text("")
            (tmp_path / "new").replace(tmp_path / "path")

    (tmp_path / "path").touch()
    root, replacing = Root(os.fsencode(tmp_path)), threading.Thread(target=replace)
    replacing.start()
    try:
        found = [root.peek(b"/path") for _ in range(20000)]
    finally:
        ended.set()
        replacing.join()

    assert {(each.kind, each.target) for each in found if each} == {
        (Kind.FILE, b""),
        (Kind.LINK, b"target"),
    }
