from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.fs.capabilities import ATTRIBUTE, attribute
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem, is_fresh
from scratch_image.scons import footprint

DIR = b"/dir"


def _write(path: Path) -> None:
    (path / "file").write_text("other")


def _write_and_take_back(path: Path) -> None:
    (path / "file").write_text("other")
    (path / "file").write_text("text")


def _add(path: Path) -> None:
    (path / "dir/new").touch()


def _restrict(path: Path) -> None:
    (path / "dir").chmod(0o700)


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param(lambda path: None, [], id="nothing"),
        pytest.param(_write, [b"/file"], id="content"),
        pytest.param(_write_and_take_back, [b"/file"], id="content that is as before"),
        pytest.param(lambda path: (path / "file").unlink(), [b"/file"], id="gone"),
        pytest.param(_add, [b"/dir listed"], id="another name"),
        pytest.param(_restrict, [b"/dir", b"/dir listed"], id="another mode"),
    ],
)
def test_a_change_since_the_first_sight_is_seen(
    tmp_path: Path, change: Callable[[Path], None], changed: list[bytes]
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "dir").mkdir()
    files = WatchedFileSystem(os.fsencode(tmp_path))
    files.watch()
    files.open(b"/file").close()
    files.status(DIR)
    files.listing(DIR)

    change(tmp_path)

    sights = files.end_watch()
    assert sights is not None
    found = [path for path in (b"/file", DIR) if sights.has_changed(files, path, listed=False)]
    found += [DIR + b" listed"] if sights.has_changed(files, DIR, listed=True) else []
    assert found == changed


def test_what_was_never_seen_has_not_changed(tmp_path: Path) -> None:
    files = WatchedFileSystem(os.fsencode(tmp_path))
    files.watch()

    sights = files.end_watch()

    assert sights is not None
    assert not sights.has_changed(files, b"/file", listed=True)
    assert files.end_watch() is None


def test_first_sight_waits_until_the_next_change_shows(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = WatchedFileSystem(os.fsencode(tmp_path))
    files.watch()

    status = files.status(b"/file")

    assert status is not None
    assert not is_fresh(status)
    assert status == FileSystem(files.base).status(b"/file")


def test_missing_path_is_on_record(base: bytes) -> None:
    root = Root(WatchedFileSystem(base))

    assert root.status(b"/nothing") is None
    assert root.looked == {(b"/nothing", Aspect.STAT)}


def test_walk_records_what_it_depends_on(base: bytes) -> None:
    root = Root(WatchedFileSystem(base))

    root.walk(b"/abs", aspect=Aspect.CONTENT)
    root.walk(b"/usr/../none", aspect=Aspect.CONTENT)
    root.walk(b"/lib/libx.so.1.0/x", aspect=Aspect.CONTENT)

    assert root.looked == {
        (b"/abs", Aspect.STAT),
        (b"/usr/lib/libx.so.1", Aspect.STAT),
        (b"/usr/lib/libx.so.1.0", Aspect.CONTENT),
        (b"/usr", Aspect.STAT),
        (b"/none", Aspect.STAT),
        (b"/lib", Aspect.STAT),
        (b"/usr/lib/libx.so.1.0", Aspect.STAT),
    }


def test_looks_below_the_record_are_not_on_it(base: bytes) -> None:
    root = Root(WatchedFileSystem(base, {b"/lib/x": base + b"/usr/lib/libx.so.1.0"}))

    root.files.require_staged()
    root.files.walk(b"/abs")
    root.files.listing(b"/usr")
    root.files.open(b"/usr/lib/libx.so.1.0").close()

    assert root.looked == set()


def test_a_shown_directory_is_there_with_all_in_it(base: bytes) -> None:
    os.makedirs(base + b"/home/me/project/tests")
    with open(base + b"/home/me/project/tests/one", "w") as stream:
        stream.write("x")
    with open(base + b"/home/me/secret", "w") as stream:
        stream.write("x")
    root = Root(WatchedFileSystem(base))

    root.hide([b"/home"], [b"/home/me/project", b"/home/me/project/tests/one"])

    assert root.listing(b"/home/me") == [b"project"]
    assert root.listing(b"/home/me/project/tests") == [b"one"]
    assert root.status(b"/home/me/project/tests/one") is not None
    assert root.status(b"/home/me/secret") is None
    assert (b"/home/me/project", Aspect.VIEW) in root.looked


def test_files_that_the_build_makes_are_in_no_listing(tmp_path: Path) -> None:
    own = os.fsencode(tmp_path / "project")
    for name in (b"/made", b"/kept", b"/../made"):
        os.makedirs(own + name)
    root = Root(WatchedFileSystem(own=own, made=lambda path: path.endswith(b"/made")))

    assert root.listing(own) == [b"kept"]
    assert b"made" in root.listing(os.path.dirname(own))
    assert root.files.is_made(own + b"/made")


def test_hidden_directories_have_nothing_of_the_base(base: bytes) -> None:
    for name in (b"/home/me", b"/home/app", b"/homes"):
        os.makedirs(base + name)
        for each in (b"/data", b"/tool"):
            with open(base + name + each, "w") as stream:
                stream.write("x")
    root = Root(WatchedFileSystem(base, {b"/home/app/made": base + b"/homes/data"}))

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
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))

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
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))

    assert root.trusts(b"/x") == trusts
    assert root.looked == {(b"/x", Aspect.TRUST)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_staged_file_has_its_capabilities(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("")
    (tmp_path / "other").write_text("")
    os.setxattr(tmp_path / "program", ATTRIBUTE, attribute("cap_net_raw=ep"))
    staged = {
        b"/srv/" + name: os.fsencode(tmp_path) + b"/" + name for name in (b"program", b"other")
    }
    root = Root(WatchedFileSystem(b"/", staged))

    assert root.capabilities(b"/srv/program") == "cap_net_raw=ep"
    assert root.capabilities(b"/srv/other") == root.capabilities(b"/srv/none") == ""
    assert (b"/srv/program", Aspect.CAPABILITIES) in root.looked


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give capabilities")
def test_change_of_capabilities_is_explained(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("")
    root = Root(WatchedFileSystem(os.fsencode(tmp_path)))
    assert root.capabilities(b"/program") == ""
    taken = footprint.take(root)

    os.setxattr(tmp_path / "program", ATTRIBUTE, attribute("cap_net_raw=ep"))

    assert footprint.explain(taken, taken.again(root)) == ["/program: capabilities changed"]
