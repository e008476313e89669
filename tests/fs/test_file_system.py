from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.errors import InputError, ListError
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.lookup import FileKind
from scratch_image.fs.unpacked_tree import Owners


def test_staged_file_lies_at_its_image_path(base: bytes, tmp_path: Path) -> None:
    made = tmp_path / "build"
    made.write_text("program")
    made.chmod(0o700)
    files = FileSystem(base, {b"/lib/app/bin/hello": os.fsencode(made)}, epoch=5)

    walk = files.walk(b"/lib/app/bin/hello")

    assert walk.links == (b"/lib",)
    assert walk.real == b"/usr/lib/app/bin/hello"
    assert walk.status is not None
    assert (walk.status.mode, walk.status.uid, walk.status.gid) == (0o755, 0, 0)
    assert (walk.status.mtime, walk.status.names, walk.status.size) == (5, 1, 7)
    assert files.image_path(os.fsencode(made)) == b"/usr/lib/app/bin/hello"
    assert files.listing(b"/usr/lib/app") == [b"bin"]
    assert files.listing(b"/usr/lib") == [b"app", b"libx.so.1", b"libx.so.1.0"]
    with files.open(walk.real) as stream:
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
        FileSystem(base, dict.fromkeys(paths, base + b"/usr/lib/libx.so.1.0"))

    assert str(error.value) == f"cannot stage {message}; stage it elsewhere"


@pytest.mark.parametrize("path", [b"/usr/lib/libx.so.1.0", b"/abs", b"/dangling", b"/a/b"])
def test_staged_file_takes_the_place_of_a_file_or_a_link_to_one(base: bytes, path: bytes) -> None:
    files = FileSystem(base, {path: base + b"/usr/lib/libx.so.1.0"})

    assert files.staged == {path: base + b"/usr/lib/libx.so.1.0"}


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
    files = FileSystem(base, {b"/srv/x": os.fsencode(place)})

    with pytest.raises(InputError) as error:
        files.require_staged()

    assert str(error.value) == f"cannot stage /srv/x: {message.format(place=place)}"


def test_staged_link_leads_to_what_is_staged_or_in_the_base(base: bytes, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("y")
    (tmp_path / "y").write_text("")
    (tmp_path / "other").symlink_to("/usr/lib/libx.so.1.0")
    names = {b"/srv/x": "link", b"/srv/y": "y", b"/srv/z": "other"}
    files = FileSystem(base, {path: os.fsencode(tmp_path / name) for path, name in names.items()})

    files.require_staged()


def test_directory_that_only_staged_files_need_is_made_up(base: bytes, tmp_path: Path) -> None:
    (tmp_path / "build").write_text("data")
    files = FileSystem(base, {b"/srv/data/x": os.fsencode(tmp_path / "build")})

    status = files.status(b"/srv/data")

    assert status is not None
    assert (status.kind, status.mode, status.uid) == (FileKind.DIR, 0o755, 0)
    found = files.status(b"/srv/data/x")
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

    status = FileSystem(base, epoch=500).status(b"/usr/lib/libx.so.1.0")

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

    with pytest.raises(ListError) as error, FileSystem(os.fsencode(tmp_path)).open(b"/x"):
        pass

    assert str(error.value).startswith(message)


def test_path_that_may_not_be_looked_at_is_an_error(tmp_path: Path) -> None:
    long = b"/" + b"n" * 300

    with pytest.raises(ListError) as error:
        FileSystem(os.fsencode(tmp_path)).status(long)

    assert "File name too long; build again, or leave it out" in str(error.value)


def test_listing_a_file_is_an_error(base: bytes) -> None:
    with pytest.raises(ListError) as error:
        FileSystem(base).listing(b"/usr/lib/libx.so.1.0")

    assert str(error.value) == (
        "cannot list /usr/lib/libx.so.1.0: Not a directory; build again, or leave it out"
    )


def test_listing_of_nothing_is_empty(base: bytes) -> None:
    assert FileSystem(base).listing(b"/nothing") == []


def test_base_has_the_owners_of_its_record_and_the_project_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "base/etc").mkdir(parents=True)
    (tmp_path / "base/etc/shadow").write_text("base")
    project = os.fsencode(tmp_path / "project")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/list").write_text("project")
    record = Owners(roots=True, listed={b"/etc/shadow": (0o640, 0, 42), project: (0, 1, 2)})

    files = FileSystem(os.fsencode(tmp_path / "base"), owners=record, own=project)

    shadow, top = files.status(b"/etc/shadow"), files.status(project)
    assert shadow is not None
    assert top is not None
    assert (shadow.mode, shadow.uid, shadow.gid) == (0o640, 0, 42)
    assert (top.mode, top.uid) != (0, 1)
    walk = files.walk(project + b"/list")
    assert walk.real == project + b"/list"
    assert files.host_path(walk.real) == walk.real
    assert files.host_path(b"/etc/shadow") == os.fsencode(tmp_path / "base/etc/shadow")
    assert files.listing(b"/") == [b"etc"]


def test_project_is_there_whatever_the_base_has(tmp_path: Path) -> None:
    project, base = tmp_path / "project", tmp_path / "base"
    project.mkdir()
    (base / "etc").mkdir(parents=True)
    (project / "conf").write_text("conf")
    (project / "link").symlink_to("conf")
    files = FileSystem(os.fsencode(base), own=os.fsencode(project))
    path = os.fsencode(project / "conf")

    found = files.walk(os.fsencode(project / "link"))

    assert (found.real, files.host_path(path)) == (path, path)
    assert files.host_path(b"/etc") == os.fsencode(base / "etc")
    assert files.walk(os.fsencode(tmp_path)).status is None


def test_link_that_is_replaced_again_and_again_is_one_or_the_other(tmp_path: Path) -> None:
    ended = threading.Event()

    def replace() -> None:
        while not ended.is_set():
            (tmp_path / "new").symlink_to("target")
            (tmp_path / "new").replace(tmp_path / "path")
            (tmp_path / "new").write_text("")
            (tmp_path / "new").replace(tmp_path / "path")

    (tmp_path / "path").touch()
    files, replacing = FileSystem(os.fsencode(tmp_path)), threading.Thread(target=replace)
    replacing.start()
    try:
        found = [files.status(b"/path") for _ in range(20000)]
    finally:
        ended.set()
        replacing.join()

    assert {(each.kind, each.target) for each in found if each} == {
        (FileKind.FILE, b""),
        (FileKind.LINK, b"target"),
    }
