from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from scratch_image.cache.directory_store import DirectoryStore
from scratch_image.cache.entry import BlobDigest, Key
from scratch_image.cache.store import StoreError

KEY = Key.of("scratch_image/1", "result", "0")
HELLO = BlobDigest.of(b"hello")
BLOBS = {**KEY.blobs, HELLO: b"hello"}


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(str(tmp_path / "cache"))


def test_what_is_kept_is_found(store: DirectoryStore) -> None:
    assert store.entry(KEY.digest) is None
    assert store.blob(HELLO) is None
    assert store.missing(BLOBS) == set(BLOBS)

    store.keep(KEY.digest, b"entry", BLOBS)

    assert store.entry(KEY.digest) == b"entry"
    assert store.blob(HELLO) == b"hello"
    assert store.blob(BlobDigest.of(b"")) == b""
    assert store.missing(BLOBS) == set()


def test_the_layout_is_that_of_bazel(store: DirectoryStore, tmp_path: Path) -> None:
    store.keep(KEY.digest, b"entry", BLOBS)

    found = {
        str(path.relative_to(tmp_path / "cache")) for path in tmp_path.rglob("*") if path.is_file()
    }

    names = {f"cas/{each.hex[:2]}/{each.hex}" for each in BLOBS}
    assert found == {*names, f"ac/{KEY.digest.hex[:2]}/{KEY.digest.hex}"}


def test_others_read_what_one_user_writes(store: DirectoryStore, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store.keep(KEY.digest, b"entry", BLOBS)
    finally:
        os.umask(before)

    for path in (tmp_path / "cache").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_directories_have_the_rights_of_the_first_one(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o2775)

    DirectoryStore(str(cache)).keep(KEY.digest, b"entry", BLOBS)

    assert {path.stat().st_mode & 0o7777 for path in cache.rglob("*") if path.is_dir()} == {0o2775}


@pytest.mark.parametrize("content", [b"", b"hell", b"hello!", None])
def test_a_blob_of_another_size_is_missing(
    store: DirectoryStore, tmp_path: Path, content: bytes | None
) -> None:
    store.keep(KEY.digest, b"entry", BLOBS)
    path = tmp_path / "cache/cas" / HELLO.hex[:2] / HELLO.hex
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    assert store.blob(HELLO) is None
    assert store.missing(BLOBS) == {HELLO}
    store.keep(KEY.digest, b"entry", BLOBS)
    assert store.blob(HELLO) == b"hello"


def test_a_damaged_blob_is_sent_again_only_if_that_is_wanted(
    store: DirectoryStore, tmp_path: Path
) -> None:
    store.keep(KEY.digest, b"entry", BLOBS)
    path = tmp_path / "cache/cas" / HELLO.hex[:2] / HELLO.hex
    path.write_bytes(b"jello")

    store.keep(KEY.digest, b"entry", BLOBS)
    assert store.blob(HELLO) == b"jello"
    store.keep(KEY.digest, b"entry", BLOBS, resend=True)
    assert store.blob(HELLO) == b"hello"


def test_two_threads_keep_one_blob(store: DirectoryStore, tmp_path: Path) -> None:
    failures = []

    def keep() -> None:
        try:
            for number in range(30):
                store.keep(Key.of(str(number)).digest, b"entry", BLOBS, resend=True)
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert not list(tmp_path.rglob("*.new"))


def test_a_fifo_does_not_hang_the_build(store: DirectoryStore, tmp_path: Path) -> None:
    store.keep(KEY.digest, b"entry", BLOBS)
    path = tmp_path / "cache/ac" / KEY.digest.hex[:2] / KEY.digest.hex
    path.unlink()
    os.mkfifo(path)

    assert store.entry(KEY.digest) == b""


def test_a_directory_in_the_place_of_a_file_is_a_failure(
    store: DirectoryStore, tmp_path: Path
) -> None:
    (tmp_path / "cache/ac" / KEY.digest.hex[:2] / KEY.digest.hex).mkdir(parents=True)

    with pytest.raises(StoreError, match="Is a directory") as error:
        store.entry(KEY.digest)
    assert not error.value.writing


def test_a_full_or_closed_directory_is_only_read(tmp_path: Path) -> None:
    store = DirectoryStore(str(tmp_path / "no" / "cache"))

    assert store.entry(KEY.digest) is None
    with pytest.raises(StoreError, match="No such file") as error:
        store.keep(KEY.digest, b"entry", BLOBS)
    assert error.value.writing
    store.close()
