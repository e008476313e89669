"""ELF files that exist as values only, and loader caches of any content."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from scratch_image.elf.reader import Elf
from scratch_image.fs.root import Root, WatchedFileSystem


def an_elf(
    bits: int = 64,
    machine: int = 62,
    *,
    interpreter: bytes | None = b"/lib64/ld-linux-x86-64.so.2",
    needed: tuple[bytes, ...] = (),
    rpath: bytes | None = None,
    runpath: bytes | None = None,
    flags_1: int = 0,
) -> Elf:
    return Elf(
        bits=bits,
        little_endian=True,
        machine=machine,
        interpreter=interpreter,
        soname=None,
        needed=needed,
        rpath=rpath,
        runpath=runpath,
        flags_1=flags_1,
        filters=(),
        auxiliaries=(),
        audits=(),
        dlopen=(),
    )


def a_cache(
    entries: list[tuple[int, int, int, int]],
    strings: bytes = b"",
    *,
    order: str = "<",
    count: int | None = None,
    extension: bytes = b"",
) -> bytes:
    """Return a cache; the entries are (flags, name, path, hwcap), offsets count from strings."""
    start = 48 + 24 * len(entries)
    at = start + len(strings) if extension else 0
    number = len(entries) if count is None else count
    data = b"glibc-ld.so.cache1.1" + struct.pack(
        f"{order}IIB3xI12x", number, len(strings), 2 if order == "<" else 3, at
    )
    for flags, name, path, hwcap in entries:
        data += struct.pack(f"{order}iIIIQ", flags, start + name, start + path, 0, hwcap)
    return data + strings + extension


def a_root(tmp_path: Path, cache: bytes | None) -> Root:
    (tmp_path / "etc").mkdir()
    if cache is not None:
        (tmp_path / "etc/ld.so.cache").write_bytes(cache)
    return Root(WatchedFileSystem(os.fsencode(tmp_path)))
