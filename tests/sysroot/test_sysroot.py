"""Tests of sysroot.py: what a tree is made of, and what it must never be made of."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE
from packages import SUITE, Repository
from scratch_image.errors import EngineError, InputError, ScratchImageError, SysrootError
from scratch_image.fs import owners
from scratch_image.fs.capabilities import attribute
from scratch_image.fs.overlay import Overlay
from scratch_image.fs.root import Aspect, Root
from scratch_image.image import compression, tar_header
from scratch_image.sandbox import process
from scratch_image.sysroot import sysroot
from scratch_image.sysroot.sysroot import Archive, EngineImage, Origin, Packages
from tars import member, packed

LOADER = member("lib64/ld-linux-x86-64.so.2")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Repository, Packages]:
    """Make a repository of our own; give it, and the one package that is asked of it."""
    repository = Repository(tmp_path / "repository")
    found = os.fsencode(repository.tools) + b":" + process.SEARCH_PATH
    monkeypatch.setattr(process, "SEARCH_PATH", found)
    lock = os.fsencode(tmp_path / "x.lock")
    return repository, Packages(SUITE, ("hello",), (repository.mirror,), lock=lock)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[bytes]:
    """Give the path of a tree beside which nothing half-made may be left."""
    (tmp_path / "out").mkdir()
    yield os.fsencode(tmp_path / "out/x.root")
    assert set(os.listdir(tmp_path / "out")) <= {"x.root", "x.root.owners"}


def make(origin: Origin, tree: bytes, *sources: bytes, root: Root | None = None) -> sysroot.Made:
    """Make the tree, and write what belongs to it, as the step does."""
    with sysroot.unpacked(origin, tree, root or Root(), sources) as made:
        for path, text in made.files.items():
            Path(os.fsdecode(path)).write_bytes(text)
    return made


# Archives


@pytest.mark.parametrize("suffix", list(compression.MEDIA_TYPES))
def test_archive_is_unpacked_without_its_devices(tmp_path: Path, tree: bytes, suffix: str) -> None:
    archive = packed(
        tmp_path, LOADER, member("dev/null", tarfile.CHRTYPE), member("etc/x"), suffix=suffix
    )

    made = make(Archive("x"), tree, archive)

    assert made.paths == 5
    assert sorted(os.listdir(tree)) == [b"etc", b"lib64"]
    assert (Path(os.fsdecode(tree)) / "etc/x").read_text() == "etc/x"


def test_tree_takes_the_place_of_the_one_before(tmp_path: Path, tree: bytes) -> None:
    make(Archive("x"), tree, packed(tmp_path, LOADER, member("old/x")))
    os.mkdir(sysroot.temporary(tree))  # A build that was killed left it.

    make(Archive("x"), tree, packed(tmp_path, LOADER, member("new")))

    assert sorted(os.listdir(tree)) == [b"lib64", b"new"]


def test_same_members_give_the_same_digest(tmp_path: Path, tree: bytes) -> None:
    one = make(Archive("x"), tree, packed(tmp_path, LOADER, member("a"), member("b")))
    same = make(Archive("x"), tree, packed(tmp_path, member("b"), member("a"), LOADER))
    other = make(Archive("x"), tree, packed(tmp_path, LOADER, member("a"), member("c")))

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

    as_nobody(tmp_path, lambda: make(Archive("x"), tree, archive))

    assert os.lstat(tree + b"/etc/shadow").st_uid == 65534
    root = Root(tree, owners=owners.read(sysroot.owners_file(tree)))
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

    make(Archive("x"), tree, archive)

    found = Root(tree, owners=owners.read(sysroot.owners_file(tree)))
    assert os.listxattr(tree + b"/usr/bin/ping") == []
    assert found.capabilities(b"/usr/bin/ping") == "cap_net_raw=ep"
    assert Overlay(found, b"/project").capabilities(b"/usr/bin/ping") == "cap_net_raw=ep"
    assert found.capabilities(b"/usr/bin/su") == ""
    for path, mode in ((b"/usr/bin/su", 0o4755), (b"/usr/bin/wall", 0o2755)):
        assert os.lstat(tree + path).st_mode & 0o7777 == 0o755
        status = found.status(path)
        assert status is not None
        assert status.mode == mode


def as_nobody(directory: Path, act: Callable[[], object]) -> None:
    """Let a child process `act` as an ordinary user, to whom `directory` becomes open."""
    directory.chmod(0o755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            act()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        pytest.param([member("/etc/x")], "/etc/x leads out of the root", id="absolute"),
        pytest.param([member("../x")], "../x leads out of the root", id="dots"),
        pytest.param([member("l", tarfile.SYMTYPE, "../../outside"), member("l/x")],
                     "/l/x lies below /l, which is no directory", id="through a link"),
        pytest.param([member("h", tarfile.LNKTYPE, "../outside/x")],
                     "../outside/x leads out of the root", id="hard link out"),
        pytest.param([member("x", size=5000)], "unexpected end of data", id="cut off"),
        pytest.param([b"x" * 512], "invalid header", id="no tar"),
    ],
)  # fmt: skip
def test_hostile_archive_is_refused_and_writes_nothing_outside(
    tmp_path: Path, tree: bytes, members: list[bytes], cause: str
) -> None:
    make(Archive("x"), tree, packed(tmp_path, LOADER, member("before")))
    (tmp_path / "outside").mkdir()

    with pytest.raises(SysrootError) as error:
        make(Archive("rootfs.tar"), tree, packed(tmp_path, *members))

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
        make(Archive("rootfs.tar"), tree, packed(tmp_path, *members))

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
            make(Archive("x"), os.fsencode(small / "x.root"), archive)
        left = os.listdir(small)
    finally:
        subprocess.run(["umount", small], check=True)

    assert left == []


# Directories


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


# Images


def test_image_is_exported_by_tag_and_digest(engine: str, tmp_path: Path, tree: bytes) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    rootfs = packed(tmp_path, LOADER, member("etc/x", mode=0o640, uid=5, gid=6))
    docker = ["docker", "-H", engine]
    done = subprocess.run(
        [*docker, "import", rootfs, "example/base:1"], capture_output=True, text=True, check=True
    )
    root, other = Root(), Root()

    by_tag = make(EngineImage(engine, "example/base:1"), tree, root=root)
    found = os.lstat(tree + b"/etc/x")
    by_id = make(EngineImage(engine, done.stdout.strip()), tree, root=other)

    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o640, 5, 6)
    assert by_tag.content == by_id.content
    assert root.looked == {(f"{engine} example/base:1".encode(), Aspect.IMAGE)}
    assert other.looked == set()
    left = subprocess.run([*docker, "ps", "-aq"], capture_output=True, check=True)
    assert left.stdout == b""


def test_image_that_the_engine_does_not_have(engine: str, tree: bytes) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")

    with pytest.raises(EngineError) as error:
        make(EngineImage(engine, "example/none:1"), tree)

    assert str(error.value) == (
        f"cannot export image example/none:1: engine at {engine} has none of that name; "
        "pull or load it"
    )


# Packages


def test_locked_packages_give_the_same_tree(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes
) -> None:
    repository, packages = small
    root = Root()
    first = make(packages, tree, root=root)
    repository.publish("hello", "2.0", {"usr/share/hello": "newer"})

    again = make(packages, tree)
    newer = make(replace(packages, lock=b""), tree)

    assert (again.content, again.paths) == (first.content, first.paths)
    assert {*first.files} - {*again.files} == {os.fsencode(tmp_path / "x.lock")}
    assert newer.content != first.content
    assert (packages.lock, Aspect.CONTENT) in root.looked
    assert (tmp_path / "x.lock").read_text() == (
        f"# scratch_image lock 1\nsuite small\nmirror {repository.mirror}\nasked hello\n"
        "hello=1.0\nsystem=1\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="for other users it has one of its own anyway")
def test_what_mmdebstrap_mounts_ends_with_it(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes
) -> None:
    repository, packages = small
    wrapper = repository.tools / "mmdebstrap"
    noting = f"#!/bin/sh\nreadlink /proc/self/ns/mnt /proc/self/ns/pid >{tmp_path}/namespaces\n"
    wrapper.write_text(noting + wrapper.read_text())

    make(packages, tree)

    theirs = (tmp_path / "namespaces").read_text().split()
    assert not {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid")} & {*theirs}


BUILDER = """\
from scratch_image.sandbox import process
from scratch_image.fs import root
from scratch_image.sysroot import sysroot
from scratch_image.errors import SysrootError
process.SEARCH_PATH = b"{tools}:" + process.SEARCH_PATH
packages = sysroot.Packages("{suite}", ("hello",), ("{mirror}",))
try:
    with sysroot.unpacked(packages, b"{tree}", root.Root(), ()) as made:
        print(made.content)
except SysrootError as error:
    print(error)
"""

AS_NOBODY = """\
mount --bind {numbers} /etc/subuid && mount --bind {numbers} /etc/subgid &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""
"""For a mount namespace: nobody has these numbers of others, and builds."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("numbers", ["nobody:100000:65536\n", ""], ids=["numbers", "no numbers"])
def test_packages_of_an_ordinary_user(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes, numbers: str
) -> None:
    repository, packages = small
    made = make(packages, tree)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 65534, 65534)
    tmp_path.chmod(0o755)
    (tmp_path / "numbers").write_text(numbers)
    builder = BUILDER.format(
        tools=repository.tools,
        suite=SUITE,
        mirror=repository.mirror,
        tree=tmp_path / "theirs/x.root",
    )

    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", AS_NOBODY.format(numbers=tmp_path / "numbers"), "sh",
         sys.executable, "-B", "-c", builder],
        env={"PYTHONPATH": str(PACKAGE.parent), "TMPDIR": "/tmp"}, cwd="/", capture_output=True,
        text=True,
    )  # fmt: skip

    told = (
        "cannot make sysroot of packages hello of small: unable to pick chroot mode automatically "
        "(use --mode for manual selection); apt-get install uidmap, and give the user numbers in "
        "/etc/subuid and /etc/subgid"
    )
    assert ran.stdout == (f"{made.content}\n" if numbers else f"{told}\n"), ran.stderr


def test_lock_that_resolves_no_longer(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes
) -> None:
    repository, packages = small
    first = make(packages, tree)
    repository.publish("hello", "2.0", {"usr/share/hello": "newer"})
    repository.withdraw("hello", "1.0")

    with pytest.raises(SysrootError) as error:
        make(packages, tree)

    lock = tmp_path / "x.lock"
    assert str(error.value) == (
        "cannot make sysroot of packages hello of small: Version '1.0' for 'hello' was not found; "
        f"delete {lock} to lock anew, or name a mirror that has these versions"
    )
    assert lock.read_bytes() == first.files[packages.lock]
    assert Path(os.fsdecode(tree), "usr/share/hello").read_text() == "hello\n"


HEAD = "# scratch_image lock 1\nsuite small\nmirror {mirror}\nasked hello\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "cannot read lock {lock}: it is not one; ", id="empty"),
        pytest.param(HEAD + "dash\n", "cannot read lock {lock}: it is not one; ", id="no version"),
        pytest.param(HEAD.replace("small", "trixie") + "dash=1\n",
                     "cannot use lock {lock}: it has no line 'suite small'; ", id="other suite"),
        pytest.param(HEAD.replace("asked", "asked more") + "dash=1\n",
                     "cannot use lock {lock}: it has no line 'asked hello'; ", id="other packages"),
        pytest.param(HEAD + "mirror http://a/b\ndash=1\n",
                     "cannot use lock {lock}: it has the line 'mirror http://a/b'; ",
                     id="mirror more"),
    ],
)  # fmt: skip
def test_lock_that_cannot_be_used(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes, text: str, message: str
) -> None:
    repository, packages = small
    lock = tmp_path / "x.lock"
    text = text.format(mirror=repository.mirror)
    lock.write_text(text)

    with pytest.raises(ScratchImageError) as error:
        make(packages, tree)

    assert str(error.value).startswith(message.format(lock=lock))
    assert "; delete " in str(error.value)
    assert lock.read_text() == text


def test_packages_of_two_mirrors_for_a_named_architecture(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes
) -> None:
    repository, packages = small
    other = Repository(tmp_path / "other")
    other.publish("more", "3", {"usr/share/more": "more"})
    mirrors = (f"deb [trusted=yes] {other.mirror} small main", repository.mirror)
    both = replace(packages, names=("hello", "more"), mirrors=mirrors, architecture="amd64")

    first = make(both, tree)

    assert make(both, tree).content == first.content
    assert (tmp_path / "x.lock").read_text() == (
        "# scratch_image lock 1\nsuite small\narchitecture amd64\n"
        f"mirror {repository.mirror}\nmirror {mirrors[0]}\nasked hello more\n"
        "hello=1.0\nmore=3\nsystem=1\n"
    )


def test_lock_that_is_not_what_was_installed(
    small: tuple[Repository, Packages], tmp_path: Path, tree: bytes
) -> None:
    _, packages = small
    make(packages, tree)
    lock = tmp_path / "x.lock"
    lock.write_text(lock.read_text() + "zz=1\n")

    with pytest.raises(SysrootError) as error:
        packages.settle(tree)

    assert str(error.value) == (
        "cannot make sysroot of packages hello of small: zz=1 is only in the lock, or only "
        f"installed; delete {lock} to lock anew, or name a mirror that has these versions"
    )


def test_tree_without_packages_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(SysrootError) as error:
        sysroot.installed(os.fsencode(tmp_path))

    assert str(error.value) == (
        f"cannot lock {tmp_path}: it has no /var/lib/dpkg/status; lock no such tree"
    )


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        pytest.param(Packages("nosuch", ("dash",)),
                     "packages dash of nosuch: The repository 'http://deb.debian.org/debian nosuch "
                     "Release' does not have a Release file; correct suite, packages or mirror",
                     id="suite"),
        pytest.param(Packages("bookworm", ("no-such-package",)),
                     "packages no-such-package of bookworm: Unable to locate package "
                     "no-such-package; correct suite, packages or mirror", id="package"),
        pytest.param(Packages("bookworm", ("dash",), architecture="s390x"),
                     "packages dash of bookworm for s390x: s390x can neither be executed natively "
                     "nor via qemu user emulation with binfmt_misc; name it by dpkg's word, and have what runs it "
                     "registered, as by qemu-user-static", id="architecture"),
    ],
)  # fmt: skip
def test_unknown_suite_package_or_architecture(tree: bytes, origin: Origin, told: str) -> None:
    with pytest.raises(SysrootError) as error:
        make(origin, tree)

    assert str(error.value) == f"cannot make sysroot of {told}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hides a tool")
def test_tool_that_mmdebstrap_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tree: bytes
) -> None:
    hide = "mount --bind /dev/null /usr/bin/arch-test"
    wrapper = (
        f'#!/bin/sh\nexec unshare -m sh -c \'{hide} && exec /usr/bin/mmdebstrap "$@"\' sh "$@"\n'
    )
    (tmp_path / "mmdebstrap").write_text(wrapper)
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setattr(process, "SEARCH_PATH", os.fsencode(tmp_path) + b":" + process.SEARCH_PATH)

    with pytest.raises(SysrootError) as error:
        make(Packages("bookworm", ("dash",), architecture="s390x"), tree)

    assert str(error.value) == (
        "cannot make sysroot of packages dash of bookworm for s390x: install arch-test for foreign "
        "architecture support; apt-get install arch-test"
    )


@pytest.mark.parametrize(
    ("suite", "names", "mirror", "cause"),
    [
        pytest.param("--x", ("a",), "http://a/b", "'--x' is no suite; correct it", id="suite"),
        pytest.param("x", ("a,b",), "http://a/b", "'a,b' is no package; correct it", id="package"),
        pytest.param("x", ("a",), "--hook", "'--hook' is no mirror; correct it", id="mirror"),
        pytest.param(
            "x",
            ("a",),
            "deb http://a/b",
            "'deb http://a/b' is no mirror; correct it",
            id="source without a suite",
        ),
        pytest.param("x", (), "http://a/b", "none is named; name some", id="no package"),
    ],
)
def test_what_mmdebstrap_would_take_for_options(
    suite: str, names: tuple[str, ...], mirror: str, cause: str
) -> None:
    with pytest.raises(InputError) as error:
        Packages(suite, names, (mirror,))

    assert str(error.value) == f"cannot make sysroot of packages: {cause}"


def test_missing_tool_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tree: bytes
) -> None:
    monkeypatch.setattr(process, "SEARCH_PATH", os.fsencode(tmp_path))

    with pytest.raises(SysrootError) as error:
        make(Packages("bookworm", ("dash",)), tree)

    assert str(error.value) == (
        "cannot make sysroot of packages: there is no mmdebstrap; apt-get install mmdebstrap"
    )


def test_packages_that_take_too_long(monkeypatch: pytest.MonkeyPatch, tree: bytes) -> None:
    monkeypatch.setattr(sysroot, "_SECONDS", 0.05)

    with pytest.raises(SysrootError, match="it did not end in time"):
        make(Packages("bookworm", ("dash",)), tree)
