"""Trees of sysroots: how one takes its place, and which ones are refused."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from scratch_image.errors import SysrootError
from scratch_image.fs import unpacked_tree
from scratch_image.fs.capabilities import attribute
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Root, WatchedFileSystem
from scratch_image.image import tar_header
from scratch_image.sysroot import sysroot
from scratch_image.sysroot.origin import TarOrigin
from tars import member, packed
from trees import LOADER, as_nobody, make


def test_tree_takes_the_place_of_the_one_before(tmp_path: Path, tree: bytes) -> None:
    make(TarOrigin("x"), tree, packed(tmp_path, LOADER, member("old/x")))
    os.mkdir(sysroot.temporary_tree(tree))  # A build that was killed left it.

    make(TarOrigin("x"), tree, packed(tmp_path, LOADER, member("new")))

    assert sorted(os.listdir(tree)) == [b"lib64", b"new"]


def test_same_members_give_the_same_digest(tmp_path: Path, tree: bytes) -> None:
    one = make(TarOrigin("x"), tree, packed(tmp_path, LOADER, member("a"), member("b")))
    same = make(TarOrigin("x"), tree, packed(tmp_path, member("b"), member("a"), LOADER))
    other = make(TarOrigin("x"), tree, packed(tmp_path, LOADER, member("a"), member("c")))

    assert one.content == same.content != other.content


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_owners_and_modes_are_kept_for_an_ordinary_user(tmp_path: Path) -> None:
    archive = packed(
        tmp_path,
        LOADER,
        member("etc/shadow", mode=0o040, gid=42),
        member("usr/bin/su", mode=0o4755),
        member("home/me", tarfile.DIRTYPE, mode=0o700, uid=1000, gid=1000),
        member("home/me/link", tarfile.SYMTYPE, "x", mode=0o777, uid=1000, gid=1000),
    )
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 65534, 65534)
    tree = os.fsencode(out / "x.root")

    as_nobody(tmp_path, lambda: make(TarOrigin("x"), tree, archive))

    assert os.lstat(tree + b"/etc/shadow").st_uid == 65534
    root = Root(
        WatchedFileSystem(tree, owners=unpacked_tree.read_owners(sysroot.owners_file(tree)))
    )
    found = {}
    for path in (b"/etc/shadow", b"/usr/bin/su", b"/home/me", b"/home/me/link", b"/lib64"):
        status = root.status(path)
        assert status is not None
        found[path] = (status.mode, status.uid, status.gid)
    assert found == {
        b"/etc/shadow": (0o040, 0, 42),
        b"/usr/bin/su": (0o4755, 0, 0),
        b"/home/me": (0o700, 1000, 1000),
        b"/home/me/link": (0o777, 1000, 1000),
        b"/lib64": (0o755, 0, 0),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="for other users it is in the record anyway")
def test_nobody_gets_privileges_by_a_tree(tmp_path: Path, tree: bytes) -> None:
    archive = packed(
        tmp_path,
        LOADER,
        member("usr/bin/su", mode=0o4755),
        member("usr/bin/wall", mode=0o2755, gid=5),
        tar_header.format_header(
            b"usr/bin/ping", mode=0o755, capabilities=attribute("cap_net_raw=ep")
        ),
    )

    make(TarOrigin("x"), tree, archive)

    found = Root(
        WatchedFileSystem(tree, owners=unpacked_tree.read_owners(sysroot.owners_file(tree)))
    )
    assert os.listxattr(tree + b"/usr/bin/ping") == []
    assert found.capabilities(b"/usr/bin/ping") == "cap_net_raw=ep"
    assert Overlay(found, b"/project").capabilities(b"/usr/bin/ping") == "cap_net_raw=ep"
    assert found.capabilities(b"/usr/bin/su") == ""
    for path, mode in ((b"/usr/bin/su", 0o4755), (b"/usr/bin/wall", 0o2755)):
        assert os.lstat(tree + path).st_mode & 0o7777 == 0o755
        status = found.status(path)
        assert status is not None
        assert status.mode == mode


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        pytest.param([member("/etc/x")], "/etc/x leads out of the root", id="absolute"),
        pytest.param([member("../x")], "../x leads out of the root", id="dots"),
        pytest.param([member("l", tarfile.SYMTYPE, "../../outside"), member("l/x")],
                     "/l/x lies below /l, which is not a directory", id="through a link"),
        pytest.param([member("h", tarfile.LNKTYPE, "../outside/x")],
                     "../outside/x leads out of the root", id="hard link out"),
        pytest.param([member("x", size=5000)], "it is not a whole tar (unexpected end of data)", id="cut off"),
        pytest.param([b"x" * 512], "it is not a whole tar (invalid header)", id="no tar"),
    ],
)  # fmt: skip
def test_hostile_archive_is_refused_and_writes_nothing_outside(
    tmp_path: Path, tree: bytes, members: list[bytes], cause: str
) -> None:
    make(TarOrigin("x"), tree, packed(tmp_path, LOADER, member("before")))
    (tmp_path / "outside").mkdir()

    with pytest.raises(SysrootError) as error:
        make(TarOrigin("rootfs.tar"), tree, packed(tmp_path, *members))

    assert str(error.value) == (
        f"cannot unpack archive rootfs.tar: {cause}; give the tar of a whole root file system"
    )
    assert os.listdir(tmp_path / "outside") == []
    assert sorted(os.listdir(tree)) == [b"before", b"lib64"]


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        pytest.param([], "it is empty", id="empty"),
        pytest.param([member("etc/x")], "it has no loader, as /lib64/ld-linux-x86-64.so.2",
                     id="no loader"),
    ],
)  # fmt: skip
def test_archive_in_which_nothing_runs(
    tmp_path: Path, tree: bytes, members: list[bytes], cause: str
) -> None:
    with pytest.raises(SysrootError) as error:
        make(TarOrigin("rootfs.tar"), tree, packed(tmp_path, *members))

    assert str(error.value) == (
        f"cannot use sysroot of archive rootfs.tar: {cause}; give it the C library, as by libc6"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    archive = packed(tmp_path, LOADER, *(member(f"{at}/" + "x" * 200) for at in range(300)))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", small], check=True)
    try:
        with pytest.raises(OSError, match="No space left on device"):
            make(TarOrigin("x"), os.fsencode(small / "x.root"), archive)
        left = os.listdir(small)
    finally:
        subprocess.run(["umount", small], check=True)

    assert left == []


def _nothing(directory: Path) -> None:
    directory.rmdir()


def _without_loader(directory: Path) -> None:
    (directory / "lib").mkdir()
    (directory / "lib/libc.so.6").write_text("")
    (directory / "lib/ld-linux.so.2").symlink_to("/none")
    (directory / "lib64").write_text("")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        pytest.param(lambda _: None, "it is empty; give it the C library, as by libc6", id="empty"),
        pytest.param(_nothing, "No such file or directory; name a directory that can be listed",
                     id="missing"),
        pytest.param(_without_loader, "it has no loader, as /lib64/ld-linux-x86-64.so.2; give it "
                     "the C library, as by libc6", id="no loader"),
    ],
)  # fmt: skip
def test_directory_in_which_nothing_runs(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    (tmp_path / "root").mkdir()
    spoil(tmp_path / "root")

    with pytest.raises(SysrootError) as error:
        sysroot.check(os.fsencode(tmp_path / "root"), "base")

    assert str(error.value) == f"cannot use sysroot base: {told}"


def test_loader_behind_links_of_the_tree_is_found(tmp_path: Path) -> None:
    (tmp_path / "usr/lib/musl").mkdir(parents=True)
    (tmp_path / "usr/lib/musl/libc.so").write_text("")
    (tmp_path / "usr/lib/ld-musl-aarch64.so.1").symlink_to("/usr/lib/musl/libc.so")
    (tmp_path / "lib").symlink_to("usr/lib")

    sysroot.check(os.fsencode(tmp_path), "base")
