"""The same checks over every kind of store."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from caches import Casd, Nginx
from scratch_image.cache.cache_login import CredentialSources
from scratch_image.cache.entry import BlobDigest, CacheEntry, Key, OutputFile
from scratch_image.cache.store import Store
from scratch_image.cache.stores import open_store
from scratch_image.cache.tls import Tls
from scratch_image.errors import InputError

BLOBS = {
    BlobDigest.of(blob): blob for blob in (b"", b"small", bytes(range(256)) * 400, bytes(9 << 20))
}
ENTRY = CacheEntry(
    tuple(OutputFile(f"{number}", digest) for number, digest in enumerate(BLOBS)), b"out", b"signed"
)


@dataclass(frozen=True)
class Opener:
    """A kind of store, and the place of its blobs."""

    url: str
    path_of: Callable[[BlobDigest], Path]
    """Returns the file of a blob."""
    rewrites: bool = True
    """Whether it takes a blob again that it has in the right size."""

    def __call__(self) -> Store:
        return open_store(self.url, Tls(), CredentialSources())


@pytest.fixture(params=["http", "grpc"])
def opened(request: pytest.FixtureRequest) -> Opener:
    """Give a function that opens the store."""
    if request.param == "http":
        web: Nginx = request.getfixturevalue("web")
        return Opener(f"http://{web.host}/stores", lambda each: web.files / "stores/cas" / each.hex)
    server: Casd = request.getfixturevalue("casd")
    url = f"grpc://{server.host}"
    return Opener(url, lambda each: server.objects / each.hex[:2] / each.hex[2:], rewrites=False)


@pytest.fixture
def key() -> Key:
    """Give a key that no store has yet."""
    return Key.of("stores", uuid.uuid4().hex)


def test_what_one_keeps_another_gets(opened: Opener, key: Key) -> None:
    first, second = opened(), opened()
    assert second.entry(key.digest) is None

    first.keep(key.digest, ENTRY.write(), {**key.blobs, **BLOBS})

    found = second.entry(key.digest)
    assert found is not None
    assert CacheEntry.read(found) == ENTRY
    assert [second.blob(digest) for digest in BLOBS] == [*BLOBS.values()]
    assert second.missing(BLOBS) == set()
    first.close()
    second.close()


def test_nothing_is_found_where_nothing_was_kept(opened: Opener, key: Key) -> None:
    store = opened()
    digests = [BlobDigest.of(uuid.uuid4().bytes * size) for size in (1, 5000, 1 << 19)]

    assert store.entry(key.digest) is None
    assert [store.blob(digest) for digest in digests] == [None] * 3
    assert store.missing([*digests, *digests]) == {*digests}


def test_last_entry_counts(opened: Opener, key: Key) -> None:
    store = opened()
    for text in (b"first", b"second"):
        store.keep(key.digest, CacheEntry(stdout=text).write(), key.blobs)

    assert CacheEntry.read(store.entry(key.digest) or b"").stdout == b"second"


def test_blobs_are_read_when_they_are_sent(opened: Opener, key: Key) -> None:
    class Blobs(dict[BlobDigest, bytes]):
        def values(self) -> None:  # type: ignore[override]
            raise AssertionError

        def items(self) -> None:  # type: ignore[override]
            raise AssertionError

    store = opened()
    store.keep(key.digest, ENTRY.write(), Blobs({**key.blobs, **BLOBS}), resend=True)

    assert store.blob(BlobDigest.of(b"small")) == b"small"


def test_threads_share_a_store(opened: Opener) -> None:
    store = opened()
    texts = [uuid.uuid4().bytes * 100 for _ in range(30)]

    def keep(text: bytes) -> bytes | None:
        digest, key = BlobDigest.of(text), Key.of("thread", text.hex())
        entry = CacheEntry((OutputFile("a", digest),))
        store.keep(key.digest, entry.write(), {**key.blobs, digest: text})
        assert CacheEntry.read(store.entry(key.digest) or b"") == entry
        return store.blob(digest)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(keep, texts)) == texts


def test_two_writers_of_one_key_leave_one_whole_entry(opened: Opener, key: Key) -> None:
    stores = [opened() for _ in range(4)]
    entries = [CacheEntry(stdout=bytes([number]) * 1000).write() for number in range(4)]

    def keep(number: int) -> None:
        for _ in range(10):
            stores[number].keep(key.digest, entries[number], key.blobs, resend=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, range(4)))

    assert stores[0].entry(key.digest) in entries


def _flip(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def _cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("size", [1000, 9 << 20], ids=["small", "large"])
@pytest.mark.parametrize("damage", [_flip, _cut, Path.unlink])
def test_damaged_blob_is_a_miss_and_can_be_sent_again(
    damage: Callable[[Path], None], size: int, opened: Opener, key: Key
) -> None:
    store = opened()
    blob = uuid.uuid4().hex.encode() + bytes(size)
    digest = BlobDigest.of(blob)
    entry = CacheEntry((OutputFile("a", digest),)).write()
    store.keep(key.digest, entry, {**key.blobs, digest: blob})
    damage(opened.path_of(digest))

    assert store.blob(digest) is None

    store.keep(key.digest, entry, {**key.blobs, digest: blob}, resend=True)
    assert store.blob(digest) == (blob if opened.rewrites or damage is not _flip else None)


def test_url_that_means_no_store_is_a_line() -> None:
    with pytest.raises(InputError, match="it is no URL of a cache"):
        open_store("cache.example", Tls(), CredentialSources())


@pytest.mark.parametrize(("scheme", "library"), [("http", "urllib3"), ("grpc", "grpc")])
def test_only_the_library_of_a_store_is_imported(scheme: str, library: str) -> None:
    script = f"""
import sys
from scratch_image.cache.cache_login import CredentialSources
from scratch_image.cache.stores import open_store
from scratch_image.cache.tls import Tls
assert not {{"urllib3", "grpc", "google", "cryptography"}} & {{*sys.modules}}
open_store("{scheme}://localhost:1", Tls(), CredentialSources())
print(*sorted({{"urllib3", "grpc", "google", "cryptography"}} & {{*sys.modules}}))
"""
    path = ":".join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": path}, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == (f"{library}\n", "")


def test_missing_package_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(InputError) as raised:
        open_store("grpcs://fox:secret@cache.example", Tls(), CredentialSources())

    assert str(raised.value) == (
        "cannot use cache grpcs://cache.example: package grpc is not installed; "
        "run pip install scons-scratch-image[remote]"
    )
