"""Tests of unpack.py: hostile layers."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest
from scratch_image.errors import SandboxError
from scratch_image.image import compression
from scratch_image.sandbox import namespaces
from scratch_image.sysroot import image_root, unpack
from tars import member, packed

LONG = "p" * 120 + "/" + "q" * 120


# Unpacking


@pytest.mark.parametrize("suffix", list(compression.MEDIA_TYPES))
def test_members_have_their_kind_content_mode_and_time(tmp_path: Path, suffix: str) -> None:
    path = packed(
        tmp_path,
        member("./", tarfile.DIRTYPE, mode=0o750),
        member("d", tarfile.DIRTYPE, mode=0o500),
        member("d/f", mode=0o4711, mtime=1234),
        member("d/hard", tarfile.LNKTYPE, "d/f"),
        member("d/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("odd \udcff\n", mode=0),
        member(LONG),
        suffix=suffix,
    )

    with image_root.unpacked_layers([path]) as sandbox:
        names = ("", "d", "d/f", "d/hard", "odd \udcff\n")
        found = {name: os.lstat(join(sandbox, name)) for name in names}
        text = Path(os.fsdecode(join(sandbox, LONG))).read_text()
        target = os.readlink(join(sandbox, "d/link"))

    modes = [stat.S_IMODE(found[name].st_mode) for name in names]
    assert modes == [0o750, 0o500, 0o4711, 0o4711, 0]
    assert (found["d/f"].st_mtime, found["d/f"].st_size) == (1234, 3)
    assert found["d/hard"].st_ino == found["d/f"].st_ino
    assert (text, target) == (LONG, b"/etc/passwd")


def join(sandbox: namespaces.Sandbox, name: str) -> bytes:
    return sandbox.root + b"/" + os.fsencode(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_are_kept_for_root(tmp_path: Path) -> None:
    path = packed(tmp_path, member("f", uid=33, gid=44), member("l", tarfile.SYMTYPE, "f", uid=5))

    with image_root.unpacked_layers([path]) as sandbox:
        file, link = os.lstat(join(sandbox, "f")), os.lstat(join(sandbox, "l"))

    assert (file.st_uid, file.st_gid, link.st_uid) == (33, 44, 5)


def test_later_members_and_layers_take_the_place_of_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    one = packed(
        tmp_path, member("d/f", tarfile.SYMTYPE, "/etc/passwd"), member("d/f"), member("g")
    )
    two = packed(
        tmp_path / "two",
        member("d", tarfile.DIRTYPE, mode=0o700),
        member("g", tarfile.SYMTYPE, "f"),
    )

    with image_root.unpacked_layers([one, two]) as sandbox:
        kept = Path(os.fsdecode(join(sandbox, "d/f"))).read_text()
        mode = stat.S_IMODE(os.lstat(join(sandbox, "d")).st_mode)
        link = os.readlink(join(sandbox, "g"))

    assert (kept, mode, link) == ("d/f", 0o700, b"f")


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        pytest.param([member("/etc/x")], "/etc/x leads out of the root", id="absolute"),
        pytest.param([member("a/../../x")], "a/../../x leads out of the root", id="dots"),
        pytest.param([member("x", tarfile.LNKTYPE, "../../etc/passwd")],
                     "../../etc/passwd leads out of the root", id="hard link out"),
        pytest.param([member("x", tarfile.LNKTYPE, "etc/passwd")],
                     "/x is another name of /etc/passwd, which is not a file", id="hard link to nothing"),
        pytest.param([member("x"), member("x", tarfile.LNKTYPE, "x")],
                     "/x is another name of /x, which is not a file", id="hard link to itself"),
        pytest.param([member("l", tarfile.SYMTYPE, "/etc"), member("h", tarfile.LNKTYPE, "l")],
                     "/h is another name of /l, which is not a file", id="hard link to a link"),
        pytest.param([member("l", tarfile.SYMTYPE, "../../outside"), member("l/x")],
                     "/l/x lies below /l, which is not a directory", id="through a link"),
        pytest.param([member("a/b", tarfile.SYMTYPE, "../../outside"), member("a/b/c/d", tarfile.DIRTYPE)],
                     "/a/b/c/d lies below /a/b, which is not a directory", id="directory through a link"),
        pytest.param([member("l", tarfile.SYMTYPE, "../../outside"), member("l/h", tarfile.LNKTYPE, "l")],
                     "/l/h lies below /l, which is not a directory", id="hard link through a link"),
        pytest.param([member("d", tarfile.DIRTYPE), member("d")],
                     "/d takes the place of a directory", id="file for a directory"),
        pytest.param([member("n", tarfile.CHRTYPE, devmajor=1, devminor=3)],
                     "/n is a device, a FIFO or a sparse file", id="character device"),
        pytest.param([member("n", tarfile.BLKTYPE)],
                     "/n is a device, a FIFO or a sparse file", id="block device"),
        pytest.param([member("n", tarfile.FIFOTYPE)],
                     "/n is a device, a FIFO or a sparse file", id="FIFO"),
        pytest.param([member("a/" * 3000)], "it has a name that no file can have", id="long name"),
        pytest.param([member("a/" * 500)], "it has a name that no file can have", id="deep name"),
        pytest.param([member("x", size=5000)], "it is not a whole tar (unexpected end of data)", id="cut off"),
        pytest.param([b"x" * 600], "", id="no tar"),
    ],
)  # fmt: skip
def test_hostile_layer_is_refused_and_writes_nothing_outside(
    tmp_path: Path, temporary: Path, members: list[bytes], cause: str
) -> None:
    (temporary / "outside").mkdir()
    path = packed(tmp_path, *members)

    with pytest.raises(SandboxError) as error, image_root.unpacked_layers([path]):
        pass

    assert str(error.value).startswith(f"cannot unpack layer {os.fsdecode(path)}: {cause}")
    assert str(error.value).endswith("; build it again, of files, links and directories only")
    (temporary / "outside").rmdir()


def test_image_whose_dev_is_a_link_is_refused(tmp_path: Path, temporary: Path) -> None:
    (temporary / "outside").mkdir()
    path = packed(tmp_path, member("dev", tarfile.SYMTYPE, "../../outside"))

    with pytest.raises(SandboxError) as error, image_root.unpacked_layers([path]):
        pass

    assert str(error.value) == (
        "cannot unpack image: /dev is not a directory; "
        "build it again, of files, links and directories only"
    )
    (temporary / "outside").rmdir()


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        pytest.param("proc", "/usr", "/proc is not a directory", id="proc"),
        pytest.param("dev/pts", "/usr", "/dev/pts is not a directory", id="terminals"),
        pytest.param("dev/null", "/bin/sh", "/dev/null is not a file", id="device"),
    ],
)
def test_links_where_the_kernels_trees_are_mounted_are_refused(
    tmp_path: Path, temporary: Path, path: str, text: str, what: str
) -> None:
    layer = packed(tmp_path, member(path, tarfile.SYMTYPE, text))

    with (
        pytest.raises(SandboxError, match=f"cannot unpack image: {what}; "),
        image_root.unpacked_layers([layer]),
    ):
        pass


def test_extended_headers_without_end_are_refused(tmp_path: Path, temporary: Path) -> None:
    header = member("pax_global_header", tarfile.XGLTYPE, size=0)
    layer = packed(tmp_path, *[header] * 3000)

    with (
        pytest.raises(SandboxError, match="cannot unpack layer "),
        image_root.unpacked_layers([layer]),
    ):
        pass


def test_directory_is_removed_however_deep(temporary: Path) -> None:
    top = temporary / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("directory", dir_fd=here)
        below = os.open("directory", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    unpack.remove(os.fsencode(top))

    assert not top.exists()


def test_closed_directories_are_removed_as_well(tmp_path: Path, temporary: Path) -> None:
    path = packed(tmp_path, member("a", tarfile.DIRTYPE, mode=0), member("a/b/c"))

    with pytest.raises(ZeroDivisionError), image_root.unpacked_layers([path]):
        assert os.listdir(temporary) != []
        raise ZeroDivisionError

    assert os.listdir(temporary) == []
