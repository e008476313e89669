from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from lab import NO_ENGINE, PACKAGE
from packages import SUITE, Repository
from scratch_image.errors import EngineError, InputError, ScratchImageError, SysrootError
from scratch_image.fs.root import Aspect, Root
from scratch_image.image import compression
from scratch_image.sandbox import process
from scratch_image.sysroot import origin
from scratch_image.sysroot.origin import DebianOrigin, EngineOrigin, Origin, TarOrigin
from tars import member, packed
from trees import LOADER, make


@pytest.mark.parametrize("suffix", list(compression.MEDIA_TYPES))
def test_archive_is_unpacked_without_its_devices(tmp_path: Path, tree: bytes, suffix: str) -> None:
    archive = packed(
        tmp_path, LOADER, member("dev/null", tarfile.CHRTYPE), member("etc/x"), suffix=suffix
    )

    made = make(TarOrigin("x"), tree, archive)

    assert made.paths == 5
    assert sorted(os.listdir(tree)) == [b"etc", b"lib64"]
    assert (Path(os.fsdecode(tree)) / "etc/x").read_text() == "etc/x"


def test_image_is_exported_by_tag_and_digest(engine: str, tmp_path: Path, tree: bytes) -> None:
    if engine == NO_ENGINE:
        pytest.skip("no engine: dockerd needs root")
    rootfs = packed(tmp_path, LOADER, member("etc/x", mode=0o640, uid=5, gid=6))
    docker = ["docker", "-H", engine]
    done = subprocess.run(
        [*docker, "import", rootfs, "example/base:1"], capture_output=True, text=True, check=True
    )
    root, other = Root(), Root()

    by_tag = make(EngineOrigin(engine, "example/base:1"), tree, root=root)
    found = os.lstat(tree + b"/etc/x")
    by_id = make(EngineOrigin(engine, done.stdout.strip()), tree, root=other)

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
        make(EngineOrigin(engine, "example/none:1"), tree)

    assert str(error.value) == (
        f"cannot export image example/none:1: engine at {engine} has none of that name; "
        "pull or load it"
    )


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Repository, DebianOrigin]:
    """Make a repository of our own; give it, and an origin of its one package."""
    repository = Repository(tmp_path / "repository")
    found = os.fsencode(repository.tools) + b":" + process.SEARCH_PATH
    monkeypatch.setattr(process, "SEARCH_PATH", found)
    lock = os.fsencode(tmp_path / "x.lock")
    return repository, DebianOrigin(SUITE, ("hello",), (repository.mirror,), lock=lock)


def test_locked_packages_give_the_same_tree(
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes
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
def test_mounts_of_mmdebstrap_end_with_it(
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes
) -> None:
    repository, packages = small
    wrapper = repository.tools / "mmdebstrap"
    noting = f"#!/bin/sh\nreadlink /proc/self/ns/mnt /proc/self/ns/pid >{tmp_path}/namespaces\n"
    wrapper.write_text(noting + wrapper.read_text())

    make(packages, tree)

    theirs = (tmp_path / "namespaces").read_text().split()
    assert not {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "pid")} & {*theirs}


AS_NOBODY = """\
mount --bind {numbers} /etc/subuid && mount --bind {numbers} /etc/subgid &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""
"""For a mount namespace: the account `nobody` gets these subordinate numbers, and builds."""

HEAD = "# scratch_image lock 1\nsuite small\nmirror {mirror}\nasked hello\n"

BUILDER = """\
from scratch_image.sandbox import process
from scratch_image.fs import root
from scratch_image.sysroot import origin, sysroot
from scratch_image.errors import SysrootError
process.SEARCH_PATH = b"{tools}:" + process.SEARCH_PATH
packages = origin.DebianOrigin("{suite}", ("hello",), ("{mirror}",))
try:
    with sysroot.unpacked_tree(packages, b"{tree}", root.Root(), ()) as made:
        print(made.content)
except SysrootError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("numbers", ["nobody:100000:65536\n", ""], ids=["numbers", "no numbers"])
def test_packages_of_an_ordinary_user(
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes, numbers: str
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
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes
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
        f"delete {lock} to lock other versions, or name a mirror with these"
    )
    assert lock.read_bytes() == first.files[packages.lock]
    assert Path(os.fsdecode(tree), "usr/share/hello").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "cannot read lock {lock}: it is not a lock; ", id="empty"),
        pytest.param(HEAD + "dash\n", "cannot read lock {lock}: it is not a lock; ", id="no version"),
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
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes, text: str, message: str
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
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes
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
    small: tuple[Repository, DebianOrigin], tmp_path: Path, tree: bytes
) -> None:
    _, packages = small
    make(packages, tree)
    lock = tmp_path / "x.lock"
    lock.write_text(lock.read_text() + "zz=1\n")

    with pytest.raises(SysrootError) as error:
        packages.settle(tree)

    assert str(error.value) == (
        "cannot make sysroot of packages hello of small: zz=1 is only in the lock, or only "
        f"installed; delete {lock} to lock other versions, or name a mirror with these"
    )


def test_tree_without_packages_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(SysrootError) as error:
        origin.installed_packages(os.fsencode(tmp_path))

    assert str(error.value) == (
        f"cannot lock {tmp_path}: it has no /var/lib/dpkg/status; leave out lock"
    )


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        pytest.param(DebianOrigin("nosuch", ("dash",)),
                     "packages dash of nosuch: The repository 'http://deb.debian.org/debian nosuch "
                     "Release' does not have a Release file; correct suite, packages or mirror",
                     id="suite"),
        pytest.param(DebianOrigin("bookworm", ("no-such-package",)),
                     "packages no-such-package of bookworm: Unable to locate package "
                     "no-such-package; correct suite, packages or mirror", id="package"),
        pytest.param(DebianOrigin("bookworm", ("dash",), architecture="s390x"),
                     "packages dash of bookworm for s390x: s390x can neither be executed natively "
                     "nor via qemu user emulation with binfmt_misc; name it by dpkg's word, and install an emulator, "
                     "as qemu-user-static", id="architecture"),
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
        make(DebianOrigin("bookworm", ("dash",), architecture="s390x"), tree)

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
def test_words_that_mmdebstrap_would_take_for_options(
    suite: str, names: tuple[str, ...], mirror: str, cause: str
) -> None:
    with pytest.raises(InputError) as error:
        DebianOrigin(suite, names, (mirror,))

    assert str(error.value) == f"cannot make sysroot of packages: {cause}"


def test_missing_tool_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tree: bytes
) -> None:
    monkeypatch.setattr(process, "SEARCH_PATH", os.fsencode(tmp_path))

    with pytest.raises(SysrootError) as error:
        make(DebianOrigin("bookworm", ("dash",)), tree)

    assert str(error.value) == (
        "cannot make sysroot of packages: there is no mmdebstrap; apt-get install mmdebstrap"
    )


def test_packages_that_take_too_long(monkeypatch: pytest.MonkeyPatch, tree: bytes) -> None:
    monkeypatch.setattr(origin, "_SECONDS", 0.05)

    with pytest.raises(SysrootError, match="it did not end in time"):
        make(DebianOrigin("bookworm", ("dash",)), tree)
