from __future__ import annotations

import os
import zlib

import pytest
from scratch_image.cache.entry import BlobDigest, CacheEntry, EntryError, OutputFile
from scratch_image.cache.result import StepResult, read_result, write_result

SMALL = [StepResult((b"\xff\0text", b""), "2 files\nlint: x", 1.25), StepResult((b"",), "1", 0.0)]
LARGE = [StepResult((os.urandom(300_000), b"small"), "2 files", 1.0)]


def no_blob(digest: BlobDigest) -> bytes:
    raise AssertionError(digest)


def test_small_results_come_with_the_entry() -> None:
    made = write_result("k", SMALL)

    assert not made.blobs
    assert read_result(made.entry, "k", [2, 1], no_blob) == SMALL


def test_large_results_are_blobs() -> None:
    made = write_result("k", LARGE)

    assert [each.path for each in made.entry.files] == ["0.0", "0.1"]
    assert read_result(made.entry, "k", [2], made.blobs.__getitem__) == LARGE


@pytest.mark.parametrize(
    ("key", "counts"),
    [("other", [2, 1]), ("k", [2]), ("k", [1, 2]), ("k", [3]), ("k", [])],
)
def test_the_result_of_other_steps_is_refused(key: str, counts: list[int]) -> None:
    with pytest.raises(EntryError, match="it is the entry of another result"):
        read_result(write_result("k", SMALL).entry, key, counts, no_blob)


def test_the_files_of_other_steps_are_refused() -> None:
    entry = write_result("k", LARGE).entry
    files = (*entry.files[:1], OutputFile("0.7", entry.files[1].digest))

    with pytest.raises(EntryError, match="it is the entry of another result"):
        read_result(CacheEntry(files, entry.stdout), "k", [2], no_blob)


def test_a_changed_byte_is_seen() -> None:
    text = bytearray(write_result("k", SMALL).entry.stdout)
    for at in (0, 70, len(text) - 1):
        changed = bytearray(text)
        changed[at] ^= 1
        with pytest.raises(EntryError, match="an entry is damaged"):
            read_result(CacheEntry(stdout=bytes(changed)), "k", [2, 1], no_blob)


def _sealed(text: bytes) -> CacheEntry:
    packed = zlib.compress(text)
    return CacheEntry(stdout=BlobDigest.of(packed).hex.encode() + packed)


@pytest.mark.parametrize(
    "values",
    [
        '{"key": "k", "outputs": [["x"]], "steps": [{"lines": "\\u001b[2J", "seconds": 1}]}',
        '{"key": "k", "outputs": [["x"]], "steps": [{"lines": "x", "seconds": NaN}]}',
        '{"key": "k", "outputs": [["x"]], "steps": [{"lines": "x", "seconds": -1}]}',
        '{"key": "k", "outputs": [["x"]], "steps": [{"lines": 7, "seconds": 1}]}',
        '{"key": "k", "outputs": [[7]], "steps": [{"lines": "x", "seconds": 1}]}',
        '{"key": "k", "outputs": [["\\udcff\\ud800"]], "steps": [{"lines": "x", "seconds": 1}]}',
        '{"key": "k", "outputs": 7, "steps": [{"lines": "x", "seconds": 1}]}',
        '{"key": "k", "steps": [{"lines": "x", "seconds": 1}]}',
        "[]",
    ],
)
def test_hostile_results_are_refused(values: str) -> None:
    text = f'{{"format": "scratch_image result 1", "values": {values}}}'

    with pytest.raises(EntryError):
        read_result(_sealed(text.encode()), "k", [1], no_blob)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(EntryError, match="no whole zlib stream"):
        read_result(_sealed(bytes(65 << 20)), "k", [1], no_blob)
