"""Tests of unpacking.py: whole systems. test_unpack_layers.py has hostile layers."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scratch_image.errors import SandboxError
from scratch_image.fs import capabilities
from scratch_image.image import tar_header
from scratch_image.sysroot import image_root, unpack
from scratch_image.sysroot.unpack import Unpacking
from tars import member, packed


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Unpacking]:
    """Give a place for a whole system."""
    made = Unpacking(os.fsencode(tmp_path / "root"), whole_system=True)
    yield made
    unpack.remove(made.directory)


def put(into: Unpacking, *members: bytes) -> None:
    into.unpack(iter([*members, tar_header.END]))
    into.finish()


def test_devices_and_fifos_of_a_whole_system_are_left_out(whole: Unpacking) -> None:
    put(
        whole,
        member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("dev/loop", tarfile.BLKTYPE),
        member("run/pipe", tarfile.FIFOTYPE),
        member("dev/console"),
    )

    assert os.listdir(whole.directory) == [b"dev"]
    assert os.listdir(whole.directory + b"/dev") == [b"console"]


def test_who_unpacks_a_whole_system_can_read_it(whole: Unpacking) -> None:
    put(
        whole,
        member("d", tarfile.DIRTYPE, mode=0o050),
        member("d/f", mode=0o4011, uid=33, gid=44),
    )

    modes = [stat.S_IMODE(os.lstat(whole.directory + path).st_mode) for path in (b"/d", b"/d/f")]
    assert modes == [0o750, 0o611]
    assert whole.wanted[b"/d/f"] == (0o4011, 33, 44)
    assert whole.wanted[b"/d"] == (0o050, 0, 0)


def test_listing_tells_all_but_times(tmp_path: Path, whole: Unpacking) -> None:
    members = [
        member("b", mode=0o600, uid=1, gid=2),
        member("a", tarfile.SYMTYPE, "b"),
        member("c", tarfile.LNKTYPE, "b"),
    ]
    other = Unpacking(os.fsencode(tmp_path / "other"), whole_system=True)

    put(whole, *members)
    put(other, member("b", mode=0o600, uid=1, gid=2, mtime=5), *members[2:], members[1])

    assert list(whole.listing()) == list(other.listing())
    paths = [line.partition(b"\0")[0] for line in whole.listing()]
    assert paths == [b"/", b"/a", b"/b", b"/c"]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(member("x", mode=0o600), id="mode"),
        pytest.param(member("x", uid=1), id="user"),
        pytest.param(member("x", gid=1), id="group"),
        pytest.param(member("x", tarfile.SYMTYPE, "x"), id="kind"),
        pytest.param(member("y"), id="name and content"),
    ],
)
def test_listing_tells_of_a_change(tmp_path: Path, whole: Unpacking, changed: bytes) -> None:
    other = Unpacking(os.fsencode(tmp_path / "other"), whole_system=True)

    put(whole, member("x"))
    put(other, changed)

    assert list(whole.listing()) != list(other.listing())


def test_tar_that_is_cut_off_between_two_members_is_not_whole(whole: Unpacking) -> None:
    with pytest.raises(ValueError, match="the end of the tar is missing"):
        whole.unpack(iter([member("x"), member("y")]))


RAW = capabilities.attribute("cap_net_raw=ep")


def capable(name: str, attribute: bytes = RAW) -> bytes:
    """Return an empty member of a tar that has file capabilities."""
    return tar_header.format_header(name.encode(), mode=0o755, capabilities=attribute)


def test_capabilities_of_a_whole_system_are_told_and_not_given(
    tmp_path: Path, whole: Unpacking
) -> None:
    other = Unpacking(os.fsencode(tmp_path / "other"), whole_system=True)

    put(
        whole,
        capable("a"),
        tar_header.format_header(b"b", tar_header.HARD, link=b"a"),
        capable("c"),
        member("c"),
    )
    put(
        other,
        tar_header.format_header(b"a", mode=0o755),
        tar_header.format_header(b"b", tar_header.HARD, link=b"a"),
        member("c"),
    )

    assert whole.capabilities == dict.fromkeys((b"/a", b"/b"), "cap_net_raw=ep")
    assert os.listxattr(whole.directory + b"/a") == []
    assert list(whole.listing()) != list(other.listing())
    assert len(list(whole.listing())) == 4


def test_capabilities_that_are_none_are_an_error(whole: Unpacking) -> None:
    with pytest.raises(ValueError, match="they are of no known form"):
        whole.unpack(iter([capable("a", b"\n\xff"), tar_header.END]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_full_directory_for_what_is_temporary_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(tmp_path, *(member(f"file-{number}") for number in range(40)))
    small, large = tmp_path / "small", tmp_path / "large"
    large.mkdir()
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=True)
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with (
            pytest.raises(SandboxError) as caught,
            image_root.unpacked_layers([os.fsencode(tmp_path / "layer.tar")]),
        ):
            pass
        assert os.listdir(small) == []
        monkeypatch.setattr(tempfile, "tempdir", str(large))
        with image_root.unpacked_layers([os.fsencode(tmp_path / "layer.tar")]):
            pass
    finally:
        subprocess.run(["umount", small], check=True)

    assert str(caught.value) == (
        f"cannot unpack layer {tmp_path}/layer.tar below {small}: No space left on device; free "
        "some space there, or let TMPDIR name another directory"
    )
