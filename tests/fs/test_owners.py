from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratch_image.errors import InputError
from scratch_image.fs import owners
from scratch_image.fs.owners import Owners


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

    assert owners.read(os.fsencode(tmp_path / "x")) == record


def test_record_is_sorted_and_escaped() -> None:
    text = Owners(roots=True, listed={b"/b c": (0o600, 1, 2), b"/a": (0, 0, 42)}).text()

    assert text == (b"# scratch_image owners 1\nall 0:0\n/a 0000 0:42\n/b\\040c 0600 1:2\n")


def test_where_there_is_no_record_the_file_system_has_kept_all(tmp_path: Path) -> None:
    record = owners.read(os.fsencode(tmp_path / "none"))

    assert record.true(b"/x", 0o640, 5, 6) == (0o640, 5, 6)


def test_listed_paths_have_what_is_listed_and_others_are_roots() -> None:
    record = Owners(roots=True, listed={b"/x": (0o4755, 3, 4)})

    assert record.true(b"/x", 0o700, 1000, 1000) == (0o4755, 3, 4)
    assert record.true(b"/y", 0o700, 1000, 1000) == (0o700, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"all 0:0\n", id="no header"),
        pytest.param(b"# scratch_image owners 2\n", id="other version"),
        pytest.param(b"# scratch_image owners 1\n/x 0755 0:0", id="cut off"),
        pytest.param(b"# scratch_image owners 1\nx 0755 0:0\n", id="relative"),
        pytest.param(b"# scratch_image owners 1\n/x 9999 0:0\n", id="no mode"),
        pytest.param(b"# scratch_image owners 1\n/x 0755 0:-1\n", id="no group"),
        pytest.param(b"# scratch_image owners 1\n/x 0755 0:0 \n", id="more words"),
        pytest.param(b"# scratch_image owners 1\n/x + cap_none=p\n", id="no capability"),
        pytest.param(b"# scratch_image owners 1\n/x + \\377\n", id="no text"),
        pytest.param(b"# scratch_image owners 1\n/x +\n", id="no capabilities"),
    ],
)
def test_what_is_no_record_is_an_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.owners"
    path.write_bytes(text)

    with pytest.raises(InputError) as error:
        owners.read(os.fsencode(path))

    assert str(error.value) == (
        f"cannot read owners {path}: it is not a whole record; delete it, and the sysroot is made "
        "anew"
    )


def test_only_what_was_not_kept_is_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "other").write_text("")
    (tmp_path / "other").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    me = (os.geteuid(), os.getegid())
    wanted = {b"/file": (0o640, *me), b"/other": (0o000, *me), b"/link": (0o755, *me)}

    record = owners.differing(os.fsencode(tmp_path), wanted, {b"/file": "cap_kill=p"})

    for path, one in wanted.items():
        found = os.lstat(os.fsencode(tmp_path) + path)
        true = record.true(path, found.st_mode & 0o7777, found.st_uid, found.st_gid)
        assert true[1:] == one[1:]
    assert record.listed[b"/other"] == wanted[b"/other"]
    assert record.capabilities == {b"/file": "cap_kill=p"}
    assert os.geteuid() != 0 or list(record.listed) == [b"/other"]
