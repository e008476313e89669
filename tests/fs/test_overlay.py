from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.fs.lookup import FileKind, Status
from scratch_image.fs.overlay import Overlay, Placed
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem

DIR = Placed(Status(FileKind.DIR, 0o700, 5, 6))
TEXT = Placed(Status(FileKind.FILE, 0o644, 0, 0), text=b"text")


@pytest.fixture
def view(tmp_path: Path) -> Overlay:
    """Give an overlay of the machine, with a project in which ``sub/tool`` may be executed."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/tool").write_text("tool")
    (tmp_path / "sub/tool").chmod(0o700)
    (tmp_path / "data").write_text("data")
    (tmp_path / "data").chmod(0o600)
    (tmp_path / "link").symlink_to("data")
    return Overlay(Root(WatchedFileSystem(epoch=77)), os.fsencode(tmp_path))


def _seen(view: Overlay, path: bytes) -> tuple[FileKind, int, int, int]:
    status = view.status(path)
    assert status is not None
    return status.kind, status.mode, status.uid, status.mtime


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        pytest.param(b"data", (FileKind.FILE, 0o644, 0, 77), id="file"),
        pytest.param(b"sub/tool", (FileKind.FILE, 0o755, 0, 77), id="program"),
        pytest.param(b"sub", (FileKind.DIR, 0o755, 0, 77), id="directory"),
        pytest.param(b"link", (FileKind.LINK, 0o777, 0, 77), id="link"),
        pytest.param(b"gone", (FileKind.OTHER, 0o644, 0, 77), id="gone"),
    ],
)
def test_file_of_the_project_is_nobodys(
    view: Overlay, source: bytes, seen: tuple[FileKind, int, int, int]
) -> None:
    assert _seen(view, view.place_source(b"/srv/x", source)) == seen
    assert view.files.is_own(b"/srv/x")


def test_file_of_the_machine_is_as_it_is(view: Overlay) -> None:
    view.place_source(b"/srv/x", b"/etc/shadow")

    found, real = view.status(b"/srv/x"), os.lstat("/etc/shadow")
    assert found is not None
    assert (found.mode, found.gid) == (real.st_mode & 0o7777, real.st_gid)
    assert view.files.host_path(b"/srv/x") == b"/etc/shadow"
    assert not view.files.is_own(b"/srv/x")


def test_placed_paths_are_looked_up_and_listed_like_others(view: Overlay) -> None:
    assert view.place_source(b"/lib/none/here/x", b"data") == b"/usr/lib/none/here/x"

    assert view.walk(b"/lib/none/here/x").real == b"/usr/lib/none/here/x"
    assert view.listing(b"/usr/lib/none") == [b"here"]
    assert b"none" in view.listing(b"/usr/lib")
    assert _seen(view, b"/usr/lib/none")[:2] == (FileKind.DIR, 0o755)
    with view.open(b"/usr/lib/none/here/x") as stream:
        assert stream.read() == b"data"


def test_record_names_where_content_lies(view: Overlay, tmp_path: Path) -> None:
    view.place_source(b"/srv/x", b"data")
    view.place(b"/srv/d", DIR)
    view.place(b"/srv/t", TEXT)
    view.below.looked.clear()

    view.look(b"/srv/x", Aspect.CONTENT)
    view.look(b"/srv/x", Aspect.MTIME)
    view.look(b"/srv/d", Aspect.STAT)
    view.look(b"/srv/t", Aspect.STAT)
    view.look(b"/etc/passwd", Aspect.STAT)

    data = os.fsencode(tmp_path / "data")
    assert view.below.looked == {
        (data, Aspect.CONTENT),
        (data, Aspect.SIZE),
        (b"/etc/passwd", Aspect.STAT),
    }


@pytest.mark.parametrize(
    ("path", "mode", "owner", "seen"),
    [
        pytest.param(b"/etc/passwd", 0o640, None, (0o640, 0), id="mode of a file"),
        pytest.param(b"/etc/passwd", None, (7, 8), (0o644, 7), id="owner alone"),
        pytest.param(b"/etc", 0o640, None, (0o750, 0), id="directory gets an x for each r"),
        pytest.param(b"/lib", 0o640, (7, 8), (0o777, 0), id="links stay"),
    ],
)
def test_change(
    view: Overlay,
    path: bytes,
    mode: int | None,
    owner: tuple[int, int] | None,
    seen: tuple[int, int],
) -> None:
    view.change(path, mode, owner)

    assert _seen(view, path)[1:3] == seen
    if path == b"/etc/passwd":
        assert (path, Aspect.STAT) in view.looked
        assert not view.files.is_own(path)


def test_change_of_nothing_is_nothing(view: Overlay) -> None:
    view.change(b"/nope", 0o640, None)

    assert view.status(b"/nope") is None


def test_own_is_what_the_project_has(view: Overlay, tmp_path: Path) -> None:
    staged = Overlay(Root(WatchedFileSystem(staged={b"/srv/x": b"/bin/cat"})), view.files.tops[0])

    assert staged.files.is_own(b"/srv/x")
    assert view.files.is_own(os.fsencode(tmp_path / "data"))
    assert not view.files.is_own(b"/etc/passwd")
    view.place(b"/srv/d", DIR)
    assert view.files.is_own(b"/srv/d")


def test_in_a_base_the_projects_files_are_the_machines_and_absolute_ones_the_bases(
    tmp_path: Path,
) -> None:
    (tmp_path / "base/etc").mkdir(parents=True)
    (tmp_path / "base/etc/x").write_text("base")
    (tmp_path / "project/base").mkdir(parents=True)
    (tmp_path / "project/data").write_text("data")
    top, base = os.fsencode(tmp_path / "project"), os.fsencode(tmp_path / "base")
    view = Overlay(Root(WatchedFileSystem(base, own=top)), top)

    view.place_source(b"/srv/data", b"data")
    view.place_source(b"/srv/x", b"/etc/x")

    contents = []
    for path in (b"/srv/data", b"/srv/x", b"/etc/x"):
        with view.open(path) as stream:
            contents.append(stream.read())
    assert contents == [b"data", b"base", b"base"]
    assert {top + b"/data", b"/etc/x"} <= {path for path, _ in view.looked}
    assert [view.files.is_own(path) for path in (b"/srv/data", b"/srv/x", b"/etc/x")] == [
        True,
        False,
        False,
    ]


def test_base_in_the_projects_directory_is_not_the_projects_own(tmp_path: Path) -> None:
    (tmp_path / "x.root/etc").mkdir(parents=True)
    (tmp_path / "x.root/etc/shadow").write_text("")
    top = os.fsencode(tmp_path)

    view = Overlay(Root(WatchedFileSystem(top + b"/x.root", own=top)), top)

    assert not view.files.is_own(b"/etc/shadow")


@pytest.mark.parametrize("base", [pytest.param("", id="machine"), pytest.param("base", id="base")])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(b"both", b"project/both", id="in both"),
        pytest.param(b"other", b"repository/other", id="in the repository"),
        pytest.param(b"dir/other", b"repository/dir/other", id="in a directory that both have"),
        pytest.param(b"gone", b"project/gone", id="nowhere"),
        pytest.param(b"/etc/other", b"/etc/other", id="of the machine"),
    ],
)
def test_files_of_the_project_may_lie_in_a_repository(
    tmp_path: Path, base: str, name: bytes, place: bytes
) -> None:
    project, repository = tmp_path / "project", tmp_path / "repository"
    for path in ("project/both", "repository/both", "project/dir/mine", "repository/dir/other"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (repository / "other").touch()
    below = Root(
        WatchedFileSystem(
            os.fsencode(tmp_path / base) if base else b"/",
            own=os.fsencode(project),
            repositories=[os.fsencode(repository)],
        )
    )
    view = Overlay(below, os.fsencode(project))

    found = view.source(name)

    assert found == os.path.join(os.fsencode(tmp_path), place)
    if name[:1] != b"/":
        # A path that is absent now may exist one day, and counts then.
        assert (os.path.join(os.fsencode(project), name), Aspect.STAT) in view.looked
        assert view.files.is_own(found)
