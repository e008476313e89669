from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs.file_system import FileSystem
from scratch_image.fs.lookup import FileKind
from scratch_image.fs.staging import Chosen
from trees import as_nobody


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a directory of a project, outside of the base."""
    tree = tmp_path.parent / f"{tmp_path.name}-tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "empty").mkdir(mode=0o700)
    (tree / "bin/tool").write_text("tool")
    (tree / "bin/tool").chmod(0o775)
    (tree / "bin/name").symlink_to("tool")
    (tree / "data").write_text("data")
    (tree / "data").chmod(0o600)
    return tree


def _files(
    base: bytes, staged: dict[str, Path], own: Path | None = None, **chosen: Chosen
) -> FileSystem:
    paths = {os.fsencode(path): os.fsencode(place) for path, place in staged.items()}
    named = {path: chosen[os.path.basename(path).decode()] for path in paths if chosen}
    return FileSystem(base, paths, epoch=5, own=os.fsencode(own or ""), chosen=named)


def _content(files: FileSystem, path: bytes) -> bytes:
    with files.open(path) as stream:
        return stream.read()


def _modes(files: FileSystem, *paths: bytes) -> list[tuple[str, str, int, int]]:
    found = [files.status(path) for path in paths]
    return [(each.kind.value, f"{each.mode:04o}", each.uid, each.gid) for each in found if each]


# Directories


def test_directory_that_the_base_lacks_lies_there_in_one_piece(base: bytes, tree: Path) -> None:
    files = _files(base, {"/lib/app": tree})

    files.require_staged()

    assert files.staged == {b"/usr/lib/app": os.fsencode(tree)}
    assert files.walk(b"/lib/app/bin/name").real == b"/usr/lib/app/bin/tool"
    assert files.listing(b"/usr/lib/app") == [b"bin", b"data", b"empty"]
    assert files.host_path(b"/usr/lib/app/data") == os.fsencode(tree / "data")
    assert files.image_path(os.fsencode(tree / "bin/tool")) == b"/usr/lib/app/bin/tool"
    assert _modes(files, b"/usr/lib/app", b"/usr/lib/app/empty", b"/usr/lib/app/data") == [
        ("dir", "0755", 0, 0), ("dir", "0755", 0, 0), ("file", "0644", 0, 0)
    ]  # fmt: skip


def test_entries_of_a_directory_join_those_of_the_base(base: bytes, tree: Path) -> None:
    (tree / "lib").mkdir()
    (tree / "lib/liby.so").write_text("y")
    (tree / "dev").mkdir()
    files = _files(base, {"/": tree})

    assert files.listing(b"/usr/lib") == [b"libx.so.1", b"libx.so.1.0", b"liby.so"]
    assert sorted(files.staged) == [b"/bin", b"/data", b"/empty", b"/usr/lib/liby.so"]
    assert files.staging.merged == {
        b"/": [os.fsencode(tree)], b"/usr/lib": [os.fsencode(tree / "lib")]
    }  # fmt: skip


def test_file_takes_the_place_of_one_in_a_directory(base: bytes, tree: Path) -> None:
    other = tree.parent / "other"
    other.write_text("other")
    files = _files(base, {"/opt/app/data": other, "/opt/app": tree, "/opt/app/new/x": other})

    assert _content(files, b"/opt/app/data") == b"other"
    assert _content(files, b"/opt/app/new/x") == b"other"
    assert files.listing(b"/opt/app") == [b"bin", b"data", b"empty", b"new"]


def test_directory_in_a_hidden_one_is_seen(base: bytes, tree: Path) -> None:
    files = _files(base, {"/usr/app": tree})

    files.hide([b"/usr"])

    assert files.listing(b"/usr") == [b"app"]
    assert files.listing(b"/usr/app") == [b"bin", b"data", b"empty"]
    assert files.status(b"/usr/app/data") is not None
    assert files.status(b"/usr/lib") is None


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        pytest.param(lambda tree: os.mkfifo(tree / "x"), "{tree}/x is a device, FIFO or socket",
                     id="FIFO"),
        pytest.param(lambda tree: (tree / "bin/x").symlink_to("none"),
                     "{tree}/bin/x is a link to none, which is not there", id="link to nothing"),
        pytest.param(lambda tree: (tree / "x").symlink_to("../other"),
                     "{tree}/x is a link to ../other, which is not there", id="link out of it"),
    ],
)  # fmt: skip
def test_directory_that_no_image_can_hold(
    base: bytes, tree: Path, make: Callable[[Path], None], cause: str
) -> None:
    make(tree)

    with pytest.raises(InputError) as error:
        _files(base, {"/opt/app": tree}).require_staged()

    assert str(error.value).startswith(f"cannot stage /opt/app: {cause.format(tree=tree)}; ")


def test_link_into_the_project_is_refused(tree: Path) -> None:
    other = tree.parent / "other"
    other.write_text("")
    (tree / "x").symlink_to(other)

    with pytest.raises(InputError) as error:
        _files(b"/", {"/opt/none/app": tree}, own=tree.parent).require_staged()

    fault = f"{tree}/x is a link to {other}, which is not staged"
    assert str(error.value) == f"cannot stage /opt/none/app: {fault}; stage that, too"


def test_link_to_a_directory_is_no_file(base: bytes, tree: Path) -> None:
    (tree / "link").symlink_to("empty")

    with pytest.raises(InputError) as error:
        _files(base, {"/srv/x": tree / "link"}).require_staged()

    assert str(error.value) == ("cannot stage /srv/x: it is a directory; write env.Dir(...) for it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_directory_that_cannot_be_read() -> None:
    # Other users do not reach the directories of pytest.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        tree = Path(name) / "tree"
        (tree / "usr").mkdir(parents=True)
        (tree / "usr").chmod(0)

        def look() -> None:
            with pytest.raises(InputError) as error:
                _files(b"/", {"/": tree})
            assert str(error.value) == (
                f"cannot stage /usr: {tree}/usr: Permission denied; "
                "make it readable by the user who runs scons"
            )

        as_nobody(Path(name), look)


def test_socket_in_a_directory_is_refused(base: bytes, tree: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tree)
        listener.bind("s")

    with pytest.raises(InputError, match="s is a device, FIFO or socket; remove it, or name other"):
        _files(base, {"/opt/app": tree}).require_staged()


# Links


def test_link_to_what_is_staged_too_stays_a_link(base: bytes, tree: Path) -> None:
    files = _files(base, {"/srv/name": tree / "bin/name", "/srv/tool": tree / "bin/tool"})

    assert _modes(files, b"/srv/name") == [("link", "0777", 0, 0)]
    assert files.walk(b"/srv/name").real == b"/srv/tool"


def test_link_whose_target_the_image_lacks_is_followed(base: bytes, tree: Path) -> None:
    files = _files(base, {"/srv/name": tree / "bin/name"})

    files.require_staged()

    assert _content(files, b"/srv/name") == b"tool"
    assert _modes(files, b"/srv/name") == [("file", "0755", 0, 0)]


def test_link_to_another_file_of_the_same_name_is_followed(base: bytes, tree: Path) -> None:
    os.mkdir(base + b"/bin")
    Path(os.fsdecode(base), "bin/tool").write_text("the base's")
    files = _files(base, {"/bin/name": tree / "bin/name"})

    assert _content(files, b"/bin/name") == b"tool"


def test_absolute_link_leads_to_the_file_of_the_base(base: bytes, tree: Path) -> None:
    (tree / "python").symlink_to("python3")
    (tree / "python3").symlink_to("/usr/lib/libx.so.1")
    files = _files(base, {"/srv/python": tree / "python"})

    files.require_staged()

    assert _modes(files, b"/srv/python") == [("link", "0777", 0, 0)]
    assert files.walk(b"/srv/python").real == b"/usr/lib/libx.so.1.0"


def test_link_with_a_mode_is_followed(base: bytes, tree: Path) -> None:
    staged = {"/srv/name": tree / "bin/name", "/srv/tool": tree / "bin/tool"}
    files = _files(base, staged, name=Chosen(0o500), tool=Chosen())

    assert _modes(files, b"/srv/name") == [("file", "0500", 0, 0)]


# Modes, owners and hard links


@pytest.mark.parametrize(
    ("owner", "numbers"),
    [
        pytest.param("www-data", (33, 34), id="user with the group of the account file"),
        pytest.param("www-data:adm", (33, 4), id="user and group"),
        pytest.param("33:adm", (33, 4), id="number and name"),
        pytest.param("7", (7, 7), id="number"),
        pytest.param("7:8", (7, 8), id="numbers"),
        pytest.param("nonroot", (65532, 65532), id="made up user"),
    ],
)
def test_owner(base: bytes, tree: Path, owner: str, numbers: tuple[int, int]) -> None:
    os.mkdir(base + b"/etc")
    Path(os.fsdecode(base), "etc/passwd").write_text("www-data:x:33:34::/:/bin/sh\n")
    Path(os.fsdecode(base), "etc/group").write_text("adm:x:4:\n")
    files = _files(base, {"/srv/app": tree}, app=Chosen(0o640, owner))

    files.require_staged()

    assert _modes(files, b"/srv/app", b"/srv/app/data", b"/srv/app/bin/name") == [
        ("dir", "0750", *numbers), ("file", "0640", *numbers), ("link", "0777", *numbers)
    ]  # fmt: skip


def test_unknown_owner_is_refused(base: bytes, tree: Path) -> None:
    files = _files(base, {"/srv/data": tree / "data"}, data=Chosen(owner="nobody-knows"))

    with pytest.raises(InputError) as error:
        files.require_staged()

    assert str(error.value) == (
        "cannot stage a file of nobody-knows: /etc/passwd has no such account; "
        "write a number, or stage an account file that has it"
    )


def test_owner_is_of_the_staged_account_file(base: bytes, tree: Path) -> None:
    (tree / "passwd").write_text("app:x:1234:1235::/:\n")
    staged = {"/etc/passwd": tree / "passwd", "/srv/data": tree / "data"}
    files = _files(base, staged, passwd=Chosen(), data=Chosen(owner="app"))

    assert _modes(files, b"/srv/data") == [("file", "0644", 1234, 1235)]


def _names(files: FileSystem, *paths: bytes) -> list[tuple[int, ...]]:
    found = [files.status(path) for path in paths]
    return [(*each.inode, each.names) for each in found if each]


def test_one_source_at_two_places_is_one_file(base: bytes, tree: Path) -> None:
    os.link(tree / "data", tree / "other name")
    one, two, other, alone = b"/srv/one", b"/srv/two", b"/srv/other", b"/srv/alone"
    staged = {one.decode(): tree / "data", two.decode(): tree / "data"}
    staged |= {other.decode(): tree / "data", alone.decode(): tree / "other name"}
    same = Chosen()
    files = _files(base, staged, one=same, two=same, other=Chosen(0o600), alone=same)

    first, second, third, fourth = _names(files, one, two, other, alone)

    assert first == second
    assert (first[2], third[2], fourth[2]) == (2, 1, 1)


def test_hard_links_of_a_directory_stay(base: bytes, tree: Path) -> None:
    os.link(tree / "data", tree / "bin/again")
    files = _files(base, {"/srv/app": tree})

    first, second, other = _names(
        files, b"/srv/app/data", b"/srv/app/bin/again", b"/srv/app/bin/tool"
    )

    assert first == second
    assert (first[2], other[2]) == (2, 1)
    status = files.status(b"/srv/app/bin/tool")
    assert status is not None
    assert status.kind is FileKind.FILE
