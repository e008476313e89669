from __future__ import annotations

import os
import random

import pytest
from scratch_image.cache.entry import (
    MAX_ENTRY,
    BlobDigest,
    CacheEntry,
    EntryError,
    Key,
    OutputFile,
    read_fields,
    write_fields,
    write_varint,
)

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HELLO = BlobDigest.of(b"hello")
ENTRY = CacheEntry(
    (OutputFile("a", HELLO), OutputFile("b", BlobDigest.of(b""))), b"small", b"signed"
)


def test_a_digest_is_written_as_protobuf_has_it() -> None:
    assert HELLO.write() == b"\x0a\x40" + HELLO.hex.encode() + b"\x10\x05"
    assert BlobDigest.of(b"").write() == b"\x0a\x40" + EMPTY.encode()


def test_an_entry_is_read_as_it_was_written() -> None:
    assert CacheEntry.read(ENTRY.write()) == ENTRY
    assert CacheEntry.read(b"") == CacheEntry()


def test_fields_of_others_are_passed_over() -> None:
    metadata = write_fields([(9, b"worker"), (77, 5)]) + b"\x59" + bytes(8) + b"\x65" + bytes(4)

    assert CacheEntry.read(metadata + ENTRY.write() + metadata) == ENTRY


def test_a_key_is_an_action_and_comes_with_its_blobs() -> None:
    key = Key.of("scratch_image/1", "paths", "0" * 64)

    assert {BlobDigest.of(blob) for blob in key.blobs.values()} == set(key.blobs)
    assert key.digest in key.blobs
    assert key.blobs[BlobDigest.of(b"")] == b""
    assert dict(read_fields(key.blobs[key.digest])).keys() == {1, 2}
    assert Key.of("scratch_image/1", "paths", "1" * 64).digest != key.digest


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 32, (1 << 64) - 1])
def test_a_number_is_read_as_it_was_written(number: int) -> None:
    fields = list(read_fields(b"\x08" + write_varint(number)))

    assert fields == [(1, number)]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(b"\x0a", "message is malformed", id="no length"),
        pytest.param(b"\x0a\x05abc", "message is malformed", id="cut"),
        pytest.param(b"\x80" * 11, "message is malformed", id="endless number"),
        pytest.param(b"\x0b\x01", "message is malformed", id="group"),
        pytest.param(b"\x10\x05", "message is malformed", id="number for files"),
        pytest.param(b"\x28\x05", "message is malformed", id="number for bytes"),
        pytest.param(b"\x08\x01" * 20_001, "message is malformed", id="endless fields"),
        pytest.param(write_fields([(4, 1)]), "about a failure", id="failure"),
        pytest.param(bytes(MAX_ENTRY + 1), "too large", id="too large"),
        pytest.param(OutputFile("a", BlobDigest("x" * 64, 1)).write(), "malformed", id="no file"),
        pytest.param(
            write_fields([(2, write_fields([(1, b"../a"), (2, HELLO.write())]))]),
            "name of a file is malformed",
            id="name with directory",
        ),
        pytest.param(
            write_fields([(2, write_fields([(1, b"\xff"), (2, HELLO.write())]))]),
            "text is malformed",
            id="name that is no text",
        ),
        pytest.param(
            write_fields([(2, write_fields([(1, b"a"), (2, write_fields([(1, b"AA")]))]))]),
            "digest is malformed",
            id="digest too short",
        ),
        pytest.param(
            write_fields([(2, write_fields([(1, b"a")]))]), "digest is malformed", id="no digest"
        ),
    ],
)
def test_junk_is_refused(message: bytes, words: str) -> None:
    with pytest.raises(EntryError, match=words):
        CacheEntry.read(message)


def test_random_bytes_are_an_entry_or_refused() -> None:
    dice = random.Random(1)
    whole = ENTRY.write()
    for _ in range(2000):
        cut = bytearray(whole[: dice.randrange(len(whole) + 1)])
        for _ in range(dice.randrange(4)):
            if cut:
                cut[dice.randrange(len(cut))] = dice.randrange(256)
        for message in (bytes(cut), os.urandom(dice.randrange(60))):
            try:
                CacheEntry.read(message)
            except EntryError:
                continue


@pytest.mark.parametrize("size", [(1 << 30) + 1, 1 << 62])
def test_blob_that_has_no_room_in_memory_is_malformed(size: int) -> None:
    with pytest.raises(EntryError, match="a digest is malformed"):
        BlobDigest.read(BlobDigest(EMPTY, size).write())
