from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs import unpacked_tree
from scratch_image.fs.root import Aspect, Root, WatchedFileSystem
from scratch_image.fs.unpacked_tree import BaseImage, Owners


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(Owners(), id="nothing"),
        pytest.param(Owners(roots=True), id="all root's"),
        pytest.param(Owners(listed={b"/b \n\xff\\": (0o4711, 1, 2), b"/a": (0, 0, 0)}), id="odd names"),
        pytest.param(Owners(roots=True, listed={b"/": (0o755, 33, 4294967295)}), id="both"),
        pytest.param(Owners(listed={b"/a b": (0, 0, 0)},
                            capabilities={b"/a b": "cap_kill=i cap_net_raw=ip"}), id="capabilities"),
    ],
)  # fmt: skip
def test_record_is_read_as_written(tmp_path: Path, record: Owners) -> None:
    (tmp_path / "x").write_bytes(record.text())

    assert unpacked_tree.read_owners(os.fsencode(tmp_path / "x")) == record


def test_where_there_is_no_record_the_file_system_has_kept_all(tmp_path: Path) -> None:
    record = unpacked_tree.read_owners(os.fsencode(tmp_path / "none"))

    assert record.true(b"/x", 0o640, 5, 6) == (0o640, 5, 6)


def test_listed_paths_have_what_is_listed_and_others_are_roots() -> None:
    record = Owners(roots=True, listed={b"/x": (0o4755, 3, 4)})

    assert record.true(b"/x", 0o700, 1000, 1000) == (0o4755, 3, 4)
    assert record.true(b"/y", 0o700, 1000, 1000) == (0o700, 0, 0)


WHOLE_OWNERS = (
    b'{"format":"scratch_image owners 2","values":{"capabilities":{%b},"listed":{%b},"roots":%b}}'
)
OWNED = b'"/x":[493,0,0]'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"# scratch_image owners 1\n/x 0755 0:0\n", id="older version"),
        pytest.param((WHOLE_OWNERS % (b"", OWNED, b"true"))[:-1], id="cut off"),
        pytest.param(WHOLE_OWNERS % (b"", b'"x":[493,0,0]', b"true"), id="relative"),
        pytest.param(WHOLE_OWNERS % (b"", b'"/x/../y":[493,0,0]', b"true"), id="not plain"),
        pytest.param(WHOLE_OWNERS % (b"", b'"/x":[4096,0,0]', b"true"), id="no mode"),
        pytest.param(WHOLE_OWNERS % (b"", b'"/x":[493.5,0,0]', b"true"), id="half a mode"),
        pytest.param(WHOLE_OWNERS % (b"", b'"/x":[493,0,-1]', b"true"), id="no group"),
        pytest.param(WHOLE_OWNERS % (b"", b'"/x":[493,0,0,0]', b"true"), id="more numbers"),
        pytest.param(WHOLE_OWNERS % (b"", b'"/x":"755"', b"true"), id="no numbers"),
        pytest.param(WHOLE_OWNERS % (b'"/x":"cap_none=p"', b"", b"true"), id="no capability"),
        pytest.param(WHOLE_OWNERS % (b'"/x":7', b"", b"true"), id="no text"),
        pytest.param(WHOLE_OWNERS % (b"", b"", b"1"), id="no truth value"),
    ],
)
def test_a_damaged_record_is_an_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.owners"
    path.write_bytes(text)

    with pytest.raises(InputError) as error:
        unpacked_tree.read_owners(os.fsencode(path))

    assert str(error.value) == (
        f"cannot read owners {path}: it is damaged; delete it and build again"
    )


def test_only_what_was_not_kept_is_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "other").write_text("")
    (tmp_path / "other").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    me = (os.geteuid(), os.getegid())
    wanted = {b"/file": (0o640, *me), b"/other": (0o000, *me), b"/link": (0o755, *me)}

    record = unpacked_tree.lost_owners(os.fsencode(tmp_path), wanted, {b"/file": "cap_kill=p"})

    for path, one in wanted.items():
        found = os.lstat(os.fsencode(tmp_path) + path)
        true = record.true(path, found.st_mode & 0o7777, found.st_uid, found.st_gid)
        assert true[1:] == one[1:]
    assert record.listed[b"/other"] == wanted[b"/other"]
    assert record.capabilities == {b"/file": "cap_kill=p"}
    assert os.geteuid() != 0 or list(record.listed) == [b"/other"]


IMAGE = BaseImage("image x:1", {"User": '"33"', "Env.A": '"b"'}, 3, 1 << 40, 0)


def test_image_is_read_as_written(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(IMAGE.text())

    assert unpacked_tree.read_image(os.fsencode(tmp_path / "x")) == IMAGE
    assert unpacked_tree.read_image(os.fsencode(tmp_path / "none")) == BaseImage()


WHOLE_IMAGE = '{"format":"scratch_image image 1","values":{"name":%s,"settings":%s,"sizes":%s}}'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(WHOLE_IMAGE % ("1", "{}", "[1,2,3]"), id="name"),
        pytest.param(WHOLE_IMAGE % ('"x"', '{"User":33}', "[1,2,3]"), id="setting"),
        pytest.param(WHOLE_IMAGE % ('"x"', "[]", "[1,2,3]"), id="settings"),
        pytest.param(WHOLE_IMAGE % ('"x"', "{}", "[1,2]"), id="sizes"),
        pytest.param(WHOLE_IMAGE % ('"x"', "{}", '[1,2,"3"]'), id="size"),
    ],
)
def test_damaged_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)

    with pytest.raises(InputError) as error:
        unpacked_tree.read_image(os.fsencode(path))

    assert str(error.value) == (
        f"cannot read image {path}: it is damaged; delete it and build again"
    )


def test_settings_that_are_looked_at_go_on_record() -> None:
    root = Root(WatchedFileSystem(b"/", image=IMAGE))

    assert (root.setting("User"), root.setting("Cmd")) == ('"33"', "")
    assert root.looked == {(b"User", Aspect.SETTING), (b"Cmd", Aspect.SETTING)}
    assert root.files.image == IMAGE
