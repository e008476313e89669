from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from packages import SUITE, Repository
from scratch_image.cache.directory_store import DirectoryStore
from scratch_image.cache.result import FilePieces
from scratch_image.cache.share import Share
from scratch_image.cache.shared_origin import SharedOrigin
from scratch_image.cache.signature import Signatures
from scratch_image.errors import SysrootError
from scratch_image.fs.root import Aspect, Root
from scratch_image.sandbox import process
from scratch_image.sysroot.origin import DebianOrigin
from trees import make


class Packages:
    """A repository, a cache, and an origin of its one package."""

    def __init__(self, directory: Path) -> None:
        self.repository = Repository(directory / "repository")
        self.cache = directory / "cache"
        self.lock = directory / "x.lock"
        self.log: list[str] = []

    def origin(self, **changes: str) -> SharedOrigin:
        lock = os.fsencode(self.lock)
        store = DirectoryStore(str(self.cache))
        share = Share("/cache", store, Signatures(), self.log.append, self.log.append)
        made = DebianOrigin(SUITE, ("hello",), (self.repository.mirror,), lock=lock)
        return SharedOrigin(made, share, changes.get("code", "code"))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: bytes) -> Packages:
    """Make a tree of packages, once with a new lock, and once with it."""
    made = Packages(tmp_path)
    found = os.fsencode(made.repository.tools) + b":" + process.SEARCH_PATH
    monkeypatch.setattr(process, "SEARCH_PATH", found)
    # Without a lock nothing is shared: the newest packages are meant.
    first = make(made.origin(), tree)
    assert not made.cache.exists()
    for path, text in first.files.items():
        Path(os.fsdecode(path)).write_bytes(text)
    make(made.origin(), tree)
    assert made.cache.exists()
    made.repository.withdraw("hello", "1.0")
    return made


@pytest.fixture
def tree(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path / "x.root")


def test_a_tree_of_locked_packages_comes_from_the_cache(packages: Packages, tree: bytes) -> None:
    origin, root = packages.origin(), Root()

    made = make(origin, tree, root=root)

    assert origin.note() == ", from the cache"
    assert str(origin) == "packages hello of small"
    assert (Path(os.fsdecode(tree)) / "usr/share/hello").read_text() == "hello\n"
    assert (os.fsencode(packages.lock), Aspect.CONTENT) in root.looked
    assert made.paths > 5


@pytest.mark.parametrize("change", ["code", "lock"])
def test_another_lock_or_code_is_another_tree(packages: Packages, tree: bytes, change: str) -> None:
    if change == "lock":
        packages.lock.write_text(packages.lock.read_text().replace("hello=1.0", "hello=1.1"))
    origin = packages.origin(code="other" if change == "code" else "code")

    with pytest.raises(SysrootError, match="hello"):
        make(origin, tree)
    assert not origin.forget()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        pytest.param("cas", _flip, id="piece flipped"),
        pytest.param("cas", Path.unlink, id="piece gone"),
        pytest.param("ac", _flip, id="entry flipped"),
    ],
)
def test_what_is_damaged_is_not_used(
    packages: Packages, tree: bytes, kind: str, damage: Callable[[Path], None]
) -> None:
    paths = [each for each in (packages.cache / kind).rglob("*") if each.is_file()]
    damage(max(paths, key=lambda path: path.stat().st_size))

    with pytest.raises(SysrootError):  # The package is gone from the mirror.
        make(packages.origin(), tree)
    shutil.rmtree(packages.repository.directory.parent / "hello-1.0")
    packages.repository.publish("hello", "1.0", {"usr/share/hello": "hello\n"})
    origin = packages.origin()
    make(origin, tree)
    assert origin.note() == ""
    again = packages.origin()
    make(again, tree)
    assert again.note() == ", from the cache"


def test_a_tar_that_is_not_what_the_lock_says_is_forgotten(
    packages: Packages, tree: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = packages.origin()
    monkeypatch.setattr(DebianOrigin, "settle", lambda self, tree: int("x"))
    with pytest.raises(ValueError, match="x"):
        make(origin, tree)

    assert origin.note() == ", from the cache"
    assert origin.forget()
    assert not origin.forget()
    assert origin.note() == ""


def test_a_large_file_is_sent_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scratch_image.cache.result._PIECE", 1000)
    file = tmp_path / "file"
    file.write_bytes(content := os.urandom(2500))

    pieces = FilePieces(os.fsencode(file))

    assert len(pieces) == 3
    assert b"".join(pieces[each] for each in pieces.digests) == content
    assert set(pieces) == set(pieces.digests)
