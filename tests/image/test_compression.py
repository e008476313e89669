from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from scratch_image.errors import InputError
from scratch_image.image import compression
from tars import compressed

SMALL = Path(__file__).parent / "layer/small.tar"
SUFFIXES = sorted(compression.MEDIA_TYPES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_compressed_bytes_do_not_depend_on_the_size_of_writes(suffix: str) -> None:
    data = SMALL.read_bytes() * 40 + hashlib.sha256(b"").digest() * 9999
    first = compressed(data, suffix)
    for step in (13, 700, 4096, 131072):
        assert first == compressed(data, suffix, step)
    assert data == b"".join(compression.decompress(io.BytesIO(first), suffix))


def test_the_gzip_header_has_no_name_and_no_time() -> None:
    assert compressed(b"", ".tar.gz")[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_the_zstd_frame_has_no_size_and_no_checksum() -> None:
    parameters = zstandard.get_frame_parameters(compressed(b"x", ".tar.zst"))
    assert (
        parameters.content_size,
        parameters.has_checksum,
    ) == (zstandard.CONTENTSIZE_UNKNOWN, False)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        pytest.param(".tar", "none", id="tar"),
        pytest.param(".tar.gz", f"zlib {zlib.ZLIB_RUNTIME_VERSION} level 6", id="gzip"),
        pytest.param(
            ".tar.zst",
            f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level 3 "
            f"by zstandard {zstandard.__version__}",
            id="zstd",
        ),
    ],
)
def test_the_compressor_is_named(suffix: str, text: str) -> None:
    assert text == compression.compressor(suffix)


def test_zlib_ng_is_told_from_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zlib, "ZLIBNG_VERSION", "2.2.5.zlib-ng", raising=False)
    assert compression.compressor(".tar.gz") == "zlib 2.2.5.zlib-ng level 6"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(b"/a/x.tar", ".tar"), (b"x.tar.gz", ".tar.gz"), (b"x.oci.tar.zst", ".tar.zst")],
)
def test_the_suffix_of_a_file(name: bytes, suffix: str) -> None:
    assert suffix == compression.suffix_of(name)


def test_a_file_without_a_known_suffix() -> None:
    with pytest.raises(InputError) as caught:
        compression.suffix_of(b"/x y.tgz")
    assert str(caught.value) == (
        "cannot use tar /x\\040y.tgz: its suffix means no compression; "
        "end its name in one of .tar, .tar.gz, .tar.zst"
    )


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".tar.gz", gzip.compress), (".tar.zst", zstandard.compress)]
)
def test_members_of_a_compressed_file_are_joined(
    suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    data = pack(b"one") + pack(b"two")
    assert b"".join(compression.decompress(io.BytesIO(data), suffix)) == b"onetwo"


def test_a_zstd_bomb_comes_in_pieces() -> None:
    bomb = zstandard.compress(bytes(1 << 30))
    sizes = [len(chunk) for chunk in compression.decompress(io.BytesIO(bomb), ".tar.zst")]
    assert sum(sizes) == 1 << 30
    assert max(sizes) <= 1 << 28
