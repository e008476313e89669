"""Compression of layers: which suffix means which, and bytes that follow from the content alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError
from ..fs.digest import CHUNK, Sink, Source
from ..fs.paths import show

MEDIA_TYPES = {
    ".tar": "application/vnd.oci.image.layer.v1.tar",
    ".tar.gz": "application/vnd.oci.image.layer.v1.tar+gzip",
    ".tar.zst": "application/vnd.oci.image.layer.v1.tar+zstd",
}
"""The suffixes that a layer file may have, and the OCI media type each stands for."""

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3


def suffix_of(path: bytes) -> str:
    """Return which key of `MEDIA_TYPES` the file name `path` ends in; InputError when in none."""
    for known in MEDIA_TYPES:
        if path.endswith(known.encode()):
            return known
    raise InputError(
        f"use tar {show(path)}",
        "its suffix means no compression",
        f"end its name in one of {', '.join(MEDIA_TYPES)}",
    )


@contextmanager
def compress(sink: Sink, suffix: str) -> Iterator[Sink]:
    """Give a sink whose bytes reach `sink` compressed as `suffix` says; all of them at the end.

    The gzip header holds no name and no time. The zstd frame holds no content size, which is not
    known in a stream, and no checksum, since the digest is one. Neither depends on how the bytes
    are cut into writes.
    """
    if suffix == ".tar.gz":
        import gzip

        with gzip.GzipFile("", "wb", _GZIP_LEVEL, sink, mtime=0) as stream:  # type: ignore[call-overload]
            yield stream
    elif suffix == ".tar.zst":
        import zstandard

        codec = zstandard.ZstdCompressor(_ZSTD_LEVEL, write_content_size=False)
        with codec.stream_writer(sink, closefd=False) as writer:  # type: ignore[arg-type]
            yield writer
    else:
        yield sink


def compressor(suffix: str) -> str:
    """Return the compressor's name, version and level: all that decides over the bytes."""
    if suffix == ".tar.gz":
        # From Python 3.14 on, zlib may be zlib-ng, whose bytes differ.
        version = getattr(zlib, "ZLIBNG_VERSION", zlib.ZLIB_RUNTIME_VERSION)
        return f"zlib {version} level {_GZIP_LEVEL}"
    if suffix == ".tar.zst":
        import zstandard

        version = ".".join(map(str, zstandard.ZSTD_VERSION))
        return f"zstd {version} level {_ZSTD_LEVEL} by zstandard {zstandard.__version__}"
    return "none"


def decompress(source: Source, suffix: str) -> Iterator[bytes]:
    """Yield what `source` (hostile), compressed as `suffix` says, holds; all of it is read.

    ValueError, with the cause as its text, when it is not that, or when its end is missing.
    """
    if suffix == ".tar.gz":
        return _gunzip(source)
    if suffix == ".tar.zst":
        return _unzstd(source)
    return iter(lambda: source.read(CHUNK), b"")


def _gunzip(source: Source) -> Iterator[bytes]:
    import gzip

    try:
        with gzip.GzipFile("", "rb", fileobj=source) as stream:  # type: ignore[call-overload]
            while chunk := stream.read(CHUNK):
                yield chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"it is not a whole gzip file ({error})") from error


def _unzstd(source: Source) -> Iterator[bytes]:
    import zstandard

    codec = zstandard.ZstdDecompressor()
    frame = codec.decompressobj()
    try:
        # zstd packs up to 32768 bytes into one: a small piece keeps what it may hold in bounds.
        while piece := source.read(4096):
            while piece:
                frame = codec.decompressobj() if frame.eof else frame
                yield frame.decompress(piece)
                piece = frame.unused_data
    except zstandard.ZstdError as error:
        raise ValueError(f"it is not a zstd file ({error})") from error
    if not frame.eof:
        raise ValueError("the end of the zstd file is missing")
